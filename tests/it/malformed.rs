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
        ("two lengths that agree", head("content-length: 2\r\nContent-Length: 2\r\n")),
        ("a list of lengths", head("content-length: 2, 2\r\n")),
        ("a length and chunks", head("content-length: 2\r\ntransfer-encoding: chunked\r\n")),
        ("chunks and a length", head("transfer-encoding: chunked\r\ncontent-length: 2\r\n")),
        ("chunks twice", head("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n")),
        ("chunks twice in one", head("transfer-encoding: chunked, chunked\r\n")),
        ("another encoding first", head("transfer-encoding: gzip, chunked\r\n")),
        ("a vertical tab before chunked", head("transfer-encoding: \u{b}chunked\r\n")),
        ("no encoding", head("transfer-encoding:\r\n")),
        ("no host", format!("POST {INVOKE} HTTP/1.1\r\ncontent-length: 2\r\n\r\n{{}}")),
        ("two hosts", head("content-length: 2\r\nHost: gateway.test\r\n")),
        ("a host that is none", format!("POST {INVOKE} HTTP/1.1\r\nhost: a b\r\n\r\n")),
        ("a fragment", format!("POST {INVOKE}#a HTTP/1.1\r\nhost: a\r\n\r\n")),
        ("a line feed alone", head("content-length: 2\r\nx-a: b\n")),
        ("a line feed alone at the end", format!("POST {INVOKE} HTTP/1.1\r\nhost: a\r\n\n")),
        (
            "a line feed alone after the request line",
            format!("POST {INVOKE} HTTP/1.1\nhost: a\r\n\r\n"),
        ),
        ("a carriage return alone", head("content-length: 2\r\nx-a: b\rx-c: d\r\n")),
        ("a null in a value", head("content-length: 2\r\nx-a: b\0c\r\n")),
        ("a null in a name", head("content-length: 2\r\nx-\0a: b\r\n")),
        ("a space in a name", head("content-length: 2\r\nx a: b\r\n")),
        ("no name", head("content-length: 2\r\n: b\r\n")),
        ("letters beyond ASCII in a name", head("content-length: 2\r\nx-é: b\r\n")),
        ("HTTP/2's preface and no HTTP/2", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_owned()),
        ("HTTP/2's preface too late", "\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
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

/// In as many pieces as there are bytes, which hyper reads in another way than whole heads.
#[tokio::test]
async fn a_request_that_contradicts_itself_is_refused_however_slowly_it_comes() {
    let stand = Stand::answering(Setup::default()).await;
    let head = Ask::post(INVOKE).bearer(&stand.token()).head();
    for (status, framing) in [
        (400, "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}"),
        (200, "content-length: 2\r\n\r\n{}"),
        (200, "transfer-encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nx-trailer: c\r\n\r\n"),
    ] {
        let mut caller = stand.caller().await;
        for byte in format!("{head}{framing}").bytes() {
            // The gateway may have closed already.
            let _ = caller.try_write([byte]).await;
            tokio::task::yield_now().await;
        }
        caller.response(status).await;
    }
    assert_eq!(stand.sagemaker.seen().len(), 2);
    stand.stop().await;
}

#[tokio::test]
async fn what_came_before_a_malformed_request_is_answered_first() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let good = Ask::invoke(&token);
    let chunked = good.clone().header("transfer-encoding", "chunked");
    let chunked = chunked.body("1\r\n{\r\n1\r\n}\r\n0\r\n\r\n");
    let smuggling = format!(
        "{}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        Ask::post(INVOKE).bearer(&token).head()
    );
    let mut caller = stand.caller().await;
    let smuggled = [good.bytes(), chunked.bytes(), smuggling.into_bytes(), good.bytes()].concat();
    caller.write(smuggled).await;
    for status in [200, 200, 400] {
        caller.response(status).await;
    }
    caller.closed().await;
    assert_eq!(stand.sagemaker.seen().len(), 2, "nothing after it");
    assert_eq!(stand.recorded(3).await[2]["status_code"], "400");
    stand.stop().await;
}

#[tokio::test]
async fn chunks_that_contradict_themselves_get_a_400_and_end_the_connection() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let ask = Ask::invoke(&token).header("transfer-encoding", "chunked");
    let cases = [
        "x\r\n{}\r\n0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "2\n{}\r\n0\r\n\r\n",
        "2\r\n{}\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "1\r\n{}\r\n0\r\n\r\n",
        "2;a\nb\r\n{}\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n0\r\nx: y\n\r\n",
    ];
    for (count, body) in cases.iter().enumerate() {
        let mut caller = stand.caller().await;
        caller.write(ask.clone().body(*body).bytes()).await;
        let refused = caller.response(400).await;
        assert_eq!(refused.code(), "ValidationError", "{body:?}");
        caller.closed().await;
        assert_eq!(stand.recorded(count + 1).await[count]["status_code"], "400", "{body:?}");
    }
    assert!(stand.sagemaker.seen().is_empty(), "nothing went on");
    stand.ask(&ask.body("2\r\n{}\r\n0\r\n\r\n"), 200).await;
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
