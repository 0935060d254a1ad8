//! `durability: fsync` over the wire: nothing goes to SageMaker before it is on record.

use serde_json::json;

use crate::support::stand::records;
use crate::support::{Ask, OK, Setup, Stand, until};

fn durable() -> Setup {
    Setup::default().with("audit", "durability", json!("fsync"))
}

fn kinds_of(stand: &Stand, id: &str) -> Vec<String> {
    let of = |event: &serde_json::Value| event["api"]["request"]["uid"] == id;
    let records = records(&stand.journal()).into_iter().filter(of);
    records.map(|event| event["metadata"]["event_code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_call_is_on_record_when_sagemaker_sees_it_and_its_outcome_when_the_caller_does() {
    let mut stand = Stand::with(durable()).await;
    let mut caller = stand.caller().await;
    caller.write(Ask::invoke(&stand.token()).bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    let seen = sagemaker.request().await;
    let id = seen.get("x-amzn-sagemaker-inference-id").unwrap();
    assert_eq!(kinds_of(&stand, id), ["intent"]);
    sagemaker.write(OK).await;
    assert_eq!(caller.response(200).await.id(), id);
    assert_eq!(kinds_of(&stand, id), ["intent", "request"]);
    stand.stop().await;
}

#[tokio::test]
async fn a_call_that_is_refused_has_an_outcome_and_no_intent() {
    let stand = Stand::answering(durable()).await;
    let refused = stand.ask(&Ask::invoke("no token"), 401).await;
    assert_eq!(kinds_of(&stand, refused.id()), ["request"]);
    let allowed = stand.ask(&Ask::invoke(&stand.token()), 200).await;
    assert_eq!(kinds_of(&stand, allowed.id()), ["intent", "request"]);
    stand.stop().await;
}

#[tokio::test]
async fn a_call_whose_intent_cannot_be_kept_does_not_go_out() {
    let stand = Stand::answering(durable()).await;
    let ask = Ask::invoke(&stand.token());
    stand.ask(&ask, 200).await;
    std::fs::remove_dir_all(stand.journal()).unwrap();
    std::fs::write(stand.journal(), "in the way").unwrap();

    // Unlike at `write`, already the first one that finds out.
    stand.ask(&ask, 503).await;
    stand.ask(&ask, 503).await;
    assert_eq!(stand.sagemaker.seen().len(), 1);
    let page = stand.admin("GET /readyz HTTP/1.1", 503).await.text();
    assert_eq!(page, "the audit journal cannot be written\n");

    std::fs::remove_file(stand.journal()).unwrap();
    until("the journal's recovery", || stand.app.health().faults().is_empty()).await;
    stand.ask(&ask, 200).await;
    stand.stop().await;
}
