//! Other rules for the requests that start after a reload, and the old ones for those that
//! started before.

use serde_json::{Value, json};

use crate::support::caller::End;
use crate::support::request::INVOKE;
use crate::support::{Ask, OK, SageMaker, Setup, Stand, until};

fn denying() -> Setup {
    let mut setup = Setup::default();
    setup.access["bindings"] = json!([]);
    setup
}

#[tokio::test]
async fn who_lost_a_role_is_denied_after_a_reload() {
    let mut stand = Stand::answering(Setup::default()).await;
    let ask = Ask::invoke(&stand.token());
    let (mut caller, address) = (stand.caller().await, stand.sagemaker.address);
    for (setup, status) in [(Setup::default(), 200), (denying(), 403), (Setup::default(), 200)] {
        stand.reload(setup, address).await;
        // On a connection from before the reload and on a new one.
        caller.write(ask.bytes()).await;
        caller.response(status).await;
        stand.ask(&ask, status).await;
    }
    assert_eq!(stand.sagemaker.seen().len(), 4);
    assert_eq!(stand.events().len(), 6);
    stand.stop().await;
}

#[tokio::test]
async fn who_was_revoked_is_denied_after_a_reload() {
    let mut stand = Stand::answering(Setup::default()).await;
    let token = stand.token_with(|claims| drop(claims.insert("jti".into(), json!("jti-1"))));
    let (ask, address) = (Ask::invoke(&token), stand.sagemaker.address);
    stand.ask(&ask, 200).await;
    let mut setup = Setup::default();
    setup.access["revoked"]["token_ids"] = json!(["jti-1"]);
    stand.reload(setup, address).await;
    stand.ask(&ask, 403).await;
    stand.ask(&Ask::invoke(&stand.token()), 200).await;
    stand.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_open_at_a_reload_goes_on() {
    let mut stand = Stand::start().await;
    let ask = Ask::stream(&stand.token());
    let mut caller = stand.caller().await;
    caller.write(ask.bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(crate::stream::HEAD).await;
    let head = caller.head().await;

    let address = stand.sagemaker.address;
    stand.reload(denying(), address).await;
    stand.ask(&ask, 403).await;
    sagemaker.write("1\r\na\r\n0\r\n\r\n").await;
    assert_eq!(caller.body(&head).await, (b"a".to_vec(), End::Whole));
    assert_eq!(stand.event(&head)["status"], "Success");
    stand.stop().await;
}

#[tokio::test]
async fn a_request_keeps_the_snapshot_that_it_came_in_with() {
    let mut stand = Stand::answering(Setup::default()).await;
    let mut after = SageMaker::start().await;
    after.answer_all(OK);
    let head = Ask::post(INVOKE).bearer(&stand.token()).head() + "content-length: 2\r\n\r\n";
    let mut slow = stand.caller().await;
    slow.write(head + "{").await;
    until("the slow request's arrival", || stand.metrics.in_flight.get() == 1).await;

    stand.reload(Setup::default(), after.address).await;
    stand.ask(&Ask::invoke(&stand.token()), 200).await;
    assert_eq!((stand.sagemaker.seen().len(), after.seen().len()), (0, 1), "to the new one");
    slow.write("}").await;
    let old = slow.response(200).await;
    assert_eq!((stand.sagemaker.seen().len(), after.seen().len()), (1, 1), "to the old one");
    let host = |event: Value| event["dst_endpoint"]["hostname"].clone();
    assert_eq!(host(stand.event(&old)), stand.sagemaker.address.to_string());
    stand.stop().await;
}

#[tokio::test]
async fn a_limits_count_outlives_a_reload() {
    let limited = || Setup::default().limited(&json!({"requests": "1/h"}));
    let mut stand = Stand::answering(limited()).await;
    let (ask, address) = (Ask::invoke(&stand.token()), stand.sagemaker.address);
    stand.ask(&ask, 200).await;
    stand.reload(limited(), address).await;
    stand.ask(&ask, 429).await;
    stand.reload(Setup::default(), address).await;
    stand.ask(&ask, 200).await;
    stand.stop().await;
}
