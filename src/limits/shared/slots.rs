//! This gateway's part of a shared concurrency limit: slots held for a while.
//!
//! The store counts the slots that each gateway holds and until when. A gateway renews them
//! while it uses them; one that was killed does not, and its slots are free once its hold
//! ends. What is asked for is what is in use and a little more, as an absolute number: the
//! truth about what is in flight is here, so a store that lost its memory learns it again.
//!
//! Pure: time is a parameter, in nanoseconds. Invariant: while the store answers, no more is
//! admitted than it allowed.

use super::lease::{Empty, OnFailure};
use super::terms::SECOND;

const MILLI: u64 = 1_000_000;

/// For how long the store keeps what is held without hearing of it.
pub(super) const HOLD: u64 = 3 * SECOND;
/// A third of it: two renewals may be lost.
const RENEW: u64 = SECOND;
/// The least time between two asks when nothing was free.
const PAUSE: u64 = 50 * MILLI;

/// What the slots want of the store: numbers of slots, not differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotsAsk {
    /// In flight here.
    pub used: u32,
    /// To be held from now on; at least what is in flight, if the limit allows.
    pub want: u32,
}

/// The store's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotsGrant {
    pub allowed: u32,
    /// Slots that no gateway holds.
    pub free: u32,
    pub gateways: u64,
}

#[derive(Debug)]
pub(in crate::limits) struct Slots {
    most: u32,
    allowed: u32,
    used: u32,
    /// The most in flight since the last ask.
    peak: u32,
    /// Refused since the last ask.
    missed: u32,
    asking: bool,
    wanted: u32,
    known: Option<SlotsGrant>,
    asked_at: u64,
    /// Before this no request may hope for more.
    dry_until: u64,
    alone: Option<(OnFailure, u64)>,
}

impl Slots {
    pub(in crate::limits) fn new(most: u32) -> Self {
        Self {
            most,
            allowed: 0,
            used: 0,
            peak: 0,
            missed: 0,
            asking: false,
            wanted: 0,
            known: None,
            asked_at: 0,
            dry_until: 0,
            alone: None,
        }
    }

    /// Whether a slot is free for a request.
    ///
    /// # Errors
    /// [`Empty`]; then the need is remembered for the next ask.
    pub(in crate::limits) fn check(&mut self, now: u64) -> Result<(), Empty> {
        if self.used < self.ceiling(now) {
            return Ok(());
        }
        self.missed = self.missed.saturating_add(1);
        Err(match self.alone {
            Some((OnFailure::Closed, _)) => Empty::Cut,
            None if now >= self.dry_until && self.allowed < self.most => Empty::Ask,
            // Nobody knows when a slot is freed; a second is short for a model's answer and
            // long enough not to make the waiting itself a load.
            _ => Empty::UsedUp(SECOND),
        })
    }

    /// Takes what was checked, to be [`release`](Self::release)d.
    pub(in crate::limits) fn take(&mut self) {
        self.used = self.used.saturating_add(1);
        self.peak = self.peak.max(self.used);
    }

    pub(in crate::limits) fn release(&mut self) {
        self.used = self.used.saturating_sub(1);
    }

    /// What could be admitted now, as far as this gateway knows.
    pub(in crate::limits) fn remaining(&self, now: u64) -> u32 {
        let free = self.known.filter(|_| self.alone.is_none()).map_or(0, |known| known.free);
        self.ceiling(now).saturating_sub(self.used).saturating_add(free).min(self.most)
    }

    /// Whether the next requests could find none: time to ask.
    pub(in crate::limits) fn is_low(&self, now: u64) -> bool {
        let few = self.allowed.saturating_sub(self.used) <= self.used / 16;
        let short = self.missed > 0 || (self.used > 0 && few);
        !self.asking
            && self.alone.is_none()
            && now >= self.dry_until
            && self.allowed < self.most
            && short
    }

    /// Whether a fresh one would do as well.
    pub(in crate::limits) fn is_idle(&self) -> bool {
        let lapsed = self.alone.is_some() || (self.allowed, self.missed) == (0, 0);
        !self.asking && self.used == 0 && lapsed
    }

    /// What to ask the store for now, if anything.
    pub(super) fn ask(&mut self, now: u64) -> Option<SlotsAsk> {
        if self.asking || self.alone.is_some() {
            return None;
        }
        let waited = now.saturating_sub(self.asked_at);
        let over = self.allowed < self.used || self.wanted > self.allowed;
        let due = waited >= if over { PAUSE } else { RENEW };
        let held = self.allowed > 0 || self.used > 0 || self.missed > 0;
        if !(self.is_low(now) || (held && due)) {
            return None;
        }
        let busy = self.peak.max(self.used).saturating_add(self.missed);
        let spare = if busy == 0 { 0 } else { 1 + busy / 8 };
        let want = busy.saturating_add(spare).min(self.most).max(self.used);
        (self.asking, self.wanted, self.asked_at) = (true, want, now);
        (self.peak, self.missed) = (self.used, 0);
        Some(SlotsAsk { used: self.used, want })
    }

    /// The last ask: no more than is in flight.
    pub(super) fn give_all(&mut self, now: u64) -> SlotsAsk {
        (self.allowed, self.asked_at) = (self.used, now);
        SlotsAsk { used: self.used, want: self.used }
    }

    /// The store answered.
    pub(super) fn granted(&mut self, grant: SlotsGrant, now: u64) {
        self.asking = false;
        self.known = Some(grant);
        self.allowed = grant.allowed;
        self.dry_until = if grant.allowed < self.wanted { now.saturating_add(PAUSE) } else { now };
    }

    /// No answer came: nothing more is known than before.
    pub(super) fn unanswered(&mut self) {
        self.asking = false;
    }

    /// The store cannot be asked: from now on by this gateway's own share.
    pub(super) fn leave(&mut self, on_failure: OnFailure, gateways: u64, now: u64) {
        if let Some((holds, _)) = &mut self.alone {
            *holds = on_failure;
            return;
        }
        let gateways = self.known.map_or(gateways, |known| known.gateways).max(1);
        if on_failure == OnFailure::Local {
            let share = u64::from(self.most) / gateways;
            self.allowed = u32::try_from(share).unwrap_or(u32::MAX).max(1);
        }
        self.alone = Some((on_failure, now));
    }

    /// The store is back. What is in flight stays allowed until it has answered.
    pub(super) fn rejoin(&mut self, now: u64) {
        if self.alone.take().is_some() {
            self.allowed = self.allowed.max(self.used).min(self.most);
            (self.asked_at, self.dry_until) = (0, now);
            self.missed = self.missed.max(u32::from(self.used > 0));
        }
    }

    /// Another limit: what was allowed holds until the store has answered.
    pub(super) fn retune(&mut self, most: u32) {
        self.most = most;
        self.allowed = self.allowed.min(most);
        (self.asked_at, self.dry_until) = (0, 0);
    }

    /// How many may be in flight here.
    fn ceiling(&self, now: u64) -> u32 {
        match self.alone {
            Some((OnFailure::Open, _)) => u32::MAX,
            // The store gave the slots to others by now.
            Some((OnFailure::Closed, since)) if now.saturating_sub(since) >= HOLD - RENEW => 0,
            _ => self.allowed,
        }
    }
}
