//! Whether one address of SageMaker's is left alone for now.
//!
//! Each call asks this of each address, and nearly every address is well: that is told by one
//! atomic flag. What is known of one that failed stands under a lock. Invariant: the flag
//! changes under that lock alone, so that a failure which is noted is always seen
//! (`tests/loom` tries every order).

use std::time::{Duration, Instant};

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// A connection that cannot be made closes an address at once; of connections that break
/// before the answer it takes three in a row, for a request may have broken one.
const OUT: u32 = 3;
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_mins(1);
/// For how long one call alone tries an address again.
const PROBE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Health {
    /// Whether anything stands in `failures`; where nothing does it is never locked.
    suspect: AtomicBool,
    failures: Mutex<Failures>,
}

#[derive(Debug, Default)]
struct Failures {
    strikes: u32,
    closed_until: Option<Instant>,
}

/// How a call found the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is open.
    Open,
    /// The call is the one that tries a closed address again.
    Probe,
}

impl Health {
    /// Well, as far as is known.
    pub(super) fn new() -> Self {
        Self { suspect: AtomicBool::new(false), failures: Mutex::new(Failures::default()) }
    }

    pub(super) fn is_closed(&self, now: Instant) -> bool {
        self.suspect.load(Ordering::Acquire)
            && self.failures().closed_until.is_some_and(|until| now < until)
    }

    /// A call's right to the address; `None` while it is left alone.
    pub(super) fn claim(&self, now: Instant) -> Option<Claim> {
        if !self.suspect.load(Ordering::Acquire) {
            return Some(Claim::Open);
        }
        let mut failures = self.failures();
        match failures.closed_until {
            None => Some(Claim::Open),
            Some(until) if now < until => None,
            Some(_) => {
                failures.closed_until = Some(now + PROBE);
                Some(Claim::Probe)
            }
        }
    }

    /// An answer came.
    pub(super) fn answered(&self) {
        if self.suspect.load(Ordering::Acquire) {
            let mut failures = self.failures();
            *failures = Failures::default();
            self.suspect.store(false, Ordering::Release);
        }
    }

    /// No connection could be made.
    pub(super) fn unreachable(&self, claim: Claim, now: Instant) {
        self.strike(OUT, claim, now);
    }

    /// A connection broke before the answer.
    pub(super) fn broke(&self, claim: Claim, now: Instant) {
        self.strike(1, claim, now);
    }

    fn strike(&self, strikes: u32, claim: Claim, now: Instant) {
        let mut failures = self.failures();
        // One more break of an address on trial is enough.
        let strikes = match claim {
            Claim::Probe => OUT,
            // Calls that were on their way already when it was closed prove nothing new.
            Claim::Open if failures.closed_until.is_some_and(|until| now < until) => return,
            Claim::Open => strikes,
        };
        failures.strikes = failures.strikes.saturating_add(strikes);
        if let Some(doublings) = (failures.strikes / OUT).checked_sub(1) {
            let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings));
            failures.closed_until = Some(now + pause.min(LAST_PAUSE));
        }
        self.suspect.store(true, Ordering::Release);
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        // Nothing panics under the lock.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
