//! Tokens that passed every rule, so that a caller's next request costs a hash and a lookup.
//!
//! The key is the SHA-256 of the whole token, so that the cache holds no token and cannot be
//! steered to a chosen slot. Only successes are kept. An entry is no proof by itself: whoever
//! finds one still asks whether the token has expired and its key is still published.

use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::claims::Principal;
use super::hash::sha256;
use super::keys::Key;

/// At most this many tokens, each weighing at least [`LEAST_BYTES`].
const MAX_TOKENS: u64 = 10_000;

/// An ordinary token's entry is smaller; one with hundreds of groups takes the room of
/// several, so that memory is bounded and not only the count.
const LEAST_BYTES: usize = 2048;

/// A verified token.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) principal: Arc<Principal>,
    /// Which of the authenticator's issuers.
    pub(super) issuer: usize,
    /// The key that verified it.
    pub(super) key: Arc<Key>,
}

impl Entry {
    fn weight(&self) -> u32 {
        let group = |group: &crate::names::Group| group.as_str().len() + size_of::<usize>() * 4;
        let groups: usize = self.principal.groups().iter().map(group).sum();
        u32::try_from(LEAST_BYTES.max(groups + LEAST_BYTES / 4)).unwrap_or(u32::MAX)
    }
}

/// Cloning shares the entries.
#[derive(Clone)]
pub(super) struct TokenCache(Cache<Id, Arc<Entry>, RandomState>);

pub(super) type Id = [u8; 32];

impl TokenCache {
    pub(super) fn new() -> Self {
        let weigh = |_: &Id, entry: &Arc<Entry>| entry.weight();
        // LRU: tokens are replaced by newer ones, and a frequency count would favour the old.
        let cache = Cache::builder()
            .max_capacity(MAX_TOKENS * LEAST_BYTES as u64)
            .weigher(weigh)
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(RandomState::default());
        Self(cache)
    }

    pub(super) fn id(token: &[u8]) -> Id {
        sha256(token)
    }

    pub(super) fn find(&self, id: &Id) -> Option<Arc<Entry>> {
        self.0.get(id)
    }

    pub(super) fn keep(&self, id: Id, entry: Entry) {
        self.0.insert(id, Arc::new(entry));
    }

    pub(super) fn forget(&self, id: &Id) {
        self.0.invalidate(id);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.entry_count()
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("entries", &self.0.entry_count()).finish()
    }
}
