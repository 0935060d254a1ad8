//! Callers with a good token who may not: denied, on record with the policies that decided,
//! and never sent on.

use serde_json::json;

use crate::support::request::INVOKE;
use crate::support::{Ask, Setup, Stand};

#[tokio::test]
async fn who_may_not_is_denied_and_nobody_learns_what_exists() {
    let stand = Stand::answering(Setup::default()).await;
    let stranger = stand.token_with(|claims| drop(claims.insert("groups".into(), json!(["ds"]))));
    let mallory = stand.token_with(|claims| drop(claims.insert("sub".into(), json!("mallory"))));
    let stolen = stand.token_with(|claims| drop(claims.insert("jti".into(), json!("jti-stolen"))));
    let alice = stand.token();
    let secret = Ask::post("/endpoints/Secret-1/invocations").bearer(&alice).body("{}");
    let cases = [
        ("nobody permits it", Ask::invoke(&stranger), "no policy permits it"),
        ("a role forbids it, whatever the case", secret, "a policy forbids it"),
        ("a revoked user", Ask::invoke(&mallory), "the user or the token is revoked"),
        ("a revoked token", Ask::invoke(&stolen), "the user or the token is revoked"),
    ];
    for (what, ask, reason) in &cases {
        let refused = stand.ask(ask, 403).await;
        assert_eq!(refused.code(), "AccessDeniedException", "{what}");
        let challenge = refused.get("www-authenticate");
        assert_eq!(challenge, Some(r#"Bearer error="insufficient_scope""#), "{what}");
        let event = stand.event(&refused);
        assert_eq!(event["disposition"], "Blocked", "{what}");
        assert_eq!(event["status_detail"], *reason, "{what}");
        assert!(event["actor"]["user"]["uid"].is_string(), "{what}");
        assert_eq!(event["authorizations"][0]["decision"], "denied", "{what}");
    }
    let allowed = stand.ask(&Ask::invoke(&alice), 200).await;
    let event = stand.event(&allowed);
    assert_eq!(event["authorizations"][0]["decision"], "allowed");
    assert_eq!(event["authorizations"][0]["policy"]["uid"], "role:caller:permit:0");
    assert_eq!(stand.sagemaker.seen().len(), 1, "only the control went on");
    assert_eq!(stand.events().len(), cases.len() + 1);
    stand.stop().await;
}

#[tokio::test]
async fn a_condition_on_a_target_binds_the_header_that_goes_on() {
    let mut setup = Setup::default();
    setup.access["roles"]["caller"] =
        json!({"permit": [{"endpoints": ["*"], "when": {"target_variants": ["blue"]}}]});
    let stand = Stand::answering(setup).await;
    let variant = "x-amzn-sagemaker-target-variant";
    let ask = || Ask::post(INVOKE).bearer(&stand.token()).body("{}");
    stand.ask(&ask(), 403).await;
    stand.ask(&ask().header(variant, "green"), 403).await;
    stand.ask(&ask().header(variant, "blue"), 200).await;
    let seen = stand.sagemaker.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].get(variant), Some("blue"));
    stand.stop().await;
}
