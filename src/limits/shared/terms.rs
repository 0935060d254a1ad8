//! What a shared rate or quota is, in numbers. Pure.

/// Nanoseconds in a second.
pub(super) const SECOND: u64 = 1_000_000_000;
/// The store's level holds at least what comes back in this time, or the refill between two
/// asks would be lost to limits with a small burst.
const LEAST_DEPTH: u64 = SECOND / 5;

/// What is limited, and how fast it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Terms {
    /// The most there can be at once: a rate's burst, or a day's quota.
    pub(in crate::limits) capacity: u64,
    /// What comes back every window; 0 for a quota.
    pub(in crate::limits) per: u64,
    /// Nanoseconds; at least one.
    pub(in crate::limits) window: u64,
}

impl Terms {
    /// The level when nothing was taken.
    pub(super) fn depth(&self) -> u64 {
        self.capacity.max(self.accrued(LEAST_DEPTH))
    }

    /// What all gateways together may hold unspent: a fiftieth of what the limit admits in ten
    /// seconds, which leaves room within the bound of 5 % for gateways that do not know of
    /// each other yet.
    pub(super) fn all_slices(&self) -> u64 {
        self.capacity.saturating_add(self.accrued(10 * SECOND)) / 50
    }

    /// What one of so many may hold.
    pub(super) fn slice(&self, gateways: u64) -> u64 {
        (self.all_slices() / gateways.max(2)).max(1)
    }

    /// What comes back in so many nanoseconds.
    pub(super) fn accrued(&self, nanos: u64) -> u64 {
        let window = self.window.max(1);
        match self.per.checked_mul(nanos) {
            // Nearly always, and several times cheaper.
            Some(small) => small / window,
            None => narrow(u128::from(self.per) * u128::from(nanos) / u128::from(window)),
        }
    }

    /// Nanoseconds until so much has come back; `u64::MAX` for a quota.
    pub(super) fn until(&self, units: u64) -> u64 {
        let nanos = u128::from(units) * u128::from(self.window);
        if self.per == 0 { u64::MAX } else { narrow(nanos.div_ceil(u128::from(self.per))) }
    }
}

/// The end of the scale for what does not fit.
pub(super) fn narrow(wide: u128) -> u64 {
    u64::try_from(wide).unwrap_or(u64::MAX)
}
