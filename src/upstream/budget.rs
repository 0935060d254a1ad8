//! How often a call may be tried again, over all calls.
//!
//! When every address fails, each call that is tried three times makes three connections,
//! just when SageMaker can bear it least. So calls earn what retries spend: a fifth of a
//! retry each. A few each second are free, for a gateway with few calls.

use std::time::{Duration, Instant};

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Mutex, PoisonError};

/// What a retry costs, in what one call earns: at most 20 % of calls.
const COST: u32 = 5;
/// What good times may save up: a hundred retries.
const MOST_SAVED: u32 = 100 * COST;
/// Free retries in any second.
const FREE: u32 = 3;

#[derive(Debug)]
pub(super) struct Budget {
    saved: AtomicU32,
    /// The second that is counted, and the free retries in it.
    free: Mutex<(Instant, u32)>,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self { saved: AtomicU32::new(0), free: Mutex::new((now, 0)) }
    }

    /// A call is about to be made.
    pub(super) fn earn(&self) {
        let more = |saved| (saved < MOST_SAVED).then_some(saved + 1);
        let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Whether a call may be tried again now.
    pub(super) fn spend(&self, now: Instant) -> bool {
        let less = |saved: u32| saved.checked_sub(COST);
        let paid = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        paid.is_ok() || self.spend_free(now)
    }

    fn spend_free(&self, now: Instant) -> bool {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(free.0) >= Duration::from_secs(1) {
            *free = (now, 0);
        }
        let left = free.1 < FREE;
        free.1 += u32::from(left);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &Budget, tries: usize, now: Instant) -> usize {
        (0..tries).filter(|_| budget.spend(now)).count()
    }

    #[test]
    fn a_fifth_of_all_calls_may_be_tried_again_and_three_each_second() {
        let start = Instant::now();
        let budget = Budget::new(start);
        assert_eq!(spent(&budget, 50, start), 3);
        (0..100).for_each(|_| budget.earn());
        assert_eq!(spent(&budget, 50, start), 20);
        assert_eq!(spent(&budget, 50, start + Duration::from_secs(1)), 3);
    }

    #[test]
    fn good_times_save_up_for_no_more_than_a_hundred_retries() {
        let start = Instant::now();
        let budget = Budget::new(start);
        (0..1_000_000).for_each(|_| budget.earn());
        assert_eq!(spent(&budget, 1000, start), 103);
    }
}
