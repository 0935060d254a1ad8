//! One count of a shared limit as this gateway holds it, and the pool of all that are asked
//! for together.
//!
//! Requests spend from a slice under its lock; the lender fills it. A pool is one hash tag in
//! the store: a team, or everybody. Invariant: no lock is held over an await, and a slice's
//! lock is the innermost of all.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lease::{Ask, Empty, Lease, OnFailure, Spent};
use super::script::{Day, Wish, Word};
use super::slots::Slots;
use super::terms::Terms;

/// What a slice is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) enum Kind {
    Units { terms: Terms, day: Option<Day> },
    Slots(u32),
}

/// One key of one limit.
#[derive(Debug)]
pub(in crate::limits) struct Slice {
    key: Box<str>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    kind: Kind,
    holding: Holding,
}

#[derive(Debug)]
enum Holding {
    Units(Lease),
    Slots(Slots),
}

/// All slices of one hash tag.
pub(in crate::limits) struct Pool {
    /// The key of the gateways that use it.
    pub(super) members: String,
    tag: Arc<str>,
    slices: Mutex<HashMap<Box<str>, Arc<Slice>>>,
    /// It waits to be served, or is.
    pub(super) queued: AtomicBool,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// What one slice asks, and the key it asks under.
#[derive(Debug)]
pub(super) struct Asking {
    pub slice: Arc<Slice>,
    pub key: String,
    pub wish: Wish,
}

/// The most that one call asks for: the store is one thread, and others wait for it.
const MOST_OF_A_CALL: usize = 128;
/// Keys come from callers, so how many there are is theirs to choose: some 20 MiB at worst.
const MOST_SLICES: usize = 65_536;

impl Pool {
    pub(super) fn new(tag: &str) -> Self {
        Self {
            members: members(tag),
            tag: tag.into(),
            slices: Mutex::default(),
            queued: AtomicBool::new(false),
        }
    }

    /// The slice of this key, as it stands or new. A new one begins on its own if the store
    /// cannot be asked now. Keys past the bound share that of `common`.
    pub(super) fn slice(
        &self,
        key: &str,
        common: &str,
        kind: Kind,
        alone: Option<Alone>,
    ) -> Arc<Slice> {
        let mut slices = lock(&self.slices);
        let known = slices.contains_key(key) || slices.len() < MOST_SLICES;
        let key = if known { key } else { common };
        let new = || {
            let slice = Arc::new(Slice { key: key.into(), held: Mutex::new(Held::new(kind)) });
            alone.into_iter().for_each(|alone| slice.leave(alone));
            slice
        };
        Arc::clone(slices.entry(key.into()).or_insert_with(new))
    }

    /// Drops the slices that nobody uses any more, where nothing is asked that would.
    pub(super) fn sweep(&self, now: u64) {
        lock(&self.slices).retain(|_, slice| Arc::strong_count(slice) > 1 || !slice.is_idle(now));
    }

    /// What its slices want now. Drops those that nobody uses any more.
    pub(super) fn asks(&self, now: u64) -> Vec<Asking> {
        let mut asks = Vec::new();
        lock(&self.slices).retain(|_, slice| {
            if asks.len() < MOST_OF_A_CALL
                && let Some((key, wish)) = slice.wish(&self.tag, now)
            {
                asks.push(Asking { slice: Arc::clone(slice), key, wish });
            }
            Arc::strong_count(slice) > 1 || !slice.is_idle(now)
        });
        asks
    }

    /// Hands out the store's words.
    pub(super) fn answered(&self, asks: &[Asking], words: &[Word], now: u64) {
        for (asking, word) in asks.iter().zip(words) {
            asking.slice.answered(asking.wish, *word, now);
        }
    }

    /// No answer came.
    pub(super) fn unanswered(&self, asks: &[Asking]) {
        asks.iter().for_each(|asking| asking.slice.unanswered(&asking.wish));
    }

    /// The store cannot be asked: all slices go on alone.
    pub(super) fn leave(&self, alone: Alone) {
        lock(&self.slices).values().for_each(|slice| slice.leave(alone));
    }

    pub(super) fn rejoin(&self, now: u64) {
        lock(&self.slices).values().for_each(|slice| slice.lock().rejoin(now));
    }

    /// All that can be given back, and what is owed. Nothing is held from then on.
    pub(super) fn returns(&self, now: u64) -> Vec<Asking> {
        let slices = lock(&self.slices);
        let returned = slices.values().filter_map(|slice| {
            let (key, wish) = slice.wish_to_return(&self.tag, now)?;
            Some(Asking { slice: Arc::clone(slice), key, wish })
        });
        returned.collect()
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.slices).len()
    }
}

/// How slices go on without the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    pub on_failure: OnFailure,
    /// How many gateways to share with, for a slice that never heard.
    pub gateways: u64,
    pub now: u64,
}

/// How one slice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Left {
    pub(in crate::limits) remaining: u64,
    /// Nanoseconds until all of it is there again; `None` for slots.
    pub(in crate::limits) reset: Option<u64>,
}

impl Slice {
    /// Whether a request of this many units would be admitted, by these numbers.
    ///
    /// # Errors
    /// [`Empty`].
    pub(in crate::limits) fn check(&self, kind: Kind, units: u64, now: u64) -> Result<(), Empty> {
        match &mut self.tuned(kind, now).holding {
            Holding::Units(lease) => lease.check(units, now),
            Holding::Slots(slots) => slots.check(now),
        }
    }

    /// Has a request wait for the store that found not enough.
    pub(in crate::limits) fn wait(&self, kind: Kind, units: u64, now: u64) {
        if let Holding::Units(lease) = &mut self.tuned(kind, now).holding {
            lease.wait(units, now);
        }
    }

    /// Takes what was checked: its place, and whether it is time to ask for more.
    pub(in crate::limits) fn take(&self, kind: Kind, units: u64, now: u64) -> (Spent, bool) {
        match &mut self.tuned(kind, now).holding {
            Holding::Units(lease) => (lease.take(units, now), lease.is_low(now)),
            Holding::Slots(slots) => {
                slots.take();
                (Spent::default(), slots.is_low(now))
            }
        }
    }

    /// Undoes a take of units, as far as time has not paid for it.
    pub(in crate::limits) fn give_back(&self, spent: Spent, units: u64, now: u64) {
        if let Holding::Units(lease) = &mut self.lock().holding {
            lease.give_back(spent, units, now);
        }
    }

    /// Frees a slot.
    pub(in crate::limits) fn release(&self) {
        if let Holding::Slots(slots) = &mut self.lock().holding {
            slots.release();
        }
    }

    pub(in crate::limits) fn left(&self, now: u64) -> Left {
        match &self.lock().holding {
            Holding::Units(lease) => {
                Left { remaining: lease.remaining(now), reset: Some(lease.until_full(now)) }
            }
            Holding::Slots(slots) => Left { remaining: slots.remaining(now).into(), reset: None },
        }
    }

    /// Whether a fresh one would answer the same.
    pub(in crate::limits) fn is_idle(&self, now: u64) -> bool {
        match &self.lock().holding {
            Holding::Units(lease) => lease.is_idle(now),
            Holding::Slots(slots) => slots.is_idle(),
        }
    }

    /// Begins anew if the limit's numbers, or its day, are others now.
    fn tuned(&self, kind: Kind, now: u64) -> MutexGuard<'_, Held> {
        let mut held = self.lock();
        if held.kind != kind {
            held.retune(kind, now);
        }
        held
    }

    fn wish(&self, tag: &str, now: u64) -> Option<(String, Wish)> {
        let mut held = self.lock();
        let Held { kind, holding } = &mut *held;
        let wish = match (holding, *kind) {
            (Holding::Units(lease), Kind::Units { terms, day }) => {
                Wish::Units { terms, ask: lease.ask(now)?, day }
            }
            (Holding::Slots(slots), Kind::Slots(most)) => {
                Wish::Slots { most, ask: slots.ask(now)? }
            }
            // The two are made together.
            (Holding::Units(_) | Holding::Slots(_), _) => return None,
        };
        Some((full_key(tag, &self.key, *kind), wish))
    }

    fn wish_to_return(&self, tag: &str, now: u64) -> Option<(String, Wish)> {
        let mut held = self.lock();
        let Held { kind, holding } = &mut *held;
        let wish = match (holding, *kind) {
            (Holding::Units(lease), Kind::Units { terms, day }) => {
                Wish::Units { terms, ask: lease.give_all()?, day }
            }
            (Holding::Slots(slots), Kind::Slots(most)) => {
                Wish::Slots { most, ask: slots.give_all(now) }
            }
            (Holding::Units(_) | Holding::Slots(_), _) => return None,
        };
        Some((full_key(tag, &self.key, *kind), wish))
    }

    fn answered(&self, wish: Wish, word: Word, now: u64) {
        let mut held = self.lock();
        // An answer to what the slice was before its day or its numbers changed.
        let stale = match (wish, held.kind) {
            (Wish::Units { terms, day, .. }, kind) => kind != Kind::Units { terms, day },
            (Wish::Slots { most, .. }, kind) => kind != Kind::Slots(most),
        };
        match (&mut held.holding, word) {
            _ if stale => {}
            (Holding::Units(lease), Word::Units(grant)) => lease.granted(grant, now),
            (Holding::Slots(slots), Word::Slots(grant)) => slots.granted(grant, now),
            (Holding::Units(lease), _) => lease.unanswered(&Ask::default()),
            (Holding::Slots(slots), _) => slots.unanswered(),
        }
    }

    fn unanswered(&self, wish: &Wish) {
        match (&mut self.lock().holding, wish) {
            (Holding::Units(lease), Wish::Units { ask, .. }) => lease.unanswered(ask),
            (Holding::Slots(slots), _) => slots.unanswered(),
            (Holding::Units(_), Wish::Slots { .. }) => {}
        }
    }

    fn leave(&self, Alone { on_failure, gateways, now }: Alone) {
        match &mut self.lock().holding {
            Holding::Units(lease) => lease.leave(on_failure, gateways, now),
            Holding::Slots(slots) => slots.leave(on_failure, gateways, now),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }
}

/// The key of the gateways that use the limits of this tag.
pub(super) fn members(tag: &str) -> String {
    format!("sagegate:{{{tag}}}:gateways")
}

/// A day's quota has a key of its own each day.
pub(super) fn full_key(tag: &str, key: &str, kind: Kind) -> String {
    match kind {
        Kind::Units { day: Some(Day { from, .. }), .. } => {
            format!("sagegate:{{{tag}}}:{key}:{}", from / 1_000_000)
        }
        _ => format!("sagegate:{{{tag}}}:{key}"),
    }
}

impl Held {
    fn new(kind: Kind) -> Self {
        let holding = match kind {
            Kind::Units { terms, .. } => Holding::Units(Lease::new(terms)),
            Kind::Slots(most) => Holding::Slots(Slots::new(most)),
        };
        Self { kind, holding }
    }

    fn rejoin(&mut self, now: u64) {
        match &mut self.holding {
            Holding::Units(lease) => lease.rejoin(now),
            Holding::Slots(slots) => slots.rejoin(now),
        }
    }

    fn retune(&mut self, kind: Kind, now: u64) {
        match (&mut self.holding, kind) {
            (Holding::Slots(slots), Kind::Slots(most)) => slots.retune(most),
            (Holding::Units(lease), Kind::Units { terms, .. }) => lease.retune(terms, now),
            // A key is of one kind for good.
            (Holding::Slots(_) | Holding::Units(_), _) => return,
        }
        self.kind = kind;
    }
}

/// A panic cannot happen while one of these is locked, and the numbers would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Claims the pool for being served. `false` when it is queued already.
    pub(super) fn queue(&self) -> bool {
        !self.queued.swap(true, Ordering::AcqRel)
    }

    pub(super) fn unqueue(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_wishes_than_a_call_holds_are_asked_for_by_the_next_calls() {
        let pool = Pool::new("t");
        let kind = Kind::Slots(4);
        let slices: Vec<_> = (0..2 * MOST_OF_A_CALL + 1)
            .map(|key| pool.slice(&key.to_string(), "", kind, None))
            .collect();
        for slice in &slices {
            assert!(slice.check(kind, 1, 0).is_err(), "wanted, and not there yet");
        }
        let calls: Vec<_> = (0..4).map(|_| pool.asks(0)).collect();
        let sizes: Vec<_> = calls.iter().map(Vec::len).collect();
        assert_eq!(sizes, [MOST_OF_A_CALL, MOST_OF_A_CALL, 1, 0]);
        let keys: std::collections::HashSet<_> =
            calls.iter().flatten().map(|asking| &asking.key).collect();
        assert_eq!(keys.len(), slices.len());
    }

    #[test]
    fn keys_past_the_bound_share_one_slice_also_while_the_store_is_away() {
        let (pool, kind) = (Pool::new("t"), Kind::Slots(1));
        let alone = Alone { on_failure: OnFailure::Local, gateways: 1, now: 0 };
        let slice = |key: &str| pool.slice(key, "common", kind, Some(alone));
        let own = slice("own");
        (1..MOST_SLICES).for_each(|key| drop(slice(&key.to_string())));
        assert!(Arc::ptr_eq(&slice("one more"), &slice("and another")));
        assert!(Arc::ptr_eq(&slice("own"), &own));
        assert_eq!(pool.len(), MOST_SLICES + 1);
        pool.sweep(0);
        assert_eq!(pool.len(), 1, "what somebody holds");
        assert!(!Arc::ptr_eq(&slice("one more"), &slice("and another")));
    }
}
