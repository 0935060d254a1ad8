//! The stage: a permit → [`Admitted`], or [`OverLimit`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use foldhash::fast::RandomState;

use super::admitted::{Admitted, Held, OverLimit};
use super::count::Now;
use super::counter::Counter;
use super::limit::{Limit, LimitsConfig};
use super::share::{Ask, Length, Share};
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
        clock: &Clock,
        metrics: &Metrics,
    ) -> Self {
        let origin = previous.map_or_else(Instant::now, |previous| previous.time.origin);
        let time = Time { origin, clock: clock.clone() };
        let mut old: Vec<_> = previous.iter().flat_map(|previous| &previous.counters).collect();
        let now = time.now(time.moment());
        let counters: Vec<_> =
            config.limits.into_iter().map(|limit| counter(limit, &mut old, now)).collect();
        let share = |team: Option<&Team>| {
            let own = counters.iter().filter(|(limit, _)| limit.scope.includes(team));
            Arc::new(Share::new(team, own, metrics))
        };
        let teams = config.teams.into_iter().map(|team| (team.clone(), share(Some(&team))));
        Self { teams: teams.collect(), no_team: share(None), time, counters }
    }

    /// Takes from all the limits that the call is held to, or from none. `body` is the
    /// length that the head declares, if it does. Cancelled, it has taken nothing.
    ///
    /// # Errors
    /// [`OverLimit`], of the limit with the longest wait.
    pub async fn admit(
        &self,
        permit: Permit,
        body: Option<u64>,
        now: Moment,
    ) -> Result<Admitted, OverLimit> {
        self.admit_now(permit, body, now)
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
        let share = permit.team().and_then(|team| self.teams.get(team)).unwrap_or(&self.no_team);
        let length = body.map_or(Length::Undeclared, Length::Declared);
        let taken = share.take(Ask { permit: &permit, body: length }, self.time.now(now))?;
        let held = Held::new(Arc::clone(share), self.time.clone(), taken);
        Ok(Admitted::new(permit, held, body.is_none()))
    }
}

/// The old counter of the same limit, held to its new numbers, or a new one.
fn counter(
    limit: Limit,
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
        None => Arc::new(Counter::new(&limit)),
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
