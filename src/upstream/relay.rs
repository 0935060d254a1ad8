//! An answer's body on its way to the caller: as it comes, never gathered.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Timeouts;
use super::addresses::Pick;

/// Why an answer broke off. The caller then sees its connection break as well, never an
/// answer that looks complete.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("SageMaker's answer broke off: {0}")]
    Broken(#[source] hyper::Error),
    #[error("SageMaker sent nothing for {} s", .0.as_secs())]
    Idle(Duration),
    #[error("SageMaker's answer took longer than {} s", .0.as_secs())]
    TooLong(Duration),
}

/// Passes frames through one by one, within the idle and the whole timeout. Dropping it
/// aborts the upstream call.
#[derive(Debug)]
pub struct Relay {
    inner: Incoming,
    /// The call is on its way to this address until the answer ends.
    _pick: Pick,
    timeouts: Timeouts,
    started: Instant,
    last: Instant,
    /// Armed only once there is something to wait for; most answers never are.
    alarm: Option<Pin<Box<Sleep>>>,
    /// What [`arrived`](Self::arrived) found and nobody has taken yet.
    found: Option<Result<Frame<Bytes>, RelayError>>,
}

impl Relay {
    pub(super) fn new(inner: Incoming, pick: Pick, timeouts: Timeouts) -> Self {
        let now = Instant::now();
        Self { inner, _pick: pick, timeouts, started: now, last: now, alarm: None, found: None }
    }

    /// The whole body, if all of it is here already, as it is for a small answer that came
    /// in one piece. Otherwise nothing is lost: what is here comes with the next poll.
    pub fn arrived(&mut self) -> Option<Bytes> {
        if self.is_end_stream() {
            return Some(Bytes::new());
        }
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut *self).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) if self.inner.is_end_stream() => frame.into_data().ok(),
            Poll::Ready(None) => Some(Bytes::new()),
            Poll::Ready(Some(found)) => {
                self.found = Some(found);
                None
            }
            Poll::Pending => None,
        }
    }

    fn deadline(&self) -> Instant {
        (self.last + self.timeouts.stream_idle).min(self.started + self.timeouts.stream)
    }

    /// Waits for the deadline, which moves with every frame.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<RelayError> {
        let deadline = self.deadline();
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        while alarm.deadline() < deadline {
            ready!(alarm.as_mut().poll(context));
            alarm.as_mut().reset(deadline);
        }
        ready!(alarm.as_mut().poll(context));
        Poll::Ready(if deadline >= self.started + self.timeouts.stream {
            RelayError::TooLong(self.timeouts.stream)
        } else {
            RelayError::Idle(self.timeouts.stream_idle)
        })
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = RelayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        if let Some(found) = self.found.take() {
            return Poll::Ready(Some(found));
        }
        loop {
            match Pin::new(&mut self.inner).poll_frame(context) {
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(RelayError::Broken(error))));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    self.last = Instant::now();
                    if self.last >= self.started + self.timeouts.stream {
                        let whole = self.timeouts.stream;
                        return Poll::Ready(Some(Err(RelayError::TooLong(whole))));
                    }
                    // SageMaker sends no trailers; none are passed on.
                    if frame.is_data() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Pending => {
                    return self.poll_late(context).map(|late| Some(Err(late)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.found.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let found = self.found.as_ref().and_then(|found| found.as_ref().ok()?.data_ref());
        let found = found.map_or(0, Bytes::len) as u64;
        let rest = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + found);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + found);
        }
        hint
    }
}
