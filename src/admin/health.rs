//! Whether requests should be sent here.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::audit::Journal;
use crate::server::Drain;
use crate::snapshot::Snapshot;

/// What readiness depends on.
#[derive(Clone, Debug)]
pub struct Health {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub journal: Journal,
    /// The gateway's, not the admin listener's.
    pub drain: Drain,
}

impl Health {
    /// Everything that keeps the gateway from being ready; empty when it is.
    pub fn faults(&self) -> Vec<String> {
        let snapshot = self.snapshot.load();
        let mut faults = Vec::new();
        if self.drain.is_draining() {
            faults.push("draining".to_owned());
        }
        if let Err(issuers) = snapshot.identity.ready() {
            faults.push(format!("no usable keys: {issuers}"));
        }
        if !snapshot.upstream.credentials().usable() {
            faults.push("no valid AWS credentials".to_owned());
        }
        if !self.journal.healthy() {
            faults.push("the audit journal cannot be written".to_owned());
        }
        if self.journal.spool_full() {
            faults.push("the audit spool is full of unshipped events".to_owned());
        }
        faults
    }
}
