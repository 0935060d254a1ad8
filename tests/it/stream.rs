//! Answers on their way: passed on as they come, and never made to look complete when they
//! are not.

use serde_json::{Value, json};

use crate::support::caller::End;
use crate::support::sagemaker::Connection;
use crate::support::{Ask, Caller, Response, Setup, Stand};

pub const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n\
    x-amzn-requestid: sm-1\r\ntransfer-encoding: chunked\r\n\r\n";

/// A stream of which the first chunk has come through, while the rest is still to be sent.
pub async fn begun(stand: &mut Stand) -> (Caller, Response, Connection) {
    let mut caller = stand.caller().await;
    caller.write(Ask::stream(&stand.token()).bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(HEAD).await;
    sagemaker.write("5\r\nfirst\r\n").await;
    let head = caller.head().await;
    assert_eq!(head.status, 200);
    assert_eq!(caller.chunk().await.unwrap(), b"first", "it comes before the rest was sent");
    (caller, head, sagemaker)
}

async fn assert_broken(stand: &Stand, bytes: u64) {
    let event = stand.recorded(1).await.remove(0);
    assert_eq!(event["unmapped"]["ending"], "upstream_broke", "{event}");
    assert_eq!(event["status"], "Failure");
    assert_eq!(event["http_response"]["body_length"], bytes);
}

#[tokio::test]
async fn a_chunk_passes_through_while_the_rest_is_still_to_come() {
    let mut stand = Stand::start().await;
    let (mut caller, head, mut sagemaker) = begun(&mut stand).await;
    assert_eq!(head.get("transfer-encoding"), Some("chunked"));
    assert!(stand.events().is_empty(), "the record waits for the end");
    for part in ["second", "third"] {
        sagemaker.write(format!("{:x}\r\n{part}\r\n", part.len())).await;
        assert_eq!(caller.chunk().await.unwrap(), part.as_bytes());
    }
    sagemaker.write("0\r\n\r\n").await;
    assert_eq!(caller.body(&head).await, (Vec::new(), End::Whole));
    let event = stand.event(&head);
    assert_eq!(event["unmapped"]["ending"], "complete");
    assert_eq!(event["api"]["operation"], "InvokeEndpointWithResponseStream");
    assert_eq!(event["http_response"]["body_length"], 16);
    stand.stop().await;
}

#[tokio::test]
async fn a_stream_whose_head_came_alone_is_passed_on_at_once() {
    let mut stand = Stand::start().await;
    let mut caller = stand.caller().await;
    caller.write(Ask::stream(&stand.token()).bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(HEAD).await;
    let head = caller.head().await;
    sagemaker.write("0\r\n\r\n").await;
    assert_eq!(caller.body(&head).await, (Vec::new(), End::Whole));
    assert_eq!(stand.event(&head)["status"], "Success");
    stand.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_reset_breaks_for_the_caller_too() {
    for unfinished in ["", "a", "a\r\nhalf"] {
        let mut stand = Stand::start().await;
        let (mut caller, head, mut sagemaker) = begun(&mut stand).await;
        sagemaker.write(unfinished).await;
        sagemaker.reset();
        let (rest, end) = caller.body(&head).await;
        assert_eq!(end, End::Broken, "{unfinished:?}");
        // A reset may overtake what was sent before it.
        assert!(b"half".starts_with(&rest), "{rest:?}");
        assert_broken(&stand, 5 + rest.len() as u64).await;
        stand.stop().await;
    }
}

#[tokio::test]
async fn a_stream_that_is_closed_before_its_last_chunk_breaks_for_the_caller_too() {
    let mut stand = Stand::start().await;
    let (mut caller, head, sagemaker) = begun(&mut stand).await;
    drop(sagemaker);
    assert_eq!(caller.body(&head).await, (Vec::new(), End::Broken));
    assert_broken(&stand, 5).await;
    stand.stop().await;
}

#[tokio::test]
async fn garbage_in_a_stream_breaks_it() {
    let mut stand = Stand::start().await;
    let (mut caller, head, mut sagemaker) = begun(&mut stand).await;
    sagemaker.write("zz\r\nnot a size\r\n").await;
    assert_eq!(caller.body(&head).await, (Vec::new(), End::Broken));
    assert_broken(&stand, 5).await;
    stand.stop().await;
}

#[tokio::test]
async fn an_answer_shorter_than_it_said_breaks_for_the_caller_too() {
    let mut stand = Stand::start().await;
    let mut caller = stand.caller().await;
    caller.write(Ask::invoke(&stand.token()).bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    let head = caller.head().await;
    assert_eq!(head.get("content-length"), Some("10"));
    drop(sagemaker);
    assert_eq!(caller.body(&head).await, (b"half".to_vec(), End::Broken));
    assert_broken(&stand, 4).await;
    stand.stop().await;
}

#[tokio::test]
async fn a_stream_that_falls_silent_or_lasts_too_long_is_broken_off() {
    for (timeout, reason) in [("stream_idle", "nothing"), ("stream", "longer")] {
        let timeouts = json!({timeout: "300ms"});
        let mut stand = Stand::with(Setup::default().with("aws", "timeouts", timeouts)).await;
        let (mut caller, head, mut sagemaker) = begun(&mut stand).await;
        assert_eq!(caller.body(&head).await, (Vec::new(), End::Broken), "{reason}");
        sagemaker.closed().await;
        assert_broken(&stand, 5).await;
        stand.stop().await;
    }
}

#[tokio::test]
async fn a_caller_who_leaves_ends_the_call_and_is_on_record() {
    let mut stand = Stand::start().await;
    let (caller, _, mut sagemaker) = begun(&mut stand).await;
    drop(caller);
    sagemaker.closed().await;
    let event = stand.recorded(1).await.remove(0);
    assert_eq!(event["unmapped"]["ending"], "caller_gone");
    assert_eq!(event["http_response"]["code"], 200);
    assert_eq!(event["http_response"]["body_length"], 5);
    stand.stop().await;
}

#[tokio::test]
async fn a_caller_who_leaves_before_the_answer_ends_the_call_and_is_on_record() {
    let mut stand = Stand::start().await;
    let mut caller = stand.caller().await;
    caller.write(Ask::invoke(&stand.token()).bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    drop(caller);
    sagemaker.closed().await;
    let event = stand.recorded(1).await.remove(0);
    assert_eq!(event["unmapped"]["ending"], "caller_gone");
    assert_eq!(event["http_response"]["code"], 499);
    assert_eq!(event["actor"]["user"]["name"], "corp/alice");
    stand.stop().await;
}

#[tokio::test]
async fn an_answer_is_held_back_by_a_slow_reader_and_not_gathered() {
    let mut stand = Stand::start().await;
    let (mut caller, head, mut sagemaker) = begun(&mut stand).await;
    // Much more than every buffer on the way holds, so that writing it all must wait.
    let chunk = [b"10000\r\n", vec![b'x'; 0x10000].as_slice(), b"\r\n"].concat();
    let mut sent = 0;
    let flooding = async {
        while sent < 1024 {
            sagemaker.write(&chunk).await;
            sent += 1;
        }
    };
    let held = tokio::time::timeout(std::time::Duration::from_millis(300), flooding).await;
    assert!(held.is_err(), "64 MiB went in, though nobody read them");
    sagemaker.reset();
    assert_eq!(caller.body(&head).await.1, End::Broken);
    stand.recorded(1).await;
    stand.stop().await;
}

#[tokio::test]
async fn two_answers_on_one_connection_have_two_records() {
    let stand = Stand::answering(Setup::default()).await;
    let ask = Ask::invoke(&stand.token()).bytes();
    let mut caller = stand.caller().await;
    // The second is written before the first was answered.
    caller.write([ask.clone(), ask].concat()).await;
    let (first, second) = (caller.response(200).await, caller.response(200).await);
    assert_ne!(first.id(), second.id());
    let ports = |response| -> Value { stand.event(response)["src_endpoint"]["port"].clone() };
    assert_eq!(ports(&first), ports(&second));
    stand.recorded(2).await;
    stand.stop().await;
}
