//! Whether the store may be asked, or has just failed and is left alone for a while.
//!
//! One failure is enough to stop asking, so that at most the requests of one moment wait for a
//! store that is gone. From then on a probe, and no request, finds out when it is back. Probes
//! grow rarer up to a bound, and each gateway's are spread at random, so that a store that
//! comes back is not met by all of them at once.
//!
//! Pure: time (nanoseconds) and chance are parameters.

use super::terms::SECOND;

/// Between the first failure and the first probe.
const FIRST: u64 = SECOND / 10;
/// Between two probes, at most.
const MOST: u64 = 5 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breaker {
    /// The store answers.
    Closed,
    /// It does not: the next probe is at `until`, and the one after it `pause` later.
    Open { until: u64, pause: u64 },
}

impl Breaker {
    /// Before the store was asked for the first time.
    pub(super) const UNKNOWN: Self = Self::Open { until: 0, pause: FIRST / 2 };

    pub(super) fn is_closed(self) -> bool {
        self == Self::Closed
    }

    /// Whether it is time to probe.
    pub(super) fn probes(self, now: u64) -> bool {
        matches!(self, Self::Open { until, .. } if now >= until)
    }

    /// A call or a probe failed at `now`. `chance` is anything, as random as can be.
    #[must_use]
    pub(super) fn failed(self, now: u64, chance: u64) -> Self {
        let pause = match self {
            Self::Closed => FIRST,
            // A call that was under way when the breaker opened is no news.
            Self::Open { until, .. } if now < until => return self,
            Self::Open { pause, .. } => pause.saturating_mul(2).min(MOST),
        };
        // Between half and all of the pause.
        let until = now.saturating_add(pause / 2).saturating_add(chance % (pause / 2));
        Self::Open { until, pause }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_failure_opens_it_and_only_a_probe_later_is_due() {
        let open = Breaker::Closed.failed(SECOND, 0);
        assert!(Breaker::Closed.is_closed() && !open.is_closed());
        assert!(Breaker::UNKNOWN.probes(0), "the first probe is at once");
        assert!(!open.probes(SECOND + FIRST / 2 - 1));
        assert!(open.probes(SECOND + FIRST / 2));
        assert_eq!(open.failed(SECOND + 1, 7), open, "the rest of one moment's failures");
    }

    proptest! {
        #[test]
        fn probes_grow_rarer_up_to_a_bound_and_are_spread(chances in prop::collection::vec(any::<u64>(), 1..20)) {
            let (mut breaker, mut now, mut most) = (Breaker::Closed, 0, FIRST);
            for chance in chances {
                breaker = breaker.failed(now, chance);
                let Breaker::Open { until, .. } = breaker else { panic!("closed") };
                prop_assert!((now + most / 2..now + most).contains(&until));
                (now, most) = (until, (most * 2).min(MOST));
            }
        }
    }
}
