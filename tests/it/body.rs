//! Bodies that are too large, too many, or cut off: refused, on record, never sent on; and
//! their memory is given back.

use serde_json::json;

use crate::support::request::{ASYNC, INVOKE};
use crate::support::{Ask, Setup, Stand, until};

fn small() -> Setup {
    let setup = Setup::default().with("server", "max_body", json!("1KiB"));
    setup.with("server", "body_memory", json!("1KiB"))
}

fn chunked(token: &str, chunks: &[usize]) -> Ask {
    let chunk = |size: &usize| format!("{size:x}\r\n{}\r\n", "x".repeat(*size));
    let body: String = chunks.iter().map(chunk).collect();
    let ask = Ask::post(INVOKE).bearer(token).header("transfer-encoding", "chunked");
    ask.body(body + "0\r\n\r\n")
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_by_its_length_and_by_its_growth() {
    let stand = Stand::answering(small()).await;
    let token = stand.token();
    let declared = |size: usize| Ask::invoke(&token).body(vec![b'x'; size]);
    for ask in [declared(1025), chunked(&token, &[1025]), chunked(&token, &[600, 600])] {
        let refused = stand.ask(&ask, 413).await;
        assert_eq!(refused.code(), "RequestEntityTooLarge");
        assert!(refused.text().contains("1024 bytes"), "it states the bound");
        let event = stand.event(&refused);
        assert_eq!(event["disposition"], "Rejected");
        assert_eq!(event["actor"]["user"]["name"], "corp/alice");
    }
    for ask in [declared(1024), chunked(&token, &[1024]), chunked(&token, &[500, 1, 523])] {
        stand.ask(&ask, 200).await;
        assert_eq!(stand.sagemaker.seen().pop().unwrap().body, vec![b'x'; 1024]);
    }
    assert_eq!(stand.sagemaker.seen().len(), 3, "only the controls went on");
    assert_eq!(stand.events().len(), 6);
    stand.stop().await;
}

#[tokio::test]
async fn a_declared_length_over_the_bound_is_refused_before_the_body_comes() {
    let stand = Stand::answering(small()).await;
    let head = Ask::post(INVOKE).bearer(&stand.token()).head() + "content-length: 1000000\r\n\r\n";
    stand.write(head.into_bytes(), 413).await;
    stand.stop().await;
}

#[tokio::test]
async fn an_asynchronous_call_takes_a_body_or_a_location() {
    let stand = Stand::answering(Setup::default()).await;
    let ask = || Ask::post(ASYNC).bearer(&stand.token());
    let location = |ask: Ask| ask.header("x-amzn-sagemaker-inputlocation", "s3://bucket/key");
    assert_eq!(stand.ask(&ask(), 400).await.code(), "ValidationError");
    assert_eq!(stand.ask(&location(ask()).body("{}"), 400).await.code(), "ValidationError");
    let large = stand.ask(&ask().body(vec![b'x'; 128_001]), 413).await;
    assert_eq!(large.code(), "RequestEntityTooLarge");
    stand.ask(&ask().body(vec![b'x'; 128_000]), 200).await;
    stand.ask(&location(ask()), 200).await;
    assert_eq!(stand.sagemaker.seen().len(), 2);
    assert_eq!(stand.events().len(), 5);
    stand.stop().await;
}

#[tokio::test]
async fn bodies_beyond_the_common_memory_are_shed_and_it_is_given_back() {
    let stand = Stand::answering(small()).await;
    let token = stand.token();
    let mut slow = stand.caller().await;
    let head = Ask::post(INVOKE).bearer(&token).head() + "content-length: 1000\r\n\r\n";
    slow.write(head + &"x".repeat(999)).await;
    until("the slow body's arrival", || stand.metrics.in_flight.get() == 1).await;

    for ask in [Ask::invoke(&token).body(vec![b'x'; 25]), chunked(&token, &[20, 20])] {
        let shed = stand.ask(&ask, 503).await;
        assert_eq!((shed.code(), shed.get("retry-after")), ("ServiceUnavailable", Some("1")));
        assert_eq!(stand.event(&shed)["disposition"], "Rejected");
    }
    stand.ask(&Ask::invoke(&token).body(vec![b'x'; 24]), 200).await;

    slow.write("x").await;
    slow.response(200).await;
    stand.ask(&Ask::invoke(&token).body(vec![b'x'; 1024]), 200).await;
    assert_eq!(stand.sagemaker.seen().len(), 3);
    assert_eq!(stand.events().len(), 5);
    stand.stop().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_sent_on_and_is_on_record() {
    let stand = Stand::answering(small()).await;
    let token = stand.token();
    let head = Ask::post(INVOKE).bearer(&token).head();
    for body in [
        "content-length: 10\r\n\r\nshort",
        "transfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
        "transfer-encoding: chunked\r\n\r\nff\r\nshort",
    ] {
        let mut caller = stand.caller().await;
        caller.write(format!("{head}{body}")).await;
        caller.finish().await;
        caller.drain().await;
    }
    let events = stand.recorded(3).await;
    for event in &events {
        assert_eq!(event["action"], "Denied", "{event}");
        assert_eq!(event["actor"]["user"]["name"], "corp/alice");
    }
    // A chunk without a size is an error that the caller is there to read.
    let bad = format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\nshort\r\n0\r\n\r\n");
    let refused = stand.write(bad.into_bytes(), 400).await;
    assert_eq!(refused.code(), "ValidationError");

    stand.ask(&Ask::invoke(&token), 200).await;
    assert_eq!(stand.sagemaker.seen().len(), 1, "only the control went on");
    stand.ask(&Ask::invoke(&token).body(vec![b'x'; 1024]), 200).await;
    stand.stop().await;
}
