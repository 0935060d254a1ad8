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
    ledger: Ledger,
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
    /// What it became, and how many bytes of that are written; `None` while it has to be
    /// begun anew.
    page: Option<(Page, usize)>,
}

impl Writer {
    pub(super) fn new(
        queue: Arc<Queue>,
        sink: Box<dyn Sink>,
        ledger: Ledger,
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
            let mut batch = Batch::default();
            self.queue.take(&mut batch, Instant::now());
            self.keep(&batch, self.due(&batch));
            self.run();
        };
        thread::Builder::new().name(name).spawn(run).map(drop)
    }

    fn run(&mut self) {
        let mut batch = Batch::default();
        while self.queue.take(&mut batch, self.next_head) != Taken::End {
            self.keep(&batch, self.due(&batch));
        }
        if !self.ended {
            batch.finish = true;
            self.keep(&batch, Some(Reason::Stop));
        }
    }

    /// The head that is due behind a batch.
    fn due(&self, batch: &Batch) -> Option<Reason> {
        match (batch.finish, batch.retires) {
            (true, _) => Some(Reason::Stop),
            (false, true) => Some(Reason::Retention),
            (false, false) => (Instant::now() >= self.next_head).then_some(Reason::Minute),
        }
    }

    fn keep(&mut self, batch: &Batch, closing: Option<Reason>) {
        let mut draft = Draft { batch, closing, page: None };
        if !self.write(&mut draft) {
            return;
        }
        self.counts.written.inc_by(batch.events);
        if closing.is_some() {
            self.next_head = Instant::now() + HEAD_EVERY;
        }
        self.ended = batch.finish;
        if let Some((page, _)) = draft.page {
            self.sink.kept(&page.heads);
            self.ledger.keep(page, &batch.bytes);
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
            draft.page = None;
            gap.into_iter().for_each(|gap| self.ledger.note_gap(gap));
        }
        self.attempt(draft)
    }

    fn attempt(&mut self, draft: &mut Draft<'_>) -> Result<(), Trouble> {
        let (page, done) = match &mut draft.page {
            Some(begun) => begun,
            none => {
                let new_file = self.sink.prepare().map_err(Trouble::Prepare)?;
                let records = &draft.batch.bytes;
                none.insert((self.ledger.page(new_file.as_deref(), records, draft.closing), 0))
            }
        };
        drain(self.sink.as_mut(), &page.lines, done).map_err(Trouble::Write)?;
        self.sync(draft.batch).map_err(Trouble::Sync)
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

fn drain(sink: &mut dyn Sink, lines: &[u8], done: &mut usize) -> io::Result<()> {
    while let Some(rest) = lines.get(*done..).filter(|rest| !rest.is_empty()) {
        match sink.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => *done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::audit::digest::ChainUid;
    use crate::audit::head::Head;
    use crate::audit::journal::{Durability, Instance};
    use crate::audit::ledger::Position;
    use crate::audit::line::Kind;
    use crate::audit::privacy::Privacy;
    use crate::audit::queue::Limits;
    use crate::audit::render::Renderer;
    use crate::telemetry::clock::Clock;

    /// Takes bytes only after a `prepare` that went well, of which the first ones do not.
    struct Unprepared {
        refusals: u32,
        ready: bool,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Sink for Unprepared {
        fn name(&self) -> &'static str {
            "unprepared"
        }

        fn prepare(&mut self) -> io::Result<Option<String>> {
            self.ready = self.refusals == 0;
            self.refusals = self.refusals.saturating_sub(1);
            if self.ready { Ok(None) } else { Err(io::ErrorKind::StorageFull.into()) }
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.ready {
                return Err(io::ErrorKind::NotFound.into());
            }
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn kept(&mut self, _: &[u8]) {}

        fn recover(&mut self, _: &Trouble) -> Resume {
            Resume::NextByte
        }
    }

    struct Bench {
        queue: Arc<Queue>,
        writer: Writer,
        metrics: Metrics,
        written: Arc<Mutex<Vec<u8>>>,
    }

    fn bench(refusals: u32) -> Bench {
        let queue = Arc::new(Queue::new(Durability::Write, Limits { places: 9, bytes: 99 }));
        let (metrics, written) = (Metrics::new().unwrap(), Arc::<Mutex<Vec<u8>>>::default());
        let sink = Unprepared { refusals, ready: false, written: Arc::clone(&written) };
        let instance = Instance { uid: "gw-1".into(), version: "0.1.0".into() };
        let renderer = Arc::new(Renderer::new(&instance, Privacy::default()));
        let at = Position::first(ChainUid::generate().unwrap());
        let ledger = Ledger::new(at, false, renderer, None, Clock::System);
        let writer = Writer::new(Arc::clone(&queue), Box::new(sink), ledger, &metrics.audit_events);
        Bench { queue, writer, metrics, written }
    }

    /// Why each head was written, in their order.
    fn reasons(written: &Mutex<Vec<u8>>) -> Vec<Reason> {
        let text = written.lock().unwrap();
        let heads = text.split(|byte| *byte == b'\n').filter_map(Head::parse);
        heads.map(|head| head.statement.reason).collect()
    }

    #[test]
    fn a_sink_that_could_not_prepare_is_prepared_again_before_it_is_written() {
        let Bench { queue, mut writer, metrics, .. } = bench(1);
        queue.reserve().unwrap();
        queue.append(Kind::Request, b"");
        queue.shutdown();
        writer.run();
        let count = |result| metrics.audit_events.with_label_values(&["unprepared", result]).get();
        assert_eq!((count("failed"), count("written"), count("lost")), (1, 1, 0));
    }

    #[test]
    fn a_minute_in_which_nothing_happened_has_its_head() {
        let Bench { queue, mut writer, written, .. } = bench(0);
        assert!(writer.next_head <= Instant::now() + Duration::from_mins(1));
        writer.next_head = Instant::now();
        thread::scope(|threads| {
            threads.spawn(|| writer.run());
            while reasons(&written).is_empty() {
                thread::yield_now();
            }
            queue.shutdown();
        });
        assert_eq!(
            reasons(&written),
            [Reason::Minute, Reason::Stop],
            "and the next is a minute off"
        );
    }

    #[test]
    fn what_retention_removed_is_vouched_for_at_once() {
        let Bench { queue, mut writer, written, .. } = bench(0);
        let note = |kind| {
            queue.intrude();
            queue.append(kind, b",1");
        };
        note(Kind::Keys);
        note(Kind::Retired);
        let mut batch = Batch::default();
        queue.take(&mut batch, Instant::now());
        writer.keep(&batch, writer.due(&batch));
        assert_eq!(reasons(&written), [Reason::Retention]);
        note(Kind::Keys);
        queue.take(&mut batch, Instant::now());
        assert_eq!(writer.due(&batch), None);
    }
}
