//! The record of what went over the wire: what it says, what it never says, and that nothing
//! happens without it.

use serde_json::{Value, json};

use crate::support::request::INVOKE;
use crate::support::{Ask, Setup, Stand, until};

#[tokio::test]
async fn an_event_says_who_did_what_by_which_policy_and_how_it_ended() {
    let stand = Stand::answering(Setup::default().limited(&json!({"requests": "9/s"}))).await;
    let ask =
        Ask::invoke(&stand.token_with(|claims| drop(claims.insert("jti".into(), json!("j1")))))
            .header("user-agent", "curl/8")
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .header("x-amzn-sagemaker-target-variant", "blue");
    let event = stand.event(&stand.ask(&ask, 200).await);
    let holds = [
        ("/metadata/correlation_uid", json!("4bf92f3577b34da6a3ce929d0e0e4736")),
        ("/metadata/product/uid", json!("gw-test")),
        ("/actor/user/uid", json!("alice")),
        ("/actor/user/groups/0/name", json!("corp/callers")),
        ("/actor/session/uid", json!("j1")),
        ("/actor/session/issuer", json!(stand.issuer.url())),
        ("/authorizations/0/policy/uid", json!("role:caller:permit:0")),
        ("/api/operation", json!("InvokeEndpoint")),
        ("/api/response/code", json!(200)),
        ("/resources/0/name", json!("fraud-v1")),
        ("/cloud/region", json!("us-east-1")),
        ("/src_endpoint/ip", json!("127.0.0.1")),
        ("/dst_endpoint/hostname", json!(stand.sagemaker.address.to_string())),
        ("/http_request/url/path", json!(INVOKE)),
        ("/http_request/user_agent", json!("curl/8")),
        ("/http_request/body_length", json!(8)),
        ("/http_response/body_length", json!(10)),
        ("/unmapped/team", json!("fraud")),
        ("/unmapped/roles/0", json!("caller")),
        ("/unmapped/target_variant", json!("blue")),
        ("/unmapped/ending", json!("complete")),
        ("/unmapped/sagemaker_request_id", json!("sm-1")),
    ];
    for (pointer, value) in holds {
        assert_eq!(event.pointer(pointer), Some(&value), "{pointer} of {event:#}");
    }
    stand.stop().await;
}

#[tokio::test]
async fn every_event_is_ocsf_and_none_holds_a_token_or_a_body() {
    let stand = Stand::answering(Setup::default()).await;
    let (alice, stranger) =
        (stand.token(), stand.token_with(|claims| drop(claims.insert("groups".into(), json!([])))));
    let body = "a-body-nobody-should-keep";
    stand.ask(&Ask::invoke(&alice).body(body), 200).await;
    stand.ask(&Ask::stream(&alice).body(body), 200).await;
    stand.ask(&Ask::invoke(&stranger).body(body), 403).await;
    stand.ask(&Ask::invoke(&format!("{alice}x")).body(body), 401).await;
    stand.ask(&Ask::post(&format!("/{alice}")).bearer(&alice).body(body), 404).await;
    stand.ask(&Ask::post(&format!("{INVOKE}?token={alice}")).body(body), 400).await;
    stand.write(format!("no HTTP {alice}\r\n\r\n").into_bytes(), 400).await;

    let events = stand.recorded(7).await;
    let schema = include_str!("../vectors/ocsf-1.8.0-api-activity.schema.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    for event in &events {
        let faults: Vec<_> = schema.iter_errors(event).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{faults:?} in {event:#}");
    }
    // Whoever writes a token into the path has published it; only there it stays.
    let kept = events.iter().filter(|event| event["status_code"] != "404").map(Value::to_string);
    let kept: String = kept.collect();
    let (_, signature) = alice.rsplit_once('.').unwrap();
    assert!(!kept.contains(signature) && !kept.contains(body), "{kept}");
    stand.stop().await;
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_happen() {
    let stand = Stand::answering(Setup::default()).await;
    let ask = Ask::invoke(&stand.token());
    stand.ask(&ask, 200).await;
    std::fs::remove_dir_all(stand.journal()).unwrap();
    // A directory alone would be made again.
    std::fs::write(stand.journal(), "in the way").unwrap();

    // The first one finds out: SageMaker answers, and the answer is withheld.
    let withheld = stand.ask(&ask, 503).await.text();
    assert!(!withheld.contains("0.5"), "{withheld}");

    let refused = stand.ask(&ask, 503).await;
    assert_eq!((refused.code(), refused.get("retry-after")), ("ServiceUnavailable", Some("5")));
    let page = stand.admin("GET /readyz HTTP/1.1", 503).await.text();
    assert_eq!(page, "the audit journal cannot be written\n");
    assert_eq!(stand.sagemaker.seen().len(), 2, "the refused call did not go on");

    std::fs::remove_file(stand.journal()).unwrap();
    until("the journal's recovery", || stand.app.health().faults().is_empty()).await;
    let allowed = stand.ask(&ask, 200).await;
    let events = stand.recorded(2).await;
    assert_eq!(events[1]["metadata"]["uid"], allowed.id());
    assert_eq!(events[0]["http_response"]["code"], 200, "the withheld one is on record too");
    stand.stop().await;
}
