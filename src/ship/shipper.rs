//! One sink's loop: read on, send, wait where that failed, settle, store the position.
//!
//! One batch is in memory and one request in flight at a time, which bounds what catching up
//! costs. A sink that is down is tried again for as long as the process lives; the events
//! wait in the journal, not here.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec};
use tokio::sync::watch;
use tokio::time::Instant;

use super::batch::{Batch, Fate, Glance, Parcel};
use super::follower::{Follower, Next};
use super::rejected::set_aside;
use super::sinks::{SendError, Sink};
use crate::telemetry::clock::{Clock, unix_millis};

/// How often a journal that has nothing new is looked at.
const POLL: Duration = Duration::from_millis(200);
/// For one try, from the first byte to the answer. A batch has a few MiB at most.
const TIMEOUT: Duration = Duration::from_mins(1);
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Short enough that a sink which is back is used again within the minute.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What the shippers are asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Run,
    /// Nothing more is written: ship what there is, without waiting for more, and end.
    Flush,
    /// End now; the next start goes on.
    Now,
}

/// What the keeper wants to know of a shipper.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// When the oldest event that is not shipped happened, in milliseconds since the epoch;
    /// 0 when there is none.
    pub(super) oldest: AtomicU64,
}

/// `sagegate_audit_events_total` of one sink.
#[derive(Debug)]
struct Counts {
    written: IntCounter,
    /// Events whose sending failed; they count as written too once they are.
    failed: IntCounter,
    /// Events that were set aside because the sink will not take them.
    rejected: IntCounter,
    /// Events whose file was removed by somebody before they were shipped.
    missing: IntCounter,
}

#[derive(Debug)]
pub(super) struct Shipper<S> {
    sink: S,
    directory: PathBuf,
    follower: Follower,
    progress: Arc<Progress>,
    counts: Counts,
    clock: Clock,
    stop: watch::Receiver<Stop>,
}

impl<S: Sink> Shipper<S> {
    pub(super) fn new(
        sink: S,
        directory: PathBuf,
        events: &IntCounterVec,
        clock: Clock,
        stop: watch::Receiver<Stop>,
    ) -> std::io::Result<Self> {
        let count = |result| events.with_label_values(&[S::NAME, result]);
        let counts = Counts {
            written: count("written"),
            failed: count("failed"),
            rejected: count("rejected"),
            missing: count("missing"),
        };
        let follower = Follower::open(&directory, S::NAME)?;
        Ok(Self { sink, directory, follower, progress: Arc::default(), counts, clock, stop })
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Until it is told to stop. Dropping it loses nothing: the next start goes on from the
    /// last position stored.
    pub(super) async fn run(mut self) {
        let limits = self.sink.limits();
        let mut failures = 0;
        while self.stop() != Stop::Now {
            let flush = self.stop() == Stop::Flush;
            match self.follower.next(&limits, Instant::now(), flush) {
                Ok(Next::Batch { batch, missing }) => {
                    self.say_missing(missing);
                    self.say_oldest(Some(Glance::of(batch.first()).time));
                    self.deliver(batch).await;
                }
                Ok(Next::Gathering { oldest }) => {
                    self.say_oldest(Some(oldest));
                    self.wait(POLL).await;
                }
                Ok(Next::CaughtUp) => {
                    self.say_oldest(None);
                    if flush {
                        return;
                    }
                    self.wait(POLL).await;
                }
                Err(error) => {
                    failures += 1;
                    tracing::error!(sink = S::NAME, %error, "the journal cannot be read to ship it");
                    self.wait(backoff(failures)).await;
                    continue;
                }
            }
            failures = 0;
        }
    }

    /// Returns when every event is accepted or set aside, or at [`Stop::Now`].
    async fn deliver(&mut self, mut batch: Batch) {
        let mut failures = 0;
        let mut most = usize::MAX;
        while !batch.is_done() {
            let wait = match self.send(&batch, most).await {
                Ok(fates) => self.settle(&mut batch, fates).await,
                Err(SendError::TooLarge(reason)) => {
                    most = batch.left(most).len() / 2;
                    if most == 0 {
                        most = 1;
                        self.settle(&mut batch, vec![Fate::Rejected(reason)]).await
                    } else {
                        None
                    }
                }
                Err(SendError::Failed { reason, retry_after }) => {
                    self.say_failed(batch.left(most).len(), &reason);
                    Some(retry_after.unwrap_or_default())
                }
            };
            match wait {
                None => failures = 0,
                Some(wished) => {
                    failures += 1;
                    self.wait(wished.clamp(backoff(failures), LONGEST_WAIT)).await;
                }
            }
            if self.stop() == Stop::Now {
                return;
            }
        }
        if failures > 0 {
            tracing::info!(sink = S::NAME, "the sink takes events again");
        }
        if let Err(error) = self.follower.advance(&batch) {
            tracing::error!(sink = S::NAME, %error, "the position cannot be stored");
        }
    }

    async fn send(&mut self, batch: &Batch, most: usize) -> Result<Vec<Fate>, SendError> {
        let events = batch.left(most);
        let longest = self.sink.limits().event;
        if events.iter().any(|event| event.len() > longest) {
            // Those first, and alone: what is sent is never too large.
            return Ok(events.iter().map(|event| too_long(event, longest)).collect());
        }
        let parcel = Parcel { events: &events, file: &batch.file, offset: batch.offset };
        let sent = tokio::time::timeout(TIMEOUT, self.sink.send(parcel)).await;
        sent.unwrap_or_else(|_| {
            Err(SendError::failed(format!("no answer within {} s", TIMEOUT.as_secs())))
        })
    }

    /// How long to wait before the next try, if something failed.
    async fn settle(&mut self, batch: &mut Batch, fates: Vec<Fate>) -> Option<Duration> {
        let failed = fates.iter().filter(|fate| matches!(fate, Fate::Failed(_))).count();
        let reason = fates.iter().find_map(|fate| match fate {
            Fate::Failed(reason) => Some(reason.clone()),
            _ => None,
        });
        let (accepted, rejected) = batch.settle(fates);
        self.counts.written.inc_by(accepted);
        if !rejected.is_empty() {
            Self::reject(&self.directory, &self.clock, &self.counts, &rejected).await;
        }
        let reason = reason?;
        self.say_failed(failed, &reason);
        Some(Duration::ZERO)
    }

    /// Does not return before the events are on disk: a full one is waited for.
    async fn reject(
        directory: &std::path::Path,
        clock: &Clock,
        counts: &Counts,
        rejected: &[(String, &[u8])],
    ) {
        let events = rejected.len();
        let reason = rejected.first().map_or("", |(reason, _)| reason);
        let now = unix_millis(clock.now());
        while let Err(error) = set_aside(directory, S::NAME, now, rejected) {
            tracing::error!(sink = S::NAME, events, %error, "rejected events cannot be set aside");
            tokio::time::sleep(LONGEST_WAIT).await;
        }
        counts.rejected.inc_by(events as u64);
        tracing::error!(sink = S::NAME, events, reason, "the sink rejects events: set aside");
    }

    fn stop(&self) -> Stop {
        // Nobody is left who could say: the gateway is gone.
        if self.stop.has_changed().is_err() { Stop::Now } else { *self.stop.borrow() }
    }

    /// Ends early when asked to stop.
    async fn wait(&mut self, wait: Duration) {
        let _ = tokio::time::timeout(wait, self.stop.changed()).await;
    }

    fn say_oldest(&self, oldest: Option<Option<u64>>) {
        let now = || unix_millis(self.clock.now());
        let oldest = oldest.map_or(0, |time| time.unwrap_or_else(now));
        self.progress.oldest.store(oldest, Ordering::Relaxed);
    }

    fn say_missing(&self, missing: u64) {
        if missing > 0 {
            self.counts.missing.inc_by(missing);
            let sink = S::NAME;
            tracing::error!(sink, missing, "events were removed from the journal unshipped");
        }
    }

    fn say_failed(&self, events: usize, reason: &str) {
        self.counts.failed.inc_by(events as u64);
        tracing::warn!(sink = S::NAME, events, reason, "events cannot be shipped; trying again");
    }
}

fn too_long(event: &[u8], longest: usize) -> Fate {
    if event.len() > longest {
        return Fate::Rejected(format!("{} bytes are more than the sink takes", event.len()));
    }
    Fate::Unsent
}

/// Twice as long after each failure, less up to half by chance, so that a fleet of gateways
/// does not come back all at once.
fn backoff(failures: u32) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(5)).min(LONGEST_WAIT);
    full.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests;
