//! What one count of a limit can do, whoever keeps it. This is where stores plug in.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::shared::Spent;

/// A moment, on the two scales that counts want. Both are given, never read here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Nanoseconds since the limits' origin; a counter never sees it go back.
    pub(super) mono: u64,
    /// For calendar days.
    pub(super) wall: SystemTime,
}

/// The state of one key of one limit; what a limit asks of all its keys is in `Terms`.
///
/// Nothing here waits: a store elsewhere is spent from a slice that was fetched before.
/// A call is checked against all its counts and then takes from all, under their locks.
pub(super) trait Count: fmt::Debug + Send {
    /// How much there is, and whatever else all keys of a limit share.
    type Terms: fmt::Debug + Send;

    /// Of which nothing is used.
    /// `None` for the count of a limit without keys, and of keys past the bound.
    fn fresh(terms: &Self::Terms, key: Option<&Arc<str>>) -> Self;

    /// Before anything else is asked at `now`.
    fn advance(_terms: &mut Self::Terms, _now: Now) {}

    /// Whether `cost` units are there to be taken.
    ///
    /// # Errors
    /// The nanoseconds until they would be, if nobody else takes them; or [`ASK`], or [`CUT`].
    fn check(&self, terms: &Self::Terms, cost: u64, now: Now) -> Result<(), u64>;

    /// A call waits for `cost` units that only a store elsewhere knows of.
    fn wait(&self, _terms: &Self::Terms, _cost: u64, _now: Now) {}

    /// Takes what was checked. Of what was not, it takes all the same: that is how time is
    /// charged which was not known before.
    fn take(&mut self, terms: &Self::Terms, cost: u64, now: Now) -> Place;

    /// Undoes a take whose call was not sent, or frees what a call has held.
    fn give_back(&mut self, terms: &Self::Terms, place: Place, now: Now);

    fn standing(&self, terms: &Self::Terms, now: Now) -> Standing;

    /// Whether it can be forgotten, because a fresh one would answer the same.
    fn is_idle(&self, terms: &Self::Terms, now: Now) -> bool;

    /// The limit's numbers changed: what is used stays used.
    fn carry_over(&mut self, from: &Self::Terms, to: &Self::Terms, now: Now);
}

/// In place of a wait: the store that has the rest may have enough, and is asked for whoever
/// [`wait`](Count::wait)s.
pub(super) const ASK: u64 = 0;

/// In place of a wait: nobody knows, because the store cannot be asked.
pub(super) const CUT: u64 = u64::MAX;

/// What a call took of a count, to give it back by.
#[derive(Debug)]
pub(super) enum Place {
    /// Of a rate: the units, their order, and when they will have been paid for.
    Rate {
        order: u64,
        end: u128,
        cost: u64,
    },
    /// Of the day that begins at this second.
    Day {
        starts: i64,
        cost: u64,
    },
    /// The same of a slice of the store's; of a quota, of the day that begins then.
    Leased {
        from: Option<u64>,
        spent: Spent,
        cost: u64,
    },
    Slot,
}

/// One count at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Units that are left.
    pub(super) remaining: u64,
    /// Of so many.
    pub(super) of: u64,
    /// Nanoseconds until all of it is there again. `None` where time alone brings nothing
    /// (concurrency).
    pub(super) reset: Option<u64>,
}

impl Standing {
    /// Whether a smaller share of it is left.
    pub(super) fn is_tighter_than(&self, other: &Self) -> bool {
        u128::from(self.remaining) * u128::from(other.of)
            < u128::from(other.remaining) * u128::from(self.of)
    }
}
