//! The stage that requests call: headers → [`Principal`], or why not.
//!
//! The cached path is a hash, a lookup and three comparisons: expiry, freshness of the
//! issuer's keys, and whether the token's key is still among them. Every other token goes
//! through all rules, in the order in which they are cheap: form, issuer, header, key,
//! signature, and only then the claims.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::HeaderMap;
use prometheus::IntCounter;

use super::bearer;
use super::cache::{Entry, Id, TokenCache};
use super::claims::Principal;
use super::error::{AuthError, IdentityError, Reason};
use super::fetch::{self, Fetcher};
use super::issuer::{self, IssuerConfig};
use super::json::Object;
use super::keys::{Key, NoKey};
use super::rules::Rules;
use super::store::{KeyStore, Lookup};
use super::token::{self, Token};
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// Checks tokens against the configured issuers.
#[derive(Debug)]
pub struct Authenticator {
    issuers: Vec<Trusted>,
    cache: TokenCache,
    clock: Clock,
    counts: Counts,
}

#[derive(Debug)]
struct Trusted {
    rules: Rules,
    keys: Arc<KeyStore>,
}

impl Authenticator {
    /// An issuer whose keys come from where `previous` got them begins with `previous`'s
    /// keys; if no issuer changed at all, the verified tokens are kept as well.
    ///
    /// # Errors
    /// When an issuer's configuration cannot be worked with.
    pub fn new(
        issuers: Vec<IssuerConfig>,
        previous: Option<&Self>,
        clock: Clock,
        metrics: &Metrics,
    ) -> Result<Self, IdentityError> {
        issuer::check_all(&issuers)?;
        // Cached entries know their issuer by its place, and were held to its old rules.
        let same = previous.filter(|previous| previous.configs().eq(&issuers));
        let cache = same.map_or_else(TokenCache::new, |previous| previous.cache.clone());
        let roots = fetch::roots_for(&issuers)?;
        let trusted = |config: IssuerConfig| {
            let rules = Rules::new(&config);
            let fetcher = Fetcher::new(&config, &roots)?;
            let before = previous.and_then(|previous| previous.keys_of(&config));
            let keys = KeyStore::new(config, fetcher, before, clock.clone(), metrics);
            Ok(Trusted { rules, keys })
        };
        let issuers = issuers.into_iter().map(trusted).collect::<Result<_, IdentityError>>()?;
        Ok(Self { issuers, cache, clock, counts: Counts::new(metrics) })
    }

    /// Fetches every issuer's keys now and keeps them current, one task per issuer, until
    /// no authenticator uses them any more. Needs a tokio runtime.
    pub fn start(&self) {
        self.issuers.iter().for_each(|issuer| issuer.keys.start());
    }

    /// Who sent these headers.
    ///
    /// Cancel-safe. Waits only for a token with an unknown key, and then at most 3 s.
    ///
    /// # Errors
    /// When there is no token, or it breaks a rule, or the issuer's keys cannot be had.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Principal>, AuthError> {
        let token = match bearer::token(headers) {
            Ok(token) => token,
            Err(error) => return self.counts.count(Err(error), CacheUse::None),
        };
        let id = TokenCache::id(token);
        if let Some(result) = self.recall(&id) {
            return self.counts.count(result, CacheUse::Hit);
        }
        let result = self.verify(token, id).await;
        self.counts.count(result, CacheUse::Miss)
    }

    /// Each issuer's name and URL, with its keys: `kid#thumbprint` (RFC 7638).
    pub fn keys(&self) -> impl Iterator<Item = (&str, &str, BTreeSet<String>)> {
        self.issuers.iter().map(|issuer| {
            let config = issuer.keys.config();
            (config.name.as_str(), config.url.as_str(), issuer.keys.ids())
        })
    }

    /// # Errors
    /// The names of the issuers whose keys are not usable, with commas between.
    pub fn ready(&self) -> Result<(), String> {
        let now = self.clock.now();
        let without = self.issuers.iter().filter(|issuer| !issuer.keys.usable(now));
        let names: Vec<_> = without.map(|issuer| issuer.rules.issuer().as_str()).collect();
        if names.is_empty() { Ok(()) } else { Err(names.join(", ")) }
    }

    /// What the cache says, if what it says still holds.
    fn recall(&self, id: &Id) -> Option<Result<Arc<Principal>, AuthError>> {
        let entry = self.cache.find(id)?;
        let issuer = self.issuers.get(entry.issuer)?;
        let now = self.clock.now();
        match issuer.keys.check(&entry.key, now) {
            Err(Lookup::Unavailable) => return Some(Err(AuthError::KeysUnavailable)),
            Err(Lookup::NoKey(_)) => {
                self.cache.forget(id);
                return None;
            }
            Ok(()) => {}
        }
        let valid = issuer.rules.check_expiry(entry.principal.expires_at(), now);
        if valid.is_err() {
            self.cache.forget(id);
        }
        Some(valid.map(|()| Arc::clone(&entry.principal)))
    }

    async fn verify(&self, token: &[u8], id: Id) -> Result<Arc<Principal>, AuthError> {
        let token = token::parse(token)?;
        let claims = token.claims()?;
        let (place, issuer) = self.issuer_of(&claims)?;
        let key = issuer.verified_by(&token).await?;
        let principal = Arc::new(issuer.rules.check_claims(&claims, self.clock.now())?);
        let entry = Entry { principal: Arc::clone(&principal), issuer: place, key };
        self.cache.keep(id, entry);
        Ok(principal)
    }

    fn issuer_of(&self, claims: &Object<'_>) -> Result<(usize, &Trusted), Reason> {
        let mut issuers = self.issuers.iter().enumerate();
        issuers.find(|(_, issuer)| issuer.rules.is_issuer_of(claims)).ok_or(Reason::UnknownIssuer)
    }

    fn configs(&self) -> impl Iterator<Item = &IssuerConfig> {
        self.issuers.iter().map(|issuer| issuer.keys.config())
    }

    fn keys_of(&self, config: &IssuerConfig) -> Option<&KeyStore> {
        let keys = self.issuers.iter().map(|issuer| &*issuer.keys);
        keys.into_iter().find(|keys| keys.config().name == config.name)
    }
}

impl Trusted {
    /// The key of this issuer that signed `token`.
    async fn verified_by(&self, token: &Token<'_>) -> Result<Arc<Key>, AuthError> {
        let alg = self.rules.check_header(token)?;
        let found = self.keys.find_or_fetch(alg, token.kid()).await;
        let key = found.map_err(|lookup| self.refusal(lookup))?;
        let (signed, signature) = token.signed();
        if key.verifies(alg, signed, signature) {
            return Ok(key);
        }
        let issuer = self.rules.issuer().clone();
        Err(Reason::Signature { issuer, kid: key.shared_kid() }.into())
    }

    fn refusal(&self, lookup: Lookup) -> AuthError {
        let issuer = self.rules.issuer().clone();
        match lookup {
            Lookup::Unavailable => AuthError::KeysUnavailable,
            Lookup::NoKey(NoKey::Unknown) => Reason::UnknownKey { issuer }.into(),
            Lookup::NoKey(NoKey::Unfit) => Reason::UnfitKey { issuer }.into(),
            Lookup::NoKey(NoKey::Ambiguous) => Reason::AmbiguousKey { issuer }.into(),
        }
    }
}

#[cfg(test)]
impl Authenticator {
    /// Fetches each issuer's keys once; true if all came.
    pub(super) async fn refresh(&self) -> bool {
        let mut all = true;
        for issuer in &self.issuers {
            all &= issuer.keys.refresh().await;
        }
        all
    }

    pub(super) fn cached(&self) -> u64 {
        self.cache.len()
    }
}

#[derive(Clone, Copy)]
enum CacheUse {
    Hit,
    Miss,
    /// Refused before the cache was asked.
    None,
}

/// `sagegate_tokens_total`'s counters, looked up once.
#[derive(Debug)]
struct Counts {
    hit: ByResult,
    miss: ByResult,
    none: ByResult,
}

#[derive(Debug)]
struct ByResult {
    ok: IntCounter,
    missing: IntCounter,
    invalid: IntCounter,
    expired: IntCounter,
    keys_unavailable: IntCounter,
}

impl Counts {
    fn new(metrics: &Metrics) -> Self {
        let by_result = |cache| {
            let counter = |result| metrics.tokens.with_label_values(&[result, cache]);
            ByResult {
                ok: counter("ok"),
                missing: counter("missing"),
                invalid: counter("invalid"),
                expired: counter("expired"),
                keys_unavailable: counter("keys_unavailable"),
            }
        };
        Self { hit: by_result("hit"), miss: by_result("miss"), none: by_result("none") }
    }

    fn count(
        &self,
        result: Result<Arc<Principal>, AuthError>,
        cache: CacheUse,
    ) -> Result<Arc<Principal>, AuthError> {
        let by_result = match cache {
            CacheUse::Hit => &self.hit,
            CacheUse::Miss => &self.miss,
            CacheUse::None => &self.none,
        };
        match &result {
            Ok(_) => &by_result.ok,
            Err(AuthError::Missing) => &by_result.missing,
            Err(AuthError::Invalid(_)) => &by_result.invalid,
            Err(AuthError::Expired { .. }) => &by_result.expired,
            Err(AuthError::KeysUnavailable) => &by_result.keys_unavailable,
        }
        .inc();
        result
    }
}
