//! How many requests may be in flight at once.
//!
//! A slot is a guard: it goes back when it is dropped, whether the request was answered,
//! aborted, or its task cancelled. Invariant: never more guards than the limit.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Debug)]
pub(super) struct Concurrency {
    limit: u32,
    used: AtomicU32,
}

/// One request's slot.
#[derive(Debug)]
pub(super) struct Slot(Arc<Concurrency>);

impl Concurrency {
    pub(super) fn new(limit: NonZeroU32) -> Arc<Self> {
        Arc::new(Self { limit: limit.get(), used: AtomicU32::new(0) })
    }

    /// A slot, or `None` when all are taken.
    pub(super) fn acquire(self: &Arc<Self>) -> Option<Slot> {
        let one_more = |used: u32| (used < self.limit).then(|| used.saturating_add(1));
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more)
            .is_ok()
            .then(|| Slot(Arc::clone(self)))
    }

    /// Slots that are free now.
    pub(super) fn remaining(&self) -> u32 {
        self.limit.saturating_sub(self.used.load(Ordering::Relaxed))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::AcqRel);
    }
}
