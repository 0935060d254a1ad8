//! A stage that panics. The signing stage of another crate traces what it signs, so whoever
//! listens to that can make it panic from the inside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};

use crate::support::caller::End;
use crate::support::{Ask, OK, Stand};

/// Panics where a call is signed, once it is told to.
struct Saboteur(Arc<AtomicBool>);

impl Subscriber for Saboteur {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("aws_sigv4")
    }

    fn event(&self, _: &Event<'_>) {
        assert!(!self.0.load(Ordering::Relaxed), "a stage panics");
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_stage_that_panics_answers_500_is_on_record_and_harms_no_other_request() {
    let panics = Arc::new(AtomicBool::new(false));
    // Everything of this test runs on this thread. tracing asks a lone subscriber only if the
    // thread that comes by first is its own, and other tests sign as well: so there are two.
    let _another = Dispatch::new(Saboteur(Arc::clone(&panics)));
    let _guard = tracing::subscriber::set_default(Saboteur(Arc::clone(&panics)));
    let mut stand = Stand::start().await;
    let mut other = stand.caller().await;
    other.write(Ask::stream(&stand.token()).bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(crate::stream::HEAD).await;
    let open = other.head().await;

    let mut caller = stand.caller().await;
    panics.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        caller.write(Ask::invoke(&stand.token()).bytes()).await;
        let answer = caller.response(500).await;
        assert_eq!(answer.code(), "InternalFailure");
        assert!(!answer.text().contains("panic"), "{}", answer.text());
        let event = stand.event(&answer);
        assert_eq!(event["status_code"], "500");
        assert_eq!(event["status_detail"], "a stage panicked");
    }
    panics.store(false, Ordering::Relaxed);

    assert_eq!(stand.metrics.in_flight.get(), 1, "only the stream is open");
    sagemaker.write("1\r\na\r\n0\r\n\r\n").await;
    assert_eq!(other.body(&open).await, (b"a".to_vec(), End::Whole));
    drop(sagemaker);
    stand.sagemaker.answer_all(OK);
    caller.write(Ask::invoke(&stand.token()).bytes()).await;
    caller.response(200).await;
    assert_eq!(stand.sagemaker.seen().len(), 2, "the stream's call and the last one");
    stand.stop().await;
}
