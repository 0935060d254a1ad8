//! Bytes that are no HTTP request, or one that two readers would read differently.

use serde_json::json;

use crate::support::request::INVOKE;
use crate::support::{Ask, Setup, Stand};

#[tokio::test]
async fn bytes_that_are_no_request_get_a_400_and_a_record() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let head = |more: &str| format!("{}{more}\r\n{{}}", Ask::post(INVOKE).bearer(&token).head());
    let cases = [
        ("no HTTP at all", "hello there\r\n\r\n".to_owned()),
        ("binary", "\0\u{1}\u{2}\r\n\r\n".to_owned()),
        ("another version", format!("POST {INVOKE} HTTP/9.9\r\nhost: a\r\n\r\n")),
        ("a space in the path", "POST /endpoints/a b/invocations HTTP/1.1\r\n\r\n".to_owned()),
        ("a space before a colon", head("content-length : 2\r\n")),
        ("a header without a colon", head("content-length 2\r\n")),
        ("a folded header", head("content-length: 2\r\nx-a: b\r\n c\r\n")),
        ("a control character in a value", head("content-length: 2\r\nx-a: \u{1}\r\n")),
        ("two lengths", head("content-length: 2\r\ncontent-length: 3\r\n")),
        ("a length that is none", head("content-length: 2x\r\n")),
        ("a negative length", head("content-length: -2\r\n")),
        ("a length with a sign", head("content-length: +2\r\n")),
        ("chunked not last", head("transfer-encoding: chunked, gzip\r\n")),
        ("an unknown transfer encoding", head("transfer-encoding: xchunked\r\n")),
    ];
    for (count, (what, bytes)) in cases.iter().enumerate() {
        let mut caller = stand.caller().await;
        caller.write(bytes).await;
        let answer = caller.response(400).await;
        assert!(answer.body.is_empty(), "{what}");
        assert_eq!(answer.get("connection"), Some("close"), "{what}");
        caller.closed().await;
        let event = stand.recorded(count + 1).await.pop().unwrap();
        assert_eq!(event["disposition"], "Rejected", "{what}");
        assert_eq!(event["status_code"], "400", "{what}");
        assert_eq!(event["src_endpoint"]["ip"], "127.0.0.1", "{what}");
    }
    assert!(stand.sagemaker.seen().is_empty(), "nothing went on");
    stand.write(head("content-length: 2\r\n").into_bytes(), 200).await;
    assert_eq!(stand.sagemaker.seen().len(), 1);
    stand.stop().await;
}

#[tokio::test]
async fn a_head_beyond_the_bounds_gets_a_431_and_a_record() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let ask = Ask::invoke(&token);
    let many = |count| (0..count).fold(ask.clone(), |ask, n| ask.header(&format!("x-{n}"), "a"));
    for (count, ask) in
        [ask.clone().header("x-large", &"a".repeat(64 << 10)), many(120)].iter().enumerate()
    {
        let mut caller = stand.caller().await;
        caller.write(ask.bytes()).await;
        caller.response(431).await;
        let event = stand.recorded(count + 1).await.pop().unwrap();
        assert_eq!(event["status_code"], "431");
    }
    assert!(stand.sagemaker.seen().is_empty(), "nothing went on");
    stand.ask(&ask.clone().header("x-large", &"a".repeat(32 << 10)), 200).await;
    stand.ask(&many(80), 200).await;
    stand.stop().await;
}

#[tokio::test]
async fn a_length_beside_chunks_cannot_smuggle_a_second_request() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let smuggled = String::from_utf8(Ask::post("/endpoints/other/invocations").bytes()).unwrap();
    let body = format!("0\r\n\r\n{smuggled}");
    let head = Ask::post(INVOKE).bearer(&token).head();
    for framing in [
        "content-length: LEN\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: LEN",
    ] {
        let framing = framing.replace("LEN", &body.len().to_string());
        let mut caller = stand.caller().await;
        caller.write(format!("{head}{framing}\r\n\r\n{body}")).await;
        caller.finish().await;
        caller.drain().await;
    }
    // However the bytes after the chunks are taken, SageMaker sees bodies that were read
    // whole, framed by a length of our own.
    for seen in stand.sagemaker.seen() {
        assert_eq!(seen.line, format!("POST {INVOKE} HTTP/1.1"));
        assert_eq!((seen.get("content-length"), seen.get("transfer-encoding")), (Some("0"), None));
    }
    stand.ask(&Ask::invoke(&token), 200).await;
    stand.stop().await;
}

#[tokio::test]
async fn what_a_stranger_sends_cannot_forge_a_line_of_the_record() {
    let stand = Stand::answering(Setup::default()).await;
    let agent = r#"x","status":"Success"},{"a":"#;
    let path = "/endpoints/a\",\"status\":\"Success\"/invocations";
    let refused = stand.ask(&Ask::post(path).header("user-agent", agent), 404).await;
    let event = stand.event(&refused);
    assert_eq!(event["status"], "Failure");
    assert_eq!(event["http_request"]["user_agent"], agent);
    assert_eq!(event["http_request"]["url"]["path"], json!(path));
    stand.stop().await;
}

#[tokio::test]
async fn who_connects_and_leaves_has_asked_for_nothing() {
    let stand = Stand::answering(Setup::default()).await;
    drop(stand.caller().await);
    let mut polite = stand.caller().await;
    polite.finish().await;
    polite.closed().await;
    let mut idle = stand.caller().await;
    idle.write(Ask::invoke(&stand.token()).bytes()).await;
    idle.response(200).await;
    idle.finish().await;
    idle.closed().await;
    stand.recorded(1).await;
    stand.stop().await;
}
