//! What was given back of a rate's schedule, so that no place in it comes back twice.
//!
//! What is taken lies one after the other in the schedule, and time pays for it in that order.
//! What time has reached may already have been another request's refill, and a place moves
//! forward when one before it comes back. Pure: time is a parameter, in any unit.

/// How many returns are remembered one by one. More than this many unsent requests at once and
/// some of them get back a little less than they took.
pub(super) const RETURNS: usize = 64;

/// The places of one schedule.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// Places so far: the next one's order.
    taken: u64,
    /// Places of a lower order were paid for before the schedule was last empty.
    settled: u64,
    /// What was given back since then, by order.
    each: Vec<Return>,
}

/// A place given back: those taken after it, and before it came back, have moved forward.
#[derive(Debug)]
struct Return {
    order: u64,
    /// The order of the first place that was taken after the return.
    until: u64,
    amount: u128,
}

impl Returns {
    /// The order of a place that is taken now.
    pub(super) fn next(&mut self) -> u64 {
        let order = self.taken;
        self.taken = order.saturating_add(1);
        order
    }

    /// All that was taken is paid for, or will not be given back any more.
    pub(super) fn settle(&mut self) {
        self.settled = self.taken;
        self.each.clear();
    }

    /// How much of a place comes back that was to be paid for by `end`: at most `cost`, and
    /// not what time has reached by `now`.
    pub(super) fn give_back(&mut self, order: u64, end: u128, cost: u128, now: u128) -> u128 {
        if order < self.settled {
            return 0;
        }
        let end = end.saturating_sub(self.moved(order));
        let amount = end.saturating_sub(now).min(cost);
        if amount > 0 {
            self.remember(Return { order, until: self.taken, amount });
        }
        amount
    }

    /// How far the place of this order has moved forward since it was taken.
    fn moved(&self, order: u64) -> u128 {
        let before = self.each.iter().take_while(|earlier| earlier.order < order);
        before.filter(|earlier| order < earlier.until).map(|earlier| earlier.amount).sum()
    }

    fn remember(&mut self, one: Return) {
        let at = self.each.partition_point(|earlier| earlier.order < one.order);
        self.each.insert(at, one);
        if self.each.len() > RETURNS {
            let oldest = self.each.remove(0);
            if let Some(next) = self.each.first_mut() {
                // Errs towards "has moved further", which gives back less, never more.
                next.order = oldest.order;
                next.until = next.until.max(oldest.until);
                next.amount = next.amount.saturating_add(oldest.amount);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Returns {
        pub(in crate::limits) fn remembered(&self) -> usize {
            self.each.len()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn beyond_what_is_remembered_a_place_counts_as_moved_further_never_less(
            returns in prop::collection::vec((0_u64..300, 0_u64..3, 1_u128..9), 0..150),
        ) {
            let (mut places, mut taken, mut all) = (Returns::default(), 300, Vec::new());
            for (order, more, amount) in returns {
                taken += more;
                places.remember(Return { order, until: taken, amount });
                all.push((order, taken, amount));
            }
            prop_assert!(places.remembered() <= RETURNS);
            for place in 0..taken {
                let ahead = all.iter().filter(|(order, until, _)| (*order..*until).contains(&place));
                let exact: u128 = ahead.filter(|(order, ..)| *order != place).map(|one| one.2).sum();
                prop_assert!(places.moved(place) >= exact);
                prop_assert!(all.len() > RETURNS || places.moved(place) == exact);
            }
        }
    }
}
