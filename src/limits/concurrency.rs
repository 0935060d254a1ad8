//! How many requests may be in flight at once: a team's, or everybody's.
//!
//! A slot is a guard: it goes back when it is dropped, whether the request was answered,
//! aborted, or its task cancelled. Invariant: never more guards than the limit.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::sync::atomic::{AtomicU32, Ordering};

/// The bound.
#[derive(Debug)]
pub struct Concurrency {
    limit: u32,
    used: AtomicU32,
}

/// One request's slot.
#[derive(Debug)]
pub struct Slot(Arc<Concurrency>);

impl Concurrency {
    pub fn new(limit: NonZeroU32) -> Arc<Self> {
        Arc::new(Self { limit: limit.get(), used: AtomicU32::new(0) })
    }

    /// The bound, in requests.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// A slot, or `None` when all are taken.
    pub fn acquire(self: &Arc<Self>) -> Option<Slot> {
        let one_more = |used: u32| (used < self.limit).then(|| used.saturating_add(1));
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more)
            .is_ok()
            .then(|| Slot(Arc::clone(self)))
    }

    /// Slots that are free now.
    pub fn remaining(&self) -> u32 {
        self.limit.saturating_sub(self.used.load(Ordering::Relaxed))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back_when_they_are_dropped() {
        let limit = Concurrency::new(NonZeroU32::new(2).unwrap());
        let (one, two) = (limit.acquire(), limit.acquire());
        assert!(one.is_some() && two.is_some());
        assert!(limit.acquire().is_none());
        drop(one);
        assert_eq!(limit.remaining(), 1);
        assert!(limit.acquire().is_some());
    }

    #[test]
    fn threads_never_hold_more_than_the_limit_and_leave_none_behind() {
        let limit = Concurrency::new(NonZeroU32::new(3).unwrap());
        let (held, got) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        let Some(slot) = limit.acquire() else { continue };
                        assert!(held.fetch_add(1, Ordering::SeqCst) < 3);
                        got.fetch_add(1, Ordering::Relaxed);
                        held.fetch_sub(1, Ordering::SeqCst);
                        drop(slot);
                    }
                });
            }
        });
        assert!(got.load(Ordering::Relaxed) > 0);
        assert_eq!(limit.remaining(), 3);
    }
}
