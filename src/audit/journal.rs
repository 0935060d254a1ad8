//! The journal as requests see it: a place first, then an event in it, then the wait for
//! its durability.
//!
//! Taking the place before a request goes upstream is what makes the record a condition of
//! the call and not an afterthought: when the place is there, the event will be kept.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec};

use super::event::Event;
use super::queue::{Limits, Queue};
use super::render::{LEAD, Renderer};
use super::sinks::{FileSink, Sink, StdoutSink};
use super::writer::{Follower, Writer};
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// Lines that wait for a disk that hangs: about 30,000 of the usual 2 KiB.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Lines that wait for whoever reads standard output, beyond which the copy has gaps.
const COPY_BYTES: usize = 4 * 1024 * 1024;
/// What the end of the copy may cost at shutdown, when the journal itself is complete.
const COPY_GRACE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// Where the `*.jsonl` files go; `None` makes standard output the journal.
    pub directory: Option<PathBuf>,
    /// With a directory: a copy on standard output. Without one it is the journal anyway.
    pub stdout: bool,
    pub durability: Durability,
    /// Bytes after which a new file is begun.
    pub rotate_size: u64,
    /// Requests in flight and events not yet written, together. Must exceed the number of
    /// requests served at once, for each holds a place until its event is written.
    pub queue: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Handed over at once, written within 100 ms.
    Memory,
    /// Given to the operating system before the caller sees the end of the answer.
    Write,
}

/// Which gateway it was.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The host's or pod's name.
    pub uid: String,
    pub version: String,
}

/// The record cannot be kept now; the request must not go on (503).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("the audit queue is full")]
    Full,
    #[error("the audit journal cannot be written")]
    Failing,
    #[error("the audit journal is closed")]
    Closed,
}

/// Keeps the record. Clones share one queue and one writing thread, which ends, after what
/// it holds, with the last clone and the last intent.
#[derive(Clone, Debug)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: Arc<Queue>,
    /// The copy on standard output.
    copy: Option<Arc<Queue>>,
    renderer: Renderer,
    durability: Durability,
    refused: IntCounter,
}

impl Journal {
    /// Begins a new file and starts the writing thread.
    ///
    /// # Errors
    /// When the directory, the first file or a thread cannot be created.
    #[expect(clippy::needless_pass_by_value, reason = "the journal takes over its configuration")]
    pub fn open(config: JournalConfig, instance: Instance, metrics: &Metrics) -> io::Result<Self> {
        let Some(directory) = &config.directory else {
            let sink = Box::new(StdoutSink::open()?);
            return Self::start(&config, &instance, sink, None, &metrics.audit_events);
        };
        let sink = Box::new(FileSink::open(directory, config.rotate_size, Clock::System)?);
        let copy = config.stdout.then(|| start_copy(&metrics.audit_events)).transpose()?;
        Self::start(&config, &instance, sink, copy, &metrics.audit_events)
    }

    fn start(
        config: &JournalConfig,
        instance: &Instance,
        sink: Box<dyn Sink>,
        follower: Option<Follower>,
        events: &IntCounterVec,
    ) -> io::Result<Self> {
        let limits = Limits { places: config.queue, bytes: QUEUE_BYTES };
        let queue = Arc::new(Queue::new(config.durability, limits));
        let inner = Inner {
            queue: Arc::clone(&queue),
            copy: follower.as_ref().map(|follower| Arc::clone(&follower.queue)),
            renderer: Renderer::new(instance),
            durability: config.durability,
            refused: events.with_label_values(&[sink.name(), "refused"]),
        };
        Writer::new(queue, sink, follower, events).spawn()?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A place in the queue for one request, taken before the request may go upstream.
    ///
    /// # Errors
    /// When the queue is full, the journal cannot be written, or it is closed. The request
    /// must then be refused (503): nothing may happen that cannot be recorded.
    pub fn reserve(&self) -> Result<Intent, Unavailable> {
        match self.inner.queue.reserve() {
            Ok(()) => Ok(Intent { inner: Some(Arc::clone(&self.inner)) }),
            Err(unavailable) => {
                self.inner.refused.inc();
                Err(unavailable)
            }
        }
    }

    /// Whether requests can be recorded: for readiness.
    pub fn healthy(&self) -> bool {
        !self.inner.queue.is_failing() && !self.inner.queue.is_closed()
    }

    /// Refuses new places and returns once everything committed so far is written; the copy
    /// on standard output gets one second more. To be called after the last request ended:
    /// an intent still open then is written when it is committed, if the process lives.
    ///
    /// While the disk fails this waits: give it a deadline. Cancel-safe: dropping it stops
    /// the waiting, not the writing.
    pub async fn close(&self) {
        self.inner.queue.close();
        written(&self.inner.queue).await;
        if let Some(copy) = &self.inner.copy {
            copy.close();
            if tokio::time::timeout(COPY_GRACE, written(copy)).await.is_err() {
                tracing::warn!("standard output did not take the end of the audit copy");
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.shutdown();
    }
}

/// A blocked pipe must hold up neither the journal nor the requests, so standard output as
/// a copy has a queue and a thread of its own.
fn start_copy(events: &IntCounterVec) -> io::Result<Follower> {
    let sink = Box::new(StdoutSink::open()?);
    // Places are not reserved in a copy; only its bytes bound it.
    let limits = Limits { places: usize::MAX, bytes: COPY_BYTES };
    let queue = Arc::new(Queue::new(Durability::Memory, limits));
    let dropped = events.with_label_values(&[sink.name(), "dropped"]);
    Writer::new(Arc::clone(&queue), sink, None, events).spawn()?;
    Ok(Follower { queue, dropped })
}

async fn written(queue: &Queue) {
    let last = queue.flush();
    std::future::poll_fn(|context| queue.poll_written(last, context.waker())).await;
}

/// A place in the queue. Dropped without a commit, it is free again.
#[derive(Debug)]
#[must_use = "a request that goes on must leave an event"]
pub struct Intent {
    /// `None` once committed.
    inner: Option<Arc<Inner>>,
}

impl Intent {
    /// Renders the event and appends it to the journal's queue, now and without fail. From
    /// here on it is the journal's to write; the future only tells when.
    pub fn commit(mut self, event: &Event<'_>) -> Committed {
        let Some(inner) = self.inner.take() else { return Committed { waits: None } };
        let sequence = inner.queue.append(LEAD, &inner.renderer.render(event));
        match inner.durability {
            Durability::Memory => Committed { waits: None },
            Durability::Write => Committed { waits: Some((inner, sequence)) },
        }
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            inner.queue.release();
        }
    }
}

/// Resolves once the durability is met: at `memory` at once, at `write` when the operating
/// system has the event. [`Unavailable`] means not in time: the event is still held, and
/// written as soon as the journal can be.
///
/// Cancel-safe: dropping it does not lose the event.
#[derive(Debug)]
#[must_use = "the durability is not met before this resolves"]
pub struct Committed {
    /// `None` when there is nothing to wait for.
    waits: Option<(Arc<Inner>, u64)>,
}

impl Future for Committed {
    type Output = Result<(), Unavailable>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &self.waits {
            None => Poll::Ready(Ok(())),
            Some((inner, sequence)) => inner.queue.poll_kept(*sequence, context.waker()),
        }
    }
}

#[cfg(test)]
mod tests;
