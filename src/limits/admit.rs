//! The stage: a permit → [`Admitted`], or [`OverLimit`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use foldhash::fast::RandomState;

use super::admitted::{Admitted, Held, OverLimit};
use super::count::Now;
use super::counter::Counter;
use super::leased::{Addresses, Leasing};
use super::limit::{Limit, LimitsConfig};
use super::share::{Ask, Length, Share};
use super::shared::Lender;
use crate::names::Team;
use crate::policy::Permit;
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// All limits. Immutable but for the counts inside.
#[derive(Debug)]
pub struct Limits {
    time: Time,
    counters: Vec<(Arc<Limit>, Arc<Counter>)>,
    teams: HashMap<Team, Arc<Share>, RandomState>,
    /// For callers of no team.
    no_team: Arc<Share>,
    /// Fills the counts, where they are slices of a shared store's.
    lender: Option<Lender>,
}

/// One moment on both clocks: rates go by the first, which never goes back, and days by the
/// second.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub instant: Instant,
    pub wall: SystemTime,
}

/// Where the nanoseconds of the counts start, and what a call that is cut off reads its end
/// from.
#[derive(Clone, Debug)]
pub(super) struct Time {
    origin: Instant,
    clock: Clock,
}

impl Limits {
    /// Counts of `previous` go on where only the numbers of a limit changed: what was used
    /// stays used. Every other limit starts anew.
    pub fn new(
        config: LimitsConfig,
        previous: Option<&Self>,
        lender: Option<&Lender>,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Self {
        let origin = lender.map(Lender::origin).or(previous.map(|previous| previous.time.origin));
        let origin = origin.unwrap_or_else(Instant::now);
        let time = Time { origin, clock: clock.clone() };
        let mut old: Vec<_> = previous.iter().flat_map(|previous| &previous.counters).collect();
        let now = time.now(time.moment());
        let mut addresses = Addresses::default();
        let mut counted = |limit: Limit| {
            let address = addresses.of(&limit);
            let leasing = lender.map(|lender| Leasing::new(lender, &limit, &address));
            counter(limit, leasing, &mut old, now)
        };
        let counters: Vec<_> = config.limits.into_iter().map(&mut counted).collect();
        let share = |team: Option<&Team>| {
            let own = counters.iter().filter(|(limit, _)| limit.scope.includes(team));
            Arc::new(Share::new(team, own, metrics))
        };
        let teams = config.teams.into_iter().map(|team| (team.clone(), share(Some(&team))));
        let lender = lender.cloned();
        Self { teams: teams.collect(), no_team: share(None), time, counters, lender }
    }

    /// Takes from all the limits that the call is held to, or from none. `body` is the
    /// length that the head declares, if it does. Where the shared store has to be asked
    /// first, it waits for that, no longer than configured. Cancelled, it has taken nothing.
    ///
    /// # Errors
    /// [`OverLimit`], of the limit with the longest wait.
    pub async fn admit(
        &self,
        permit: Permit,
        body: Option<u64>,
        now: Moment,
    ) -> Result<Admitted, OverLimit> {
        let take = |now, waited| self.take(&permit, body, now, waited);
        let taken = match (take(now, false), &self.lender) {
            (Err(over), Some(lender)) if over.is_asking() => {
                let again = || take(self.time.moment(), false);
                let asking =
                    |taken: &Result<_, OverLimit>| taken.as_ref().is_err_and(OverLimit::is_asking);
                let answered = lender.answered(again, asking).await;
                answered.unwrap_or_else(|| take(self.time.moment(), true))
            }
            (first, _) => first,
        };
        Ok(Admitted::new(permit, taken?, body.is_none()))
    }

    /// The same of what is at hand here, without asking anybody.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub fn admit_now(
        &self,
        permit: Permit,
        body: Option<u64>,
        now: Moment,
    ) -> Result<Admitted, OverLimit> {
        let held = self.take(&permit, body, now, false)?;
        Ok(Admitted::new(permit, held, body.is_none()))
    }

    /// `waited`: it is not asked for again, whatever the store may have.
    fn take(
        &self,
        permit: &Permit,
        body: Option<u64>,
        now: Moment,
        waited: bool,
    ) -> Result<Held, OverLimit> {
        let share = permit.team().and_then(|team| self.teams.get(team)).unwrap_or(&self.no_team);
        let body = body.map_or(Length::Undeclared, Length::Declared);
        let taken = share.take(Ask { permit, body, waited }, self.time.now(now))?;
        Ok(Held::new(Arc::clone(share), self.time.clone(), taken))
    }
}

/// The old counter of the same limit, held to its new numbers, or a new one.
fn counter(
    limit: Limit,
    leasing: Option<Leasing>,
    old: &mut Vec<&(Arc<Limit>, Arc<Counter>)>,
    now: Now,
) -> (Arc<Limit>, Arc<Counter>) {
    let identity = limit.identity();
    let same = old.iter().position(|(_, counter)| *counter.identity() == identity);
    let counter = match same.map(|at| old.remove(at)) {
        Some((before, counter)) => {
            if before.measure != limit.measure {
                counter.lock(now).retune(&limit.measure);
            }
            Arc::clone(counter)
        }
        None => Arc::new(Counter::new(&limit, leasing)),
    };
    (Arc::new(limit), counter)
}

impl Time {
    pub(super) fn moment(&self) -> Moment {
        Moment { instant: Instant::now(), wall: self.clock.now() }
    }

    pub(super) fn now(&self, moment: Moment) -> Now {
        let nanos = moment.instant.saturating_duration_since(self.origin).as_nanos();
        Now { mono: u64::try_from(nanos).unwrap_or(u64::MAX), wall: moment.wall }
    }
}
