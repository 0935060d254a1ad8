//! What `access.yaml` and the policies may say, and their faults in the words of a user.

use std::fs;

use super::{GOOD, env, in_access, load, load_texts};

#[test]
fn names_keep_the_order_of_the_file() {
    let access = "teams:\n  zebra: { groups: [corp/z] }\n  ant: { groups: [corp/a] }\n";
    let loaded = load_texts(GOOD, access).unwrap();
    let names: Vec<_> = loaded.access.teams.iter().map(|team| team.name.as_str()).collect();
    assert_eq!(names, ["zebra", "ant"]);
}

#[test]
fn algorithms_and_actions_are_those_of_the_rooms() {
    use crate::names::Action;
    let actions = Action::ALL.map(Action::as_str).join(", ");
    let access =
        format!("roles: {{ r: {{ permit: [{{ actions: [{actions}], endpoints: ['*'] }}] }} }}");
    let loaded = load_texts(GOOD, &access).unwrap();
    assert_eq!(loaded.access.roles[0].permit[0].actions, Action::ALL);
}

#[test]
fn access_faults_in_their_words() {
    let cases = [
        "roles: { r: {} }",
        "roles: { r: { permit: [{ actions: [InvokeEndpoint] }] } }",
        "roles: { r: { permit: [{ endpoints: [] }] } }",
        "roles: { r: { permit: [{ endpoints: ['*'], when: { tag: {} } }] } }",
        "roles: { r: { permit: [{ endpoints: ['*'], when: { tags: { a: b } } }] } }",
        "roles: { r: { permit: [{ endpoints: ['*'], when: { tags: { a: [] }, source_ips: [10.0.0.0/33] } }] } }",
        "roles: { r: { forbid: [{ endpoints: [''] }] } }",
        "bindings: [{ roles: [r] }]",
        "bindings: [{ groups: [corp/a], roles: [] }]",
        "bindings: [{ groups: [corp/, /a, ''], roles: [r] }]\nroles: { r: { forbid: [{}] } }",
        "teams: { t: {} }",
        "teams: { t: { users: [corp/a], limits: [{}] } }",
        "teams: { t: { users: [corp/a], limits: [{ requests: 0/s }, { burst: 3 }, { concurrency: 0 }] } }",
        "teams: { t: { users: [corp/a], limits: [{ requests: 5/s, concurrency: 3 }, { tokens: 5 }, { requests: 5 }] } }",
        "teams: { t: { users: [corp/a] }, t: { users: [corp/b] } }",
        "endpoints: { a_b: {}, Fraud: {}, fraud: { tag: {} } }",
        "revoked: { users: [mallory], token_ids: [12] }",
        "roles: [",
        "- a",
        "nonsense",
    ];
    let told: Vec<_> = cases.iter().map(|text| format!("# {text}\n{}", in_access(text))).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
# roles: { r: {} }
access.yaml:1:10: roles.r: the role neither permits nor forbids
  hint: give it a `permit`
# roles: { r: { permit: [{ actions: [InvokeEndpoint] }] } }
access.yaml:1:24: roles.r.permit[0]: a permit names its `endpoints`
  hint: `["*"]` is every endpoint
# roles: { r: { permit: [{ endpoints: [] }] } }
access.yaml:1:37: roles.r.permit[0].endpoints: must not be empty
# roles: { r: { permit: [{ endpoints: ['*'], when: { tag: {} } }] } }
access.yaml:1:52: roles.r.permit[0].when.tag: unknown key
  hint: did you mean `tags`?
# roles: { r: { permit: [{ endpoints: ['*'], when: { tags: { a: b } } }] } }
access.yaml:1:63: roles.r.permit[0].when.tags.a: expected a list, found `b`
  hint: write `[b]`
# roles: { r: { permit: [{ endpoints: ['*'], when: { tags: { a: [] }, source_ips: [10.0.0.0/33] } }] } }
access.yaml:1:63: roles.r.permit[0].when.tags.a: must not be empty
access.yaml:1:82: roles.r.permit[0].when.source_ips[0]: expected a network such as `10.0.0.0/8`, or one address, found `10.0.0.0/33`
# roles: { r: { forbid: [{ endpoints: [''] }] } }
access.yaml:1:38: roles.r.forbid[0].endpoints[0]: `` matches no endpoint's name
  hint: letters, digits, `-`, and `*` for any characters
# bindings: [{ roles: [r] }]
access.yaml:1:12: bindings[0]: the binding is for nobody
  hint: give it `groups` or `users`
access.yaml:1:22: bindings[0].roles[0]: there is no role `r`
# bindings: [{ groups: [corp/a], roles: [] }]
access.yaml:1:39: bindings[0].roles: must not be empty
# bindings: [{ groups: [corp/, /a, ''], roles: [r] }]
roles: { r: { forbid: [{}] } }
access.yaml:1:23: bindings[0].groups[0]: `corp/` is not of the form `issuer/name`
  hint: such as `corp/alice`
access.yaml:1:30: bindings[0].groups[1]: `/a` is not of the form `issuer/name`
  hint: such as `corp/alice`
access.yaml:1:34: bindings[0].groups[2]: expected 1 to 1024 characters, none of them a control character
access.yaml:1:34: bindings[0].groups[2]: `` is not of the form `issuer/name`
  hint: such as `corp/alice`
# teams: { t: {} }
access.yaml:1:10: teams.t: the team is for nobody
  hint: give it `groups` or `users`
# teams: { t: { users: [corp/a], limits: [{}] } }
access.yaml:1:41: teams.t.limits[0]: a limit is one of `requests`, `body_bytes`, `inference_seconds` or `concurrency`
# teams: { t: { users: [corp/a], limits: [{ requests: 0/s }, { burst: 3 }, { concurrency: 0 }] } }
access.yaml:1:53: teams.t.limits[0].requests: must not be zero
  hint: to shut a team out, take its binding away
access.yaml:1:69: teams.t.limits[1].burst: `burst` goes with `requests` and `inference_seconds`
access.yaml:1:89: teams.t.limits[2].concurrency: must be at least 1
# teams: { t: { users: [corp/a], limits: [{ requests: 5/s, concurrency: 3 }, { tokens: 5 }, { requests: 5 }] } }
access.yaml:1:41: teams.t.limits[0]: one limit is only one of `requests`, `body_bytes`, `inference_seconds` or `concurrency`
  hint: write one limit for each
access.yaml:1:78: teams.t.limits[1].tokens: unknown key
  hint: known here: requests, body_bytes, inference_seconds, burst, concurrency, per, endpoints, operations
access.yaml:1:103: teams.t.limits[2].requests: expected a rate such as `200/s` (per: s, min or minute, h or hour, day), found the number 5
# teams: { t: { users: [corp/a] }, t: { users: [corp/b] } }
access.yaml:1:34: teams.t: the same key a second time
  hint: the first is on line 1
# endpoints: { a_b: {}, Fraud: {}, fraud: { tag: {} } }
access.yaml:1:14: endpoints.a_b: is not an endpoint's name
  hint: at most 63 letters, digits and inner `-`
access.yaml:1:34: endpoints.fraud: the same endpoint a second time: case does not count
access.yaml:1:43: endpoints.fraud.tag: unknown key
  hint: did you mean `tags`?
# revoked: { users: [mallory], token_ids: [12] }
access.yaml:1:20: revoked.users[0]: `mallory` is not of the form `issuer/name`
  hint: such as `corp/alice`
access.yaml:1:42: revoked.token_ids[0]: expected a text, found the number 12
  hint: write `"12"`
# roles: [
access.yaml:1:8: unclosed bracket '['
# - a
access.yaml:1:1: expected a map, found a list
# nonsense
access.yaml:1:1: expected a map, found `nonsense`
"#);
}

/// Ten thousand of each are a large company's file; one mistake made in all of them must not
/// take minutes to tell.
#[test]
fn a_large_file_with_a_fault_in_every_line_is_told_whole() {
    let roles: String = (0..2_000)
        .map(|n| format!("  r-{n}: {{ permit: [{{ endpoints: ['a_b'] }}] }}\n"))
        .collect();
    let bindings: String =
        (0..2_000).map(|n| format!("  - {{ groups: [corp/g], roles: [x-{n}] }}\n")).collect();
    let faults = load_texts(GOOD, &format!("roles:\n{roles}bindings:\n{bindings}")).unwrap_err();
    assert_eq!(faults.len(), 4_000);
}

/// A list whose items are all commented out is YAML's null. Read as "not given", it would
/// turn the narrowest of rules into the widest.
#[test]
fn a_part_of_a_rule_that_is_left_empty_is_a_fault_and_never_the_widest_rule() {
    let rule = |part: &str| {
        format!("roles:\n  a:\n    permit:\n      - endpoints: [\"*\"]\n        {part}\n")
    };
    for (part, good) in [
        ("actions:", " [InvokeEndpoint]"),
        ("when: { target_variants:", " [blue] }"),
        ("when: { target_models:", " [a.tar.gz] }"),
        ("when: { inference_components:", " [a] }"),
        ("when: { container_hostnames:", " [a] }"),
        ("when: { input_locations:", " [\"s3://a/*\"] }"),
        ("when: { output_extensions:", " [a] }"),
        ("when: { source_ips:", " [10.0.0.0/8] }"),
        ("when: { tags: { environment:", " [prod] } }"),
    ] {
        assert!(load_texts(GOOD, &rule(&format!("{part}{good}"))).is_ok(), "{part}");
        let closing: String = good.chars().filter(|c| *c == '}').collect();
        let told = in_access(&rule(&format!("{part} {closing}")));
        assert!(told.contains("expected a list, found nothing"), "{part}: {told}");
    }
    let told = in_access("roles: { a: { forbid: [{ endpoints: }] } }");
    assert!(told.contains("expected a list, found nothing"), "{told}");
}

/// A forbid on a group of a misspelt issuer would hold for nobody.
#[test]
fn a_policy_that_names_an_issuer_that_does_not_exist_is_a_fault() {
    let with = |policy: &str| {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("policies")).unwrap();
        fs::write(dir.path().join("policies/a.cedar"), policy).unwrap();
        fs::write(dir.path().join("access.yaml"), "").unwrap();
        fs::write(dir.path().join("sagegate.yaml"), format!("{GOOD}policies: policies/\n"))
            .unwrap();
        load(&dir.path().join("sagegate.yaml"), &env).map(drop).map_err(|faults| faults.to_string())
    };
    for name in ["Group", "User"] {
        let forbid = |issuer: &str| {
            format!(
                "forbid (principal, action, resource) when {{ principal in {name}::\"{issuer}/a\" }};"
            )
        };
        assert_eq!(with(&forbid("corp")), Ok(()), "{name}");
        let told = with(&forbid("crop")).unwrap_err();
        assert!(told.contains("a policy names `crop/a`, and there is no issuer `crop`"), "{told}");
        assert!(told.contains("did you mean `corp`?"), "{told}");
    }
}
