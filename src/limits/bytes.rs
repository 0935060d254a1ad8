//! The memory of all request bodies together.
//!
//! A signature covers the whole body, so a body is held until it is signed. Without a common
//! bound, callers that each stay within the size of one request could still exhaust the
//! process together. Invariant: the guards never hold more than the bound.

use std::sync::Arc;

use crate::sync::atomic::{AtomicU64, Ordering};

/// The bound. Cloning shares it.
#[derive(Clone, Debug)]
pub struct BodyMemory(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    bytes: u64,
    used: AtomicU64,
}

/// Bytes held for one body; they go back when this is dropped.
#[derive(Debug)]
pub struct BodyGuard {
    pool: Arc<Pool>,
    held: u64,
}

impl BodyMemory {
    /// A bound of `bytes` for all bodies in flight.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Pool { bytes, used: AtomicU64::new(0) }))
    }

    /// Holds `bytes`, or `None` when there is not enough left.
    pub fn reserve(&self, bytes: u64) -> Option<BodyGuard> {
        let held = self.0.take(bytes).then_some(bytes)?;
        Some(BodyGuard { pool: Arc::clone(&self.0), held })
    }

    /// The bound.
    pub fn capacity(&self) -> u64 {
        self.0.bytes
    }

    /// Bytes held now.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }
}

impl BodyGuard {
    /// Holds `more` bytes as well. `false` when there is not enough left; what was held
    /// before is still held.
    #[must_use = "without room the body must be refused"]
    pub fn grow(&mut self, more: u64) -> bool {
        let taken = self.pool.take(more);
        if taken {
            self.held = self.held.saturating_add(more);
        }
        taken
    }

    /// Bytes held by this guard.
    pub fn held(&self) -> u64 {
        self.held
    }
}

impl Pool {
    fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.bytes);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits).is_ok()
    }
}

impl Drop for BodyGuard {
    fn drop(&mut self) {
        self.pool.used.fetch_sub(self.held, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_the_bound_and_give_it_back() {
        let memory = BodyMemory::new(100);
        let mut body = memory.reserve(60).unwrap();
        assert!(memory.reserve(41).is_none());
        assert!(!body.grow(41), "what does not fit is refused");
        assert!(body.grow(40), "what fits is held");
        assert_eq!((body.held(), memory.used()), (100, 100));
        assert!(memory.reserve(1).is_none());
        drop(body);
        assert_eq!(memory.used(), 0);
        assert!(memory.reserve(100).is_some());
    }

    #[test]
    fn a_size_past_the_scale_is_refused() {
        let memory = BodyMemory::new(u64::MAX);
        let mut body = memory.reserve(u64::MAX).unwrap();
        assert!(!body.grow(1));
        assert!(memory.reserve(1).is_none());
        assert!(memory.reserve(0).is_some());
    }

    #[test]
    fn threads_never_hold_more_than_the_bound_and_leave_none_behind() {
        let memory = BodyMemory::new(1_000);
        std::thread::scope(|scope| {
            for step in 1..=8_u64 {
                let memory = memory.clone();
                scope.spawn(move || {
                    for _ in 0..2_000 {
                        let Some(mut body) = memory.reserve(step * 37) else { continue };
                        let grew = body.grow(step * 11);
                        assert_eq!(body.held(), step * 37 + if grew { step * 11 } else { 0 });
                        assert!(memory.used() <= 1_000);
                    }
                });
            }
        });
        assert_eq!(memory.used(), 0);
    }
}
