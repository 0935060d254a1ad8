//! The script's arithmetic in Rust, on an injected clock.

use std::collections::HashMap;

use crate::limits::shared::lease::{Ask, Grant, Seen};
use crate::limits::shared::slots::{HOLD, SlotsAsk, SlotsGrant};
use crate::limits::shared::terms::{SECOND, Terms};

/// The script's part for units and for slots.
#[derive(Default)]
pub(super) struct Model {
    /// The level, when it was that, and since when it is known.
    pub(super) level: Option<(f64, u64, u64)>,
    members: HashMap<usize, u64>,
    slots: HashMap<usize, (u32, bool, u64)>,
}

impl Model {
    /// One that hears nothing from here on.
    pub(super) fn replica(&self) -> Self {
        Self { level: self.level, ..Self::default() }
    }

    fn gateways(&mut self, me: usize, active: bool, now: u64) -> u64 {
        self.members.retain(|_, at| *at + 10 * SECOND > now);
        if active {
            self.members.insert(me, now);
        }
        (self.members.len() as u64).max(1)
    }

    pub(super) fn units(&mut self, me: usize, terms: &Terms, ask: Ask, now: u64) -> Grant {
        let gateways = self.gateways(me, ask.want > 0, now);
        let depth = terms.depth() as f64;
        let accrued = |nanos| nanos as f64 * terms.per as f64 / terms.window as f64;
        let since = |at| accrued(now.saturating_sub(at));
        let (level, at, mut born) = self.level.unwrap_or((depth, now, now));
        let mut level = (level + since(at)).min(depth);
        if let Some(seen) = ask.seen.filter(|seen| seen.at * 1_000 < born || seen.at * 1_000 > at) {
            level = level.min(seen.level as f64 + since(seen.at * 1_000));
            if seen.at * 1_000 > at {
                born = now;
            }
        }
        let given_back = ask.back as f64 + accrued(ask.unsent);
        let level = (level + given_back).min(depth) - ask.debt as f64;
        let most = (terms.all_slices() / gateways.max(2)).max(ask.need).max(1);
        let granted = (ask.want.min(most) as f64).min(level).floor().max(0.0);
        self.level = Some((level - granted, now, born));
        let seen = Seen { level: (level - granted).floor() as i64, at: now / 1_000 };
        Grant { granted: granted as u64, seen, gateways }
    }

    pub(super) fn slots(&mut self, me: usize, most: u32, ask: SlotsAsk, now: u64) -> SlotsGrant {
        let gateways = self.gateways(me, ask.want > 0, now);
        self.slots.retain(|_, (_, _, until)| *until > now);
        let others: Vec<_> = self.slots.iter().filter(|(id, _)| **id != me).collect();
        let held: u32 = others.iter().map(|(_, (held, _, _))| held).sum();
        let (live, hungry) = (1 + others.len() as u32, others.iter().any(|(_, (_, h, _))| *h));
        let free = most.saturating_sub(held);
        let mut allowed = ask.want.min(free);
        if hungry {
            allowed = allowed.min((most / live).max(1));
        }
        let holds = allowed.max(ask.used);
        self.slots.insert(me, (holds, allowed < ask.want, now + HOLD));
        SlotsGrant { allowed, free: free.saturating_sub(holds), gateways }
    }
}
