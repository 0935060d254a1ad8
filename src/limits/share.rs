//! What a team is held to: its own limits and everybody's, taken from all together or not
//! at all.

use std::sync::Arc;

use http::header::HeaderValue;
use prometheus::IntCounter;

use super::admitted::OverLimit;
use super::count::{ASK, Now, Place, Standing};
use super::counter::Counter;
use super::headers;
use super::limit::{Limit, Measure, Per, Unit};
use super::table::Key;
use crate::names::{Role, Team};
use crate::policy::Permit;
use crate::telemetry::metrics::Metrics;

/// Nanoseconds after which the store will have answered.
const LATER: u64 = 1_000_000_000;

/// The limits of one team, or of the callers of none.
#[derive(Debug)]
pub(super) struct Share {
    /// In the order in which they are locked.
    entries: Vec<Entry>,
    /// `RateLimit-Policy` where all the limits are for every call.
    policy: Option<HeaderValue>,
}

#[derive(Debug)]
struct Entry {
    limit: Arc<Limit>,
    counter: Arc<Counter>,
    /// Its part of `RateLimit-Policy`.
    policy: String,
    admitted: IntCounter,
    refused: IntCounter,
}

/// What a call asks for: the permit says whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) permit: &'a Permit,
    pub(super) body: Length,
    /// It has waited for the store for as long as it may.
    pub(super) waited: bool,
}

/// The length of a request's body, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    /// By its head.
    Declared(u64),
    Undeclared,
    /// Of an undeclared one that was read. Nothing else is asked for any more.
    Found(u64),
}

/// What a call has taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    grips: Vec<Grip>,
    /// The limit with the smallest share left, by its place among the entries.
    tightest: Option<(usize, Standing)>,
}

/// What a call holds of one limit.
#[derive(Debug)]
struct Grip {
    entry: usize,
    key: Key,
    place: Place,
}

/// A refusal: whose, and for how long.
#[derive(Clone, Copy)]
struct Wait<'a> {
    entry: &'a Entry,
    nanos: u64,
}

impl Share {
    /// `limits` with their counters.
    pub(super) fn new<'a>(
        team: Option<&Team>,
        limits: impl Iterator<Item = &'a (Arc<Limit>, Arc<Counter>)>,
        metrics: &Metrics,
    ) -> Self {
        let mut entries: Vec<_> = limits.map(|of| Entry::new(team, of, metrics)).collect();
        let unfiltered = entries.iter().all(|entry| entry.limit.filter == Default::default());
        let policy = unfiltered.then(|| policy(entries.iter()));
        entries.sort_by_key(|entry| entry.counter.id());
        Self { entries, policy }
    }

    /// Takes what the call asks for, or nothing.
    pub(super) fn take(&self, ask: Ask<'_>, now: Now) -> Result<Taken, OverLimit> {
        let mut taken = Taken::default();
        let all = self.take_all(0, ask, now, &mut taken);
        all.map_err(|wait| {
            if wait.nanos == ASK {
                self.wait(ask, now);
            }
            self.over_limit(ask, wait)
        })?;
        taken.grips.iter().filter_map(|grip| self.entries.get(grip.entry)).for_each(|entry| {
            entry.admitted.inc();
        });
        Ok(taken)
    }

    /// Takes for a body whose length was not declared, or gives back all.
    pub(super) fn take_body(
        &self,
        taken: &mut Taken,
        ask: Ask<'_>,
        now: Now,
    ) -> Result<(), OverLimit> {
        let mut of_body = Taken::default();
        let all = self.take_all(0, ask, now, &mut of_body);
        all.map_err(|wait| {
            self.give_back(taken, now);
            self.over_limit(ask, wait)
        })?;
        taken.grips.append(&mut of_body.grips);
        taken.tightest = of_body.tightest.or(taken.tightest);
        Ok(())
    }

    /// Gives back what was taken of rates and quotas. Slots stay held.
    pub(super) fn give_back(&self, taken: &mut Taken, now: Now) {
        self.release(taken, now, |place| !matches!(place, Place::Slot));
    }

    /// Frees the slots. What was taken of rates and quotas stays taken.
    pub(super) fn free(&self, taken: &mut Taken, now: Now) {
        self.release(taken, now, |place| matches!(place, Place::Slot));
        taken.grips.clear();
    }

    /// Charges the time that a call took.
    pub(super) fn charge(&self, taken: &Taken, micros: u64, now: Now) {
        for grip in &taken.grips {
            let timed = |entry: &&Entry| entry.limit.unit() == Some(Unit::InferenceTime);
            if let Some(entry) = self.entries.get(grip.entry).filter(timed) {
                let mut counter = entry.counter.lock(now);
                let spot = counter.find(grip.key.as_ref());
                counter.take(spot, grip.key.as_ref(), micros);
            }
        }
    }

    /// `RateLimit-Policy` and `RateLimit` of what was taken.
    pub(super) fn headers(&self, taken: &Taken) -> Option<(HeaderValue, HeaderValue)> {
        let (tightest, standing) = taken.tightest?;
        let tightest = self.entries.get(tightest)?;
        let took = |at: usize| taken.grips.iter().any(|grip| grip.entry == at);
        let held_to = self.entries.iter().enumerate().filter(|(at, _)| took(*at));
        let policy = self.policy.clone().unwrap_or_else(|| policy(held_to.map(|(_, one)| one)));
        Some((policy, headers::current(&tightest.limit, standing)))
    }

    /// Holds the first limit that applies while it tries the rest, and takes only when all
    /// agree.
    fn take_all(
        &self,
        from: usize,
        ask: Ask<'_>,
        now: Now,
        taken: &mut Taken,
    ) -> Result<(), Wait<'_>> {
        let rest = self.entries.iter().enumerate().skip(from);
        let Some((index, entry)) = rest.into_iter().find(|(_, entry)| entry.concerns(ask)) else {
            return Ok(());
        };
        let (key, cost) = (entry.key(ask), entry.cost(ask));
        let mut counter = entry.counter.lock(now);
        let spot = counter.find(key);
        let checked = counter.check(spot, key, cost.asked);
        if let Err(nanos) = checked.or_else(|nanos| ask.settle(nanos)) {
            return Err(self.longest(Wait { entry, nanos }, index, ask, now));
        }
        self.take_all(index + 1, ask, now, taken)?;
        let (key, place, standing) = counter.take(spot, key, cost.taken);
        taken.note(Grip { entry: index, key, place }, standing);
        Ok(())
    }

    /// The longest wait of all that refuse, so that whoever waits for it is let in.
    fn longest<'a>(&'a self, first: Wait<'a>, at: usize, ask: Ask<'_>, now: Now) -> Wait<'a> {
        let rest = self.entries.iter().skip(at + 1).filter(|entry| entry.concerns(ask));
        let waits = rest.filter_map(|entry| {
            let mut counter = entry.counter.lock(now);
            let spot = counter.find(entry.key(ask));
            let nanos = counter.check(spot, entry.key(ask), entry.cost(ask).asked).err()?;
            Some(Wait { entry, nanos })
        });
        waits.fold(first, |one, other| if other.nanos > one.nanos { other } else { one })
    }

    /// Nothing refuses the call, but of some limits only the store knows.
    fn wait(&self, ask: Ask<'_>, now: Now) {
        for entry in self.entries.iter().filter(|entry| entry.concerns(ask)) {
            let mut counter = entry.counter.lock(now);
            let spot = counter.find(entry.key(ask));
            counter.wait(spot, entry.key(ask), entry.cost(ask).asked);
        }
    }

    fn over_limit(&self, ask: Ask<'_>, wait: Wait<'_>) -> OverLimit {
        if wait.nanos != ASK {
            wait.entry.refused.inc();
        }
        let whole = Ask { body: ask.body.whole(), ..ask };
        let concerned = || self.entries.iter().filter(|entry| entry.concerns(whole));
        let policy = self.policy.clone().unwrap_or_else(|| policy(concerned()));
        OverLimit::new(Arc::clone(&wait.entry.limit), policy, wait.nanos)
    }

    fn release(&self, taken: &mut Taken, now: Now, of: impl Fn(&Place) -> bool) {
        for grip in taken.grips.extract_if(.., |grip| of(&grip.place)) {
            if let Some(entry) = self.entries.get(grip.entry) {
                entry.counter.lock(now).give_back(grip.key.as_ref(), grip.place);
            }
        }
    }
}

fn policy<'a>(entries: impl Iterator<Item = &'a Entry>) -> HeaderValue {
    headers::value(&entries.map(|entry| entry.policy.as_str()).collect::<Vec<_>>().join(", "))
}

impl Taken {
    pub(super) fn is_empty(&self) -> bool {
        self.grips.is_empty()
    }

    fn note(&mut self, grip: Grip, standing: Standing) {
        let tightest = self.tightest.as_ref();
        if tightest.is_none_or(|(_, other)| standing.is_tighter_than(other)) {
            self.tightest = Some((grip.entry, standing));
        }
        self.grips.push(grip);
    }
}

impl Ask<'_> {
    /// What holds where only the store could tell. A body that is here already is owed to it;
    /// whoever has waited in vain comes again.
    fn settle(self, nanos: u64) -> Result<(), u64> {
        match (nanos, self.body) {
            (ASK, Length::Found(_)) => Ok(()),
            (ASK, _) if self.waited => Err(LATER),
            _ => Err(nanos),
        }
    }
}

impl Length {
    fn whole(self) -> Self {
        match self {
            Self::Declared(_) | Self::Undeclared => self,
            Self::Found(_) => Self::Undeclared,
        }
    }
}

/// Units that must be there, and units that are taken now.
struct Cost {
    asked: u64,
    taken: u64,
}

impl Entry {
    fn new(
        team: Option<&Team>,
        (limit, counter): &(Arc<Limit>, Arc<Counter>),
        metrics: &Metrics,
    ) -> Self {
        let team = team.map_or("", Team::as_str);
        let count =
            |result| metrics.limit_decisions.with_label_values(&[team, &limit.name, result]);
        Self {
            limit: Arc::clone(limit),
            counter: Arc::clone(counter),
            policy: headers::policy(limit),
            admitted: count("admitted"),
            refused: count("refused"),
        }
    }

    fn concerns(&self, ask: Ask<'_>) -> bool {
        let late = matches!(ask.body, Length::Found(_));
        let call = ask.permit.call();
        (!late || self.limit.unit() == Some(Unit::BodyBytes))
            && self.limit.filter.admits(call.action(), call.endpoint())
    }

    /// Callers of no team, or of no role, share a count.
    fn key<'a>(&self, ask: Ask<'a>) -> Option<&'a Arc<str>> {
        match self.limit.per {
            Per::Whole => None,
            Per::User => Some(ask.permit.principal().user().shared()),
            Per::Team => ask.permit.team().map(Team::shared),
            Per::Role => ask.permit.grounds().roles.first().map(Role::shared),
            Per::Endpoint => Some(ask.permit.call().endpoint().folded()),
        }
    }

    /// What is not known before it is used (time, and bodies of no declared length) takes
    /// nothing yet, but is refused when nothing is left.
    fn cost(&self, ask: Ask<'_>) -> Cost {
        match (&self.limit.measure, self.limit.unit(), ask.body) {
            (Measure::Concurrency(_), ..) | (_, None | Some(Unit::Requests), _) => {
                Cost { asked: 1, taken: 1 }
            }
            (_, Some(Unit::InferenceTime), _) | (_, Some(Unit::BodyBytes), Length::Undeclared) => {
                Cost { asked: 1, taken: 0 }
            }
            (_, Some(Unit::BodyBytes), Length::Declared(n) | Length::Found(n)) => {
                Cost { asked: n, taken: n }
            }
        }
    }
}
