//! A slice of a shared limit: taken ahead of need, spent here without asking anybody.
//!
//! What is left of the limit lies in the store, as a level that refills with time (a rate) or
//! not at all (a day's quota). A gateway holds a balance that is gone from that level. It asks
//! for more when less is left than it will soon use, gives back what it no longer needs, and
//! pays what it spent without having it (a call's cost that is known at its end, an outage).
//!
//! Pure: time is a parameter, in nanoseconds on this process's own scale that only grows; the
//! store counts by its own clock, and the two are never compared. Invariants: a lease never
//! spends what it was not granted, unless it is on its own; what an ask gives back is not here
//! any more when it leaves; an answer that never came costs a slice, and never makes one.

use super::terms::{SECOND, Terms, narrow};
use crate::limits::returns::Returns;

const MILLI: u64 = 1_000_000;

/// For how long ahead a lease holds what it will use: several round trips, and short enough
/// that what another gateway needs is not here.
const AHEAD: u64 = 250 * MILLI;
/// The least time between two asks when the store had nothing.
const PAUSE: u64 = 25 * MILLI;
/// Unused for so long, a lease gives back what it has.
const IDLE: u64 = SECOND;
/// Unused for so long, its balance is void: the process was stopped, or cannot give back.
const LAPSE: u64 = 2 * SECOND;

/// What a gateway does while the store cannot be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Each gateway enforces its last known fair share.
    #[default]
    Local,
    /// Nothing is limited.
    Open,
    /// Nothing is admitted beyond what was leased already.
    Closed,
}

impl OnFailure {
    /// What holds after one failure, which may be one slow answer: limits are not lifted for
    /// that.
    pub(super) const fn unconfirmed(self) -> Self {
        match self {
            Self::Local | Self::Open => Self::Local,
            Self::Closed => Self::Closed,
        }
    }
}

/// Why a lease has nothing for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) enum Empty {
    /// The limit is used up: nanoseconds until there is enough, if nobody else takes it.
    UsedUp(u64),
    /// There may be more in the store.
    Ask,
    /// The store cannot be asked, and nothing is admitted without it.
    Cut,
}

/// What a request took, to give it back by.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::limits) struct Spent {
    order: u64,
    /// When all that was taken by then will have been paid for. 0 while the store is away:
    /// nobody knows it, and nothing of a rate comes back.
    end: u64,
}

/// What a lease wants of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    pub want: u64,
    /// What the requests that wait need of that: it is spent at once.
    pub need: u64,
    /// Unspent.
    pub back: u64,
    /// Spent in vain: so many nanoseconds of the rate come back.
    pub unsent: u64,
    /// Spent without a grant.
    pub debt: u64,
    pub seen: Option<Seen>,
}

/// The store's level, by its own clock (microseconds). Told back to it, so that a store that
/// lost its memory starts from there and not from a full burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub level: i64,
    pub at: u64,
}

/// The store's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub granted: u64,
    /// What is left for everybody.
    pub seen: Seen,
    /// How many gateways use the limits of this team.
    pub gateways: u64,
}

/// This gateway's part of one limit.
#[derive(Debug)]
pub(in crate::limits) struct Lease {
    terms: Terms,
    balance: u64,
    debt: u64,
    /// What was given back and the store does not know of yet: nanoseconds of the rate.
    unsent: u64,
    returns: Returns,
    demand: Demand,
    /// An ask is under way.
    asking: bool,
    /// What that ask wants.
    wanted: u64,
    /// What is known of the store, and when it was learnt.
    known: Option<(Grant, u64)>,
    /// Before this no ask: the store had nothing.
    dry_until: u64,
    alone: Option<Alone>,
    /// The store may have lost its memory: to be told what was seen of it.
    tell: bool,
}

/// How much is used, to size the next slice.
#[derive(Debug, Default)]
struct Demand {
    /// Spent, or refused for want of balance, since `since`.
    units: u64,
    since: u64,
    /// Units a second.
    pace: u64,
    /// What waits for the next answer.
    need: u64,
    /// `None` until the first use: a lease that nobody wants asks for nothing.
    used_at: Option<u64>,
}

/// A lease whose store cannot be asked.
#[derive(Debug)]
struct Alone {
    on_failure: OnFailure,
    since: u64,
    /// What this gateway may hold at most.
    share: u64,
    gateways: u64,
    /// Up to when the refill is in the balance.
    refilled: u64,
    /// Still of the last lease, and so paid for.
    leased: u64,
    spent: u64,
}

impl Lease {
    pub(in crate::limits) fn new(terms: Terms) -> Self {
        Self {
            terms,
            balance: 0,
            debt: 0,
            unsent: 0,
            returns: Returns::default(),
            demand: Demand::default(),
            asking: false,
            wanted: 0,
            known: None,
            dry_until: 0,
            alone: None,
            tell: false,
        }
    }

    /// Whether there is enough for a request of this many units.
    ///
    /// # Errors
    /// [`Empty`].
    pub(in crate::limits) fn check(&mut self, units: u64, now: u64) -> Result<(), Empty> {
        self.refresh(now);
        if self.balance >= units || self.is_open() {
            return Ok(());
        }
        self.demand.units = self.demand.units.saturating_add(units);
        self.demand.used_at = Some(now);
        Err(self.empty(units - self.balance, now))
    }

    /// A request of this many units waits for the store, up to its next answer: then it tries
    /// again, and waits again if that is not enough.
    pub(in crate::limits) fn wait(&mut self, units: u64, now: u64) {
        let missing = units.saturating_sub(self.balance);
        if missing > 0 && !self.is_open() && self.empty(missing, now) == Empty::Ask {
            self.demand.need = self.demand.need.saturating_add(units);
        }
    }

    /// Spends. What is more than the balance becomes a debt.
    pub(in crate::limits) fn take(&mut self, units: u64, now: u64) -> Spent {
        self.refresh(now);
        let before = self.taken(now);
        let paid = units.min(self.balance);
        self.balance -= paid;
        self.demand.units = self.demand.units.saturating_add(units);
        self.demand.used_at = Some(now);
        self.debt = self.debt.saturating_add(units - paid);
        if let Some(alone) = &mut self.alone {
            alone.spent = alone.spent.saturating_add(units);
            return Spent { order: self.returns.next(), end: 0 };
        }
        if before == 0 {
            self.returns.settle();
        }
        let end = now.saturating_add(self.terms.until(self.taken(now)));
        Spent { order: self.returns.next(), end }
    }

    /// Undoes a take whose request was not sent. Of a rate what time has not paid for goes to
    /// the store, which knows what there is room for; a quota is spent again from here.
    pub(in crate::limits) fn give_back(&mut self, spent: Spent, units: u64, now: u64) {
        self.demand.units = self.demand.units.saturating_sub(units);
        let owed = units.min(self.debt);
        self.debt -= owed;
        if self.terms.per == 0 {
            self.balance = self.balance.saturating_add(units - owed);
            if let Some(alone) = &mut self.alone {
                alone.spent = alone.spent.saturating_sub(units);
            }
            return;
        }
        let cost = self.terms.until(units - owed).into();
        let amount = self.returns.give_back(spent.order, spent.end.into(), cost, now.into());
        if amount > 0 {
            self.unsent = self.unsent.saturating_add(narrow(amount));
            self.dry_until = now;
        }
    }

    /// What could be admitted now, as far as this gateway knows.
    pub(in crate::limits) fn remaining(&self, now: u64) -> u64 {
        let elsewhere = if self.alone.is_some() { 0 } else { self.level(now).unwrap_or(0) };
        let elsewhere = u64::try_from(elsewhere).unwrap_or(0);
        self.balance.saturating_add(elsewhere).min(self.terms.capacity)
    }

    /// Nanoseconds until the whole burst is there again; `u64::MAX` for a quota.
    pub(in crate::limits) fn until_full(&self, now: u64) -> u64 {
        self.terms.until(self.terms.capacity - self.remaining(now))
    }

    /// Whether less is left than should be: time to ask, before a request has to wait.
    pub(in crate::limits) fn is_low(&self, now: u64) -> bool {
        !self.asking
            && self.alone.is_none()
            && now >= self.dry_until
            && (self.balance < self.target(now).div_ceil(2) || self.demand.need > self.balance)
    }

    /// Whether a fresh one would do as well: it is not used, and holds and owes nothing.
    pub(in crate::limits) fn is_idle(&self, now: u64) -> bool {
        let even = !self.asking && (self.debt, self.unsent) == (0, 0);
        let lapsed = match &self.alone {
            None => self.balance == 0,
            Some(alone) if self.terms.per == 0 => alone.on_failure == OnFailure::Closed,
            Some(alone) if alone.on_failure == OnFailure::Local => {
                let back = self.terms.accrued(now.saturating_sub(alone.refilled)) / alone.gateways;
                self.balance.saturating_add(back) >= alone.share
            }
            Some(_) => true,
        };
        even && lapsed && self.unused(now) >= LAPSE
    }

    /// What to ask the store for now, if anything. What is given back leaves here with it.
    pub(super) fn ask(&mut self, now: u64) -> Option<Ask> {
        if self.asking || self.alone.is_some() {
            return None;
        }
        self.refresh(now);
        let low = self.is_low(now);
        if low || now.saturating_sub(self.demand.since) >= AHEAD {
            self.demand.measure(now);
        }
        let target = self.target(now);
        let more = if low { target.max(self.demand.need).saturating_sub(self.balance) } else { 0 };
        // Twice too much is worth a round trip only if another gateway could use it.
        let back = if self.balance > target.saturating_mul(4) { self.balance - target } else { 0 };
        if (more, back, self.debt, self.unsent) == (0, 0, 0, 0) && !self.tell {
            return None;
        }
        self.tell = false;
        let ask = Ask {
            want: more,
            need: self.demand.need.saturating_sub(self.balance),
            back,
            unsent: std::mem::take(&mut self.unsent),
            debt: std::mem::take(&mut self.debt),
            seen: self.known.map(|(grant, _)| grant.seen),
        };
        (self.asking, self.wanted) = (true, more);
        self.balance -= back;
        self.demand.need = 0;
        Some(ask)
    }

    /// The last ask: all that is unspent, and all that is owed.
    pub(super) fn give_all(&mut self) -> Option<Ask> {
        let (back, debt) = (std::mem::take(&mut self.balance), std::mem::take(&mut self.debt));
        let unsent = std::mem::take(&mut self.unsent);
        (back > 0 || debt > 0 || unsent > 0).then(|| Ask { back, unsent, debt, ..Ask::default() })
    }

    /// The store answered.
    pub(super) fn granted(&mut self, grant: Grant, now: u64) {
        self.asking = false;
        self.demand.need = 0;
        self.known = Some((grant, now));
        self.dry_until = now;
        if let Some(alone) = &mut self.alone {
            alone.leased = alone.leased.saturating_add(grant.granted);
        }
        self.balance = self.balance.saturating_add(grant.granted);
        if grant.granted < self.wanted && grant.seen.level < 1 {
            let missing = u64::try_from(1 - grant.seen.level).unwrap_or(1);
            // Not for longer than a second: another gateway may give something back.
            let pause = self.terms.until(missing).clamp(PAUSE, SECOND);
            self.dry_until = now.saturating_add(pause);
        }
    }

    /// No answer came. What was given back or granted is lost; what is owed may be owed still.
    pub(super) fn unanswered(&mut self, ask: &Ask) {
        self.asking = false;
        self.demand.need = 0;
        self.debt = self.debt.saturating_add(ask.debt);
        if let Some(alone) = &mut self.alone {
            alone.spent = alone.spent.saturating_add(ask.debt);
        }
    }

    /// The store cannot be asked: from now on by this gateway's own share.
    pub(super) fn leave(&mut self, on_failure: OnFailure, gateways: u64, now: u64) {
        if let Some(alone) = &mut self.alone {
            alone.on_failure = on_failure;
            return;
        }
        let gateways = self.known.map_or(gateways, |(grant, _)| grant.gateways).max(1);
        let left = self.level(now).unwrap_or(self.terms.capacity.try_into().unwrap_or(i64::MAX));
        let share = (self.terms.capacity / gateways).max(1);
        let (leased, spent) = (self.balance, self.debt);
        if on_failure == OnFailure::Local {
            let part = u64::try_from(left).unwrap_or(0) / gateways;
            let owed = self.debt.min(part);
            self.debt -= owed;
            self.balance = leased.saturating_add(part - owed).min(share.max(leased));
        }
        let (since, refilled) = (now, now);
        self.alone = Some(Alone { on_failure, since, share, gateways, refilled, leased, spent });
    }

    /// The store is back. What was spent meanwhile and has not come back since is owed to it.
    pub(super) fn rejoin(&mut self, now: u64) {
        self.refresh(now);
        let Some(alone) = self.alone.take() else { return };
        let unpaid = alone.spent.saturating_sub(alone.leased);
        // An outage of an hour must not be paid back for an hour: time has paid for most of it.
        let lacking = match (self.terms.per, alone.on_failure) {
            (0, _) => u64::MAX,
            (_, OnFailure::Open) => 0,
            (_, OnFailure::Local | OnFailure::Closed) => {
                alone.share.saturating_sub(self.balance).saturating_add(self.debt)
            }
        };
        self.debt = unpaid.min(lacking);
        self.balance = alone.leased.saturating_sub(alone.spent).min(self.balance);
        self.tell = self.known.is_some();
        self.dry_until = now;
    }

    /// Other numbers, or another day: begins anew, with the pace it had.
    pub(super) fn retune(&mut self, terms: Terms, now: u64) {
        let old = std::mem::replace(self, Self::new(terms));
        (self.demand, self.returns) = (old.demand, old.returns);
        self.returns.settle();
        if let Some(alone) = old.alone {
            self.leave(alone.on_failure, alone.gateways, now);
        }
    }

    fn empty(&self, missing: u64, now: u64) -> Empty {
        if let Some(alone) = &self.alone {
            let wait = self.terms.until(missing).saturating_mul(alone.gateways);
            return if alone.on_failure == OnFailure::Closed {
                Empty::Cut
            } else {
                Empty::UsedUp(wait)
            };
        }
        let Some(level) = self.level(now) else { return Empty::Ask };
        let missing = i64::try_from(missing).unwrap_or(i64::MAX).saturating_sub(level);
        let wait = u64::try_from(missing).ok().filter(|missing| *missing > 0);
        let wait = wait.map_or(0, |missing| self.terms.until(missing));
        match wait.max(self.dry_until.saturating_sub(now)) {
            0 => Empty::Ask,
            wait => Empty::UsedUp(wait),
        }
    }

    /// The store's level by now, if nobody else took of it. `None` if it was never asked.
    fn level(&self, now: u64) -> Option<i64> {
        let (grant, then) = self.known?;
        let back = self.terms.accrued(now.saturating_sub(then).saturating_add(self.unsent));
        let level = grant.seen.level.saturating_add_unsigned(back);
        Some(level.min(self.terms.depth().try_into().unwrap_or(i64::MAX)))
    }

    /// What is taken and not back yet, as far as is known here.
    fn taken(&self, now: u64) -> u64 {
        let left = i128::from(self.level(now).unwrap_or(0)) + i128::from(self.balance);
        let taken = i128::from(self.terms.capacity) - left;
        u64::try_from(taken.max(0)).unwrap_or(u64::MAX)
    }

    fn target(&self, now: u64) -> u64 {
        if self.unused(now) >= IDLE {
            return 0;
        }
        let gateways = self.known.map_or(1, |(grant, _)| grant.gateways);
        let soon = u128::from(self.demand.pace) * u128::from(AHEAD) / u128::from(SECOND);
        narrow(soon).clamp(1, self.terms.slice(gateways))
    }

    fn unused(&self, now: u64) -> u64 {
        self.demand.used_at.map_or(u64::MAX, |used_at| now.saturating_sub(used_at))
    }

    fn is_open(&self) -> bool {
        self.alone.as_ref().is_some_and(|alone| alone.on_failure == OnFailure::Open)
    }

    /// Brings the balance up to now: voids what is too old, adds what came back meanwhile.
    fn refresh(&mut self, now: u64) {
        let unused = self.unused(now);
        let Some(alone) = &mut self.alone else {
            if unused >= LAPSE {
                self.balance = 0;
            }
            return;
        };
        if alone.on_failure != OnFailure::Local {
            if now.saturating_sub(alone.since) >= LAPSE {
                self.balance = 0;
            }
            return;
        }
        let back = self.terms.accrued(now.saturating_sub(alone.refilled)) / alone.gateways;
        if back > 0 {
            let paid = self.terms.until(back.saturating_mul(alone.gateways));
            alone.refilled = alone.refilled.saturating_add(paid).min(now);
            let owed = back.min(self.debt);
            self.debt -= owed;
            let full = alone.share.max(self.balance);
            self.balance = self.balance.saturating_add(back - owed).min(full);
        }
    }
}

impl Demand {
    /// Takes the use since the last time into the pace: up at once, down by halves.
    fn measure(&mut self, now: u64) {
        let span = now.saturating_sub(self.since).max(AHEAD / 4);
        let fresh = narrow(u128::from(self.units) * u128::from(SECOND) / u128::from(span));
        self.pace = fresh.max(self.pace / 2 + fresh / 2);
        (self.units, self.since) = (0, now);
    }
}
