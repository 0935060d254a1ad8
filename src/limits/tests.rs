//! The room as its callers see it: permits in, answers out, time given.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Uri};
use proptest::prelude::*;

use super::*;
use crate::identity::Principal;
use crate::names::Team;
use crate::policy::Permit;
use crate::sagemaker::Call;
use crate::telemetry::metrics::Metrics;

fn whole(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn requests(per: u32, burst: u32) -> Limit {
    Limit::Requests { per: whole(per), window: Duration::from_secs(1), burst: whole(burst) }
}

fn concurrency(most: u32) -> Limit {
    Limit::Concurrency(whole(most))
}

fn team(name: &str, limits: &[Limit]) -> TeamLimits {
    TeamLimits { team: Team::new(name), limits: limits.to_vec() }
}

fn limits(of: &[Limit]) -> Limits {
    Limits::new(vec![team("fraud", of)], None, &Metrics::new().unwrap())
}

fn permit(team: Option<&str>) -> Permit {
    let uri = Uri::from_static("/endpoints/fraud-v1/invocations");
    let call = Call::parse(&Method::POST, &uri, &HeaderMap::new()).unwrap();
    Permit::for_tests(Principal::for_tests("corp", "alice", &["fraud"]), call, team)
}

fn fraud() -> Permit {
    permit(Some("fraud"))
}

#[test]
fn a_caller_without_a_team_has_no_limits() {
    let limits = limits(&[requests(1, 1)]);
    let now = Instant::now();
    for free in [None, Some("other")] {
        for _ in 0..3 {
            let admitted = limits.admit(permit(free), now).unwrap();
            assert!(admitted.rate_limit_headers().is_none());
        }
    }
    assert!(limits.admit(fraud(), now).is_ok());
    assert!(limits.admit(fraud(), now).is_err());
}

#[test]
fn one_team_at_its_limit_does_not_touch_another() {
    let teams = vec![team("fraud", &[requests(1, 1)]), team("risk", &[requests(1, 1)])];
    let limits = Limits::new(teams, None, &Metrics::new().unwrap());
    let now = Instant::now();
    assert!(limits.admit(fraud(), now).is_ok());
    assert!(limits.admit(fraud(), now).is_err());
    assert!(limits.admit(permit(Some("risk")), now).is_ok());
}

#[test]
fn a_refusal_names_its_limit_keeps_the_permit_and_its_wait_is_true() {
    let limits = limits(&[requests(4, 1), concurrency(9)]);
    let now = Instant::now();
    assert!(limits.admit(fraud(), now).is_ok());
    let over = limits.admit(fraud(), now).unwrap_err();
    assert_eq!(over.limit(), requests(4, 1));
    assert_eq!(over.limit_name(), "requests-4/s");
    assert_eq!(over.permit().team(), Some(&Team::new("fraud")));
    assert_eq!(over.retry_after(), Duration::from_millis(250));
    assert_eq!(over.to_string(), "over the team's limit of 4 requests every 1s with a burst of 1");
    let then = now + over.retry_after();
    assert!(limits.admit(fraud(), then - Duration::from_nanos(1)).is_err());
    assert!(limits.admit(fraud(), then).is_ok());
}

#[test]
fn of_several_limits_the_longest_wait_is_reported() {
    let slow = Limit::Requests { per: whole(1), window: Duration::from_secs(60), burst: whole(1) };
    let limits = limits(&[requests(1, 1), slow]);
    let now = Instant::now();
    assert!(limits.admit(fraud(), now).is_ok());
    let over = limits.admit(fraud(), now).unwrap_err();
    assert_eq!((over.limit(), over.retry_after()), (slow, Duration::from_secs(60)));
}

#[test]
fn headers_follow_the_draft() {
    let limits = limits(&[requests(2, 2), concurrency(64)]);
    let now = Instant::now();
    let text = |headers: &[(http::HeaderName, http::HeaderValue)]| {
        let line = |(name, value): &(http::HeaderName, http::HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        headers.iter().map(line).collect::<Vec<_>>()
    };
    let policy = "ratelimit-policy: \"requests-2/s\";q=2;w=1, \
                  \"concurrency-64\";q=64;qu=\"concurrent-requests\"";

    let first = limits.admit(fraud(), now).unwrap();
    let headers = first.rate_limit_headers().unwrap();
    assert_eq!(text(&headers), [policy, "ratelimit: \"requests-2/s\";r=1;t=1"]);

    assert!(limits.admit(fraud(), now).is_ok());
    let over = limits.admit(fraud(), now).unwrap_err();
    let expected = [policy, "ratelimit: \"requests-2/s\";r=0;t=1", "retry-after: 1"];
    assert_eq!(text(&over.headers()), expected);
}

#[test]
fn a_full_concurrency_limit_says_so_without_a_time_it_cannot_know() {
    let limits = limits(&[concurrency(1)]);
    let now = Instant::now();
    let held = limits.admit(fraud(), now).unwrap();
    let over = limits.admit(fraud(), now).unwrap_err();
    let [_, (_, current), (_, retry)] = over.headers();
    assert_eq!(current, "\"concurrency-1\";r=0");
    assert_eq!(retry, "1");
    drop(held);
    assert!(limits.admit(fraud(), now).is_ok());
}

#[test]
fn a_cancelled_request_frees_its_slot() {
    let limits = limits(&[concurrency(1)]);
    let now = Instant::now();
    let admitted = limits.admit(fraud(), now).unwrap();
    let mut request = Box::pin(async move {
        let _held = admitted;
        std::future::pending::<()>().await;
    });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(request.as_mut().poll(&mut context).is_pending());
    assert!(limits.admit(fraud(), now).is_err());
    drop(request);
    assert!(limits.admit(fraud(), now).is_ok());
}

#[test]
fn what_was_not_sent_is_given_back_once_and_what_was_sent_is_not() {
    let limits = limits(&[requests(1, 2)]);
    let now = Instant::now();
    let mut unsent = limits.admit(fraud(), now).unwrap();
    unsent.give_back(now);
    unsent.give_back(now);
    drop(unsent);
    for _ in 0..2 {
        assert!(limits.admit(fraud(), now).is_ok());
    }
    assert!(limits.admit(fraud(), now).is_err());
}

#[test]
fn a_reload_keeps_the_state_of_what_did_not_change() {
    let metrics = Metrics::new().unwrap();
    let now = Instant::now();
    let old = Limits::new(vec![team("fraud", &[requests(1, 1), concurrency(1)])], None, &metrics);
    let in_flight = old.admit(fraud(), now).unwrap();

    let same = vec![team("fraud", &[concurrency(1), requests(1, 1)])];
    let same = Limits::new(same, Some(&old), &metrics);
    assert_eq!(same.admit(fraud(), now).unwrap_err().limit(), requests(1, 1));
    let later = now + Duration::from_secs(1);
    assert_eq!(same.admit(fraud(), later).unwrap_err().limit(), concurrency(1));

    let wider =
        Limits::new(vec![team("fraud", &[requests(1, 2), concurrency(1)])], Some(&same), &metrics);
    assert_eq!(wider.admit(fraud(), later).unwrap_err().limit(), concurrency(1));
    drop(in_flight);
    assert!(wider.admit(fraud(), later).is_ok());
}

#[test]
fn every_decision_is_counted_by_team_and_limit() {
    let metrics = Metrics::new().unwrap();
    let limits =
        Limits::new(vec![team("fraud", &[requests(1, 2), concurrency(9)])], None, &metrics);
    let now = Instant::now();
    for _ in 0..5 {
        drop(limits.admit(fraud(), now));
    }
    let count = |limit: &str, result: &str| {
        metrics.limit_decisions.with_label_values(&["fraud", limit, result]).get()
    };
    assert_eq!((count("requests-1/s", "admitted"), count("requests-1/s", "refused")), (2, 3));
    assert_eq!((count("concurrency-9", "admitted"), count("concurrency-9", "refused")), (2, 0));
}

#[test]
fn threads_together_get_the_burst_and_no_more() {
    let limits = limits(&[requests(1, 100), requests(2, 80), concurrency(4)]);
    let now = Instant::now();
    let admitted = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    if limits.admit(fraud(), now).is_ok() {
                        admitted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 80);
    let over = limits.admit(fraud(), now).unwrap_err();
    assert_eq!(over.limit(), requests(2, 80), "20 of the wider burst were left, untouched");
}

proptest! {
    /// Against a twin that is only asked what it would surely admit: if a refusal took
    /// anything from any limit, the two would part.
    #[test]
    fn a_request_takes_from_all_limits_or_from_none(
        steps in prop::collection::vec((0_u64..400, 0_usize..4), 0..60),
        (fast, slow, most) in (1_u32..6, 1_u32..6, 1_u32..4),
    ) {
        let of = [requests(3, fast), requests(2, slow), concurrency(most)];
        let (asked, alone) = (limits(&of), of.map(|limit| limits(&[limit])));
        let (mut now, mut held) = (Instant::now(), Vec::new());
        for (millis, finished) in steps {
            now += Duration::from_millis(millis);
            held.truncate(held.len().saturating_sub(finished));
            let fits = alone.iter().all(|one| {
                let probe = one.admit(fraud(), now);
                probe.map(|mut probe| probe.give_back(now)).is_ok()
            });
            let answer = asked.admit(fraud(), now);
            prop_assert_eq!(answer.is_ok(), fits);
            if let Ok(admitted) = answer {
                let singly: Result<Vec<_>, _> = alone.iter().map(|one| one.admit(fraud(), now)).collect();
                held.push((admitted, singly.unwrap()));
            }
        }
    }
}
