//! One rate, as the generic cell rate algorithm (GCRA): exact, and a few numbers where a
//! sliding window would keep a log.
//!
//! Pure: time is a parameter, in nanoseconds on a scale that only grows. Within, it counts
//! in ticks of which a nanosecond has `quota`, so that a unit takes up exactly `window` of
//! them and no rate is ever rounded.
//! Invariant: of the units that were not given back, any span of t nanoseconds holds at
//! most `burst + t · quota / window`.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::count::{Count, Now, Place, Standing};
use super::limit::Period;
use super::returns::Returns;

/// So many units a window, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    quota: u64,
    /// Nanoseconds; also the ticks that one unit takes up (T).
    window: u64,
    burst: u64,
}

/// Where a rate stands.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// The tick at which everything taken so far will have been paid for (the theoretical
    /// arrival time).
    paid_at: u128,
    returns: Returns,
}

impl Rate {
    pub(super) fn new(quota: NonZeroU64, period: Period, burst: NonZeroU64) -> Self {
        Self { quota: quota.get(), window: period.nanos(), burst: burst.get() }
    }

    fn ticks(&self, nanos: u64) -> u128 {
        u128::from(nanos) * u128::from(self.quota)
    }

    fn cost(&self, units: u64) -> u128 {
        u128::from(units) * u128::from(self.window)
    }

    /// How far ahead of now the schedule may run (τ).
    fn tolerance(&self) -> u128 {
        self.cost(self.burst)
    }

    /// Rounded up: a nanosecond earlier is too early.
    fn nanos(&self, ticks: u128) -> u64 {
        u64::try_from(divided_up(ticks, self.quota)).unwrap_or(u64::MAX)
    }
}

/// Nearly every dividend fits 64 bits, where dividing is several times cheaper.
fn divided_up(dividend: u128, divisor: u64) -> u128 {
    match u64::try_from(dividend) {
        Ok(small) => small.div_ceil(divisor.max(1)).into(),
        Err(_) => dividend.div_ceil(divisor.max(1).into()),
    }
}

impl Bucket {
    /// When it will have been paid for, if `cost` units are taken at `now`. Past the end of
    /// the scale that is never: saturating would admit for ever.
    fn next(&self, rate: &Rate, cost: u64, now: u64) -> Option<u128> {
        self.paid_at.max(rate.ticks(now)).checked_add(rate.cost(cost))
    }

    /// How far the schedule runs ahead of `now`, in ticks.
    fn ahead(&self, rate: &Rate, now: u64) -> u128 {
        self.paid_at.saturating_sub(rate.ticks(now))
    }
}

impl Count for Bucket {
    type Terms = Rate;

    fn fresh(_: &Rate, _: Option<&Arc<str>>) -> Self {
        Self::default()
    }

    fn check(&self, rate: &Rate, cost: u64, now: Now) -> Result<(), u64> {
        let end = self.next(rate, cost, now.mono).ok_or(u64::MAX)?;
        let ahead = end.saturating_sub(rate.ticks(now.mono));
        let over = ahead.saturating_sub(rate.tolerance());
        if over == 0 { Ok(()) } else { Err(rate.nanos(over)) }
    }

    fn take(&mut self, rate: &Rate, cost: u64, now: Now) -> Place {
        if self.paid_at <= rate.ticks(now.mono) {
            self.returns.settle();
        }
        let (order, end) =
            (self.returns.next(), self.next(rate, cost, now.mono).unwrap_or(u128::MAX));
        self.paid_at = end;
        Place::Rate { order, end, cost }
    }

    /// With nothing taken since, the bucket is as if the place had never been.
    fn give_back(&mut self, rate: &Rate, place: Place, now: Now) {
        let Place::Rate { order, end, cost } = place else { return };
        let amount = self.returns.give_back(order, end, rate.cost(cost), rate.ticks(now.mono));
        self.paid_at = self.paid_at.saturating_sub(amount);
    }

    fn standing(&self, rate: &Rate, now: Now) -> Standing {
        let ahead = self.ahead(rate, now.mono);
        // Rounded up, so that what remains is rounded down.
        let used = divided_up(ahead, rate.window);
        let used = u64::try_from(used).unwrap_or(u64::MAX);
        Standing {
            remaining: rate.burst.saturating_sub(used),
            of: rate.burst,
            reset: Some(rate.nanos(ahead)),
        }
    }

    fn is_idle(&self, rate: &Rate, now: Now) -> bool {
        self.paid_at <= rate.ticks(now.mono)
    }

    /// What was used is so many units, and so as many ticks as before: only where they begin
    /// has changed. More than the new burst is forgiven, lest a team waits for hours because
    /// its limit became a slow one. Places taken before are not given back any more.
    fn carry_over(&mut self, from: &Rate, to: &Rate, now: Now) {
        let ahead = self.ahead(from, now.mono).min(to.tolerance());
        self.paid_at = to.ticks(now.mono).saturating_add(ahead);
        self.returns.settle();
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::super::returns::RETURNS;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A bucket with its rate, and the time as a counter keeps it: it never goes back.
    struct Timed {
        rate: Rate,
        bucket: Bucket,
        latest: u64,
    }

    fn bucket(quota: u64, window: u64, burst: u64) -> Timed {
        Timed { rate: Rate { quota, window, burst }, bucket: Bucket::default(), latest: 0 }
    }

    fn at(mono: u64) -> Now {
        Now { mono, wall: SystemTime::UNIX_EPOCH }
    }

    impl Timed {
        fn at(&self, now: u64) -> Now {
            at(self.latest.max(now))
        }

        fn check(&self, cost: u64, now: u64) -> Result<(), u64> {
            self.bucket.check(&self.rate, cost, self.at(now))
        }

        fn take_many(&mut self, cost: u64, now: u64) -> Result<Place, u64> {
            self.latest = self.latest.max(now);
            self.check(cost, now)?;
            Ok(self.bucket.take(&self.rate, cost, at(self.latest)))
        }

        fn take(&mut self, now: u64) -> Result<Place, u64> {
            self.take_many(1, now)
        }

        fn give_back(&mut self, place: Place, now: u64) {
            self.latest = self.latest.max(now);
            self.bucket.give_back(&self.rate, place, at(self.latest));
        }

        fn remaining(&self, now: u64) -> u64 {
            self.bucket.standing(&self.rate, self.at(now)).remaining
        }

        fn until_full(&self, now: u64) -> u64 {
            self.bucket.standing(&self.rate, self.at(now)).reset.unwrap()
        }

        /// What it will answer from now on: all that two equal buckets share.
        fn outlook(&self) -> u128 {
            self.bucket.paid_at.max(self.rate.ticks(self.latest))
        }
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
    fn a_rate_that_does_not_divide_its_window_is_exact() {
        let mut bucket = bucket(3, SECOND, 3);
        for now in [0, SECOND, 2 * SECOND] {
            assert_eq!((0..9).filter(|_| bucket.take(now).is_ok()).count(), 3);
        }
    }

    #[test]
    fn the_ends_of_every_scale_are_refusals_not_panics() {
        let mut slow = bucket(1, u64::MAX, 2);
        assert!(slow.take(0).is_ok());
        assert!(slow.take(u64::MAX).is_ok());
        assert!(slow.take(u64::MAX).is_ok());
        assert!(slow.take(u64::MAX).is_err());
        let mut fast = bucket(u64::MAX, 3, u64::MAX);
        assert!(fast.take_many(u64::MAX, 0).is_ok());
        assert!(fast.take_many(u64::MAX, u64::MAX).is_err(), "past the end of the scale");
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
        let odd = |place: &Place| matches!(place, Place::Rate { order, .. } if order % 2 == 1);
        let (odd, even): (Vec<_>, Vec<_>) = places.into_iter().partition(odd);
        for place in odd.into_iter().rev().chain(even) {
            bucket.give_back(place, 0);
            assert!(bucket.bucket.returns.remembered() <= RETURNS);
        }
        assert!((500..=1_000).contains(&bucket.remaining(0)), "{}", bucket.remaining(0));
        assert!(bucket.take(2 * SECOND).is_ok());
        assert_eq!(bucket.bucket.returns.remembered(), 0, "a full bucket needs no memory");
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
    fn run(bucket: &mut Timed, steps: &[Step]) -> Vec<u64> {
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
            per in 1_u64..9, window in 1_u64..200, burst in 1_u64..9, steps in steps(),
        ) {
            let mut bucket = bucket(per, window, burst);
            let times = run(&mut bucket, &steps);
            for (first, from) in times.iter().enumerate() {
                for (last, to) in times.iter().enumerate().skip(first) {
                    let admitted = (last - first + 1) as u64;
                    // In integers: admitted ≤ burst + t · per / window.
                    let beyond = admitted.saturating_sub(burst);
                    prop_assert!(beyond * window <= (to - from) * per, "{times:?}");
                }
            }
        }

        #[test]
        fn giving_back_never_leaves_more_than_if_it_had_not_been_taken(
            per in 1_u64..9, window in 1_u64..200, burst in 1_u64..9, steps in steps(),
        ) {
            let mut real = bucket(per, window, burst);
            let mut never = bucket(per, window, burst);
            for at in run(&mut real, &steps) {
                prop_assert!(never.take(at).is_ok());
            }
            never.latest = real.latest;
            prop_assert!(real.outlook() >= never.outlook());
        }

        #[test]
        fn giving_back_with_nothing_taken_since_is_exact(
            per in 1_u64..9, window in 1_u64..200, burst in 1_u64..9, steps in steps(),
            at in 900_u64..5_000, later in 0_u64..500,
        ) {
            let (mut real, mut never) = (bucket(per, window, burst), bucket(per, window, burst));
            run(&mut real, &steps);
            run(&mut never, &steps);
            if let Ok(place) = real.take(at) {
                real.give_back(place, at + later);
            }
            never.latest = real.latest;
            prop_assert_eq!(real.outlook(), never.outlook());
        }

        #[test]
        fn giving_back_before_time_reaches_it_is_exact_in_any_order(
            per in 1_u64..9, window in 1_u64..200, burst in 1_u64..60,
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
            per in 1_u64..9, window in 1_u64..200, burst in 1_u64..9, steps in steps(),
        ) {
            let mut bucket = bucket(per, window, burst);
            run(&mut bucket, &steps);
            let now = bucket.latest;
            if let Err(wait) = bucket.check(1, now) {
                prop_assert!(bucket.check(1, now + wait - 1).is_err());
                prop_assert!(bucket.check(1, now + wait).is_ok());
                prop_assert_eq!(bucket.remaining(now), 0);
            } else {
                prop_assert!(bucket.remaining(now) > 0);
            }
        }
    }
}
