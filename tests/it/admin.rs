//! The admin listener, and what the metrics say of callers.

use std::collections::BTreeMap;

use serde_json::json;

use crate::stream::begun;
use crate::support::request::INVOKE;
use crate::support::{Ask, Setup, Stand};

/// DESIGN's list.
const METRICS: [&str; 13] = [
    "sagegate_audit_events_total",
    "sagegate_build_info",
    "sagegate_connections",
    "sagegate_credentials_expiry_seconds",
    "sagegate_decisions_total",
    "sagegate_in_flight_requests",
    "sagegate_jwks_age_seconds",
    "sagegate_overhead_seconds",
    "sagegate_reloads_total",
    "sagegate_request_duration_seconds",
    "sagegate_requests_total",
    "sagegate_tokens_total",
    "sagegate_upstream_duration_seconds",
];

#[tokio::test]
async fn there_are_three_pages_and_they_are_only_read() {
    let stand = Stand::start().await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(stand.admin(&format!("GET {path} HTTP/1.1"), 200).await.text(), "ok\n");
    }
    let metrics = stand.admin("GET /metrics HTTP/1.1", 200).await;
    assert_eq!(metrics.get("content-type"), Some("text/plain; version=0.0.4"));
    for path in ["/", "/metrics/", "/livez/x", INVOKE] {
        stand.admin(&format!("GET {path} HTTP/1.1"), 404).await;
    }
    for method in ["POST", "PUT", "DELETE"] {
        let refused = stand.admin(&format!("{method} /metrics HTTP/1.1"), 405).await;
        assert_eq!(refused.get("allow"), Some("GET, HEAD"));
    }
    assert!(stand.events().is_empty(), "probes are nobody's calls");
    stand.stop().await;
}

#[tokio::test]
async fn the_admin_pages_are_not_on_the_callers_listener() {
    let stand = Stand::start().await;
    for path in ["/livez", "/readyz", "/metrics"] {
        stand.ask(&Ask::line(&format!("GET {path} HTTP/1.1")), 404).await;
    }
    stand.stop().await;
}

#[tokio::test]
async fn every_metric_is_there_after_one_call() {
    let stand = Stand::answering(Setup::default()).await;
    stand.ask(&Ask::invoke(&stand.token()), 200).await;
    let text = stand.admin("GET /metrics HTTP/1.1", 200).await.text();
    for name in METRICS {
        let sample = |line: &str| line.starts_with(name) && !line.starts_with('#');
        assert!(text.lines().any(sample), "{name} in:\n{text}");
    }
    let labels = r#"{endpoint="fraud-v1",operation="InvokeEndpoint",outcome="ok",team=""} 1"#;
    assert!(text.contains(&format!("sagegate_requests_total{labels}")), "{text}");
    assert!(text.contains(r#"sagegate_jwks_age_seconds{issuer="corp"}"#));
    stand.stop().await;
}

/// What went up, and by how much, since the page was last read. Gauges go up and down.
struct Watched<'a> {
    stand: &'a Stand,
    last: BTreeMap<String, f64>,
}

impl<'a> Watched<'a> {
    async fn new(stand: &'a Stand) -> Self {
        Self { stand, last: samples(stand).await }
    }

    async fn moved(&mut self) -> BTreeMap<String, f64> {
        let now = samples(self.stand).await;
        let last = |name: &String| self.last.get(name).copied().unwrap_or(0.0);
        let changed = now.iter().filter(|(name, value)| **value != last(name));
        let moved = changed.map(|(name, value)| (name.clone(), value - last(name))).collect();
        self.last = now;
        moved
    }
}

/// Without buckets and sums, whose values are a matter of time.
async fn samples(stand: &Stand) -> BTreeMap<String, f64> {
    let text = stand.admin("GET /metrics HTTP/1.1", 200).await.text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.filter_map(|line| line.rsplit_once(' '));
    let kept = samples.filter(|(name, _)| {
        // Whoever reads the page is counted by it.
        !["_bucket{", "_sum{", "{listener="].iter().any(|part| name.contains(part))
    });
    kept.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

#[tokio::test]
async fn a_call_moves_its_own_metrics_and_no_other() {
    let mut stand = Stand::start().await;
    let stream = r#"operation="InvokeEndpointWithResponseStream""#;
    let before = samples(&stand).await;
    let (mut caller, head, mut sagemaker) = begun(&mut stand).await;
    let mut watched = Watched { stand: &stand, last: before };
    let mut moved = watched.moved().await;
    // It grows by itself, and is written every ten seconds.
    let age = r#"sagegate_jwks_age_seconds{issuer="corp"}"#;
    moved.remove(age);
    let open = [
        ("sagegate_in_flight_requests", 1.0),
        (r#"sagegate_tokens_total{cache="miss",result="ok"}"#, 1.0),
        (r#"sagegate_decisions_total{cache="miss",result="permit"}"#, 1.0),
    ];
    assert_eq!(moved, open.map(|(name, by)| (name.to_owned(), by)).into());

    sagemaker.write("0\r\n\r\n").await;
    caller.body(&head).await;
    moved = watched.moved().await;
    moved.remove(age);
    let ended = [
        ("sagegate_in_flight_requests".to_owned(), -1.0),
        (r#"sagegate_audit_events_total{result="written",sink="file"}"#.to_owned(), 1.0),
        (
            format!(
                r#"sagegate_requests_total{{endpoint="fraud-v1",{stream},outcome="ok",team=""}}"#
            ),
            1.0,
        ),
        (format!("sagegate_request_duration_seconds_count{{{stream}}}"), 1.0),
        (format!("sagegate_upstream_duration_seconds_count{{{stream}}}"), 1.0),
        (format!("sagegate_overhead_seconds_count{{{stream}}}"), 1.0),
    ];
    assert_eq!(moved, ended.into());
    stand.stop().await;
}

/// Each kind of refusal is counted as itself, in every metric that tells refusals apart.
#[tokio::test]
async fn refusals_are_told_apart() {
    let stand = Stand::answering(Setup::default()).await;
    let (good, secret) = (stand.token(), "/endpoints/secret-1/invocations");
    let expired = stand.token_with(|claims| drop(claims.insert("exp".into(), json!(1))));
    let of = |outcome: &str| {
        format!(
            r#"sagegate_requests_total{{endpoint="",operation="InvokeEndpoint",outcome="{outcome}",team=""}}"#
        )
    };
    let token = |cache: &str, result: &str| {
        format!(r#"sagegate_tokens_total{{cache="{cache}",result="{result}"}}"#)
    };
    let decision =
        |cache: &str| format!(r#"sagegate_decisions_total{{cache="{cache}",result="deny"}}"#);
    let cases = [
        (Ask::post(INVOKE), 401, vec![of("unauthenticated"), token("none", "missing")]),
        (Ask::invoke("garbage"), 401, vec![of("unauthenticated"), token("miss", "invalid")]),
        (Ask::invoke(&expired), 401, vec![of("unauthenticated"), token("miss", "expired")]),
        (
            Ask::post(secret).bearer(&good),
            403,
            vec![of("denied"), token("miss", "ok"), decision("miss")],
        ),
        (
            Ask::post(secret).bearer(&good),
            403,
            vec![of("denied"), token("hit", "ok"), decision("hit")],
        ),
    ];
    let mut watched = Watched::new(&stand).await;
    for (ask, status, counted) in cases {
        stand.ask(&ask, status).await;
        let moved = watched.moved().await;
        for name in &counted {
            assert_eq!(moved.get(name), Some(&1.0), "{status}: {name} in {moved:#?}");
        }
        let told = |name: &str| {
            ["requests", "tokens", "decisions"]
                .iter()
                .any(|metric| name.starts_with(&format!("sagegate_{metric}_total")))
        };
        assert_eq!(moved.keys().filter(|name| told(name)).count(), counted.len(), "{moved:#?}");
    }
    stand.stop().await;
}

#[tokio::test]
async fn no_label_comes_from_a_caller_who_may_not() {
    let stand = Stand::answering(Setup::default()).await;
    let claims =
        |name: &str, value| stand.token_with(|claims| drop(claims.insert(name.into(), value)));
    let made_up = Ask::post("/endpoints/made-up-endpoint/invocations").body("{}");
    let cases = [
        (made_up.clone(), 401),
        (made_up.clone().bearer("made-up.token.sent"), 401),
        (made_up.clone().bearer(&claims("iss", json!("https://made-up.example"))), 401),
        (made_up.clone().bearer(&claims("groups", json!(["made-up-group"]))), 403),
        (Ask::line("MADEUP /endpoints/a/invocations HTTP/1.1"), 405),
        (Ask::post("/made-up"), 404),
    ];
    for (ask, status) in &cases {
        stand.ask(ask, *status).await;
    }
    let text = stand.admin("GET /metrics HTTP/1.1", 200).await.text();
    assert!(!text.to_lowercase().contains("made"), "{text}");

    stand.ask(&made_up.bearer(&stand.token()), 200).await;
    let text = stand.admin("GET /metrics HTTP/1.1", 200).await.text();
    assert!(text.contains(r#"endpoint="made-up-endpoint""#), "once permitted and answered");
    stand.stop().await;
}
