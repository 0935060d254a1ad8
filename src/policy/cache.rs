//! Decisions made so far, and the count of them.
//!
//! Bounded, and owned by one compiled policy, so nothing outlives a reload. What is found by
//! a key was decided from that key alone; see `asked`.

use std::sync::Arc;

use foldhash::fast::RandomState;
use moka::sync::Cache;
use prometheus::IntCounter;

use super::asked::{Asked, Key};
use super::verdict::Verdict;
use crate::telemetry::metrics::Metrics;

/// Decisions kept: some thousands of standings × endpoints, at about 0.5 KiB each.
const DECISIONS: u64 = 16_384;

/// Whether a decision came from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Hit,
    Miss,
    Uncached,
}

#[derive(Debug)]
pub(super) struct Decisions {
    cache: Cache<Key, Arc<Verdict>, RandomState>,
    permits: Counters,
    denials: Counters,
}

#[derive(Debug)]
struct Counters {
    hit: IntCounter,
    miss: IntCounter,
    uncached: IntCounter,
}

impl Decisions {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            cache: Cache::builder()
                .max_capacity(DECISIONS)
                .build_with_hasher(RandomState::default()),
            permits: Counters::new(metrics, "permit"),
            denials: Counters::new(metrics, "deny"),
        }
    }

    /// The decision on `asked`, from the cache or from `decide`. Two requests that miss at
    /// once decide twice, which costs less than waiting for one another.
    pub(super) fn recall(
        &self,
        asked: &Asked<'_>,
        decide: impl FnOnce() -> Verdict,
    ) -> Arc<Verdict> {
        if asked.now.is_none()
            && let Some(verdict) = self.cache.get(asked)
        {
            return self.count(verdict, Use::Hit);
        }
        let verdict = Arc::new(decide());
        match asked.key() {
            Some(key) => {
                self.cache.insert(key, Arc::clone(&verdict));
                self.count(verdict, Use::Miss)
            }
            None => self.count(verdict, Use::Uncached),
        }
    }

    pub(super) fn count(&self, verdict: Arc<Verdict>, used: Use) -> Arc<Verdict> {
        let counters = if verdict.is_permit() { &self.permits } else { &self.denials };
        match used {
            Use::Hit => counters.hit.inc(),
            Use::Miss => counters.miss.inc(),
            Use::Uncached => counters.uncached.inc(),
        }
        verdict
    }
}

impl Counters {
    fn new(metrics: &Metrics, result: &str) -> Self {
        let counter = |cache| metrics.decisions.with_label_values(&[result, cache]);
        Self { hit: counter("hit"), miss: counter("miss"), uncached: counter("uncached") }
    }
}
