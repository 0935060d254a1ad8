//! The thread that owns a sink. It alone meets the disk, so a disk that hangs holds up the
//! journal and never the runtime.
//!
//! Invariant: a batch is written whole, in order and once, or tried again until it is;
//! only the end of the process ends the trying, and then the loss is logged and counted.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec};

use super::queue::{Batch, Queue};
use super::sinks::{Resume, Sink};

/// Tries after an error: soon, for most pass, then rarely enough not to add to the trouble.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Writer {
    queue: Arc<Queue>,
    sink: Box<dyn Sink>,
    /// The queue of the copy on standard output.
    copy: Option<Follower>,
    counts: Counts,
}

/// A second queue with its own writer, given what the first has written. It may lag or
/// block without holding up the journal; what it has no room for is left out and counted.
pub(super) struct Follower {
    pub(super) queue: Arc<Queue>,
    pub(super) dropped: IntCounter,
}

/// `sagegate_audit_events_total` of one sink.
struct Counts {
    written: IntCounter,
    /// Events whose writing failed at first; they count as written too once they are.
    failed: IntCounter,
    /// Events that were given up when the process ended.
    lost: IntCounter,
}

impl Writer {
    pub(super) fn new(
        queue: Arc<Queue>,
        sink: Box<dyn Sink>,
        copy: Option<Follower>,
        events: &IntCounterVec,
    ) -> Self {
        let count = |result| events.with_label_values(&[sink.name(), result]);
        let counts =
            Counts { written: count("written"), failed: count("failed"), lost: count("lost") };
        Self { queue, sink, copy, counts }
    }

    pub(super) fn spawn(self) -> io::Result<()> {
        let name = format!("audit-{}", self.sink.name());
        thread::Builder::new().name(name).spawn(move || self.run()).map(drop)
    }

    fn run(mut self) {
        let mut batch = Batch::default();
        while self.queue.take(&mut batch) {
            if !self.write(&batch) {
                continue;
            }
            self.counts.written.inc_by(batch.events);
            if let Some(copy) = &self.copy
                && !copy.queue.offer(&batch)
            {
                copy.dropped.inc_by(batch.events);
            }
            self.queue.settle(&batch);
        }
        if let Some(copy) = &self.copy {
            copy.queue.shutdown();
        }
    }

    /// Until the batch is written; `false` if the process ends first.
    fn write(&mut self, batch: &Batch) -> bool {
        let mut done = 0;
        let Err(mut error) = self.attempt(&batch.bytes, &mut done) else { return true };
        self.failed(batch, &error);
        let mut pause = FIRST_PAUSE;
        while self.queue.pause(pause) {
            match self.retry(&batch.bytes, &mut done, &error) {
                Ok(()) => {
                    tracing::info!(sink = self.sink.name(), "audit journal is written again");
                    return true;
                }
                Err(again) => error = again,
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        self.last_try(batch, &mut done, &error)
    }

    fn attempt(&mut self, bytes: &[u8], done: &mut usize) -> io::Result<()> {
        self.sink.prepare()?;
        self.drain(bytes, done)
    }

    fn retry(&mut self, bytes: &[u8], done: &mut usize, error: &io::Error) -> io::Result<()> {
        if self.sink.recover(error)? == Resume::LineStart {
            *done = line_start(bytes, *done);
        }
        if *done == 0 {
            return self.attempt(bytes, done);
        }
        // Not `prepare` in the middle of a line: the rest must follow in the same file.
        self.drain(bytes, done)
    }

    fn drain(&mut self, bytes: &[u8], done: &mut usize) -> io::Result<()> {
        while let Some(rest) = bytes.get(*done..).filter(|rest| !rest.is_empty()) {
            match self.sink.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => *done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn failed(&self, batch: &Batch, error: &io::Error) {
        self.counts.failed.inc_by(batch.events);
        let (sink, events) = (self.sink.name(), batch.events);
        tracing::error!(sink, events, %error, "audit journal cannot be written");
        self.queue.fail();
    }

    fn last_try(&mut self, batch: &Batch, done: &mut usize, error: &io::Error) -> bool {
        let Err(error) = self.retry(&batch.bytes, done, error) else { return true };
        self.counts.lost.inc_by(batch.events);
        let (sink, events) = (self.sink.name(), batch.events);
        tracing::error!(sink, events, %error, "audit journal gives up its last events");
        false
    }
}

/// Where the line begins that holds the byte at `done`.
fn line_start(bytes: &[u8], done: usize) -> usize {
    let before = bytes.get(..done).unwrap_or_default();
    before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::journal::Durability;
    use crate::audit::queue::Limits;
    use crate::telemetry::metrics::Metrics;

    /// Takes bytes only after a `prepare` that went well, of which the first does not.
    struct Unprepared {
        tries: u32,
        ready: bool,
    }

    impl Sink for Unprepared {
        fn name(&self) -> &'static str {
            "unprepared"
        }

        fn prepare(&mut self) -> io::Result<()> {
            self.tries += 1;
            self.ready = self.tries > 1;
            if self.ready { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.ready { Ok(bytes.len()) } else { Err(io::ErrorKind::NotFound.into()) }
        }

        fn recover(&mut self, _: &io::Error) -> io::Result<Resume> {
            Ok(Resume::NextByte)
        }
    }

    #[test]
    fn a_sink_that_could_not_prepare_is_prepared_again_before_it_is_written() {
        let queue = Arc::new(Queue::new(Durability::Write, Limits { places: 9, bytes: 99 }));
        let metrics = Metrics::new().unwrap();
        let sink = Box::new(Unprepared { tries: 0, ready: false });
        let writer = Writer::new(Arc::clone(&queue), sink, None, &metrics.audit_events);
        queue.reserve().unwrap();
        queue.append(b"", b"\n");
        queue.shutdown();
        writer.run();
        let count = |result| metrics.audit_events.with_label_values(&["unprepared", result]).get();
        assert_eq!((count("failed"), count("written"), count("lost")), (1, 1, 0));
    }

    #[test]
    fn a_line_starts_after_the_newline_before_it() {
        let bytes = b"ab\ncd\n";
        let starts: Vec<_> = (0..=6).map(|done| line_start(bytes, done)).collect();
        assert_eq!(starts, [0, 0, 0, 3, 3, 3, 6]);
    }
}
