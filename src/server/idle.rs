//! Whether a connection still serves anybody.
//!
//! hyper bounds the wait for an HTTP/1 head, but not the wait for the bytes that tell the
//! protocol, nor an HTTP/2 connection without streams; a peer that answers pings could hold
//! either for ever. Connections are bounded in number, so a few such peers would shut
//! everybody else out. Here every open request, to the end of its answer, is counted.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// A connection without a request is ended after once to twice this.
const IDLE: Duration = Duration::from_secs(60);

/// One connection's requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// One request, until this is dropped.
#[derive(Debug)]
pub(super) struct Open(Arc<Counts>);

impl Activity {
    pub(super) fn begin(&self) -> Open {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(&self.0))
    }

    /// Returns once no request was open or arrived for a whole interval.
    ///
    /// Cancel-safe: the next call begins a new interval.
    pub(super) async fn idle(&self) {
        loop {
            let (begun, ended) = self.read();
            tokio::time::sleep(IDLE).await;
            if begun == ended && self.read() == (begun, ended) {
                return;
            }
        }
    }

    fn read(&self) -> (u64, u64) {
        let ended = self.0.ended.load(Ordering::Relaxed);
        (self.0.begun.load(Ordering::Relaxed), ended)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// An answer's body, which keeps its request open.
    #[derive(Debug)]
    pub(super) struct Counted<B> {
        #[pin]
        body: B,
        open: Open,
    }
}

impl<B> Counted<B> {
    pub(super) fn new(body: B, open: Open) -> Self {
        Self { body, open }
    }
}

impl<B: Body<Data = Bytes>> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
