//! One request rate, as the generic cell rate algorithm (GCRA): exact, and eight bytes of
//! state where a sliding window would keep a log.
//!
//! Pure: time is a parameter, in nanoseconds on a scale that only grows. Should it go back
//! all the same, the bucket's time stands still, so that a clock never mints a request.
//! Invariant: of the requests that were not given back, any span of t nanoseconds holds at
//! most `burst + t / interval`.

use std::num::NonZeroU32;
use std::time::Duration;

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
    /// All that was given back out of order, which moved earlier takes' places forward.
    moved: u64,
}

/// One request's place in a bucket, to give it back by.
#[derive(Debug)]
pub(super) struct Place {
    before: u64,
    end: u64,
    moved: u64,
}

impl Bucket {
    /// A full bucket of `burst` that refills by `per` requests every `window`.
    /// The interval is rounded up to a nanosecond, so that the rate is never exceeded.
    pub(super) fn new(per: NonZeroU32, window: Duration, burst: NonZeroU32) -> Self {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let interval = window.div_ceil(u64::from(per.get())).max(1);
        let tolerance = interval.saturating_mul(u64::from(burst.get()));
        Self { interval, tolerance, paid_at: 0, latest: 0, moved: 0 }
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
        let place = Place { before: self.paid_at, end, moved: self.moved };
        self.paid_at = end;
        Ok(place)
    }

    /// Undoes a take whose request was not sent. With nothing taken since, the bucket is as
    /// if it had never been. Otherwise the part of the place that time has not yet reached
    /// comes back: what time has paid for may already have been another request's refill.
    pub(super) fn give_back(&mut self, place: &Place, now: u64) {
        self.latest = self.latest.max(now);
        if self.paid_at == place.end && self.moved == place.moved {
            self.paid_at = place.before;
            return;
        }
        let end = place.end.saturating_sub(self.moved.saturating_sub(place.moved));
        let unpaid = end.saturating_sub(self.latest).min(self.interval);
        self.paid_at = self.paid_at.saturating_sub(unpaid);
        self.moved = self.moved.saturating_add(unpaid);
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
        bucket.give_back(&unsent, SECOND);
        assert_eq!(bucket.take(SECOND).unwrap_err(), SECOND, "the refill was already used");
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
                    bucket.give_back(&place, now);
                }
                Step::GiveBack(_) => {}
            }
        }
        kept.into_iter().map(|(at, _)| at).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

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
        fn giving_back_with_nothing_taken_since_is_exact(
            per in 1_u32..9, window in 1_u64..200, burst in 1_u32..9, steps in steps(),
            at in 900_u64..5_000, later in 0_u64..500,
        ) {
            let (mut real, mut never) = (bucket(per, window, burst), bucket(per, window, burst));
            run(&mut real, &steps);
            run(&mut never, &steps);
            if let Ok(place) = real.take(at) {
                real.give_back(&place, at + later);
            }
            prop_assert_eq!(real.paid_at, never.paid_at);
        }

        #[test]
        fn giving_back_before_time_reaches_it_is_exact_whoever_came_after(
            per in 1_u32..9, window in 1_u64..200, burst in 2_u32..9, before in 0_usize..8,
            after in 0_usize..8,
        ) {
            let (mut real, mut never) = (bucket(per, window, burst), bucket(per, window, burst));
            for _ in 0..before.min(burst as usize - 1) {
                prop_assert!(real.take(1_000).is_ok() && never.take(1_000).is_ok());
            }
            let place = real.take(1_000).unwrap();
            for _ in 0..after {
                if real.take(1_000).is_ok() {
                    prop_assert!(never.take(1_000).is_ok());
                }
            }
            real.give_back(&place, 1_000);
            prop_assert_eq!(real.paid_at.max(1_000), never.paid_at.max(1_000));
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
