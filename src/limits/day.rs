//! A quota by calendar day.
//!
//! Pure: the time is a parameter. A day is as long as its time zone says, 23 and 25 hours
//! included. A clock that goes back mints nothing: by less than a day, the later day goes
//! on; by more, the count goes back with it.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::count::{Count, Now, Place, Standing};

/// What is used of a day.
#[derive(Debug)]
pub(super) struct Used {
    /// The day, by the second it begins.
    starts: i64,
    units: u64,
}

/// The quota, and the day it is.
#[derive(Debug)]
pub(super) struct Calendar {
    quota: u64,
    zone: TimeZone,
    today: Day,
}

/// From one midnight to the next, in seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Day {
    starts: i64,
    ends: i64,
}

/// How far a clock may go back within the day that it had reached.
const BACK: i64 = 86_400;

impl Calendar {
    pub(super) fn new(quota: NonZeroU64, zone: TimeZone) -> Self {
        let never = Day { starts: i64::MIN, ends: i64::MIN };
        Self { quota: quota.get(), zone, today: never }
    }

    /// The seconds at which the day begins and ends.
    pub(super) fn today(&self) -> (i64, i64) {
        (self.today.starts, self.today.ends)
    }

    pub(super) fn nanos_left(&self, now: Now) -> u64 {
        let ends = u64::try_from(self.today.ends).unwrap_or(0);
        let ends = SystemTime::UNIX_EPOCH + Duration::from_secs(ends);
        let left = ends.duration_since(now.wall).unwrap_or_default();
        u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Day {
    /// The day that `second` is in. Out of jiff's years there is one day, without an end.
    fn of(second: i64, zone: &TimeZone) -> Self {
        let day = || {
            let now = Timestamp::from_second(second).ok()?.to_zoned(zone.clone());
            let starts = now.start_of_day().ok()?;
            let ends = now.tomorrow().ok()?.start_of_day().ok()?;
            Some(Self {
                starts: starts.timestamp().as_second(),
                ends: ends.timestamp().as_second(),
            })
        };
        day().unwrap_or(Self { starts: second, ends: i64::MAX })
    }
}

fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Used {
    /// What counts today: a later day's use does too, for then the clock went back.
    fn today(&self, calendar: &Calendar) -> u64 {
        if self.starts < calendar.today.starts { 0 } else { self.units }
    }
}

impl Count for Used {
    type Terms = Calendar;

    fn fresh(_: &Calendar, _: Option<&Arc<str>>) -> Self {
        Self { starts: i64::MIN, units: 0 }
    }

    fn advance(calendar: &mut Calendar, now: Now) {
        let second = unix_seconds(now.wall);
        let Day { starts, ends } = calendar.today;
        if second >= ends || second < starts.saturating_sub(BACK) {
            calendar.today = Day::of(second, &calendar.zone);
        }
    }

    fn check(&self, calendar: &Calendar, cost: u64, now: Now) -> Result<(), u64> {
        let fits = self.today(calendar).checked_add(cost).is_some_and(|sum| sum <= calendar.quota);
        if fits { Ok(()) } else { Err(calendar.nanos_left(now)) }
    }

    fn take(&mut self, calendar: &Calendar, cost: u64, _: Now) -> Place {
        let starts = calendar.today.starts;
        *self = Self { starts, units: self.today(calendar).saturating_add(cost) };
        Place::Day { starts, cost }
    }

    fn give_back(&mut self, _: &Calendar, place: Place, _: Now) {
        match place {
            Place::Day { starts, cost } if starts == self.starts => {
                self.units = self.units.saturating_sub(cost);
            }
            // Another day's: that count is closed.
            _ => {}
        }
    }

    fn standing(&self, calendar: &Calendar, now: Now) -> Standing {
        Standing {
            remaining: calendar.quota.saturating_sub(self.today(calendar)),
            of: calendar.quota,
            reset: Some(calendar.nanos_left(now)),
        }
    }

    fn is_idle(&self, calendar: &Calendar, _: Now) -> bool {
        self.today(calendar) == 0
    }

    fn carry_over(&mut self, _: &Calendar, _: &Calendar, _: Now) {}
}
