//! The room as its callers see it: permits in, answers out, time given.

mod laws;

use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::identity::Principal;
use crate::names::{Action, Team};
use crate::policy::{Pattern, Permit};
use crate::sagemaker::Call;
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

fn limit(measure: Measure) -> Limit {
    Limit {
        name: Arc::default(),
        scope: Scope::Team(Team::new("fraud")),
        measure,
        per: Per::Whole,
        filter: Filter::default(),
        origin: Origin { file: Path::new("access.yaml").into(), line: 1 },
    }
}

fn whole(n: u64) -> NonZeroU64 {
    NonZeroU64::new(n).unwrap()
}

fn rate(unit: Unit, quota: u64, period: Period, burst: u64) -> Limit {
    limit(Measure::Rate { unit, quota: whole(quota), period, burst: whole(burst) })
}

fn requests(quota: u64, burst: u64) -> Limit {
    rate(Unit::Requests, quota, Period::Second, burst)
}

fn day(unit: Unit, quota: u64, zone: &str) -> Limit {
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
    limit(Measure::Day { unit, quota: whole(quota), zone })
}

fn concurrency(most: u32) -> Limit {
    limit(Measure::Concurrency(NonZeroU32::new(most).unwrap()))
}

fn of(team: &str, limit: Limit) -> Limit {
    Limit { scope: Scope::Team(Team::new(team)), ..limit }
}

fn everybody(limit: Limit) -> Limit {
    Limit { scope: Scope::Everybody, ..limit }
}

fn per(per: Per, limit: Limit) -> Limit {
    Limit { per, ..limit }
}

fn config(limits: &[Limit]) -> LimitsConfig {
    LimitsConfig::new(vec![Team::new("fraud"), Team::new("risk")], limits.to_vec())
}

fn reloaded(limits: &[Limit], previous: Option<&Limits>, metrics: &Metrics) -> Limits {
    let clock = Clock::manual(SystemTime::UNIX_EPOCH + MORNING);
    Limits::new(config(limits), previous, None, &clock, metrics)
}

fn limits(limits: &[Limit]) -> Limits {
    reloaded(limits, None, &Metrics::new().unwrap())
}

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
struct Who {
    team: Option<&'static str>,
    user: &'static str,
    endpoint: &'static str,
    operation: &'static str,
    body: Option<u64>,
}

const FRAUD: Who = Who {
    team: Some("fraud"),
    user: "alice",
    endpoint: "fraud-v1",
    operation: "invocations",
    body: Some(0),
};

fn permit(who: Who) -> Permit {
    let uri = format!("/endpoints/{}/{}", who.endpoint, who.operation).parse().unwrap();
    let call = Call::parse(&Method::POST, &uri, &HeaderMap::new()).unwrap();
    Permit::for_tests(Principal::for_tests("corp", who.user, &["fraud"]), call, who.team)
}

/// 2026-11-23T08:00:00Z.
const MORNING: Duration = Duration::from_secs(1_795_420_800);
const HOUR: Duration = Duration::from_secs(3_600);
const START: Duration = Duration::ZERO;

/// A time that both clocks agree on.
#[derive(Clone, Copy)]
struct Test(Instant);

impl Test {
    fn begin() -> Self {
        Self(Instant::now())
    }

    fn at(self, later: Duration) -> Moment {
        let wall = SystemTime::UNIX_EPOCH + MORNING + later;
        Moment { instant: self.0 + later, wall }
    }
}

impl Limits {
    fn ask(&self, who: Who, now: Moment) -> Result<Admitted, OverLimit> {
        self.admit_now(permit(who), who.body, now)
    }

    /// Asks for a call that is sent at once.
    fn send(&self, who: Who, now: Moment) -> Result<Admitted, OverLimit> {
        let admitted = self.ask(who, now)?;
        admitted.sent(now.instant);
        Ok(admitted)
    }

    /// How many of many calls are admitted and sent.
    fn sent(&self, who: Who, calls: usize, now: Moment) -> usize {
        (0..calls).filter(|_| self.send(who, now).is_ok()).count()
    }
}

#[test]
fn a_caller_without_limits_has_no_headers_and_no_end() {
    let limits = limits(&[requests(1, 1)]);
    let now = Test::begin().at(START);
    for team in [None, Some("risk"), Some("unheard-of")] {
        let free = Who { team, ..FRAUD };
        assert_eq!(limits.sent(free, 3, now), 3);
        assert!(limits.ask(free, now).unwrap().rate_limit_headers().is_none());
    }
    assert_eq!(limits.sent(FRAUD, 3, now), 1);
}

#[test]
fn one_team_at_its_limit_does_not_touch_another() {
    let limits = limits(&[requests(1, 1), of("risk", requests(1, 1))]);
    let now = Test::begin().at(START);
    assert_eq!(limits.sent(FRAUD, 9, now), 1);
    assert_eq!(limits.sent(Who { team: Some("risk"), ..FRAUD }, 9, now), 1);
}

#[test]
fn everybodys_limits_come_on_top_and_default_team_is_for_callers_of_none() {
    let no_team = Limit { scope: Scope::NoTeam, ..requests(1, 2) };
    let limits = limits(&[everybody(requests(1, 5)), requests(1, 3), no_team]);
    let now = Test::begin().at(START);
    let stranger = Who { team: None, ..FRAUD };
    assert_eq!(limits.sent(FRAUD, 9, now), 3);
    assert_eq!(limits.sent(stranger, 9, now), 2);
    let over = limits.ask(Who { team: Some("risk"), ..FRAUD }, now).unwrap_err();
    assert_eq!(&*over.limit().name, "all-requests-1/s");
}

#[test]
fn each_key_of_a_limit_has_a_count_of_its_own() {
    let now = Test::begin().at(START);
    type Change = fn(&mut Who);
    let cases: [(Per, Change); 3] = [
        (Per::User, |who| who.user = "bob"),
        (Per::Team, |who| who.team = Some("risk")),
        (Per::Endpoint, |who| who.endpoint = "other"),
    ];
    for (by, change) in cases {
        let keyed = limits(&[everybody(per(by, requests(1, 2)))]);
        let common = limits(&[everybody(requests(1, 2))]);
        let mut other = FRAUD;
        change(&mut other);
        assert_eq!((keyed.sent(FRAUD, 9, now), keyed.sent(other, 9, now)), (2, 2), "{by:?}");
        assert_eq!((common.sent(FRAUD, 9, now), common.sent(other, 9, now)), (2, 0), "{by:?}");
    }
    let folded = limits(&[per(Per::Endpoint, requests(1, 2))]);
    assert_eq!(folded.sent(Who { endpoint: "Fraud-V1", ..FRAUD }, 9, now), 2);
    assert_eq!(folded.sent(FRAUD, 9, now), 0, "an endpoint's name has no case");
}

#[test]
fn a_filtered_limit_is_for_its_calls_only() {
    let filter = Filter {
        endpoints: vec![Pattern::new("llm-*"), Pattern::new("chat")],
        operations: vec![Action::InvokeEndpointWithResponseStream],
    };
    let filtered = Limit { filter, ..requests(1, 1) };
    let limits = limits(&[filtered, concurrency(9)]);
    let now = Test::begin().at(START);
    let stream = Who { endpoint: "LLM-7b", operation: "invocations-response-stream", ..FRAUD };
    assert_eq!(limits.sent(stream, 9, now), 1);
    let chat = Who { endpoint: "chat", ..stream };
    assert_eq!(limits.sent(chat, 9, now), 0, "all that it matches shares one count");
    assert_eq!(limits.sent(Who { operation: "invocations", ..stream }, 9, now), 9);
    assert_eq!(limits.sent(Who { endpoint: "my-llm-7b", ..stream }, 9, now), 9);

    let [(_, all), _] =
        limits.ask(Who { endpoint: "x", ..FRAUD }, now).unwrap().rate_limit_headers().unwrap();
    assert_eq!(all, "\"concurrency-9\";q=9;qu=\"concurrent-requests\"", "what is not held to");
    let [(_, all), ..] = limits.ask(stream, now).unwrap_err().headers();
    assert!(all.to_str().unwrap().starts_with("\"requests-1/s\";q=1;w=1, \"concurrency-9\""));
}

#[test]
fn a_refusal_names_its_limit_and_its_wait_is_true() {
    let limits = limits(&[requests(4, 1), concurrency(9)]);
    let test = Test::begin();
    assert_eq!(limits.sent(FRAUD, 1, test.at(START)), 1);
    let over = limits.ask(FRAUD, test.at(START)).unwrap_err();
    assert_eq!(&*over.limit().name, "requests-4/s");
    assert_eq!(over.retry_after(), Duration::from_millis(250));
    let told = "over the limit `requests-4/s`: 4 requests per second with a burst of 1";
    assert_eq!(over.to_string(), told);
    let wait = over.retry_after();
    assert!(limits.ask(FRAUD, test.at(wait - Duration::from_nanos(1))).is_err());
    assert!(limits.ask(FRAUD, test.at(wait)).is_ok());
}

#[test]
fn of_several_limits_the_longest_wait_is_reported() {
    let slow = rate(Unit::Requests, 1, Period::Minute, 1);
    let limits = limits(&[requests(1, 1), slow, concurrency(9)]);
    let now = Test::begin().at(START);
    assert_eq!(limits.sent(FRAUD, 9, now), 1);
    let over = limits.ask(FRAUD, now).unwrap_err();
    assert_eq!((&*over.limit().name, over.retry_after()), ("requests-1/min", HOUR / 60));
}

fn text(headers: &[(HeaderName, HeaderValue)]) -> Vec<String> {
    let line =
        |(name, value): &(HeaderName, HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    headers.iter().map(line).collect()
}

#[test]
fn headers_follow_the_draft() {
    let bytes = rate(Unit::BodyBytes, 10 << 30, Period::Hour, 10 << 30);
    let inference = day(Unit::InferenceTime, 3_600 * MICROS, "UTC");
    let limits = limits(&[requests(2, 2), concurrency(64), bytes, inference]);
    let now = Test::begin().at(START);
    let policy = "ratelimit-policy: \"requests-2/s\";q=2;w=1, \
                  \"concurrency-64\";q=64;qu=\"concurrent-requests\", \
                  \"body-bytes-10GiB/h\";q=10737418240;w=3600;qu=\"content-bytes\", \
                  \"inference-seconds-3600/day\";q=3600;w=86400;qu=\"inference-seconds\"";

    let first = limits.send(FRAUD, now).unwrap();
    let headers = first.rate_limit_headers().unwrap();
    assert_eq!(text(&headers), [policy, "ratelimit: \"requests-2/s\";r=1;t=1"]);

    assert!(limits.send(FRAUD, now).is_ok());
    let over = limits.ask(FRAUD, now).unwrap_err();
    let expected = [policy, "ratelimit: \"requests-2/s\";r=0;t=1", "retry-after: 1"];
    assert_eq!(text(&over.headers()), expected);
}

#[test]
fn no_number_is_larger_than_a_structured_field_can_hold() {
    let huge = rate(Unit::BodyBytes, u64::MAX, Period::Hour, u64::MAX);
    let (limits, now) = (limits(&[huge]), Test::begin().at(START));
    let [(_, policy), (_, current)] = limits.ask(FRAUD, now).unwrap().rate_limit_headers().unwrap();
    let number = |value: &HeaderValue, name: &str| -> String {
        let text = value.to_str().unwrap().to_owned();
        text.split(';').find_map(|part| part.strip_prefix(name)).unwrap().to_owned()
    };
    assert_eq!(number(&policy, "q="), "999999999999999");
    assert_eq!(number(&current, "r="), "999999999999999");
}

#[test]
fn a_full_concurrency_limit_says_so_without_a_time_it_cannot_know() {
    let limits = limits(&[concurrency(1)]);
    let now = Test::begin().at(START);
    let held = limits.send(FRAUD, now).unwrap();
    let over = limits.ask(FRAUD, now).unwrap_err();
    let [_, (_, current), (_, retry)] = over.headers();
    assert_eq!(current, "\"concurrency-1\";r=0");
    assert_eq!(retry, "1");
    drop(held);
    assert!(limits.ask(FRAUD, now).is_ok());
}

#[test]
fn a_cancelled_request_frees_its_slot_and_gives_back_what_was_not_sent() {
    let limits = limits(&[concurrency(1), requests(1, 2)]);
    let now = Test::begin().at(START);
    for (sent, left) in [(false, true), (true, true), (true, false)] {
        let admitted = limits.ask(FRAUD, now).unwrap();
        if sent {
            admitted.sent(now.instant);
        }
        let mut request = Box::pin(async move {
            let _held = admitted;
            std::future::pending::<()>().await;
        });
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(request.as_mut().poll(&mut context).is_pending());
        assert_eq!(&*limits.ask(FRAUD, now).unwrap_err().limit().name, "concurrency-1");
        drop(request);
        assert_eq!(limits.ask(FRAUD, now).is_ok(), left);
    }
}

#[test]
fn a_declared_body_is_charged_at_admission_and_another_once_it_is_read() {
    let test = Test::begin();
    let now = test.at(START);
    let limits = limits(&[requests(1, 9), rate(Unit::BodyBytes, 100, Period::Second, 100)]);
    let (of, chunked) = (|n| Who { body: Some(n), ..FRAUD }, Who { body: None, ..FRAUD });
    assert_eq!(limits.sent(of(60), 9, now), 1);
    assert_eq!(limits.ask(of(41), now).unwrap_err().retry_after(), Duration::from_millis(10));

    let mut streamed = limits.ask(chunked, now).unwrap();
    let over = streamed.read(41, now).unwrap_err();
    assert_eq!(&*over.limit().name, "body-bytes-100B/s");
    drop(streamed);
    let mut streamed = limits.ask(chunked, now).unwrap();
    streamed.read(40, now).unwrap();
    streamed.sent(now.instant);
    drop(streamed);
    assert!(limits.ask(chunked, now).is_err(), "nothing is left for any byte");
    assert_eq!(limits.sent(of(0), 9, now), 7, "the refused took nothing of the requests either");
}

#[test]
fn inference_time_is_charged_at_the_end_and_refused_once_used_up() {
    let test = Test::begin();
    let limits = limits(&[rate(Unit::InferenceTime, 10 * MICROS, Period::Hour, 10 * MICROS)]);
    let mut slow = limits.send(FRAUD, test.at(START)).unwrap();
    let mut beside = limits.send(FRAUD, test.at(START)).unwrap();
    slow.ended(test.at(Duration::from_secs(16)));
    slow.ended(test.at(Duration::from_secs(99)));
    drop(slow);
    let over = limits.ask(FRAUD, test.at(Duration::from_secs(16))).unwrap_err();
    let [_, (_, current), _] = over.headers();
    // 6 s too much, at 10 s an hour, and a microsecond to have any.
    assert_eq!(current, "\"inference-seconds-10/h\";r=0;t=2161");
    beside.ended(test.at(Duration::from_secs(16)));
    let both = limits.ask(FRAUD, test.at(Duration::from_secs(16))).unwrap_err().retry_after();
    assert_eq!(both.as_secs(), 2_160 + 16 * 360);
    assert!(limits.ask(FRAUD, test.at(Duration::from_secs(16) + both)).is_ok());
}

#[test]
fn a_day_ends_at_midnight_of_its_zone() {
    let test = Test::begin();
    let limits = limits(&[day(Unit::Requests, 2, "Asia/Tokyo")]);
    assert_eq!(limits.sent(FRAUD, 9, test.at(START)), 2);
    let over = limits.ask(FRAUD, test.at(START)).unwrap_err();
    assert_eq!(over.retry_after(), 7 * HOUR, "17:00 in Tokyo");
    assert_eq!(limits.sent(FRAUD, 9, test.at(7 * HOUR - Duration::from_nanos(1))), 0);
    assert_eq!(limits.sent(FRAUD, 9, test.at(7 * HOUR)), 2);
}

#[test]
fn a_reload_keeps_what_is_used_of_limits_whose_numbers_alone_changed() {
    let (metrics, test) = (Metrics::new().unwrap(), Test::begin());
    let now = test.at(START);
    let quota = |n| day(Unit::Requests, n, "UTC");
    let old = reloaded(&[requests(1, 4), concurrency(2), quota(9)], None, &metrics);
    let in_flight: Vec<_> = (0..2).map(|_| old.send(FRAUD, now).unwrap()).collect();

    let same = reloaded(&[concurrency(2), quota(9), requests(1, 4)], Some(&old), &metrics);
    assert_eq!(&*same.ask(FRAUD, now).unwrap_err().limit().name, "concurrency-2");

    let wider = reloaded(&[requests(2, 6), concurrency(3), quota(9)], Some(&same), &metrics);
    let third = wider.send(FRAUD, now).unwrap();
    assert_eq!(&*wider.ask(FRAUD, now).unwrap_err().limit().name, "concurrency-3");
    drop((in_flight, third));
    assert_eq!(wider.sent(FRAUD, 9, now), 3, "of 6, 3 were used");

    let narrower = reloaded(&[requests(1, 6), quota(7)], Some(&wider), &metrics);
    assert_eq!(narrower.sent(FRAUD, 9, test.at(6 * HOUR)), 1, "of 7, 6 were used");

    let moved = reloaded(&[per(Per::User, requests(1, 6))], Some(&narrower), &metrics);
    assert_eq!(moved.sent(FRAUD, 9, test.at(6 * HOUR)), 6, "another limit starts anew");
}

#[test]
fn a_limit_made_slow_at_a_reload_lets_nobody_wait_longer_than_for_its_burst() {
    let (metrics, test) = (Metrics::new().unwrap(), Test::begin());
    let fast = reloaded(&[requests(1_000, 1_000)], None, &metrics);
    assert_eq!(fast.sent(FRAUD, 1_000, test.at(START)), 1_000);
    let slow = reloaded(&[requests(1, 2)], Some(&fast), &metrics);
    let over = slow.ask(FRAUD, test.at(START)).unwrap_err();
    assert!(over.retry_after() <= Duration::from_secs(1), "{over:?}");
}

#[test]
fn every_decision_is_counted_by_team_and_limit() {
    let metrics = Metrics::new().unwrap();
    let limits = reloaded(&[requests(1, 2), everybody(concurrency(9))], None, &metrics);
    let now = Test::begin().at(START);
    assert_eq!(limits.sent(FRAUD, 5, now), 2);
    assert_eq!(limits.sent(Who { team: None, ..FRAUD }, 1, now), 1);
    let count = |team: &str, limit: &str, result: &str| {
        metrics.limit_decisions.with_label_values(&[team, limit, result]).get()
    };
    assert_eq!(count("fraud", "requests-1/s", "admitted"), 2);
    assert_eq!(count("fraud", "requests-1/s", "refused"), 3);
    assert_eq!(count("fraud", "all-concurrency-9", "admitted"), 2);
    assert_eq!(count("fraud", "all-concurrency-9", "refused"), 0);
    assert_eq!(count("", "all-concurrency-9", "admitted"), 1);
}

#[test]
fn threads_together_get_the_burst_and_no_more() {
    let by_user = per(Per::User, requests(1, 30));
    let limits = limits(&[requests(1, 100), requests(2, 80), concurrency(4), by_user]);
    let now = Test::begin().at(START);
    let admitted = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for user in ["a", "b", "c", "d", "a", "b", "c", "d"] {
            let (limits, admitted) = (&limits, &admitted);
            scope.spawn(move || {
                let sent = limits.sent(Who { user, ..FRAUD }, 1_000, now);
                admitted.fetch_add(sent, std::sync::atomic::Ordering::Relaxed);
            });
        }
    });
    assert_eq!(admitted.into_inner(), 80);
    let over = limits.ask(Who { user: "e", ..FRAUD }, now).unwrap_err();
    assert_eq!(&*over.limit().name, "requests-2/s", "20 of the wider burst are left, untouched");
}

#[test]
fn names_are_single_within_their_scope_and_say_what_is_meant() {
    let limits = [
        rate(Unit::Requests, 5, Period::Minute, 9),
        rate(Unit::Requests, 5, Period::Minute, 8),
        per(Per::User, day(Unit::BodyBytes, 3 << 20, "UTC")),
        rate(Unit::InferenceTime, 60 * MICROS, Period::Hour, 60 * MICROS),
        of("risk", rate(Unit::Requests, 5, Period::Minute, 9)),
        everybody(per(Per::Endpoint, concurrency(3))),
    ];
    let names: Vec<_> = config(&limits).limits.iter().map(|limit| limit.name.to_string()).collect();
    assert_eq!(
        names,
        [
            "requests-5/min",
            "requests-5/min-2",
            "body-bytes-3MiB/day-per-user",
            "inference-seconds-60/h",
            "requests-5/min",
            "all-concurrency-3-per-endpoint"
        ]
    );
    let texts: Vec<_> = config(&limits).limits.iter().map(Limit::to_string).collect();
    assert_eq!(texts[0], "5 requests per minute with a burst of 9");
    assert_eq!(texts[2], "3MiB of request bodies a day (UTC), per user");
    assert_eq!(texts[3], "60 seconds of inference per hour");
}
