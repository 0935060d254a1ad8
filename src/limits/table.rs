//! The counts of one limit by key, bounded.
//!
//! Keys come from callers (users, endpoints), so how many there are is theirs to choose. A
//! key whose count is idle is dropped, because a fresh one would answer the same. Keys past
//! the bound share one count: each of them may have less then, and all of them never more.

use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::count::{Count, Now, Place, Standing};

/// Keys with a count of their own, per limit: some 10 MiB at worst.
const MOST_KEYS: usize = 65_536;
/// Counts that a new key looks at for idle ones to drop. With a drop comes a look at the one
/// that was moved into its place, so this is two drops: the idle become fewer, not as many.
const SWEEP: usize = 4;
/// The same when there is no room.
const SWEEP_WHEN_FULL: usize = 64;

/// Whose count: `None` is the one of a limit without keys, and that of keys past the bound.
pub(super) type Key = Option<Arc<str>>;

/// Where a key's count is, until the table changes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spot {
    Common,
    At(usize),
    /// Nowhere yet, and there is room for it.
    Absent,
}

type Keyed<C> = IndexMap<Arc<str>, C, RandomState>;

/// Counts of one kind.
#[derive(Debug)]
pub(super) struct Table<C: Count> {
    terms: C::Terms,
    common: C,
    /// `None` for a limit without keys.
    keyed: Option<Keyed<C>>,
    /// The next place to look for an idle count.
    hand: usize,
    most: usize,
}

/// A table, whatever kind its counts are of.
pub(super) trait Ledger: fmt::Debug + Send {
    fn advance(&mut self, now: Now);
    fn find(&mut self, key: Option<&Arc<str>>, now: Now) -> Spot;
    fn check(&self, spot: Spot, key: Option<&Arc<str>>, cost: u64, now: Now) -> Result<(), u64>;
    fn wait(&self, spot: Spot, key: Option<&Arc<str>>, cost: u64, now: Now);
    fn take(
        &mut self,
        spot: Spot,
        key: Option<&Arc<str>>,
        cost: u64,
        now: Now,
    ) -> (Key, Place, Standing);
    fn give_back(&mut self, key: Option<&Arc<str>>, place: Place, now: Now);
}

impl<C: Count> Table<C> {
    pub(super) fn new(terms: C::Terms, keyed: bool) -> Self {
        let common = C::fresh(&terms, None);
        let keyed = keyed.then(IndexMap::default);
        Self { terms, common, keyed, hand: 0, most: MOST_KEYS }
    }

    pub(super) fn retune(&mut self, terms: C::Terms, now: Now) {
        let from = std::mem::replace(&mut self.terms, terms);
        C::advance(&mut self.terms, now);
        let counts = self.keyed.iter_mut().flat_map(IndexMap::values_mut);
        counts
            .chain([&mut self.common])
            .for_each(|count| count.carry_over(&from, &self.terms, now));
    }

    pub(super) fn terms(&self) -> &C::Terms {
        &self.terms
    }

    fn at(&self, spot: Spot) -> Option<&C> {
        match spot {
            Spot::Common => Some(&self.common),
            Spot::At(index) => self.keyed.as_ref()?.get_index(index).map(|(_, count)| count),
            Spot::Absent => None,
        }
    }

    /// Drops a few idle counts; whether there is room for another.
    fn make_room(&mut self, now: Now) -> bool {
        let Some(keyed) = &mut self.keyed else { return false };
        let looks = if keyed.len() < self.most { SWEEP } else { SWEEP_WHEN_FULL };
        for _ in 0..looks.min(keyed.len()) {
            self.hand = if self.hand < keyed.len() { self.hand } else { 0 };
            let idle = |(_, count): (&Arc<str>, &C)| count.is_idle(&self.terms, now);
            if keyed.get_index(self.hand).is_some_and(idle) {
                // The last one takes its place, and is looked at next.
                keyed.swap_remove_index(self.hand);
            } else {
                self.hand += 1;
            }
        }
        keyed.len() < self.most
    }
}

/// The count of a key's own, a fresh one if it has none yet.
fn own<'a, C: Count>(
    keyed: Option<&'a mut Keyed<C>>,
    terms: &C::Terms,
    spot: Spot,
    key: Option<&Arc<str>>,
) -> Option<(Key, &'a mut C)> {
    let (keyed, key) = keyed.zip(key)?;
    let count = match spot {
        Spot::Common => return None,
        Spot::At(index) => keyed.get_index_mut(index).map(|(_, count)| count)?,
        Spot::Absent => keyed.entry(Arc::clone(key)).or_insert_with(|| C::fresh(terms, Some(key))),
    };
    Some((Some(Arc::clone(key)), count))
}

impl<C: Count> Ledger for Table<C> {
    fn advance(&mut self, now: Now) {
        C::advance(&mut self.terms, now);
    }

    fn find(&mut self, key: Option<&Arc<str>>, now: Now) -> Spot {
        let Some((keyed, key)) = self.keyed.as_ref().zip(key) else { return Spot::Common };
        match keyed.get_index_of(key) {
            Some(index) => Spot::At(index),
            None if self.make_room(now) => Spot::Absent,
            None => Spot::Common,
        }
    }

    fn check(&self, spot: Spot, key: Option<&Arc<str>>, cost: u64, now: Now) -> Result<(), u64> {
        match self.at(spot) {
            Some(count) => count.check(&self.terms, cost, now),
            None => C::fresh(&self.terms, key).check(&self.terms, cost, now),
        }
    }

    fn wait(&self, spot: Spot, key: Option<&Arc<str>>, cost: u64, now: Now) {
        match self.at(spot) {
            Some(count) => count.wait(&self.terms, cost, now),
            None => C::fresh(&self.terms, key).wait(&self.terms, cost, now),
        }
    }

    fn take(
        &mut self,
        spot: Spot,
        key: Option<&Arc<str>>,
        cost: u64,
        now: Now,
    ) -> (Key, Place, Standing) {
        let Self { terms, common, keyed, .. } = self;
        let (key, count) = own(keyed.as_mut(), terms, spot, key).unwrap_or((None, common));
        let place = count.take(terms, cost, now);
        let standing = count.standing(terms, now);
        (key, place, standing)
    }

    fn give_back(&mut self, key: Option<&Arc<str>>, place: Place, now: Now) {
        let count = match (key, &mut self.keyed) {
            (Some(key), Some(keyed)) => keyed.get_mut(key),
            (None, _) | (_, None) => Some(&mut self.common),
        };
        // A count that was dropped was idle: nothing of it could come back.
        if let Some(count) = count {
            count.give_back(&self.terms, place, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroU64};
    use std::time::SystemTime;

    use super::super::bucket::{Bucket, Rate};
    use super::super::limit::Period;
    use super::super::open::Open;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(mono: u64) -> Now {
        Now { mono, wall: SystemTime::UNIX_EPOCH }
    }

    /// One a second, one at once, for at most `most` keys.
    fn rates(most: usize) -> Table<Bucket> {
        let rate = Rate::new(NonZeroU64::MIN, Period::Second, NonZeroU64::MIN);
        Table { most, ..Table::new(rate, true) }
    }

    fn take<C: Count>(table: &mut Table<C>, key: &str, now: u64) -> Option<(Key, Place)> {
        let key = Arc::from(key);
        let spot = table.find(Some(&key), at(now));
        table.check(spot, Some(&key), 1, at(now)).ok()?;
        let (key, place, _) = table.take(spot, Some(&key), 1, at(now));
        Some((key, place))
    }

    fn len<C: Count>(table: &Table<C>) -> usize {
        table.keyed.as_ref().unwrap().len()
    }

    #[test]
    fn idle_keys_are_dropped_as_new_ones_come() {
        let mut table = rates(MOST_KEYS);
        for n in 0..10_000 {
            // Ten a second: each is idle a second later.
            assert!(take(&mut table, &format!("user-{n}"), n * SECOND / 10).is_some());
            assert!(len(&table) <= 64, "{}", len(&table));
        }
    }

    #[test]
    fn what_a_refused_call_asked_about_is_not_kept() {
        let mut table = rates(MOST_KEYS);
        for n in 0..100 {
            let key = Arc::from(format!("user-{n}"));
            let spot = table.find(Some(&key), at(SECOND));
            assert!(table.check(spot, Some(&key), 1, at(SECOND)).is_ok());
        }
        assert_eq!(len(&table), 0);
    }

    #[test]
    fn keys_past_the_bound_share_one_count_and_have_their_own_again_later() {
        let mut table = rates(3);
        for key in ["a", "b", "c", "d"] {
            assert!(take(&mut table, key, SECOND).is_some(), "{key}");
        }
        assert_eq!(len(&table), 3);
        assert!(take(&mut table, "e", SECOND).is_none(), "`d` had what they share");
        assert!(take(&mut table, "a", SECOND).is_none(), "nobody is forgotten for another");
        for key in ["d", "e"] {
            assert!(take(&mut table, key, 2 * SECOND).is_some(), "{key}");
        }
        assert!(len(&table) <= 3);
    }

    #[test]
    fn a_slot_of_the_shared_count_goes_back_there_though_there_is_room_by_then() {
        let mut table = Table { most: 1, ..Table::<Open>::new(NonZeroU32::MIN, true) };
        let (own, place) = take(&mut table, "a", 0).unwrap();
        let (shared, place_shared) = take(&mut table, "b", 0).unwrap();
        assert_eq!((own.as_deref(), shared.as_deref()), (Some("a"), None));
        table.give_back(own.as_ref(), place, at(0));
        let (own, _) = take(&mut table, "b", 0).unwrap();
        assert_eq!(own.as_deref(), Some("b"));
        table.give_back(shared.as_ref(), place_shared, at(0));
        assert!(take(&mut table, "b", 0).is_none(), "its own slot is still held");
        assert!(take(&mut table, "c", 0).is_some(), "the shared one is free");
    }
}
