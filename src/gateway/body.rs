//! The answer's body, whose end waits for the record.
//!
//! A relayed answer passes through frame by frame. Only its last frame is held back until
//! the event is as durable as configured: a caller who has the whole of an answer can be
//! sure that the call is on record.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::ending::End;
use super::record::Exchange;
use crate::audit::{Committed, Ending, Unavailable};
use crate::limits::Admitted;
use crate::upstream::{Relay, RelayError};

/// A refusal's text or a relayed answer. Dropping it early aborts the upstream call and
/// records that the caller is gone.
#[derive(Debug, Default)]
pub struct GatewayBody(Kind);

#[derive(Debug)]
enum Kind {
    Whole(Option<Bytes>),
    Relaying(Box<Relaying>),
}

impl Default for Kind {
    fn default() -> Self {
        Self::Whole(None)
    }
}

#[derive(Debug)]
struct Relaying {
    relay: Relay,
    exchange: Exchange,
    /// Held for as long as the answer takes.
    admitted: Admitted,
    bytes: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Passing,
    /// The end is near; the last frame waits for the record.
    Recording {
        committed: Option<Committed>,
        last: Option<Frame<Bytes>>,
    },
    /// The answer broke off. Said one poll late: hyper throws away what it has not flushed
    /// when a body fails, and the caller shall have all that came before the break.
    Broken(Option<BodyError>),
    Ended,
}

/// Why a body broke off. Seen by hyper only, which then breaks the connection.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error("the answer's end is withheld: {0}")]
    Unrecorded(#[from] Unavailable),
}

impl GatewayBody {
    pub(super) fn whole(body: impl Into<Bytes>) -> Self {
        Self(Kind::Whole(Some(body.into())))
    }

    pub(super) fn relaying(relay: Relay, admitted: Admitted, exchange: Exchange) -> Self {
        Self(Kind::Relaying(Box::new(Relaying {
            relay,
            exchange,
            admitted,
            bytes: 0,
            state: State::Passing,
        })))
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl Relaying {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Polled {
        loop {
            match &mut self.state {
                State::Ended => return Poll::Ready(None),
                State::Broken(error) => return Poll::Ready(error.take().map(Err)),
                State::Recording { committed, last } => {
                    if let Some(committed) = committed {
                        ready!(Pin::new(committed).poll(context))?;
                    }
                    let last = last.take();
                    self.state = State::Ended;
                    return Poll::Ready(last.map(Ok));
                }
                State::Passing => match ready!(Pin::new(&mut self.relay).poll_frame(context)) {
                    None => self.end(None),
                    Some(Err(error)) => {
                        self.broke(error);
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Some(Ok(frame)) => {
                        self.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                        if !self.relay.is_end_stream() {
                            return Poll::Ready(Some(Ok(frame)));
                        }
                        self.end(Some(frame));
                    }
                },
            }
        }
    }

    fn end(&mut self, last: Option<Frame<Bytes>>) {
        self.admitted.ended(self.exchange.moment());
        let end = End::Relayed { bytes: self.bytes, ending: Ending::Complete };
        self.state = State::Recording { committed: self.exchange.close(end), last };
    }

    fn broke(&mut self, error: RelayError) {
        tracing::debug!(request_id = %self.exchange.id(), %error, "an answer broke off");
        self.admitted.ended(self.exchange.moment());
        let end = End::Relayed { bytes: self.bytes, ending: Ending::UpstreamBroke };
        // The caller sees a break, not an answer: nothing has to wait.
        drop(self.exchange.close(end));
        self.state = State::Broken(Some(error.into()));
    }
}

impl Drop for Relaying {
    fn drop(&mut self) {
        // Closed already unless the caller left; then this is the first and only close.
        let end = End::Relayed { bytes: self.bytes, ending: Ending::CallerGone };
        drop(self.exchange.close(end));
    }
}

impl Body for GatewayBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        match &mut self.0 {
            Kind::Whole(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Kind::Relaying(relaying) => relaying.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(body) => body.as_ref().is_none_or(Bytes::is_empty),
            Kind::Relaying(relaying) => matches!(relaying.state, State::Ended),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Relaying(relaying) => match &relaying.state {
                State::Passing => relaying.relay.size_hint(),
                State::Recording { last: Some(last), .. } => {
                    SizeHint::with_exact(last.data_ref().map_or(0, Bytes::len) as u64)
                }
                State::Recording { last: None, .. } | State::Ended => SizeHint::with_exact(0),
                State::Broken(_) => SizeHint::default(),
            },
        }
    }
}
