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

#[cfg(test)]
mod tests {
    use jiff::civil;
    use jiff::tz::TimeZoneDatabase;
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn zone(name: &str) -> TimeZone {
        TimeZoneDatabase::bundled().get(name).unwrap()
    }

    /// A quota, and what is used of it by one key.
    struct Days(Calendar, Used);

    fn days(quota: u64, name: &str) -> Days {
        let calendar = Calendar::new(NonZeroU64::new(quota).unwrap(), zone(name));
        let used = Used::fresh(&calendar, None);
        Days(calendar, used)
    }

    impl Days {
        fn take(&mut self, wall: SystemTime) -> Result<Place, u64> {
            let now = Now { mono: 0, wall };
            Used::advance(&mut self.0, now);
            self.1.check(&self.0, 1, now)?;
            Ok(self.1.take(&self.0, 1, now))
        }
    }

    fn midnight(date: civil::Date, name: &str) -> SystemTime {
        date.to_zoned(zone(name)).unwrap().timestamp().into()
    }

    #[test]
    fn a_day_is_as_long_as_its_zone_says() {
        for (date, name, hours) in [
            (civil::date(2026, 3, 29), "Europe/Berlin", 23),
            (civil::date(2026, 10, 25), "Europe/Berlin", 25),
            (civil::date(2026, 11, 23), "Europe/Berlin", 24),
            // Clocks there skip midnight itself.
            (civil::date(2018, 11, 4), "America/Sao_Paulo", 23),
            (civil::date(2026, 3, 29), "UTC", 24),
        ] {
            let begin = midnight(date, name);
            let mut days = days(2, name);
            assert!(days.take(begin).is_ok() && days.take(begin).is_ok());
            let wait = days.take(begin).unwrap_err();
            assert_eq!(Duration::from_nanos(wait), hours * HOUR, "{name}");
            let last = hours * HOUR - Duration::from_nanos(1);
            assert_eq!(days.take(begin + last).unwrap_err(), 1, "{date} {name}");
            assert!(days.take(begin + hours * HOUR).is_ok(), "{date} {name}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_mints_nothing() {
        let begin = midnight(civil::date(2026, 11, 23), "UTC");
        for back in [Duration::from_nanos(1), HOUR, 40 * HOUR, 9_000 * HOUR] {
            let mut days = days(2, "UTC");
            assert!(days.take(begin).is_ok() && days.take(begin).is_ok());
            assert!(days.take(begin - back).is_err(), "{back:?}");
        }
        // And one that was far ahead does not hold the count there for ever.
        let mut days = days(2, "UTC");
        assert!(days.take(begin + 9_000 * HOUR).is_ok() && days.take(begin).is_ok());
        assert_eq!(Duration::from_nanos(days.take(begin).unwrap_err()), 24 * HOUR);
        assert!(days.take(begin + 24 * HOUR).is_ok());
    }

    #[test]
    fn what_was_taken_yesterday_is_not_given_back_today() {
        let begin = midnight(civil::date(2026, 11, 23), "UTC");
        let mut days = days(1, "UTC");
        let place = days.take(begin).unwrap();
        assert!(days.take(begin + 24 * HOUR).is_ok());
        let now = Now { mono: 0, wall: begin + 24 * HOUR };
        days.1.give_back(&days.0, place, now);
        assert!(days.take(begin + 24 * HOUR).is_err());
        let place = days.take(begin + 48 * HOUR).unwrap();
        days.1.give_back(&days.0, place, now);
        assert!(days.take(begin + 48 * HOUR).is_ok(), "today's is");
    }

    proptest! {
        /// Counted by the calendar itself, over the ends of summer and winter time.
        #[test]
        fn no_calendar_day_holds_more_than_its_quota_nor_less_than_was_asked(
            quota in 1_u64..9,
            name in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "UTC"]),
            month in prop::sample::select(vec![3_i8, 10, 11]),
            waits in prop::collection::vec(0_u64..14_400, 1..400),
        ) {
            let mut days = days(quota, name);
            let mut now = midnight(civil::date(2026, month, 1), name);
            let mut asked = std::collections::BTreeMap::<civil::Date, (u64, u64)>::new();
            for wait in waits {
                now += Duration::from_secs(wait);
                let today = Timestamp::try_from(now).unwrap().to_zoned(zone(name)).date();
                let (all, admitted) = asked.entry(today).or_default();
                *all += 1;
                *admitted += u64::from(days.take(now).is_ok());
            }
            for (all, admitted) in asked.into_values() {
                prop_assert_eq!(admitted, all.min(quota));
            }
        }
    }
}
