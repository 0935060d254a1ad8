//! One limit's counts behind its lock, whoever keeps them.
//!
//! A mutex rather than an atomic: a request locks its counters in one fixed order, looks at
//! all and only then takes, so "all or none" needs no undoing. A lock is held for tens of
//! nanoseconds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bucket::{Bucket, Rate};
use super::count::{Now, Place, Standing};
use super::day::{Calendar, Used};
use super::leased::{Leased, Leasing};
use super::limit::{Identity, Limit, Measure, Per};
use super::open::Open;
use super::table::{Key, Ledger, Spot, Table};

/// The counts of a limit, shared by all teams that the limit is for, and over reloads.
#[derive(Debug)]
pub(super) struct Counter {
    /// Counters are locked in the order of their ids, also by requests of two snapshots.
    id: u64,
    identity: Identity,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The latest time seen: a clock that goes back mints nothing.
    latest: u64,
    kept: Kept,
}

/// Where a limit's counts are kept.
#[derive(Debug)]
enum Kept {
    Rate(Table<Bucket>),
    Day(Table<Used>),
    Open(Table<Open>),
    Leased(Table<Leased>),
}

/// A counter under its lock, at one moment.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    inner: MutexGuard<'a, Inner>,
    now: Now,
}

impl Counter {
    /// With `leasing`, kept in the shared store.
    pub(super) fn new(limit: &Limit, leasing: Option<Leasing>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let kept = match leasing {
            Some(leasing) => Kept::Leased(Table::new(leasing, limit.per != Per::Whole)),
            None => Kept::embedded(limit),
        };
        let inner = Inner { latest: 0, kept };
        Self { id, identity: limit.identity(), inner: Mutex::new(inner) }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn lock(&self, now: Now) -> Locked<'_> {
        // A panic cannot happen while it is locked, and its numbers would still be whole.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.latest = inner.latest.max(now.mono);
        let now = Now { mono: inner.latest, ..now };
        inner.kept.ledger_mut().advance(now);
        Locked { inner, now }
    }
}

impl Locked<'_> {
    pub(super) fn find(&mut self, key: Option<&Arc<str>>) -> Spot {
        self.inner.kept.ledger_mut().find(key, self.now)
    }

    /// # Errors
    /// The nanoseconds until `cost` units would be there.
    pub(super) fn check(&self, spot: Spot, key: Option<&Arc<str>>, cost: u64) -> Result<(), u64> {
        self.inner.kept.ledger().check(spot, key, cost, self.now)
    }

    pub(super) fn wait(&self, spot: Spot, key: Option<&Arc<str>>, cost: u64) {
        self.inner.kept.ledger().wait(spot, key, cost, self.now);
    }

    /// Takes; returns whose count it was taken from and how that stands now.
    pub(super) fn take(
        &mut self,
        spot: Spot,
        key: Option<&Arc<str>>,
        cost: u64,
    ) -> (Key, Place, Standing) {
        self.inner.kept.ledger_mut().take(spot, key, cost, self.now)
    }

    pub(super) fn give_back(&mut self, key: Option<&Arc<str>>, place: Place) {
        self.inner.kept.ledger_mut().give_back(key, place, self.now);
    }

    /// The same limit with other numbers: what is used stays used.
    pub(super) fn retune(&mut self, measure: &Measure) {
        let now = self.now;
        match (&mut self.inner.kept, measure) {
            (Kept::Rate(table), Measure::Rate { quota, period, burst, .. }) => {
                table.retune(Rate::new(*quota, *period, *burst), now);
            }
            (Kept::Day(table), Measure::Day { quota, zone, .. }) => {
                table.retune(Calendar::new(*quota, zone.clone()), now);
            }
            (Kept::Open(table), Measure::Concurrency(most)) => table.retune(*most, now),
            (Kept::Leased(table), _) => table.retune(table.terms().retuned(measure), now),
            // Another kind has another identity, and so another counter.
            (Kept::Rate(_) | Kept::Day(_) | Kept::Open(_), _) => {}
        }
    }
}

impl Kept {
    fn embedded(limit: &Limit) -> Self {
        let keyed = limit.per != Per::Whole;
        match &limit.measure {
            Measure::Rate { quota, period, burst, .. } => {
                Self::Rate(Table::new(Rate::new(*quota, *period, *burst), keyed))
            }
            Measure::Day { quota, zone, .. } => {
                Self::Day(Table::new(Calendar::new(*quota, zone.clone()), keyed))
            }
            Measure::Concurrency(most) => Self::Open(Table::new(*most, keyed)),
        }
    }

    fn ledger(&self) -> &dyn Ledger {
        match self {
            Self::Rate(table) => table,
            Self::Day(table) => table,
            Self::Open(table) => table,
            Self::Leased(table) => table,
        }
    }

    fn ledger_mut(&mut self) -> &mut dyn Ledger {
        match self {
            Self::Rate(table) => table,
            Self::Day(table) => table,
            Self::Open(table) => table,
            Self::Leased(table) => table,
        }
    }
}
