//! Calls counted by who, where and what.
//!
//! Bounded: beyond [`GROUPS`] combinations the rest are counted together, and said to be.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::entry::{Decision, Entry};

/// Some 50 MB at worst.
const GROUPS: usize = 100_000;

#[derive(Debug, Default)]
pub struct Summary {
    groups: HashMap<Key, Group>,
    /// Calls that found no place in a group of their own.
    pub other: Group,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Key {
    pub user: String,
    pub endpoint: String,
    pub operation: String,
}

#[derive(Clone, Debug, Default)]
pub struct Group {
    pub calls: u64,
    /// Denied by policy.
    pub denied: u64,
    /// Neither allowed nor denied: not authenticated, rejected, failed.
    pub refused: u64,
    pub unknown: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    latency: Latencies,
}

impl Summary {
    pub fn add(&mut self, entry: &Entry<'_>) {
        let key = Key {
            user: entry.user.as_ref().to_owned(),
            endpoint: entry.endpoint.as_deref().unwrap_or_default().to_owned(),
            operation: entry.operation.as_ref().to_owned(),
        };
        let full = self.groups.len() >= GROUPS && !self.groups.contains_key(&key);
        let group = if full { &mut self.other } else { self.groups.entry(key).or_default() };
        group.add(entry);
    }

    /// The busiest first.
    pub fn groups(&self) -> Vec<(&Key, &Group)> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by(|(a, x), (b, y)| y.calls.cmp(&x.calls).then_with(|| a.cmp(b)));
        groups
    }
}

impl Group {
    fn add(&mut self, entry: &Entry<'_>) {
        self.calls += 1;
        self.bytes_in += entry.bytes_in;
        self.bytes_out += entry.bytes_out;
        match entry.decision {
            Decision::Allowed => self.latency.add(entry.duration),
            Decision::Denied => self.denied += 1,
            Decision::Unknown => self.unknown += 1,
            Decision::Unauthenticated | Decision::Rejected | Decision::Failed => self.refused += 1,
        }
    }

    /// Milliseconds within which `part` (0 to 1) of the allowed calls ended, to 3 %.
    pub fn latency(&self, part: f64) -> Option<u64> {
        self.latency.quantile(part)
    }
}

/// Counts by latency: each millisecond up to 64, then 32 steps to each doubling.
#[derive(Clone, Debug, Default)]
struct Latencies {
    steps: BTreeMap<u32, u64>,
    count: u64,
}

/// Of two, the exponent of the number of steps to a doubling.
const FINE: u32 = 5;

impl Latencies {
    fn add(&mut self, millis: Option<u64>) {
        let Some(millis) = millis else { return };
        *self.steps.entry(step(millis)).or_default() += 1;
        self.count += 1;
    }

    fn quantile(&self, part: f64) -> Option<u64> {
        let mut below = 0;
        let enough = |below: u64| below as f64 >= part * self.count as f64;
        self.steps.iter().find_map(|(step, count)| {
            below += count;
            enough(below).then(|| millis(*step))
        })
    }
}

fn step(millis: u64) -> u32 {
    let shift = (u64::BITS - millis.leading_zeros()).saturating_sub(FINE + 1);
    let fine = u32::try_from(millis >> shift).unwrap_or(u32::MAX);
    (shift << FINE) + fine
}

/// The least latency of a step.
fn millis(step: u32) -> u64 {
    let shift = (step >> FINE).saturating_sub(1);
    u64::from(step - (shift << FINE)) << shift
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_latency_is_kept_to_three_percent(given in 0_u64..u64::MAX / 2) {
            let kept = millis(step(given));
            prop_assert!(kept <= given && given - kept <= given / 32, "{given} {kept}");
        }
    }

    #[test]
    fn quantiles_are_of_what_was_counted() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), None);
        (1..=50).for_each(|millis| latencies.add(Some(millis)));
        latencies.add(None);
        assert_eq!((latencies.quantile(0.5), latencies.quantile(0.99)), (Some(25), Some(50)));
    }
}
