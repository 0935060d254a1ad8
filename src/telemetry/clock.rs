//! The wall clock, passed in rather than read, so that tests decide what time it is.
//!
//! Token rules, decisions and buckets take the time as a parameter; only the gateway and
//! the background tasks hold a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where "now" comes from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    /// Milliseconds since the epoch, set by a test.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that stands still at `now` until [`set`](Self::set).
    pub fn manual(now: SystemTime) -> Self {
        Self::Manual(Arc::new(AtomicU64::new(unix_millis(now))))
    }

    pub fn now(&self) -> SystemTime {
        match self {
            Self::System => SystemTime::now(),
            Self::Manual(millis) => {
                UNIX_EPOCH + Duration::from_millis(millis.load(Ordering::Relaxed))
            }
        }
    }

    /// Moves a manual clock; the system's is left alone.
    pub fn set(&self, now: SystemTime) {
        if let Self::Manual(millis) = self {
            millis.store(unix_millis(now), Ordering::Relaxed);
        }
    }
}

/// Milliseconds since the epoch; 0 for a clock set before 1970.
pub fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whole seconds since the epoch; 0 for a clock set before 1970.
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
