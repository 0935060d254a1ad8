//! Teams over their limits: told when to come back, on record, and never sent on; and what
//! a call held is free again however the call ended.

use serde_json::json;

use crate::support::{Ask, Caller, OK, Setup, Stand, until};

/// With its end announced, so that no connection is kept for the next call.
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\
    connection: close\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn a_team_over_its_rate_is_told_when_to_come_back() {
    let stand = Stand::answering(Setup::default().limited(&json!({"requests": "2/h"}))).await;
    let token = stand.token();
    for left in ["1", "0"] {
        let allowed = stand.ask(&Ask::invoke(&token), 200).await;
        assert_eq!(allowed.get("ratelimit-policy"), Some(r#""requests-2/h";q=2;w=3600"#));
        let standing = allowed.get("ratelimit").unwrap();
        assert!(standing.starts_with(&format!(r#""requests-2/h";r={left};t="#)), "{standing}");
    }
    let refused = stand.ask(&Ask::invoke(&token), 429).await;
    assert_eq!(refused.code(), "ThrottlingException");
    let wait: u64 = refused.get("retry-after").unwrap().parse().unwrap();
    assert!((1790..=1800).contains(&wait), "{wait}");
    let standing = refused.get("ratelimit").unwrap();
    assert_eq!(standing, format!(r#""requests-2/h";r=0;t={wait}"#));
    let event = stand.event(&refused);
    assert_eq!(event["disposition"], "Rejected");
    assert_eq!(event["unmapped"]["team"], "fraud");

    assert_eq!(stand.sagemaker.seen().len(), 2, "only what was within the limit went on");
    assert_eq!(stand.events().len(), 3);
    stand.stop().await;
}

#[tokio::test]
async fn a_call_that_came_to_nothing_does_not_count() {
    let setup = Setup::default().limited(&json!({"requests": "1/h"}));
    let stand = Stand::answering(setup.with("server", "max_body", json!("16B"))).await;
    let token = stand.token();
    stand.ask(&Ask::invoke(&token).body(vec![b'x'; 17]), 413).await;
    stand.ask(&Ask::invoke(&token), 200).await;
    stand.ask(&Ask::invoke(&token), 429).await;
    stand.stop().await;
}

#[tokio::test]
async fn concurrency_is_free_again_when_a_stream_has_ended() {
    let mut stand = Stand::with(Setup::default().limited(&json!({"concurrency": 1}))).await;
    let ask = Ask::stream(&stand.token());
    let mut caller = stand.caller().await;
    caller.write(ask.bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(CHUNKED).await;
    sagemaker.write("1\r\na\r\n").await;
    let head = caller.head().await;
    assert_eq!(caller.chunk().await.unwrap(), b"a");

    let refused = stand.ask(&ask, 429).await;
    assert_eq!(refused.code(), "ThrottlingException");
    assert_eq!(refused.get("retry-after"), Some("1"));

    sagemaker.write("1\r\nb\r\n0\r\n\r\n").await;
    assert_eq!(caller.body(&head).await.0, b"b");
    assert_let_in(&mut stand, &ask).await;
    stand.stop().await;
}

#[tokio::test]
async fn concurrency_is_free_again_when_a_caller_has_left() {
    let mut stand = Stand::with(Setup::default().limited(&json!({"concurrency": 1}))).await;
    let ask = Ask::stream(&stand.token());

    // In the middle of an answer.
    let mut caller = stand.caller().await;
    caller.write(ask.bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(CHUNKED).await;
    sagemaker.write("1\r\na\r\n").await;
    caller.head().await;
    stand.ask(&ask, 429).await;
    drop(caller);
    sagemaker.closed().await;
    assert_let_in(&mut stand, &ask).await;

    // Before any answer.
    let mut caller = stand.caller().await;
    caller.write(ask.bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    stand.ask(&ask, 429).await;
    drop(caller);
    sagemaker.closed().await;
    assert_let_in(&mut stand, &ask).await;
    stand.stop().await;
}

/// The slot is freed by the gateway's own task, so it may take a moment.
async fn assert_let_in(stand: &mut Stand, ask: &Ask) {
    until("the slot's release", || stand.metrics.in_flight.get() == 0).await;
    let mut caller = Caller::connect(stand.app.address()).await;
    caller.write(ask.bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write([&OK[..15], b"\r\nconnection: close", &OK[15..]].concat()).await;
    caller.response(200).await;
}
