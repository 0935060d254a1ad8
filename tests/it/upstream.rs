//! SageMaker away, silent or broken: the caller is told, nothing is sent twice.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{Ask, OK, Response, Setup, Stand};

fn assert_failed(stand: &Stand, refused: &Response, detail: &str) {
    assert_eq!(refused.code(), "ServiceUnavailable");
    let event = stand.event(refused);
    assert_eq!(event["disposition"], "Error");
    assert_eq!(event["severity"], "Medium");
    assert!(event["status_detail"].as_str().unwrap().contains(detail), "{event}");
    // The operator's words stay with the operator.
    assert!(!refused.text().contains("127.0.0.1"), "{}", refused.text());
}

#[tokio::test]
async fn an_unreachable_sagemaker_is_a_502() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = json!(format!("http://{free}"));
    let mut stand = Stand::with(Setup::default().with("aws", "runtime_url", url)).await;
    let refused = stand.ask(&Ask::invoke(&stand.token()), 502).await;
    assert_failed(&stand, &refused, "cannot be reached");

    let address = stand.sagemaker.address;
    stand.sagemaker.answer_all(OK);
    stand.reload(Setup::default(), address).await;
    stand.ask(&Ask::invoke(&stand.token()), 200).await;
    stand.stop().await;
}

#[tokio::test]
async fn a_silent_sagemaker_is_a_504_and_the_call_is_ended() {
    let timeouts = json!({"response_head": "300ms"});
    let mut stand = Stand::with(Setup::default().with("aws", "timeouts", timeouts)).await;
    let mut caller = stand.caller().await;
    caller.write(Ask::invoke(&stand.token()).bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    let refused = caller.response(504).await;
    sagemaker.closed().await;
    assert_failed(&stand, &refused, "no answer within");

    stand.sagemaker.answer_all(OK);
    stand.ask(&Ask::invoke(&stand.token()), 200).await;
    assert_eq!(stand.sagemaker.seen().len(), 2, "each was sent once");
    stand.stop().await;
}

#[tokio::test]
async fn a_call_that_was_read_is_not_sent_twice() {
    for rude in [false, true] {
        let mut stand = Stand::start().await;
        let mut caller = stand.caller().await;
        caller.write(Ask::invoke(&stand.token()).bytes()).await;
        let mut sagemaker = stand.sagemaker.accept().await;
        sagemaker.request().await;
        if rude {
            sagemaker.reset();
        } else {
            drop(sagemaker);
        }
        let refused = caller.response(502).await;
        assert!(refused.text().contains("unknown"), "whether it had an effect");
        assert_failed(&stand, &refused, "broke");

        stand.sagemaker.answer_all(OK);
        stand.ask(&Ask::invoke(&stand.token()), 200).await;
        assert_eq!(stand.sagemaker.seen().len(), 2, "the first call was seen once");
        stand.stop().await;
    }
}

#[tokio::test]
async fn a_call_on_a_kept_connection_that_was_read_is_not_sent_twice() {
    let mut stand = Stand::start().await;
    let ask = Ask::invoke(&stand.token());
    let mut caller = stand.caller().await;
    caller.write(ask.bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(OK).await;
    caller.response(200).await;

    caller.write(ask.bytes()).await;
    sagemaker.request().await;
    drop(sagemaker);
    let refused = caller.response(502).await;
    assert_failed(&stand, &refused, "broke");
    assert_eq!(stand.sagemaker.seen().len(), 2);
    stand.stop().await;
}

#[tokio::test]
async fn a_kept_connection_that_sagemaker_closed_fails_nobody() {
    let mut stand = Stand::start().await;
    let ask = Ask::invoke(&stand.token());
    let mut caller = stand.caller().await;
    for _ in 0..5 {
        caller.write(ask.bytes()).await;
        let mut sagemaker = stand.sagemaker.accept().await;
        sagemaker.request().await;
        // It does not say that it will close, and closes.
        sagemaker.write(OK).await;
        drop(sagemaker);
        caller.response(200).await;
    }
    assert_eq!(stand.sagemaker.seen().len(), 5, "each was sent once");
    stand.stop().await;
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_call() {
    let mut stand = Stand::start().await;
    let ask = Ask::invoke(&stand.token());
    let mut caller = stand.caller().await;
    caller.write(ask.bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    for _ in 0..3 {
        sagemaker.request().await;
        sagemaker.write(OK).await;
        caller.response(200).await;
        caller.write(ask.bytes()).await;
    }
    sagemaker.request().await;
    sagemaker.write(OK).await;
    caller.response(200).await;
    stand.stop().await;
}

#[tokio::test]
async fn what_is_no_answer_is_a_502() {
    let garbage: [&'static [u8]; 5] = [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"\r\n\r\n\x00\x01\x02\r\n\r\n",
        // No framing: its end could not be told from a break.
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nhalf",
    ];
    for answer in garbage {
        let mut stand = Stand::start().await;
        let mut caller = stand.caller().await;
        caller.write(Ask::invoke(&stand.token()).bytes()).await;
        let mut sagemaker = stand.sagemaker.accept().await;
        sagemaker.request().await;
        sagemaker.write(answer).await;
        let refused = caller.response(502).await;
        assert_failed(&stand, &refused, "");
        stand.stop().await;
    }
}

#[tokio::test]
async fn an_interim_answer_is_not_the_answer() {
    let mut stand = Stand::start().await;
    let mut caller = stand.caller().await;
    caller.write(Ask::invoke(&stand.token()).bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n").await;
    sagemaker.write(OK).await;
    let answer = caller.response(200).await;
    let event: Value = stand.event(&answer);
    assert_eq!(event["unmapped"]["sagemaker_request_id"], "sm-1");
    stand.stop().await;
}
