//! Limits from text to meaning, and what is told of those that mean nothing.

use super::*;
use crate::names::{Action, Endpoint, Team};

fn limits(access: &str) -> Vec<String> {
    let loaded = load_texts(GOOD, access).unwrap_or_else(|faults| panic!("{faults}"));
    let told = |limit: &crate::limits::Limit| {
        format!("{:?} {} | {limit} | line {}", limit.scope, limit.name, limit.origin.line)
    };
    loaded.limits.limits.iter().map(told).collect()
}

const TEAM: &str = "\
teams:
  fraud:
    users: [corp/a]
    limits:
      - { requests: 200/s, burst: 400 }
      - { requests: 1000000/day }
      - { concurrency: 64 }
      - { body_bytes: 10GiB/hour }
      - { requests: 5/s, burst: 10, per: user }
      - { requests: 20/s, endpoints: [\"llm-*\"], operations: [InvokeEndpointWithResponseStream] }
      - { inference_seconds: 3600/hour, per: team }
limits:
  - { concurrency: 512 }
  - { requests: 50/minute, per: endpoint, endpoints: [\"Shared-*\"] }
  - { body_bytes: 1GiB/day, per: role }
default_team: { limits: [ { requests: 10/s, burst: 20 } ] }
time_zone: Europe/Berlin
";

#[test]
fn each_limit_is_named_and_knows_its_line() {
    assert_eq!(
        limits(TEAM),
        [
            "Everybody all-concurrency-512 | 512 concurrent requests | line 13",
            "Everybody all-requests-50/min-per-endpoint | 50 requests per minute, per endpoint | line 14",
            "Everybody all-body-bytes-1GiB/day-per-role | 1GiB of request bodies a day (Europe/Berlin), per role | line 15",
            "Team(Team(\"fraud\")) requests-200/s | 200 requests per second with a burst of 400 | line 5",
            "Team(Team(\"fraud\")) requests-1000000/day | 1000000 requests a day (Europe/Berlin) | line 6",
            "Team(Team(\"fraud\")) concurrency-64 | 64 concurrent requests | line 7",
            "Team(Team(\"fraud\")) body-bytes-10GiB/h | 10GiB of request bodies per hour | line 8",
            "Team(Team(\"fraud\")) requests-5/s-per-user | 5 requests per second with a burst of 10, per user | line 9",
            "Team(Team(\"fraud\")) requests-20/s | 20 requests per second | line 10",
            "Team(Team(\"fraud\")) inference-seconds-3600/h | 3600 seconds of inference per hour | line 11",
            "NoTeam requests-10/s | 10 requests per second with a burst of 20 | line 16",
        ]
    );
}

#[test]
fn a_call_is_held_to_its_teams_limits_and_everybodys() {
    let loaded = load_texts(GOOD, TEAM).unwrap();
    let names = |team: Option<&str>, action, endpoint| -> Vec<String> {
        let (team, endpoint) = (team.map(Team::new), Endpoint::parse(endpoint).unwrap());
        let limits = loaded.limits.applying(team.as_ref(), action, &endpoint);
        limits.map(|limit| limit.name.to_string()).collect()
    };
    let all = names(Some("fraud"), Action::InvokeEndpointWithResponseStream, "LLM-7");
    assert_eq!(all.len(), 9);
    assert!(all.contains(&"requests-20/s".to_owned()));
    assert_eq!(
        names(None, Action::InvokeEndpoint, "shared-1"),
        [
            "all-concurrency-512",
            "all-requests-50/min-per-endpoint",
            "all-body-bytes-1GiB/day-per-role",
            "requests-10/s"
        ]
    );
}

#[test]
fn limits_that_mean_nothing_are_told_with_their_places() {
    let cases = [
        "limits: [{ requests: 0/day }, { body_bytes: 0B/s }, { inference_seconds: 0/h }]",
        "limits: [{ requests: 5/s, burst: 0 }, { requests: 5/day, burst: 9 }, { body_bytes: 1GiB/h, burst: 9 }]",
        "limits: [{ concurrency: 3, burst: 3 }]",
        "limits: [{ body_bytes: 1MiB/h }]",
        "limits: [{ body_bytes: 1GiB/h, requests: 5/s }, { per: user }]",
        "limits: [{ requests: 5/week }, { body_bytes: 5/h }, { inference_seconds: 5s/h }]",
        "limits: [{ requests: 5/s, per: group }]",
        "limits: [{ requests: 5/s, endpoints: [], operations: [] }]",
        "limits: [{ requests: 5/s, endpoints: ['a_b'], operations: [InvokeEndpoints] }]",
        "limits: [{ requests: 5/s, endpoints: }]",
        "default_team: { limit: [] }",
        "time_zone: Europe/Berlino",
    ];
    let told: Vec<_> = cases.iter().map(|text| format!("# {text}\n{}", in_access(text))).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
# limits: [{ requests: 0/day }, { body_bytes: 0B/s }, { inference_seconds: 0/h }]
access.yaml:1:22: limits[0].requests: must not be zero
  hint: to shut a team out, take its binding away
access.yaml:1:45: limits[1].body_bytes: must not be zero
  hint: to shut a team out, take its binding away
access.yaml:1:74: limits[2].inference_seconds: must not be zero
  hint: to shut a team out, take its binding away
# limits: [{ requests: 5/s, burst: 0 }, { requests: 5/day, burst: 9 }, { body_bytes: 1GiB/h, burst: 9 }]
access.yaml:1:34: limits[0].burst: must be at least 1
access.yaml:1:65: limits[1].burst: a quota of a day has no burst
  hint: all of it may be used whenever in the day
access.yaml:1:99: limits[2].burst: `burst` goes with `requests` and `inference_seconds`
# limits: [{ concurrency: 3, burst: 3 }]
access.yaml:1:35: limits[0].burst: `burst` goes with `requests` and `inference_seconds`
# limits: [{ body_bytes: 1MiB/h }]
access.yaml:1:24: limits[0].body_bytes: a body of 25MiB, which `server.max_body` lets in, could never be admitted
  hint: allow as much, over a longer time, or lower `server.max_body`
# limits: [{ body_bytes: 1GiB/h, requests: 5/s }, { per: user }]
access.yaml:1:10: limits[0]: one limit is only one of `requests`, `body_bytes`, `inference_seconds` or `concurrency`
  hint: write one limit for each
access.yaml:1:49: limits[1]: a limit is one of `requests`, `body_bytes`, `inference_seconds` or `concurrency`
# limits: [{ requests: 5/week }, { body_bytes: 5/h }, { inference_seconds: 5s/h }]
access.yaml:1:22: limits[0].requests: expected a rate such as `200/s` (per: s, min or minute, h or hour, day), found `5/week`
access.yaml:1:46: limits[1].body_bytes: expected a size per time such as `10GiB/hour` (per: s, min or minute, h or hour, day), found `5/h`
access.yaml:1:74: limits[2].inference_seconds: expected a rate such as `200/s` (per: s, min or minute, h or hour, day), found `5s/h`
# limits: [{ requests: 5/s, per: group }]
access.yaml:1:32: limits[0].per: `group` is not one of user, team, role, endpoint
# limits: [{ requests: 5/s, endpoints: [], operations: [] }]
access.yaml:1:38: limits[0].endpoints: must not be empty
access.yaml:1:54: limits[0].operations: must not be empty
# limits: [{ requests: 5/s, endpoints: ['a_b'], operations: [InvokeEndpoints] }]
access.yaml:1:39: limits[0].endpoints[0]: `a_b` matches no endpoint's name
  hint: letters, digits, `-`, and `*` for any characters
access.yaml:1:60: limits[0].operations[0]: `InvokeEndpoints` is not one of InvokeEndpoint, InvokeEndpointWithResponseStream, InvokeEndpointAsync, GetAsyncResult, DescribeEndpoint, ListEndpoints
  hint: did you mean `InvokeEndpoint`?
# limits: [{ requests: 5/s, endpoints: }]
access.yaml:1:36: limits[0].endpoints: expected a list, found nothing
  hint: give it a value, or leave the key out
# default_team: { limit: [] }
access.yaml:1:17: default_team.limit: unknown key
  hint: did you mean `limits`?
# time_zone: Europe/Berlino
access.yaml:1:12: time_zone: there is no time zone `Europe/Berlino`
  hint: did you mean `Europe/Berlin`?
"#);
}
