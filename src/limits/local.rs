//! The limits of this process, kept in memory: one entry per configured limit, so that
//! memory is bounded by the configuration and not by who calls.
//!
//! A rate sits behind a mutex of its own rather than in an atomic: a request locks its rates
//! in one fixed order, looks at all and only then takes, so "all or none" needs no undoing.
//! A lock is held for tens of nanoseconds and shared by one team only.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::{HeaderName, HeaderValue};
use prometheus::IntCounter;

use super::admitted::{Admitted, OverLimit};
use super::bucket::{Bucket, Place};
use super::concurrency::{Concurrency, Slot};
use super::headers::{self, Standing};
use crate::names::Team;
use crate::policy::Permit;
use crate::telemetry::metrics::Metrics;

/// What a team may use.
#[derive(Clone, Debug)]
pub struct TeamLimits {
    pub team: Team,
    pub limits: Vec<Limit>,
}

/// One limit. The order of the variants is the order in which they are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// `per` requests every `window` (at least a nanosecond), `burst` of them at once.
    Requests { per: NonZeroU32, window: Duration, burst: NonZeroU32 },
    /// Requests in flight, streams included.
    Concurrency(NonZeroU32),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests { per, window, burst } => {
                write!(f, "{per} requests every {window:?} with a burst of {burst}")
            }
            Self::Concurrency(most) => write!(f, "{most} concurrent requests"),
        }
    }
}

impl Limit {
    /// Its name in headers and metrics: `requests-200/s`, `concurrency-64`.
    fn name(self) -> String {
        match self {
            Self::Requests { per, window, .. } => match window.as_secs() {
                1 => format!("requests-{per}/s"),
                60 => format!("requests-{per}/min"),
                3600 => format!("requests-{per}/h"),
                _ => format!("requests-{per}/{window:?}"),
            },
            Self::Concurrency(most) => format!("concurrency-{most}"),
        }
    }
}

/// Every team's limits. Immutable but for the counts inside.
#[derive(Debug)]
pub struct Limits {
    /// Where the nanoseconds of the buckets start.
    origin: Instant,
    shares: HashMap<Team, Arc<Share>, foldhash::fast::RandomState>,
}

impl Limits {
    /// The limits of `teams`. Those that stood in `previous` unchanged keep their state.
    pub fn new(teams: Vec<TeamLimits>, previous: Option<&Self>, metrics: &Metrics) -> Self {
        let origin = previous.map_or_else(Instant::now, |previous| previous.origin);
        let share = |TeamLimits { team, limits }: TeamLimits| {
            let old = previous.and_then(|previous| previous.shares.get(&team));
            let share = Share::new(&team, limits, old.map(Arc::as_ref), metrics);
            (team, Arc::new(share))
        };
        let limited = teams.into_iter().filter(|team| !team.limits.is_empty());
        Self { origin, shares: limited.map(share).collect() }
    }

    /// Takes from all the limits of the permit's team, or from none.
    ///
    /// # Errors
    /// [`OverLimit`], with the permit and the limit that has the longest wait.
    pub fn admit(&self, permit: Permit, now: Instant) -> Result<Admitted, OverLimit> {
        let Some(share) = permit.team().and_then(|team| self.shares.get(team)) else {
            return Ok(Admitted { permit, held: None });
        };
        match share.take(since(self.origin, now)) {
            Ok(taken) => {
                let held = Held { share: Arc::clone(share), origin: self.origin, taken };
                Ok(Admitted { permit, held: Some(held) })
            }
            Err(wait) => Err(share.over_limit(permit, &wait)),
        }
    }
}

/// Nanoseconds; 0 for what was before.
fn since(origin: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(origin).as_nanos()).unwrap_or(u64::MAX)
}

/// What one request holds. Concurrency goes back when its slots are dropped.
#[derive(Debug)]
pub(super) struct Held {
    share: Arc<Share>,
    origin: Instant,
    taken: Taken,
}

impl Held {
    pub(super) fn give_back(&mut self, now: Instant) {
        let now = since(self.origin, now);
        for (bucket, place) in self.taken.places.drain(..) {
            lock(&bucket).give_back(place, now);
        }
    }

    pub(super) fn headers(&self) -> Option<[(HeaderName, HeaderValue); 2]> {
        let (name, standing) = self.taken.tightest.as_ref()?;
        Some([
            (headers::POLICY, self.share.policy.clone()),
            (headers::CURRENT, headers::current(name, *standing)),
        ])
    }
}

#[derive(Debug, Default)]
struct Taken {
    places: Vec<(Arc<Mutex<Bucket>>, Place)>,
    slots: Vec<Slot>,
    /// The limit that is closest to refusing.
    tightest: Option<(Arc<str>, Standing)>,
}

impl Taken {
    fn note(&mut self, entry: &Entry, standing: Standing) {
        let closest = self.tightest.as_ref().map_or(u64::MAX, |(_, other)| other.remaining);
        if self.tightest.is_none() || standing.remaining < closest {
            self.tightest = Some((Arc::clone(&entry.name), standing));
        }
    }
}

/// One team's limits, in the order in which they are locked.
#[derive(Debug)]
struct Share {
    entries: Vec<Entry>,
    policy: HeaderValue,
}

#[derive(Debug)]
struct Entry {
    limit: Limit,
    name: Arc<str>,
    store: Store,
    admitted: IntCounter,
    refused: IntCounter,
}

#[derive(Clone, Debug)]
enum Store {
    Requests(Arc<Mutex<Bucket>>),
    Concurrency(Arc<Concurrency>),
}

/// A refusal: whose, and for how long.
struct Wait<'a> {
    entry: &'a Entry,
    nanos: u64,
}

impl Share {
    fn new(team: &Team, mut limits: Vec<Limit>, old: Option<&Self>, metrics: &Metrics) -> Self {
        limits.sort_unstable();
        limits.dedup();
        let entry = |limit| Entry::new(team, limit, old, metrics);
        let entries: Vec<_> = limits.into_iter().map(entry).collect();
        let policy = headers::policy(entries.iter().map(|entry| (&*entry.name, entry.limit)));
        Self { entries, policy }
    }

    fn take(&self, now: u64) -> Result<Taken, Wait<'_>> {
        let mut taken = Taken::default();
        take_all(&self.entries, now, &mut taken).inspect_err(|wait| wait.entry.refused.inc())?;
        self.entries.iter().for_each(|entry| entry.admitted.inc());
        Ok(taken)
    }

    fn over_limit(&self, permit: Permit, wait: &Wait<'_>) -> OverLimit {
        OverLimit {
            permit: Box::new(permit),
            limit: wait.entry.limit,
            name: Arc::clone(&wait.entry.name),
            policy: self.policy.clone(),
            retry_after: Duration::from_nanos(wait.nanos),
        }
    }
}

/// Holds the first limit while it tries the rest, and takes only when all agree.
fn take_all<'a>(entries: &'a [Entry], now: u64, taken: &mut Taken) -> Result<(), Wait<'a>> {
    let Some((entry, rest)) = entries.split_first() else { return Ok(()) };
    let or_longer = |wait| rest.iter().filter_map(|entry| entry.wait(now)).fold(wait, longer);
    match &entry.store {
        Store::Requests(shared) => {
            let mut bucket = lock(shared);
            bucket.check(now).map_err(|nanos| or_longer(Wait { entry, nanos }))?;
            take_all(rest, now, taken)?;
            let place = bucket.take(now).map_err(|nanos| Wait { entry, nanos })?;
            taken.note(entry, Standing::of(&bucket, now));
            taken.places.push((Arc::clone(shared), place));
        }
        Store::Concurrency(shared) => {
            let slot =
                shared.acquire().ok_or_else(|| or_longer(Wait { entry, nanos: SLOT_WAIT }))?;
            take_all(rest, now, taken)?;
            taken.note(entry, Standing { remaining: shared.remaining().into(), reset: None });
            taken.slots.push(slot);
        }
    }
    Ok(())
}

fn longer<'a>(one: Wait<'a>, other: Wait<'a>) -> Wait<'a> {
    if other.nanos > one.nanos { other } else { one }
}

/// A panic cannot happen while a bucket is locked, and its numbers would still be whole.
fn lock(bucket: &Mutex<Bucket>) -> MutexGuard<'_, Bucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nobody knows when a slot is freed; a second is short for a model's answer and long
/// enough not to make the waiting itself a load.
const SLOT_WAIT: u64 = 1_000_000_000;

impl Entry {
    fn new(team: &Team, limit: Limit, old: Option<&Share>, metrics: &Metrics) -> Self {
        let same = |old: &&Self| old.limit == limit;
        let old = old.and_then(|old| old.entries.iter().find(same));
        let name = limit.name();
        let count =
            |result| metrics.limit_decisions.with_label_values(&[team.as_str(), &name, result]);
        Self {
            limit,
            store: old.map_or_else(|| Store::new(limit), |old| old.store.clone()),
            admitted: count("admitted"),
            refused: count("refused"),
            name: name.into(),
        }
    }

    /// How long a request would have to wait for this limit alone.
    fn wait(&self, now: u64) -> Option<Wait<'_>> {
        match &self.store {
            Store::Requests(bucket) => {
                lock(bucket).check(now).err().map(|nanos| Wait { entry: self, nanos })
            }
            Store::Concurrency(shared) => {
                (shared.remaining() == 0).then_some(Wait { entry: self, nanos: SLOT_WAIT })
            }
        }
    }
}

impl Store {
    fn new(limit: Limit) -> Self {
        match limit {
            Limit::Requests { per, window, burst } => {
                Self::Requests(Arc::new(Mutex::new(Bucket::new(per, window, burst))))
            }
            Limit::Concurrency(most) => Self::Concurrency(Concurrency::new(most)),
        }
    }
}

impl Standing {
    fn of(bucket: &Bucket, now: u64) -> Self {
        Self { remaining: bucket.remaining(now), reset: Some(bucket.until_full(now)) }
    }
}
