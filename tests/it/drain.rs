//! SIGTERM's part that is not the signal: what is open ends whole, nothing new begins, and
//! the record is complete.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sagegate::app::Drained;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::caller::End;
use crate::support::sagemaker::Connection;
use crate::support::stand::events;
use crate::support::{Ask, Caller, OK, Response, SageMaker, Setup, Stand, soon, until};

/// A drain under way, and what the gateway left behind.
struct Draining {
    gateway: SocketAddr,
    admin: SocketAddr,
    journal: PathBuf,
    done: JoinHandle<Drained>,
    _rest: (SageMaker, sagegate::cli::demo::issuer::Issuer, tempfile::TempDir),
}

impl Draining {
    /// Begins the drain and waits until the gateway refuses connections.
    async fn begin(stand: Stand) -> Self {
        let (gateway, admin) = (stand.app.address(), stand.app.admin_address());
        let journal = stand.journal();
        let (app, rest) = stand.apart();
        let done = tokio::spawn(app.drain());
        closed("the listener's end", gateway).await;
        Self { gateway, admin, journal, done, _rest: rest }
    }

    async fn end(self) -> (Drained, Vec<serde_json::Value>) {
        let drained = soon("the drain's end", self.done).await.unwrap();
        // At once, were it not that a child which another test is starting holds a copy of the
        // socket from its fork to its exec.
        closed("the admin listener's end", self.admin).await;
        (drained, events(&self.journal))
    }
}

async fn closed(what: &str, address: SocketAddr) {
    soon(what, async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn begun(stand: &mut Stand) -> (Caller, Response, Connection) {
    let mut caller = stand.caller().await;
    caller.write(Ask::stream(&stand.token()).bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(crate::stream::HEAD).await;
    sagemaker.write("1\r\na\r\n").await;
    let head = caller.head().await;
    caller.chunk().await.unwrap();
    (caller, head, sagemaker)
}

#[tokio::test]
async fn a_stream_that_is_open_at_a_drain_ends_whole() {
    let mut stand = Stand::start().await;
    let (mut caller, head, mut sagemaker) = begun(&mut stand).await;
    let draining = Draining::begin(stand).await;

    let mut probe = Caller::connect(draining.admin).await;
    probe.write(Ask::line("GET /readyz HTTP/1.1").bytes()).await;
    assert_eq!(probe.response(503).await.text(), "draining\n");
    probe.write(Ask::line("GET /livez HTTP/1.1").bytes()).await;
    probe.response(200).await;
    assert!(!draining.done.is_finished(), "it waits for the stream");
    assert!(TcpStream::connect(draining.gateway).await.is_err(), "nothing new begins");

    sagemaker.write("1\r\nb\r\n0\r\n\r\n").await;
    assert_eq!(caller.body(&head).await, (b"b".to_vec(), End::Whole));
    caller.closed().await;
    let (drained, events) = draining.end().await;
    assert_eq!(drained, Drained::Clean);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["unmapped"]["ending"], "complete");
}

#[tokio::test]
async fn a_request_that_waits_for_its_answer_at_a_drain_gets_it() {
    let mut stand = Stand::start().await;
    let mut caller = stand.caller().await;
    caller.write(Ask::invoke(&stand.token()).bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    let draining = Draining::begin(stand).await;
    sagemaker.write(OK).await;
    let answer = caller.response(200).await;
    assert_eq!(answer.get("connection"), Some("close"), "it is told not to come back");
    caller.closed().await;
    let (drained, events) = draining.end().await;
    assert_eq!((drained, events.len()), (Drained::Clean, 1));
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_a_drain() {
    let stand = Stand::answering(Setup::default()).await;
    let (mut used, mut fresh) = (stand.caller().await, stand.caller().await);
    used.write(Ask::invoke(&stand.token()).bytes()).await;
    used.response(200).await;
    let draining = Draining::begin(stand).await;
    used.closed().await;
    fresh.closed().await;
    let (drained, events) = draining.end().await;
    assert_eq!((drained, events.len()), (Drained::Clean, 1));
}

#[tokio::test]
async fn what_outlasts_the_drain_timeout_is_cut_off_and_on_record() {
    let setup = Setup::default().with("server", "drain_timeout", json!("100ms"));
    let mut stand = Stand::with(setup).await;
    let (mut caller, head, mut sagemaker) = begun(&mut stand).await;
    let mut waiting = stand.caller().await;
    waiting.write(Ask::invoke(&stand.token()).bytes()).await;
    let mut silent = stand.sagemaker.accept().await;
    silent.request().await;

    let draining = Draining::begin(stand).await;
    let (drained, events) = draining.end().await;
    assert_eq!(drained, Drained::CutOff);
    assert_eq!(caller.body(&head).await, (Vec::new(), End::Broken));
    sagemaker.closed().await;
    silent.closed().await;
    assert_eq!(events.len(), 2, "{events:#?}");
    for event in &events {
        assert_eq!(event["unmapped"]["ending"], "caller_gone");
        assert_eq!(event["status"], "Failure");
    }
}

#[tokio::test]
async fn for_a_while_callers_are_still_answered_and_told_to_leave() {
    let setup = Setup::default().with("server", "timeouts", json!({"notice": "1s"}));
    let stand = Stand::answering(setup).await;
    let ask = Ask::invoke(&stand.token());
    let mut kept = stand.caller().await;
    kept.write(ask.bytes()).await;
    assert_eq!(kept.response(200).await.get("connection"), None);
    let (gateway, health) = (stand.app.address(), stand.app.health().clone());
    let (app, _rest) = stand.apart();
    let done = tokio::spawn(app.drain());
    until("the drain", || !health.faults().is_empty()).await;
    let mut fresh = Caller::connect(gateway).await;
    for caller in [&mut kept, &mut fresh] {
        caller.write(ask.bytes()).await;
        assert_eq!(caller.response(200).await.get("connection"), Some("close"));
        caller.closed().await;
    }
    assert_eq!(soon("the drain's end", done).await.unwrap(), Drained::Clean);
    closed("the listener's end", gateway).await;
}

#[tokio::test]
async fn an_http2_connection_finishes_its_streams_and_takes_no_more() {
    let mut stand = Stand::start().await;
    let stream = TcpStream::connect(stand.app.address()).await.unwrap();
    let mut sender = crate::http2::connection(stream).await;
    let token = Arc::new(stand.token());
    let asked = sender.send_request(crate::http2::call(crate::support::request::STREAM, &token));
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(crate::stream::HEAD).await;
    let answer = asked.await.unwrap();
    let draining = Draining::begin(stand).await;

    sagemaker.write("4\r\nrest\r\n0\r\n\r\n").await;
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
    assert_eq!(&body.to_bytes()[..], b"rest");
    let (drained, events) = draining.end().await;
    assert_eq!((drained, events.len()), (Drained::Clean, 1));
    let late = sender.send_request(crate::http2::call("/endpoints/a/invocations", &token)).await;
    assert!(late.is_err(), "GOAWAY");
}
