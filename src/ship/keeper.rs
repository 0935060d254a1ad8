//! Looks after the directory: says how much is unshipped, refuses requests while that is too
//! much, and removes files that every sink has.
//!
//! Of the processes that share a directory one ships and removes, for all: the one that holds
//! the lock. Each looks for itself whether the spool is full.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::batch::Glance;
use super::files::{JournalFile, chains};
use super::position::Positions;
use super::rejected;
use super::shipper::{Progress, Stop};
use super::spool::{Rules, Stock};
use crate::audit::line::Kind;
use crate::audit::{Activity, Journal, Note, Severity};
use crate::telemetry::clock::{Clock, unix_millis};
use crate::telemetry::metrics::Metrics;

/// How often it looks: the spool may exceed its bound by what is written meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// Behind which the last record of a file begins: no record is longer.
const TAIL: u64 = 4 << 20;

/// Starts one sink's thread.
pub(super) type Start = Box<dyn FnOnce() -> io::Result<Arc<Progress>> + Send>;

pub(super) struct Keeper {
    pub(super) directory: PathBuf,
    pub(super) rules: Rules,
    pub(super) sinks: Vec<&'static str>,
    pub(super) journal: Journal,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    pub(super) stop: watch::Receiver<Stop>,
    /// Who ships, once this process does.
    pub(super) shipping: Option<Shipping>,
    /// Until then: the threads to start.
    pub(super) waiting: Vec<(&'static str, Start)>,
    pub(super) full: bool,
}

pub(super) struct Shipping {
    _lock: File,
    sinks: Vec<(&'static str, Arc<Progress>)>,
}

impl Keeper {
    /// Until the gateway ends.
    pub(super) async fn run(mut self) {
        loop {
            if let Err(error) = self.look().await {
                tracing::error!(%error, "the journal's directory cannot be looked after");
            }
            let _ = tokio::time::timeout(LOOK, self.stop.changed()).await;
            match self.stop.has_changed().map(|_| *self.stop.borrow()) {
                Ok(Stop::Run) => {}
                // What did not begin by now has nothing to end.
                Ok(Stop::Flush) => self.waiting.clear(),
                Ok(Stop::Now) | Err(_) => return,
            }
        }
    }

    async fn look(&mut self) -> io::Result<()> {
        if self.shipping.is_none() {
            self.claim()?;
        }
        let stock = self.stock()?;
        for (sink, positions) in self.sinks.iter().zip(&stock.positions) {
            let bytes = stock.unshipped(positions) + rejected::bytes(&self.directory, sink);
            self.metrics.audit_unshipped.with_label_values(&[sink]).set(bytes as f64);
        }
        self.say_lag();
        self.say_full(stock.is_full(&self.rules, self.full));
        // What is closed takes no record of a removal, and what fails would get one each time.
        let noted = *self.stop.borrow() == Stop::Run && self.journal.healthy();
        if self.shipping.is_some() && noted {
            for file in stock.removable(&self.rules, self.clock.now()) {
                self.retire(&file).await?;
            }
        }
        Ok(())
    }

    /// Takes the lock, if nobody has it, and begins to ship.
    fn claim(&mut self) -> io::Result<()> {
        let path = self.directory.join("ship.lock");
        let lock = File::options().append(true).create(true).mode(0o600).open(path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut sinks = Vec::new();
        for (sink, start) in std::mem::take(&mut self.waiting) {
            sinks.push((sink, start()?));
        }
        self.shipping = Some(Shipping { _lock: lock, sinks });
        Ok(())
    }

    fn stock(&self) -> io::Result<Stock> {
        // Positions first: what a sink gains in between only makes it look less far.
        let load = |sink: &&'static str| Positions::load(&self.directory, sink);
        let positions = self.sinks.iter().map(load).collect::<io::Result<_>>()?;
        let set_aside = self.sinks.iter().map(|sink| rejected::bytes(&self.directory, sink)).sum();
        Ok(Stock { chains: chains(&self.directory)?, positions, set_aside })
    }

    fn say_lag(&self) {
        let now = unix_millis(self.clock.now());
        for (sink, progress) in self.shipping.iter().flat_map(|shipping| &shipping.sinks) {
            let oldest = match progress.oldest.load(Ordering::Relaxed) {
                0 => now,
                oldest => oldest,
            };
            let lag = Duration::from_millis(now.saturating_sub(oldest));
            self.metrics.audit_lag.with_label_values(&[sink]).set(lag.as_secs_f64());
        }
    }

    fn say_full(&mut self, full: bool) {
        match (self.full, full) {
            (false, true) => tracing::error!("the audit spool is full: requests are refused"),
            (true, false) => tracing::info!("the audit spool has room again"),
            _ => {}
        }
        self.full = full;
        self.journal.set_spool_full(full);
    }

    /// Removes a file, but first says so in the journal, under a head: a file that is gone
    /// without was removed by somebody else.
    async fn retire(&self, file: &JournalFile) -> io::Result<()> {
        let (name, path) = (&file.name, self.directory.join(&file.name));
        let count = last_sequence(&path)?;
        let members = format!(r#""retired":{{"file":"{name}","count":{count}}}"#);
        let note = Note {
            time: self.clock.now(),
            operation: "RetireRecords",
            activity: Activity::Delete,
            severity: Severity::Informational,
            failure: None,
            message: &format!("{name}: removed, and no sink lacks it"),
            members: members.as_bytes(),
        };
        self.journal.note(Kind::Retired, &note).await.map_err(io::Error::other)?;
        std::fs::remove_file(&path)?;
        for beside in ["heads", "torn"] {
            match std::fs::remove_file(path.with_extension(beside)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        tracing::info!(name, bytes = file.bytes, "removed a journal file");
        Ok(())
    }
}

/// The sequence number of a file's last record; 0 of one that has none.
fn last_sequence(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let end = tail.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let line = tail.get(..end).unwrap_or_default();
    let line = line.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    match Glance::of(line).metadata.sequence {
        0 if bytes > 0 => {
            Err(io::Error::other(format!("`{}` ends with no record", path.display())))
        }
        sequence => Ok(sequence),
    }
}

#[cfg(test)]
mod tests;
