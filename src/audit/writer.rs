//! The thread that owns a sink. It alone meets the disk, so a disk that hangs holds up the
//! journal and never the runtime.
//!
//! Invariant: a batch is written whole, in order and once, or tried again until it is;
//! only the end of the process ends the trying, and then the loss is logged and counted.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use prometheus::{Histogram, IntCounter, IntCounterVec};

use super::head::Reason;
use super::ledger::{Ledger, Page};
use super::queue::{Batch, Queue, Taken};
use super::sinks::{Resume, Sink, Trouble};
use crate::telemetry::metrics::Metrics;

/// Tries after an error: soon, for most pass, then rarely enough not to add to the trouble.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a head says how long the chain is, also when nothing happened.
const HEAD_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Writer {
    queue: Arc<Queue>,
    sink: Box<dyn Sink>,
    /// `None` for a copy, whose lines are sealed already.
    ledger: Option<Ledger>,
    next_head: Instant,
    /// The run's records have their end.
    ended: bool,
    counts: Counts,
    syncs: Option<Syncs>,
}

/// `sagegate_audit_events_total` of one sink.
struct Counts {
    written: IntCounter,
    /// Events whose writing failed at first; they count as written too once they are.
    failed: IntCounter,
    /// Events that were given up when the process ended.
    lost: IntCounter,
}

/// What group commit does, at `fsync`.
#[derive(Clone, Debug)]
pub(super) struct Syncs {
    /// Records that one sync served.
    pub(super) batch: Histogram,
    /// From the first of them to the end of the sync, in seconds.
    pub(super) wait: Histogram,
}

impl Syncs {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self { batch: metrics.audit_sync_records.clone(), wait: metrics.audit_sync_wait.clone() }
    }
}

/// A batch on its way to the sink.
struct Draft<'b> {
    batch: &'b Batch,
    /// A head at its end.
    closing: Option<Reason>,
    page: Option<Page>,
    /// How many of the page's bytes are written; `None` while it has to be begun anew.
    done: Option<usize>,
}

impl Writer {
    pub(super) fn new(
        queue: Arc<Queue>,
        sink: Box<dyn Sink>,
        ledger: Option<Ledger>,
        events: &IntCounterVec,
    ) -> Self {
        let count = |result| events.with_label_values(&[sink.name(), result]);
        let counts =
            Counts { written: count("written"), failed: count("failed"), lost: count("lost") };
        let next_head = Instant::now() + HEAD_EVERY;
        Self { queue, sink, ledger, next_head, ended: false, counts, syncs: None }
    }

    pub(super) fn syncing(self, syncs: Option<Syncs>) -> Self {
        Self { syncs, ..self }
    }

    /// Starts the thread, whose first page holds `opening`: records that wait for nobody.
    pub(super) fn spawn(mut self, opening: &[u8]) -> io::Result<()> {
        let name = format!("audit-{}", self.sink.name());
        if !opening.is_empty() {
            self.queue.open_with(opening);
        }
        let run = move || {
            if self.ledger.is_some() {
                let mut batch = Batch::default();
                self.queue.take(&mut batch, Some(Instant::now()));
                let closing = self.due(&batch);
                self.keep(&batch, closing);
            }
            self.run();
        };
        thread::Builder::new().name(name).spawn(run).map(drop)
    }

    fn run(&mut self) {
        let mut batch = Batch::default();
        loop {
            let until = self.ledger.is_some().then_some(self.next_head);
            match self.queue.take(&mut batch, until) {
                Taken::Lines | Taken::Late => self.keep(&batch, self.due(&batch)),
                Taken::End => break,
            }
        }
        if self.ledger.is_some() && !self.ended {
            batch.finish = true;
            self.keep(&batch, Some(Reason::Stop));
        }
    }

    /// The head that is due behind a batch.
    fn due(&self, batch: &Batch) -> Option<Reason> {
        match batch.finish {
            true => Some(Reason::Stop),
            false => (Instant::now() >= self.next_head).then_some(Reason::Minute),
        }
    }

    fn keep(&mut self, batch: &Batch, closing: Option<Reason>) {
        let closing = closing.filter(|_| self.ledger.is_some());
        let mut draft = Draft { batch, closing, page: None, done: None };
        if !self.write(&mut draft) {
            return;
        }
        self.counts.written.inc_by(batch.events);
        if closing.is_some() {
            self.next_head = Instant::now() + HEAD_EVERY;
        }
        self.ended = batch.finish;
        if let (Some(ledger), Some(page)) = (&mut self.ledger, draft.page) {
            self.sink.kept(&page.heads);
            ledger.keep(page, &batch.bytes);
        }
        self.queue.settle(batch);
    }

    /// Until the page is written; `false` if the process ends first.
    fn write(&mut self, draft: &mut Draft<'_>) -> bool {
        let Err(mut error) = self.attempt(draft) else { return true };
        self.failed(draft.batch, &error);
        let mut pause = FIRST_PAUSE;
        while self.queue.pause(pause) {
            match self.retry(draft, &error) {
                Ok(()) => {
                    tracing::info!(sink = self.sink.name(), "audit journal is written again");
                    return true;
                }
                Err(again) => error = again,
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        self.last_try(draft, &error)
    }

    fn retry(&mut self, draft: &mut Draft<'_>, error: &Trouble) -> Result<(), Trouble> {
        if let Resume::Page(gap) = self.sink.recover(error) {
            draft.done = None;
            if let (Some(ledger), Some(gap)) = (&mut self.ledger, gap) {
                ledger.note_gap(gap);
            }
        }
        self.attempt(draft)
    }

    fn attempt(&mut self, draft: &mut Draft<'_>) -> Result<(), Trouble> {
        let mut done = match draft.done {
            Some(done) => done,
            None => {
                let new_file = self.sink.prepare().map_err(Trouble::Prepare)?;
                draft.page = self.ledger.as_mut().map(|ledger| {
                    ledger.page(new_file.as_deref(), &draft.batch.bytes, draft.closing)
                });
                0
            }
        };
        let drained = self.drain(draft.lines(), &mut done);
        draft.done = Some(done);
        drained.map_err(Trouble::Write)?;
        self.sync(draft.batch).map_err(Trouble::Sync)
    }

    fn drain(&mut self, lines: &[u8], done: &mut usize) -> io::Result<()> {
        while let Some(rest) = lines.get(*done..).filter(|rest| !rest.is_empty()) {
            match self.sink.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => *done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync(&mut self, batch: &Batch) -> io::Result<()> {
        self.sink.sync()?;
        if let (Some(syncs), Some(first)) = (&self.syncs, batch.first) {
            #[expect(clippy::cast_precision_loss, reason = "exact far beyond any batch")]
            syncs.batch.observe(batch.events as f64);
            syncs.wait.observe(first.elapsed().as_secs_f64());
        }
        Ok(())
    }

    fn failed(&self, batch: &Batch, error: &Trouble) {
        self.counts.failed.inc_by(batch.events);
        let (sink, events) = (self.sink.name(), batch.events);
        tracing::error!(sink, events, %error, "audit journal cannot be written");
        self.queue.fail();
    }

    fn last_try(&mut self, draft: &mut Draft<'_>, error: &Trouble) -> bool {
        let Err(error) = self.retry(draft, error) else { return true };
        let (sink, events) = (self.sink.name(), draft.batch.events);
        self.counts.lost.inc_by(events);
        tracing::error!(sink, events, %error, "audit journal gives up its last events");
        false
    }
}

impl Draft<'_> {
    fn lines(&self) -> &[u8] {
        self.page.as_ref().map_or(&self.batch.bytes, |page| &page.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::journal::Durability;
    use crate::audit::line::Kind;
    use crate::audit::queue::Limits;

    /// Takes bytes only after a `prepare` that went well, of which the first does not.
    struct Unprepared {
        tries: u32,
        ready: bool,
    }

    impl Sink for Unprepared {
        fn name(&self) -> &'static str {
            "unprepared"
        }

        fn prepare(&mut self) -> io::Result<Option<String>> {
            self.tries += 1;
            self.ready = self.tries > 1;
            if self.ready { Ok(None) } else { Err(io::ErrorKind::StorageFull.into()) }
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.ready { Ok(bytes.len()) } else { Err(io::ErrorKind::NotFound.into()) }
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn kept(&mut self, _: &[u8]) {}

        fn recover(&mut self, _: &Trouble) -> Resume {
            Resume::NextByte
        }
    }

    #[test]
    fn a_sink_that_could_not_prepare_is_prepared_again_before_it_is_written() {
        let queue = Arc::new(Queue::new(Durability::Write, Limits { places: 9, bytes: 99 }));
        let metrics = Metrics::new().unwrap();
        let sink = Box::new(Unprepared { tries: 0, ready: false });
        let mut writer = Writer::new(Arc::clone(&queue), sink, None, &metrics.audit_events);
        queue.reserve().unwrap();
        queue.append(Kind::Request, b"");
        queue.shutdown();
        writer.run();
        let count = |result| metrics.audit_events.with_label_values(&["unprepared", result]).get();
        assert_eq!((count("failed"), count("written"), count("lost")), (1, 1, 0));
    }
}
