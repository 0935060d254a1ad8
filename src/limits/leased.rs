//! The count of a limit that gateways share: spent here, from a slice of what the store has.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};

use super::count::{ASK, CUT, Count, Now, Place, Standing};
use super::day::{Calendar, Used};
use super::limit::{Filter, Limit, Measure, Per, Scope};
use super::shared::{Day, Empty, Kind, Lender, Pool, Slice, Terms};

/// One count. Dropped, the lender gives back what it holds.
#[derive(Debug)]
pub(super) struct Leased(Arc<Slice>);

/// What the counts of one limit share.
#[derive(Debug)]
pub(super) struct Leasing {
    lender: Lender,
    pool: Arc<Pool>,
    /// What the keys of its counts begin with.
    base: Arc<str>,
    kind: Kind,
    /// Of a day's quota.
    calendar: Option<Calendar>,
}

impl Leasing {
    pub(super) fn new(lender: &Lender, limit: &Limit, address: &Address) -> Self {
        let (kind, calendar) = kind(&limit.measure);
        let (pool, base) = (lender.pool(&address.tag), Arc::clone(&address.base));
        Self { lender: lender.clone(), pool, base, kind, calendar }
    }

    /// The same limit with other numbers.
    pub(super) fn retuned(&self, measure: &Measure) -> Self {
        let (kind, calendar) = kind(measure);
        let (lender, pool) = (self.lender.clone(), Arc::clone(&self.pool));
        Self { lender, pool, base: Arc::clone(&self.base), kind, calendar }
    }

    fn all(&self) -> u64 {
        match self.kind {
            Kind::Units { terms, .. } => terms.capacity,
            Kind::Slots(most) => most.into(),
        }
    }

    /// The wall clock as the store has it, so that all gateways have the same day.
    fn wall(&self, now: Now) -> Now {
        Now { wall: self.lender.wall(now.wall), ..now }
    }

    fn day_left(&self, now: Now) -> Option<u64> {
        Some(self.calendar.as_ref()?.nanos_left(self.wall(now)))
    }
}

/// Where a limit stands in the store.
pub(super) struct Address {
    /// Whose it is: the hash tag of its keys.
    pub(super) tag: String,
    pub(super) base: Arc<str>,
}

/// Gives limits their addresses, in the order of the file.
#[derive(Default)]
pub(super) struct Addresses(HashMap<(String, String), usize>);

impl Addresses {
    pub(super) fn of(&mut self, limit: &Limit) -> Address {
        let tag = match &limit.scope {
            Scope::Everybody => "everybody".to_owned(),
            Scope::Team(team) => format!("team:{}", team.as_str()),
            Scope::NoTeam => "no-team".to_owned(),
        };
        let stem = stem(limit);
        // Of the limits that are alike but for their numbers.
        let nth = self.0.entry((tag.clone(), stem.clone())).or_default();
        let base = if *nth == 0 { stem.into() } else { format!("{stem}#{nth}").into() };
        *nth += 1;
        Address { tag, base }
    }
}

/// What of a limit is in its keys: all but its numbers, so that what is used stays used when
/// they change.
fn stem(limit: &Limit) -> String {
    let per = match limit.per {
        Per::Whole => "",
        Per::User => "-per-user",
        Per::Team => "-per-team",
        Per::Role => "-per-role",
        Per::Endpoint => "-per-endpoint",
    };
    let measure = match &limit.measure {
        Measure::Rate { unit, period, .. } => format!("{}/{}", unit.as_str(), period.as_str()),
        Measure::Day { unit, zone, .. } => {
            format!("{}/day-{}", unit.as_str(), zone.iana_name().unwrap_or("UTC"))
        }
        Measure::Concurrency(_) => "concurrency".to_owned(),
    };
    format!("{measure}{per}{}", filtered(&limit.filter))
}

fn filtered(filter: &Filter) -> String {
    if *filter == Filter::default() {
        return String::new();
    }
    let endpoints = filter.endpoints.iter().map(|pattern| pattern.as_str());
    let operations = filter.operations.iter().map(|operation| operation.as_str());
    let parts: Vec<_> = endpoints.chain(["/"]).chain(operations).collect();
    format!("-for-{}", short(&parts.join(" ")))
}

/// Names of users and endpoints do not stand in the store; of one length, they cannot be
/// mistaken for another part of the key either.
fn short(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    hex::encode(hash.as_ref().get(..16).unwrap_or_default())
}

/// What is limited, and for a quota on which day.
pub(super) fn kind_at(measure: &Measure, wall: SystemTime) -> Kind {
    let (mut kind, mut calendar) = kind(measure);
    set_day(&mut kind, calendar.as_mut(), Now { mono: 0, wall });
    kind
}

fn set_day(kind: &mut Kind, calendar: Option<&mut Calendar>, now: Now) {
    if let (Some(calendar), Kind::Units { day, .. }) = (calendar, kind) {
        Used::advance(calendar, now);
        let micros = |second: i64| u64::try_from(second).unwrap_or(0).saturating_mul(1_000_000);
        let (starts, ends) = calendar.today();
        *day = Some(Day { from: micros(starts), to: micros(ends) });
    }
}

fn kind(measure: &Measure) -> (Kind, Option<Calendar>) {
    match measure {
        Measure::Rate { quota, period, burst, .. } => {
            let (capacity, per, window) = (burst.get(), quota.get(), period.nanos());
            (Kind::Units { terms: Terms { capacity, per, window }, day: None }, None)
        }
        Measure::Day { quota, zone, .. } => {
            let terms = Terms { capacity: quota.get(), per: 0, window: 1 };
            let calendar = Calendar::new(*quota, zone.clone());
            (Kind::Units { terms, day: None }, Some(calendar))
        }
        Measure::Concurrency(most) => (Kind::Slots(most.get()), None),
    }
}

impl Count for Leased {
    type Terms = Leasing;

    fn fresh(leasing: &Leasing, key: Option<&Arc<str>>) -> Self {
        let key = match key {
            Some(key) => format!("{}:{}", leasing.base, short(key)),
            None => leasing.base.to_string(),
        };
        Self(leasing.lender.slice(&leasing.pool, &key, &leasing.base, leasing.kind))
    }

    fn advance(leasing: &mut Leasing, now: Now) {
        let now = leasing.wall(now);
        set_day(&mut leasing.kind, leasing.calendar.as_mut(), now);
    }

    fn check(&self, leasing: &Leasing, cost: u64, now: Now) -> Result<(), u64> {
        self.0.check(leasing.kind, cost, now.mono).map_err(|empty| match empty {
            Empty::UsedUp(nanos) => {
                nanos.min(leasing.day_left(now).unwrap_or(nanos)).clamp(ASK + 1, CUT - 1)
            }
            Empty::Ask => ASK,
            Empty::Cut => CUT,
        })
    }

    fn wait(&self, leasing: &Leasing, cost: u64, now: Now) {
        self.0.wait(leasing.kind, cost, now.mono);
        leasing.lender.wake(&leasing.pool);
    }

    fn take(&mut self, leasing: &Leasing, cost: u64, now: Now) -> Place {
        let (spent, low) = self.0.take(leasing.kind, cost, now.mono);
        if low {
            leasing.lender.wake(&leasing.pool);
        }
        match leasing.kind {
            Kind::Units { day, .. } => Place::Leased { from: day.map(|day| day.from), spent, cost },
            Kind::Slots(_) => Place::Slot,
        }
    }

    fn give_back(&mut self, leasing: &Leasing, place: Place, now: Now) {
        match (place, leasing.kind) {
            (Place::Slot, Kind::Slots(_)) => self.0.release(),
            // Another day's: that count is closed.
            (Place::Leased { from, spent, cost }, Kind::Units { day, .. })
                if from == day.map(|day| day.from) =>
            {
                self.0.give_back(spent, cost, now.mono);
            }
            _ => {}
        }
    }

    fn standing(&self, leasing: &Leasing, now: Now) -> Standing {
        let left = self.0.left(now.mono);
        let reset = leasing.day_left(now).or(left.reset);
        Standing { remaining: left.remaining, of: leasing.all(), reset }
    }

    fn is_idle(&self, _: &Leasing, now: Now) -> bool {
        self.0.is_idle(now.mono)
    }

    /// Each slice learns its new numbers when it is used next.
    fn carry_over(&mut self, _: &Leasing, _: &Leasing, _: Now) {}
}

impl Lender {
    fn wall(&self, here: SystemTime) -> SystemTime {
        let (ahead, behind) = self.store_ahead();
        (here + ahead).checked_sub(behind).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}
