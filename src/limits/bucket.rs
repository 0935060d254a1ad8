//! One request rate, as the generic cell rate algorithm (GCRA): exact, and two numbers
//! where a sliding window would keep a log.
//!
//! Pure: time is a parameter, in nanoseconds on a scale that only grows. Should it go back
//! all the same, the bucket's time stands still, so that a clock never mints a request.
//! Invariant: of the requests that were not given back, any span of t nanoseconds holds at
//! most `burst + t / interval`.

use std::num::NonZeroU32;
use std::time::Duration;

/// How many returns a bucket remembers one by one. More than this many unsent requests at
/// once and some of them get back a little less than they took.
const RETURNS: usize = 64;

/// A rate and where it stands.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Nanoseconds that one request takes up (T).
    interval: u64,
    /// How far ahead of now the schedule may run (τ): the burst.
    tolerance: u64,
    /// When everything taken so far will have been paid for (the theoretical arrival time).
    paid_at: u64,
    /// The latest time seen.
    latest: u64,
    /// Requests taken so far: the next one's order.
    taken: u64,
    /// Places of a lower order were paid for before the bucket was last full.
    settled: u64,
    /// What was given back since the bucket was last full, by order.
    returns: Vec<Return>,
}

/// One request's place in a bucket, to give it back by.
#[derive(Debug)]
pub(super) struct Place {
    order: u64,
    end: u64,
}

/// A place given back: those taken after it, and before it came back, have moved forward.
#[derive(Debug)]
struct Return {
    order: u64,
    /// The order of the first place that was taken after the return.
    until: u64,
    amount: u64,
}

impl Bucket {
    /// A full bucket of `burst` that refills by `per` requests every `window`.
    /// The interval is rounded up to a nanosecond, so that the rate is never exceeded.
    pub(super) fn new(per: NonZeroU32, window: Duration, burst: NonZeroU32) -> Self {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let interval = window.div_ceil(u64::from(per.get())).max(1);
        let tolerance = interval.saturating_mul(u64::from(burst.get()));
        let (paid_at, latest, taken, settled) = (0, 0, 0, 0);
        Self { interval, tolerance, paid_at, latest, taken, settled, returns: Vec::new() }
    }

    /// Whether a request would be admitted at `now`.
    ///
    /// # Errors
    /// The nanoseconds until one would be, if nobody else takes it.
    pub(super) fn check(&self, now: u64) -> Result<(), u64> {
        self.next(self.latest.max(now)).map(drop)
    }

    /// Admits a request at `now`.
    ///
    /// # Errors
    /// As [`check`](Self::check); then nothing was taken.
    pub(super) fn take(&mut self, now: u64) -> Result<Place, u64> {
        self.latest = self.latest.max(now);
        let end = self.next(self.latest)?;
        if self.paid_at <= self.latest {
            self.settled = self.taken;
            self.returns.clear();
        }
        let place = Place { order: self.taken, end };
        self.paid_at = end;
        self.taken = self.taken.saturating_add(1);
        Ok(place)
    }

    /// Undoes a take whose request was not sent. Its place comes back as far as time has not
    /// reached it: what time has paid for may already have been another request's refill.
    /// With nothing taken since, the bucket is as if it had never been.
    pub(super) fn give_back(&mut self, Place { order, end }: Place, now: u64) {
        self.latest = self.latest.max(now);
        if order < self.settled {
            return;
        }
        let end = end.saturating_sub(self.moved(order));
        let amount = end.saturating_sub(self.latest).min(self.interval);
        if amount > 0 {
            self.paid_at = self.paid_at.saturating_sub(amount);
            self.remember(Return { order, until: self.taken, amount });
        }
    }

    /// How far the place of this order has moved forward since it was taken.
    fn moved(&self, order: u64) -> u64 {
        let before = self.returns.iter().take_while(|earlier| earlier.order < order);
        before.filter(|earlier| order < earlier.until).map(|earlier| earlier.amount).sum()
    }

    fn remember(&mut self, one: Return) {
        let at = self.returns.partition_point(|earlier| earlier.order < one.order);
        self.returns.insert(at, one);
        if self.returns.len() > RETURNS {
            let oldest = self.returns.remove(0);
            if let Some(next) = self.returns.first_mut() {
                // Errs towards "has moved further", which gives back less, never more.
                next.order = oldest.order;
                next.until = next.until.max(oldest.until);
                next.amount = next.amount.saturating_add(oldest.amount);
            }
        }
    }

    /// How many requests would be admitted at once at `now`.
    pub(super) fn remaining(&self, now: u64) -> u64 {
        self.tolerance.saturating_sub(self.until_full(now)) / self.interval
    }

    /// Nanoseconds until the whole burst is there again.
    pub(super) fn until_full(&self, now: u64) -> u64 {
        self.paid_at.saturating_sub(self.latest.max(now))
    }

    fn next(&self, now: u64) -> Result<u64, u64> {
        // Past the end of the scale nothing is admitted: saturating would admit for ever.
        let end = self.paid_at.max(now).checked_add(self.interval).ok_or(u64::MAX)?;
        let ahead = end.saturating_sub(now);
        if ahead <= self.tolerance { Ok(end) } else { Err(ahead - self.tolerance) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn bucket(per: u32, window: u64, burst: u32) -> Bucket {
        let whole = |n| NonZeroU32::new(n).unwrap();
        Bucket::new(whole(per), Duration::from_nanos(window), whole(burst))
    }

    /// What a bucket will answer from `now` on: all that two equal buckets share.
    fn outlook(bucket: &Bucket) -> u64 {
        bucket.paid_at.max(bucket.latest)
    }

    #[test]
    fn a_burst_is_admitted_at_once_and_then_the_rate() {
        let mut bucket = bucket(10, SECOND, 3);
        for left in [2, 1, 0] {
            assert!(bucket.take(SECOND).is_ok());
            assert_eq!(bucket.remaining(SECOND), left);
        }
        assert_eq!(bucket.take(SECOND).unwrap_err(), SECOND / 10);
        assert!(bucket.take(SECOND + SECOND / 10).is_ok());
        assert_eq!(bucket.until_full(SECOND + SECOND / 10), 3 * SECOND / 10);
    }

    #[test]
    fn a_clock_that_goes_back_mints_nothing() {
        let mut bucket = bucket(1, SECOND, 2);
        assert!(bucket.take(10 * SECOND).is_ok());
        assert!(bucket.take(3 * SECOND).is_ok());
        assert_eq!(bucket.take(0).unwrap_err(), SECOND);
        assert_eq!(bucket.take(10 * SECOND).unwrap_err(), SECOND);
        assert!(bucket.take(11 * SECOND).is_ok());
    }

    #[test]
    fn a_rate_that_does_not_divide_its_window_is_rounded_down() {
        let mut bucket = bucket(3, SECOND, 1);
        let admitted = (0..=SECOND).step_by(1_000_000).filter(|now| bucket.take(*now).is_ok());
        assert_eq!(admitted.count(), 3);
    }

    #[test]
    fn the_ends_of_every_scale_are_refusals_not_panics() {
        let mut slow = Bucket::new(NonZeroU32::MIN, Duration::MAX, NonZeroU32::MAX);
        assert!(slow.take(0).is_ok(), "the scale holds one");
        assert!(slow.take(u64::MAX).is_err(), "and no second");
        let mut fast = Bucket::new(NonZeroU32::MAX, Duration::ZERO, NonZeroU32::MAX);
        assert!(fast.take(0).is_ok());
        assert!(fast.take(u64::MAX).is_err(), "time has ended");
        assert!(fast.take(u64::MAX).is_err());
    }

    #[test]
    fn a_place_that_time_has_paid_for_does_not_come_back_twice() {
        let mut bucket = bucket(1, SECOND, 1);
        let unsent = bucket.take(0).unwrap();
        bucket.take(SECOND).unwrap();
        bucket.give_back(unsent, SECOND);
        assert_eq!(bucket.take(SECOND).unwrap_err(), SECOND, "the refill was already used");
    }

    #[test]
    fn what_is_remembered_of_returns_is_bounded_and_errs_towards_less() {
        let mut bucket = bucket(1_000, SECOND, 1_000);
        let places: Vec<_> = (0..1_000).map(|_| bucket.take(0).unwrap()).collect();
        // Every other one from the back, then the rest from the front.
        let (odd, even): (Vec<_>, Vec<_>) = places.into_iter().partition(|p| p.order % 2 == 1);
        for place in odd.into_iter().rev().chain(even) {
            bucket.give_back(place, 0);
            assert!(bucket.returns.len() <= RETURNS);
        }
        assert!((500..=1_000).contains(&bucket.remaining(0)), "{}", bucket.remaining(0));
        assert!(bucket.take(2 * SECOND).is_ok());
        assert!(bucket.returns.is_empty(), "a full bucket needs no memory");
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Nanoseconds; negative ones are a clock that goes back.
        Wait(i64),
        Take,
        /// Gives back one of what is held.
        GiveBack(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            2 => (-20_i64..60).prop_map(Step::Wait),
            1 => (0_i64..2).prop_map(Step::Wait),
            4 => Just(Step::Take),
            2 => (0_usize..32).prop_map(Step::GiveBack),
        ];
        prop::collection::vec(step, 0..120)
    }

    /// Runs the steps; returns when each request that was not given back was admitted.
    fn run(bucket: &mut Bucket, steps: &[Step]) -> Vec<u64> {
        let (mut now, mut kept) = (1_000_u64, Vec::new());
        for step in steps {
            match step {
                Step::Wait(nanos) => now = now.saturating_add_signed(*nanos),
                Step::Take => {
                    if let Ok(place) = bucket.take(now) {
                        kept.push((bucket.latest, place));
                    }
                }
                Step::GiveBack(which) if !kept.is_empty() => {
                    let (_, place) = kept.remove(which % kept.len());
                    bucket.give_back(place, now);
                }
                Step::GiveBack(_) => {}
            }
        }
        kept.into_iter().map(|(at, _)| at).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn no_span_holds_more_than_the_burst_and_its_share_of_the_rate(
            per in 1_u32..9, window in 1_u64..200, burst in 1_u32..9, steps in steps(),
        ) {
            let mut bucket = bucket(per, window, burst);
            let times = run(&mut bucket, &steps);
            for (first, from) in times.iter().enumerate() {
                for (last, to) in times.iter().enumerate().skip(first) {
                    let admitted = (last - first + 1) as u64;
                    // In integers: admitted ≤ burst + t · per / window.
                    let beyond = admitted.saturating_sub(u64::from(burst));
                    prop_assert!(beyond * window <= (to - from) * u64::from(per), "{times:?}");
                }
            }
        }

        #[test]
        fn giving_back_never_leaves_more_than_if_it_had_not_been_taken(
            per in 1_u32..9, window in 1_u64..200, burst in 1_u32..9, steps in steps(),
        ) {
            let mut real = bucket(per, window, burst);
            let mut never = bucket(per, window, burst);
            for at in run(&mut real, &steps) {
                prop_assert!(never.take(at).is_ok());
            }
            never.latest = real.latest;
            prop_assert!(outlook(&real) >= outlook(&never));
        }

        #[test]
        fn beyond_what_is_remembered_a_place_counts_as_moved_further_never_less(
            returns in prop::collection::vec((0_u64..300, 0_u64..3, 1_u64..9), 0..150),
        ) {
            let (mut bucket, mut taken, mut all) = (bucket(1, SECOND, 1), 300, Vec::new());
            for (order, more, amount) in returns {
                taken += more;
                bucket.remember(Return { order, until: taken, amount });
                all.push((order, taken, amount));
            }
            prop_assert!(bucket.returns.len() <= RETURNS);
            for place in 0..taken {
                let ahead = all.iter().filter(|(order, until, _)| (*order..*until).contains(&place));
                let exact: u64 = ahead.filter(|(order, ..)| *order != place).map(|one| one.2).sum();
                prop_assert!(bucket.moved(place) >= exact);
                prop_assert!(all.len() > RETURNS || bucket.moved(place) == exact);
            }
        }

        #[test]
        fn giving_back_with_nothing_taken_since_is_exact(
            per in 1_u32..9, window in 1_u64..200, burst in 1_u32..9, steps in steps(),
            at in 900_u64..5_000, later in 0_u64..500,
        ) {
            let (mut real, mut never) = (bucket(per, window, burst), bucket(per, window, burst));
            run(&mut real, &steps);
            run(&mut never, &steps);
            if let Ok(place) = real.take(at) {
                real.give_back(place, at + later);
            }
            never.latest = real.latest;
            prop_assert_eq!(outlook(&real), outlook(&never));
        }

        #[test]
        fn giving_back_before_time_reaches_it_is_exact_in_any_order(
            per in 1_u32..9, window in 1_u64..200, burst in 1_u32..60,
            fate in prop::collection::vec(any::<Option<prop::sample::Index>>(), 0..60),
        ) {
            let (mut real, mut never) = (bucket(per, window, burst), bucket(per, window, burst));
            let (now, mut unsent) = (1_000, Vec::new());
            for unsent_at in fate {
                let Ok(place) = real.take(now) else { continue };
                match unsent_at {
                    None => prop_assert!(never.take(now).is_ok()),
                    Some(at) => unsent.insert(at.index(unsent.len() + 1), place),
                }
            }
            unsent.into_iter().for_each(|place| real.give_back(place, now));
            prop_assert_eq!(real.remaining(now), never.remaining(now));
            prop_assert_eq!(real.until_full(now), never.until_full(now));
        }

        #[test]
        fn a_wait_is_true_to_the_nanosecond(
            per in 1_u32..9, window in 1_u64..200, burst in 1_u32..9, steps in steps(),
        ) {
            let mut bucket = bucket(per, window, burst);
            run(&mut bucket, &steps);
            let now = bucket.latest;
            if let Err(wait) = bucket.check(now) {
                prop_assert!(bucket.check(now + wait - 1).is_err());
                prop_assert!(bucket.check(now + wait).is_ok());
                prop_assert_eq!(bucket.remaining(now), 0);
            } else {
                prop_assert!(bucket.remaining(now) > 0);
            }
        }
    }
}
