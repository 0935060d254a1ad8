//! The admin listener, and what the metrics say of callers.

use serde_json::json;

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
