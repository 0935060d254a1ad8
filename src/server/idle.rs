//! Whether a connection still serves anybody.
//!
//! hyper bounds neither the wait for the bytes that tell the protocol, nor an HTTP/2
//! connection without streams, nor a peer that does not read its answers: such an answer is
//! not even asked for its end, so that no timeout of its own can fire. A peer that answers pings could do each of these for ever, and connections and the
//! requests on record are bounded in number. Here every open request is watched, to the end
//! of its answer.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::bounds::Timeouts;

/// An idle connection is looked at so many times before it is ended, and once more.
const LOOKS: u32 = 4;

/// One connection's requests.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Requests>);

#[derive(Debug)]
struct Requests {
    timeouts: Timeouts,
    since: Instant,
    begun: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Turn>, foldhash::fast::RandomState>>,
}

/// Since when it is the peer's turn to read, in milliseconds; [`OURS`] while it is not.
#[derive(Debug)]
struct Turn(AtomicU64);

const OURS: u64 = u64::MAX;

/// Why a connection should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Useless {
    /// No request was open for a while.
    Idle,
    /// The peer does not read its answers.
    Stalled,
}

/// One request, until this is dropped.
#[derive(Debug)]
pub(super) struct Open {
    requests: Arc<Requests>,
    number: u64,
    turn: Arc<Turn>,
}

impl Activity {
    pub(super) fn new(timeouts: Timeouts) -> Self {
        let (since, begun, open) = (Instant::now(), AtomicU64::new(0), Mutex::default());
        Self(Arc::new(Requests { timeouts, since, begun, open }))
    }

    /// How many requests there have been.
    pub(super) fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// How long the connection has been open.
    pub(super) fn age(&self) -> Duration {
        self.0.since.elapsed()
    }

    pub(super) fn begin(&self) -> Open {
        let number = self.0.begun.fetch_add(1, Ordering::Relaxed);
        let turn = Arc::new(Turn(AtomicU64::new(OURS)));
        self.0.with_open(|open| open.insert(number, Arc::clone(&turn)));
        Open { requests: Arc::clone(&self.0), number, turn }
    }

    /// Returns once the connection serves nobody any more.
    ///
    /// Cancel-safe: the next call begins a new interval.
    pub(super) async fn ends(&self) -> Useless {
        let (mut before, mut idle) = (self.begun(), 0);
        loop {
            tokio::time::sleep(self.0.timeouts.idle / LOOKS).await;
            if self.0.any_stalled() {
                return Useless::Stalled;
            }
            let begun = self.begun();
            let quiet = begun == before && self.0.with_open(|open| open.is_empty());
            (before, idle) = (begun, if quiet { idle + 1 } else { 0 });
            if idle >= LOOKS {
                return Useless::Idle;
            }
        }
    }
}

impl Requests {
    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(OURS)
    }

    fn any_stalled(&self) -> bool {
        let now = self.now();
        let stalled = |turn: &Arc<Turn>| {
            let since = turn.0.load(Ordering::Relaxed);
            u128::from(now.saturating_sub(since)) > self.timeouts.unread.as_millis()
        };
        self.with_open(|open| open.values().any(stalled))
    }

    fn with_open<T>(
        &self,
        act: impl FnOnce(&mut HashMap<u64, Arc<Turn>, foldhash::fast::RandomState>) -> T,
    ) -> T {
        // Nothing panics under the lock.
        act(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Open {
    fn turn(&self, since: u64) {
        self.turn.0.store(since, Ordering::Relaxed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.requests.with_open(|open| open.remove(&self.number));
    }
}

pin_project! {
    /// An answer's body, which keeps its request open and knows whose turn it is.
    #[derive(Debug)]
    pub(super) struct Watched<B> {
        #[pin]
        body: B,
        open: Open,
    }
}

impl<B> Watched<B> {
    pub(super) fn new(body: B, open: Open) -> Self {
        open.turn(open.requests.now());
        Self { body, open }
    }
}

impl<B: Body<Data = Bytes>> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(context);
        this.open.turn(if polled.is_pending() { OURS } else { this.open.requests.now() });
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
