//! What callers may hold at once and how long they may take: over a bound, a 503 or a closed
//! connection, and those who were there first go on.

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::caller::End;
use crate::support::{Ask, Caller, Setup, Stand, until};

fn bounded(bounds: Value) -> Setup {
    Setup::default().with("server", "bounds", bounds)
}

fn timed(key: &str, span: &str) -> Setup {
    let mut setup = Setup::default();
    setup.gateway["server"]["timeouts"][key] = json!(span);
    setup
}

#[tokio::test]
async fn a_request_over_the_bound_gets_a_503_and_a_stream_keeps_its_place_to_its_end() {
    let mut stand = Stand::with(bounded(json!({"requests": 1}))).await;
    let token = stand.token();
    let mut first = stand.caller().await;
    first.write(Ask::stream(&token).bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(crate::stream::HEAD).await;
    let head = first.head().await;

    // Whoever it is and whatever it asks: nothing of it is read.
    for token in [&token[..], "garbage"] {
        let refused = stand.ask(&Ask::invoke(token), 503).await;
        assert_eq!(refused.code(), "ServiceUnavailable");
        assert_eq!(refused.get("retry-after"), Some("1"));
        let event = stand.event(&refused);
        assert_eq!(event["disposition"], "Rejected");
        assert_eq!(event["actor"]["user"]["name"], "unauthenticated");
    }

    sagemaker.write("1\r\na\r\n0\r\n\r\n").await;
    assert_eq!(first.body(&head).await, (b"a".to_vec(), End::Whole));
    drop(sagemaker);
    stand.sagemaker.answer_all(crate::support::OK);
    stand.ask(&Ask::invoke(&token), 200).await;
    let metrics = stand.metrics.render().unwrap();
    assert!(metrics.contains("outcome=\"shed\",team=\"\"} 2"), "{metrics}");
    stand.stop().await;
}

#[tokio::test]
async fn a_connection_over_the_bound_is_closed_at_once_and_its_place_comes_back() {
    let stand = Stand::answering(bounded(json!({"connections": 2}))).await;
    let ask = Ask::invoke(&stand.token());
    let (mut one, mut two) = (stand.caller().await, stand.caller().await);
    for caller in [&mut one, &mut two] {
        caller.write(ask.bytes()).await;
        caller.response(200).await;
    }
    for _ in 0..3 {
        let mut refused = stand.caller().await;
        // It may be closed before it could write.
        let _ = refused.try_write(ask.bytes()).await;
        assert_eq!(refused.drain().await, b"");
    }
    two.write(ask.bytes()).await;
    two.response(200).await;
    let metrics = stand.metrics.render().unwrap();
    assert!(metrics.contains("sagegate_connections{listener=\"calls\"} 2"), "{metrics}");
    let refused = "sagegate_connections_refused_total{listener=\"calls\",reason=\"connections\"} 3";
    assert!(metrics.contains(refused), "{metrics}");

    drop(one);
    let open = stand.metrics.connections.with_label_values(&["calls"]);
    until("the end of a connection", || open.get() == 1).await;
    stand.ask(&ask, 200).await;
    stand.stop().await;
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_closed_on_and_recorded_and_an_idle_caller_is_not() {
    let setup = timed("head", "200ms");
    let stand = Stand::answering(setup).await;
    let ask = Ask::invoke(&stand.token());
    let mut idle = stand.caller().await;
    idle.write(ask.bytes()).await;
    idle.response(200).await;
    let bytes = ask.bytes();
    for begun in [1, 40, bytes.len() - 12] {
        let mut slow = stand.caller().await;
        slow.write(&bytes[..begun]).await;
        slow.closed().await;
    }
    for event in &stand.recorded(4).await[1..] {
        assert_eq!(
            (&event["status_code"], &event["disposition"]),
            (&json!("408"), &json!("Rejected"))
        );
    }
    idle.write(ask.bytes()).await;
    idle.response(200).await;
    stand.stop().await;
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_gets_a_408() {
    let setup = timed("body", "100ms");
    let stand = Stand::answering(setup).await;
    let mut slow = stand.caller().await;
    let head = Ask::invoke(&stand.token()).head();
    slow.write(head + "content-length: 8\r\n\r\n{").await;
    assert_eq!(slow.response(408).await.code(), "RequestTimeoutException");
    drop(slow);
    stand.ask(&Ask::invoke(&stand.token()), 200).await;
    assert_eq!(stand.sagemaker.seen().len(), 1);
    stand.stop().await;
}

#[tokio::test]
async fn a_caller_who_asks_nothing_for_long_is_let_go_and_one_who_waits_is_not() {
    let setup = timed("idle", "200ms");
    let mut stand = Stand::with(setup).await;
    let mut waiting = stand.caller().await;
    waiting.write(Ask::invoke(&stand.token()).bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    let mut silent = stand.caller().await;
    silent.closed().await;
    let mut polite =
        crate::http2::connection(TcpStream::connect(stand.app.address()).await.unwrap()).await;
    assert!(stand.events().is_empty(), "nobody's request");
    until("the end of an HTTP/2 connection", || polite.is_closed()).await;
    let refused =
        polite.send_request(crate::http2::call(crate::support::request::INVOKE, "a")).await;
    assert!(refused.is_err());
    sagemaker.write(crate::support::OK).await;
    waiting.response(200).await;
    stand.stop().await;
}

#[tokio::test]
async fn probes_have_a_listener_of_their_own_that_says_whether_and_not_why() {
    let setup = Setup::default().with("admin", "probes", json!("0.0.0.0:0"));
    let directory = tempfile::TempDir::new().unwrap();
    let stand = Stand::unready(directory, Setup { credentials: false, ..setup }).await;
    let mut address = stand.app.probes_address().unwrap();
    address.set_ip([127, 0, 0, 1].into());
    for (line, status, text) in [
        ("GET /livez HTTP/1.1", 200, "ok\n"),
        ("GET /readyz HTTP/1.1", 503, "not ready\n"),
        ("GET /metrics HTTP/1.1", 404, "here are /livez and /readyz\n"),
        ("GET / HTTP/1.1", 404, "here are /livez and /readyz\n"),
        ("POST /livez HTTP/1.1", 405, "only GET is served here\n"),
    ] {
        let mut probe = Caller::connect(address).await;
        probe.write(Ask::line(line).bytes()).await;
        assert_eq!(probe.response(status).await.text(), text, "{line}");
    }
    let why = stand.admin("GET /readyz HTTP/1.1", 503).await.text();
    assert!(why.contains("credentials"), "{why}");
    stand.stop().await;

    let ready = Stand::with(Setup::default().with("admin", "probes", json!("127.0.0.1:0"))).await;
    let mut probe = Caller::connect(ready.app.probes_address().unwrap()).await;
    probe.write(Ask::line("GET /readyz HTTP/1.1").bytes()).await;
    assert_eq!(probe.response(200).await.text(), "ok\n");
    ready.stop().await;
}
