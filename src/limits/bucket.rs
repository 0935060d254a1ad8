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
