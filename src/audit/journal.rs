//! The journal as requests see it: a place first, then an event in it, then the wait for
//! its durability.
//!
//! Taking the place before a request goes upstream is what makes the record a condition of
//! the call and not an afterthought: when the place is there, the event will be kept.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus::IntCounter;

use super::digest::ChainUid;
use super::event::Event;
use super::ledger::{Ledger, Position};
use super::line::Kind;
use super::note::Note;
use super::privacy::Privacy;
use super::queue::{Limits, Queue};
use super::recover::{Recovered, recover};
use super::render::Renderer;
use super::signing::{Signer, SigningKey};
use super::sinks::{FileSink, Rotation, Sink, StdoutSink};
use super::writer::{Syncs, Writer};
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// Lines that wait for a disk that hangs: about 30,000 of the usual 2 KiB.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// Where the `*.jsonl` files go; `None` makes standard output the journal.
    pub directory: Option<PathBuf>,
    pub durability: Durability,
    /// Bytes after which a new file is begun.
    pub rotate_size: u64,
    /// The same by age.
    pub rotate_age: Duration,
    /// The Ed25519 key (PKCS#8, PEM) that signs heads; without one they are not signed.
    pub signing_key: Option<PathBuf>,
    /// Requests in flight and events not yet written, together. Must exceed the number of
    /// requests served at once, for each holds a place until its event is written.
    pub queue: usize,
    pub privacy: Privacy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Handed over at once, written within 100 ms.
    Memory,
    /// Given to the operating system before the caller sees the end of the answer.
    Write,
    /// On disk before the call goes to SageMaker, and again before the caller sees the end of
    /// the answer.
    Fsync,
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
    #[error("the audit spool is full of unshipped events")]
    SpoolFull,
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
    spool_full: AtomicBool,
    renderer: Arc<Renderer>,
    durability: Durability,
    refused: IntCounter,
}

impl Journal {
    /// Goes on with the chain of the last run, or begins one, in a new file, and starts the
    /// writing thread.
    ///
    /// # Errors
    /// When the signing key cannot be read, what earlier runs left cannot be read, or the
    /// directory, the first file or a thread cannot be created.
    #[expect(clippy::needless_pass_by_value, reason = "the journal takes over its configuration")]
    pub fn open(config: JournalConfig, instance: Instance, metrics: &Metrics) -> io::Result<Self> {
        let signer = config.signing_key.as_deref().map(signing_key).transpose()?;
        Self::open_signed(&config, &instance, metrics, signer)
    }

    /// The same with a signer of its own, in place of the key file.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_signed(
        config: &JournalConfig,
        instance: &Instance,
        metrics: &Metrics,
        signer: Option<Box<dyn Signer>>,
    ) -> io::Result<Self> {
        let renderer = Arc::new(Renderer::new(instance, config.privacy.clone()));
        let intents = config.durability == Durability::Fsync;
        let ledger = |at| Ledger::new(at, intents, Arc::clone(&renderer), signer, Clock::System);
        let Some(directory) = &config.directory else {
            let ledger = ledger(Position::first(ChainUid::generate()?));
            let begun = Begun { sink: Box::new(StdoutSink::open()?), ledger, opening: Vec::new() };
            return Self::start(config, &renderer, begun, metrics);
        };
        // The lock is held until the new file has its own.
        let Recovered { at, stamp, gaps, opening, open_from, lock: _lock } = recover(directory)?;
        let rotation = Rotation { size: config.rotate_size, age: config.rotate_age };
        let sink = FileSink::open(directory, at.chain, stamp, rotation, intents, Clock::System)?;
        let ledger = ledger(at).inheriting(gaps, open_from);
        let begun = Begun { sink: Box::new(sink), ledger, opening };
        Self::start(config, &renderer, begun, metrics)
    }

    fn start(
        config: &JournalConfig,
        renderer: &Arc<Renderer>,
        begun: Begun,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        let limits = Limits { places: config.queue, bytes: QUEUE_BYTES };
        let queue = Arc::new(Queue::new(config.durability, limits));
        let events = &metrics.audit_events;
        let inner = Inner {
            queue: Arc::clone(&queue),
            spool_full: AtomicBool::new(false),
            renderer: Arc::clone(renderer),
            durability: config.durability,
            refused: events.with_label_values(&[begun.sink.name(), "refused"]),
        };
        let syncs = (config.durability == Durability::Fsync).then(|| Syncs::new(metrics));
        Writer::new(queue, begun.sink, begun.ledger, events)
            .syncing(syncs)
            .spawn(&begun.opening)?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A place in the queue for one request, taken before the request may go upstream.
    ///
    /// # Errors
    /// When the queue or the spool is full, the journal cannot be written, or it is closed.
    /// The request must then be refused (503): nothing may happen that cannot be recorded.
    pub fn reserve(&self) -> Result<Intent, Unavailable> {
        let spool = if self.spool_full() { Err(Unavailable::SpoolFull) } else { Ok(()) };
        match spool.and_then(|()| self.inner.queue.reserve()) {
            Ok(()) => Ok(Intent { journal: Some(self.clone()) }),
            Err(unavailable) => {
                self.inner.refused.inc();
                Err(unavailable)
            }
        }
    }

    /// A record of the gateway's own. It takes no request's place, so it is never refused;
    /// dropping what it returns does not lose it. Who waits, waits until it is written,
    /// whatever the durability.
    pub fn note(&self, kind: Kind, note: &Note<'_>) -> Committed {
        self.inner.queue.intrude();
        let ticket = self.inner.queue.append(kind, &self.inner.renderer.note(note));
        Committed { waits: Some((Arc::clone(&self.inner), ticket)) }
    }

    fn append(&self, kind: Kind, rendered: &[u8]) -> Committed {
        let inner = &self.inner;
        let ticket = inner.queue.append(kind, rendered);
        match inner.durability {
            Durability::Memory => Committed { waits: None },
            Durability::Write | Durability::Fsync => {
                Committed { waits: Some((Arc::clone(inner), ticket)) }
            }
        }
    }

    /// What the record keeps back, and so must whatever is told beside it.
    pub fn privacy(&self) -> &Privacy {
        self.inner.renderer.privacy()
    }

    /// Whether requests can be recorded: for readiness.
    pub fn healthy(&self) -> bool {
        !self.inner.queue.is_failing() && !self.inner.queue.is_closed()
    }

    /// Refuses new places while more is unshipped than may be; whoever ships says so.
    pub fn set_spool_full(&self, full: bool) {
        self.inner.spool_full.store(full, Ordering::Relaxed);
    }

    /// Whether new places are refused for that reason: for readiness.
    pub fn spool_full(&self) -> bool {
        self.inner.spool_full.load(Ordering::Relaxed)
    }

    /// Refuses new places and returns once everything committed so far is written. To be
    /// called after the last request ended: an intent still open then is written when it is
    /// committed, if the process lives.
    ///
    /// While the disk fails this waits: give it a deadline. Cancel-safe: dropping it stops
    /// the waiting, not the writing.
    pub async fn close(&self) {
        self.inner.queue.close();
        written(&self.inner.queue).await;
    }
}

/// What a journal starts with.
struct Begun {
    sink: Box<dyn Sink>,
    ledger: Ledger,
    opening: Vec<u8>,
}

fn signing_key(path: &Path) -> io::Result<Box<dyn Signer>> {
    let failed = |error: &dyn std::fmt::Display| {
        io::Error::other(format!("the signing key {}: {error}", path.display()))
    };
    let pem = std::fs::read(path).map_err(|error| failed(&error))?;
    let key = SigningKey::from_pem(&pem).map_err(|error| failed(&error))?;
    Ok(Box::new(key))
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.shutdown();
    }
}

async fn written(queue: &Queue) {
    let last = queue.finish();
    std::future::poll_fn(|context| queue.poll_written(last, context.waker())).await;
}

/// A place in the queue. Dropped without a commit, it is free again.
#[derive(Debug)]
#[must_use = "a request that goes on must leave an event"]
pub struct Intent {
    /// `None` once committed.
    journal: Option<Journal>,
}

impl Intent {
    /// Has on disk what is about to happen, where the durability asks for that: `event` is
    /// the event so far, without an outcome. Nothing may go to SageMaker without the proof
    /// that this gives.
    ///
    /// Cancel-safe: when the future is dropped the intent may be on record, and this one's
    /// [`commit`](Self::commit) still follows it.
    ///
    /// # Errors
    /// When the record cannot be kept now.
    pub async fn declare<'e>(
        &self,
        event: impl FnOnce() -> Event<'e>,
    ) -> Result<OnRecord, Unavailable> {
        if let Some(journal) = &self.journal
            && journal.inner.durability == Durability::Fsync
        {
            let rendered = journal.inner.renderer.render(&event());
            journal.inner.queue.intrude();
            journal.append(Kind::Intent, &rendered).await?;
        }
        Ok(OnRecord(()))
    }

    /// Renders the event and appends it to the journal's queue, now and without fail. From
    /// here on it is the journal's to write; the future only tells when.
    pub fn commit(mut self, event: &Event<'_>) -> Committed {
        let Some(journal) = self.journal.take() else { return Committed { waits: None } };
        journal.append(Kind::Request, &journal.inner.renderer.render(event))
    }
}

/// Proof that a call is as much on record as the durability asks for before it goes out.
#[derive(Debug)]
pub struct OnRecord(());

impl Drop for Intent {
    fn drop(&mut self) {
        if let Some(journal) = self.journal.take() {
            journal.inner.queue.release();
        }
    }
}

/// Resolves once the durability is met: at `memory` at once, at `write` when the operating
/// system has the event, at `fsync` when the disk has it. [`Unavailable`] means not in time:
/// the event is still held, and written as soon as the journal can be.
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
            Some((inner, ticket)) => inner.queue.poll_kept(*ticket, context.waker()),
        }
    }
}

#[cfg(test)]
mod tests;
