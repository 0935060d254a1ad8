//! The corners of HTTP/1 that a gateway between two parties must get right.

use serde_json::json;

use crate::support::caller::End;
use crate::support::request::{INVOKE, STREAM};
use crate::support::{Ask, Setup, Stand};

#[tokio::test]
async fn a_body_is_asked_for_only_once_the_call_is_admitted() {
    let stand = Stand::answering(Setup::default()).await;
    let expecting = |token: &str| {
        let ask = Ask::post(INVOKE).bearer(token).header("expect", "100-continue");
        ask.head() + "content-length: 2\r\n\r\n"
    };
    let mut refused = stand.caller().await;
    refused.write(expecting("garbage")).await;
    refused.response(401).await;

    let mut allowed = stand.caller().await;
    allowed.write(expecting(&stand.token())).await;
    assert_eq!(allowed.line().await, "HTTP/1.1 100 Continue");
    assert_eq!(allowed.line().await, "");
    allowed.write("{}").await;
    allowed.response(200).await;
    assert_eq!(stand.sagemaker.seen().len(), 1);
    stand.stop().await;
}

#[tokio::test]
async fn what_is_left_of_a_refused_body_is_not_taken_for_a_request() {
    let stand = Stand::answering(Setup::default()).await;
    let smuggled = Ask::invoke(&stand.token()).bytes();
    let mut caller = stand.caller().await;
    caller.write(Ask::invoke("garbage").body(smuggled).bytes()).await;
    caller.response(401).await;
    caller.finish().await;
    caller.closed().await;
    stand.recorded(1).await;
    assert!(stand.sagemaker.seen().is_empty());
    stand.ask(&Ask::invoke(&stand.token()), 200).await;
    stand.stop().await;
}

#[tokio::test]
async fn trailers_of_an_answer_stay_behind() {
    let mut stand = Stand::start().await;
    let mut caller = stand.caller().await;
    caller.write(Ask::stream(&stand.token()).header("te", "trailers").bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(crate::stream::HEAD).await;
    sagemaker.write("1\r\na\r\n0\r\nset-cookie: a=b\r\n\r\n").await;
    let head = caller.head().await;
    assert_eq!(caller.body(&head).await, (b"a".to_vec(), End::Whole));
    stand.stop().await;
}

#[tokio::test]
async fn an_upgrade_is_not_taken_up() {
    let stand = Stand::answering(Setup::default()).await;
    for protocol in ["h2c", "websocket"] {
        let ask = Ask::invoke(&stand.token());
        let ask = ask.header("connection", "upgrade").header("upgrade", protocol);
        stand.ask(&ask, 200).await;
    }
    assert!(stand.sagemaker.seen().iter().all(|seen| seen.get("upgrade").is_none()));
    stand.stop().await;
}

/// Its streams end where the connection does, so that a break would look like an end.
#[tokio::test]
async fn http10_is_refused() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    for path in [INVOKE, STREAM] {
        let ask = Ask::line(&format!("POST {path} HTTP/1.0")).bearer(&token).body("{}");
        let mut caller = stand.caller().await;
        caller.write(ask.bytes()).await;
        let answer = String::from_utf8(caller.drain().await).unwrap();
        assert!(answer.starts_with("HTTP/1.0 505 "), "{answer}");
        assert!(answer.contains("use HTTP/1.1 or HTTP/2"), "{answer}");
    }
    for event in stand.recorded(2).await {
        assert_eq!(event["http_request"]["version"], "1.0");
        assert_eq!(event["disposition"], "Rejected");
    }
    stand.ask(&Ask::post(STREAM).bearer(&token).body("{}"), 200).await;
    assert_eq!(stand.sagemaker.seen().len(), 1, "only the control went on");
    stand.stop().await;
}

#[tokio::test]
async fn a_refusal_reaches_a_caller_who_writes_a_large_body_first() {
    let stand = Stand::answering(Setup::default().with("server", "max_body", json!("1MiB"))).await;
    let token = stand.token();
    for (token, status) in [("garbage", 401), (&token, 413)] {
        let mut caller = stand.caller().await;
        let ask = Ask::invoke(token).body(vec![b'x'; 8 << 20]).bytes();
        caller.try_write(ask).await.expect("nobody resets a caller who is still writing");
        caller.response(status).await.code();
    }
    stand.recorded(2).await;
    stand.stop().await;
}
