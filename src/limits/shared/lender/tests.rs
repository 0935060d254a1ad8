//! The lender by what its store answers, without a store.

use std::num::NonZeroU64;
use std::path::Path;

use http::{HeaderMap, Method};
use secrecy::SecretString;

use super::*;
use crate::identity::Principal;
use crate::limits::shared::lease::{Grant, Seen};
use crate::limits::shared::script::Word;
use crate::limits::shared::store::RedisTls;
use crate::limits::shared::terms::Terms;
use crate::limits::*;
use crate::names::Team;
use crate::policy::Permit;
use crate::sagemaker::Call;
use crate::telemetry::clock::Clock;

/// One whose store answers, as far as it knows, and whose task does not run.
fn lender(on_failure: OnFailure) -> Lender {
    let config = RedisConfig {
        url: SecretString::from("redis://127.0.0.1:1"),
        cluster: false,
        tls: RedisTls::default(),
        timeout: Duration::from_millis(20),
        on_failure,
    };
    let lender = Lender(Arc::new(Inner::new(config, &Metrics::new().unwrap(), mpsc::channel(1).0)));
    lender.0.recovered();
    lender
}

/// What is asked of the store for the limits of `tag`, and how much of it waits.
fn asked(lender: &Lender, tag: &str) -> (Vec<Asking>, u64) {
    let asks = lender.pool(tag).asks(lender.0.now());
    let need = |asking: &Asking| match asking.wish {
        Wish::Units { ask, .. } => ask.need,
        Wish::Slots { .. } => 0,
    };
    let needs = asks.iter().map(need).sum();
    (asks, needs)
}

#[test]
fn a_call_that_its_own_teams_limit_refuses_takes_nothing_from_everybodys() {
    let (lender, metrics) = (lender(OnFailure::Local), Metrics::new().unwrap());
    let team = Team::new("fraud");
    let limits = [Scope::Team(team.clone()), Scope::Everybody].map(|scope| Limit {
        name: Arc::default(),
        scope,
        measure: Measure::Rate {
            unit: Unit::Requests,
            quota: NonZeroU64::MIN,
            period: Period::Hour,
            burst: NonZeroU64::new(100).unwrap(),
        },
        per: Per::Whole,
        filter: Filter::default(),
        origin: Origin { file: Path::new("access.yaml").into(), line: 1 },
    });
    let config = LimitsConfig::new(vec![team], limits.to_vec());
    let limits = Limits::new(config, None, Some(&lender), &Clock::System, &metrics);
    let call = || {
        let uri = "/endpoints/fraud-v1/invocations".parse().unwrap();
        let call = Call::parse(&Method::POST, &uri, &HeaderMap::new()).unwrap();
        let caller = Principal::for_tests("corp", "alice", &["fraud"]);
        let permit = Permit::for_tests(caller, call, Some("fraud"));
        let now = Moment { instant: Instant::now(), wall: SystemTime::now() };
        limits.admit_now(permit, Some(0), now).unwrap_err()
    };
    assert!(call().is_asking());
    let (asks, waits) = asked(&lender, "team:fraud");
    assert_eq!(waits, 1);
    let dry = Grant { granted: 0, seen: Seen { level: 0, at: 1 }, gateways: 5 };
    lender.pool("team:fraud").answered(&asks, &[Word::Units(dry)], lender.0.now());
    (0..50).for_each(|_| assert!(!call().is_asking()));
    assert_eq!(asked(&lender, "everybody").1, 1, "of the one that waited");
}

fn mode(lender: &Lender) -> Mode {
    *lender.modes().borrow()
}

const KIND: Kind = Kind::Units { terms: Terms { capacity: 1, per: 0, window: 1 }, day: None };

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_in_vain_says_nothing_of_the_store() {
    let lender = lender(OnFailure::Open);
    let begun = tokio::time::Instant::now();
    assert_eq!(lender.answered(|| (), |()| true).await, None);
    assert_eq!(begun.elapsed(), Duration::from_millis(20));
    assert_eq!(mode(&lender), Mode::Shared);
    // Whereas its own failure is heard by whoever waits.
    let failed = async { lender.0.failed(&StoreError::Timeout, EVERYBODY) };
    let heard = || mode(&lender) != Mode::Shared;
    let (outcome, ()) = tokio::join!(lender.answered(heard, |heard| !heard), failed);
    assert_eq!(outcome, Some(true));
}

#[test]
fn limits_are_lifted_when_a_probe_fails_as_well() {
    let lender = lender(OnFailure::Open);
    let pool = lender.pool("t");
    let slice = lender.slice(&pool, "k", "k", KIND);
    let admits = |slice: &Slice| slice.check(KIND, 2, lender.0.now()).is_ok();
    let fails = || lender.0.failed(&StoreError::Timeout, "members");
    fails();
    // The rest of one moment's failures.
    fails();
    assert_eq!(mode(&lender), Mode::Failing(OnFailure::Local));
    assert!(!admits(&slice));
    *lock(&lender.0.health) = Breaker::UNKNOWN;
    fails();
    assert_eq!(mode(&lender), Mode::Failing(OnFailure::Open));
    assert!(admits(&slice) && admits(&lender.slice(&pool, "new", "new", KIND)));
    assert_eq!(*lock(&lender.0.probed), "members", "where it failed");
}

#[test]
fn closed_is_closed_at_once() {
    let lender = lender(OnFailure::Closed);
    lender.0.failed(&StoreError::Timeout, EVERYBODY);
    assert_eq!(mode(&lender), Mode::Failing(OnFailure::Closed));
}
