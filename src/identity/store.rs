//! What one issuer's keys are now, and how they stay current.
//!
//! Requests read one atomic pointer and never wait for a key that is known. A background
//! task fetches the set again and again; a failed fetch changes nothing, until the last
//! success is so old that nobody can say any more whether its keys still hold. A token with
//! an unknown key asks for one extra fetch, which all such tokens share and which strangers
//! cannot make happen more often than every [`UNKNOWN_KEY_PAUSE`].

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use prometheus::{Gauge, GaugeVec};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use super::fetch::Fetcher;
use super::issuer::{Algorithm, IssuerConfig};
use super::keys::{Key, KeySet, NoKey};
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// Between two fetches that unknown keys cause.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(30);
/// How long a token with an unknown key waits for the fetch that it caused or joined.
const UNKNOWN_KEY_WAIT: Duration = Duration::from_secs(3);
/// Tokens of one issuer that wait at once. Whoever waits holds a connection and a place in the
/// record, and has proved nothing yet: strangers with made-up key ids, while the provider is
/// slow, must not take all of either.
const UNKNOWN_KEY_WAITERS: usize = 256;
/// The first pause after a failed fetch; it doubles from there.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// How often, between two fetches, the age is written to its gauge and the time of day looked
/// at: a clock that was set forward makes keys old at once.
const AGE_INTERVAL: Duration = Duration::from_secs(10);

/// One issuer's keys.
#[derive(Debug)]
pub(super) struct KeyStore {
    config: IssuerConfig,
    fetcher: Fetcher,
    clock: Clock,
    age: Arc<Age>,
    held: ArcSwapOption<Held>,
    /// One fetch at a time, whoever asks.
    fetching: tokio::sync::Mutex<()>,
    /// Taken for unknown keys only.
    asked: Mutex<Asked>,
    /// Places for [`UNKNOWN_KEY_WAITERS`].
    waiters: Semaphore,
    /// Counts the fetches that unknown keys caused, when they end.
    answered: watch::Sender<u64>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Debug)]
struct Held {
    keys: KeySet,
    fetched: SystemTime,
}

/// The last fetch that an unknown key caused.
#[derive(Debug, Default)]
struct Asked {
    at: Option<SystemTime>,
    running: bool,
}

/// What a token with an unknown key may do.
enum Turn {
    Fetch,
    Wait,
    GiveUp,
}

/// Why the store has no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Nothing was ever fetched, or too long ago.
    Unavailable,
    NoKey(NoKey),
}

impl KeyStore {
    /// Begins with `previous`'s keys if they came from the same place.
    pub(super) fn new(
        config: IssuerConfig,
        fetcher: Fetcher,
        previous: Option<&Self>,
        clock: Clock,
        metrics: &Metrics,
    ) -> Arc<Self> {
        let age = previous.map(|previous| Arc::clone(&previous.age));
        let held = previous.filter(|previous| same_source(&previous.config, &config));
        Arc::new(Self {
            age: age.unwrap_or_else(|| Age::new(config.name.as_str(), &metrics.jwks_age)),
            held: ArcSwapOption::new(held.and_then(|previous| previous.held.load_full())),
            config,
            fetcher,
            clock,
            fetching: tokio::sync::Mutex::new(()),
            asked: Mutex::default(),
            waiters: Semaphore::new(UNKNOWN_KEY_WAITERS),
            answered: watch::Sender::new(0),
            task: Mutex::new(None),
        })
    }

    pub(super) fn config(&self) -> &IssuerConfig {
        &self.config
    }

    /// Whether there are keys, recent enough to be believed.
    pub(super) fn usable(&self, now: SystemTime) -> bool {
        self.held.load().as_ref().is_some_and(|held| self.is_fresh(held, now))
    }

    pub(super) fn ids(&self) -> BTreeSet<String> {
        self.held.load().as_ref().map(|held| held.keys.ids().collect()).unwrap_or_default()
    }

    /// Whether a cached token's key is still published. `Unavailable` if nobody can tell.
    pub(super) fn check(&self, key: &Arc<Key>, now: SystemTime) -> Result<(), Lookup> {
        match &*self.held.load() {
            Some(held) if self.is_fresh(held, now) => {
                if held.keys.holds(key) {
                    Ok(())
                } else {
                    Err(Lookup::NoKey(NoKey::Unknown))
                }
            }
            _ => Err(Lookup::Unavailable),
        }
    }

    /// The key for a token, without waiting.
    pub(super) fn find(
        &self,
        alg: Algorithm,
        kid: Option<&str>,
        now: SystemTime,
    ) -> Result<Arc<Key>, Lookup> {
        match &*self.held.load() {
            Some(held) if self.is_fresh(held, now) => {
                held.keys.find(alg, kid).map(Arc::clone).map_err(Lookup::NoKey)
            }
            _ => Err(Lookup::Unavailable),
        }
    }

    /// The key for a token; for an unknown one, after another fetch if one is due.
    ///
    /// Cancel-safe: the fetch goes on without whoever asked for it.
    pub(super) async fn find_or_fetch(
        self: &Arc<Self>,
        alg: Algorithm,
        kid: Option<&str>,
    ) -> Result<Arc<Key>, Lookup> {
        let now = self.clock.now();
        match self.find(alg, kid, now) {
            Err(Lookup::NoKey(NoKey::Unknown)) => {}
            settled => return settled,
        }
        self.ask(now).await;
        self.find(alg, kid, now)
    }

    /// Returns when a fetch has ended, when waiting is over, or at once if none is due.
    async fn ask(self: &Arc<Self>, now: SystemTime) {
        let Ok(_place) = self.waiters.try_acquire() else { return };
        // Before taking a turn, so that a fetch that ends in between is seen.
        let mut answered = self.answered.subscribe();
        match self.turn(now) {
            Turn::GiveUp => return,
            Turn::Wait => {}
            Turn::Fetch => {
                let store = Arc::clone(self);
                tokio::spawn(async move { store.answer().await });
            }
        }
        let _ = tokio::time::timeout(UNKNOWN_KEY_WAIT, answered.changed()).await;
    }

    /// `Fetch` for one caller per [`UNKNOWN_KEY_PAUSE`].
    fn turn(&self, now: SystemTime) -> Turn {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.running {
            return Turn::Wait;
        }
        // A clock that was set back must not lock new keys out until it catches up.
        let since = |at| now.duration_since(at).unwrap_or(UNKNOWN_KEY_PAUSE);
        if asked.at.is_some_and(|at| since(at) < UNKNOWN_KEY_PAUSE) {
            return Turn::GiveUp;
        }
        *asked = Asked { at: Some(now), running: true };
        Turn::Fetch
    }

    async fn answer(&self) {
        self.refresh().await;
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).running = false;
        self.answered.send_modify(|count| *count += 1);
    }

    /// Fetches once; true if keys came. A failure leaves the keys as they are.
    ///
    /// Cancel-safe: a dropped fetch changes nothing.
    pub(super) async fn refresh(&self) -> bool {
        let _alone = self.fetching.lock().await;
        let fetched = self.fetcher.keys().await;
        let issuer = &self.config.name;
        let succeeded = fetched.is_ok();
        match fetched {
            Ok(keys) => self.keep(keys),
            Err(error) => tracing::warn!(%issuer, %error, "the issuer's keys could not be fetched"),
        }
        self.write_age();
        succeeded
    }

    fn keep(&self, keys: KeySet) {
        let keys = match &*self.held.load() {
            Some(held) => keys.carry_over(&held.keys),
            None => {
                let issuer = &self.config.name;
                tracing::info!(%issuer, keys = keys.len(), "the issuer's keys are there");
                keys
            }
        };
        self.held.store(Some(Arc::new(Held { keys, fetched: self.clock.now() })));
    }

    fn is_fresh(&self, held: &Held, now: SystemTime) -> bool {
        // Before the fetch: the clock was set back, which makes the keys no older.
        now.duration_since(held.fetched).unwrap_or_default() <= self.config.jwks_max_stale
    }

    fn write_age(&self) {
        if let Some(held) = &*self.held.load() {
            let age = self.clock.now().duration_since(held.fetched).unwrap_or_default();
            self.age.gauge.set(age.as_secs_f64());
        }
    }

    /// Fetches now and from then on in the background, until the store is dropped. A second
    /// call changes nothing.
    pub(super) fn start(self: &Arc<Self>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_none() {
            let refreshing = keep_current(Arc::downgrade(self));
            *task = Some(tokio::spawn(refreshing).abort_handle());
        }
    }
}

impl Drop for KeyStore {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

/// Holds the store only while it works, so that dropping the store ends it.
async fn keep_current(store: Weak<KeyStore>) {
    let mut failures = 0;
    loop {
        let Some(this) = store.upgrade() else { return };
        failures = if this.refresh().await { 0 } else { failures + 1 };
        let mut left = pause(failures, this.config.jwks_refresh, random());
        let due = this.clock.now() + left;
        drop(this);
        while !left.is_zero() {
            let step = left.min(AGE_INTERVAL);
            tokio::time::sleep(step).await;
            left -= step;
            let Some(this) = store.upgrade() else { return };
            this.write_age();
            if this.clock.now() >= due {
                break;
            }
        }
    }
}

/// Until the next fetch, after this many failures in a row. `random` is in 0..1 and spreads
/// many gateways' fetches; it only ever shortens, so that a key that left the issuer's set
/// stops working within `refresh`.
fn pause(failures: u32, refresh: Duration, random: f64) -> Duration {
    let (longest, spread) = match failures.checked_sub(1) {
        None => (refresh, 0.2),
        Some(doublings) => {
            let doubled = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(doublings));
            (doubled.min(LAST_RETRY).min(refresh), 0.5)
        }
    };
    longest.mul_f64(1.0 - spread * random.clamp(0.0, 1.0))
}

/// In 0..1; not secret, and 0 when the system has no randomness to give.
fn random() -> f64 {
    let mut bytes = [0; 4];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

/// Whether the keys of one configuration are those of the other.
fn same_source(one: &IssuerConfig, other: &IssuerConfig) -> bool {
    (&one.url, &one.jwks_url, &one.ca) == (&other.url, &other.jwks_url, &other.ca)
}

/// The issuer's series of `sagegate_jwks_age_seconds`, which goes when the issuer does.
#[derive(Debug)]
struct Age {
    issuer: String,
    series: GaugeVec,
    gauge: Gauge,
}

impl Age {
    /// Infinite until keys come, so that an alert on a high age needs no second rule.
    fn new(issuer: &str, series: &GaugeVec) -> Arc<Self> {
        let gauge = series.with_label_values(&[issuer]);
        gauge.set(f64::INFINITY);
        Arc::new(Self { issuer: issuer.to_owned(), series: series.clone(), gauge })
    }
}

impl Drop for Age {
    fn drop(&mut self) {
        let _ = self.series.remove_label_values(&[&self.issuer]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(300);

    #[test]
    fn a_success_is_followed_within_the_refresh_interval() {
        assert_eq!(pause(0, REFRESH, 0.0), REFRESH);
        assert_eq!(pause(0, REFRESH, 1.0), Duration::from_secs(240));
        assert!((0..100).all(|_| pause(0, REFRESH, random()) <= REFRESH));
    }

    #[test]
    fn failures_back_off_from_a_second_to_a_minute() {
        let seconds: Vec<_> = (1..=8).map(|n| pause(n, REFRESH, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(3, REFRESH, 1.0), Duration::from_secs(2));
        assert_eq!(pause(u32::MAX, REFRESH, 0.0), LAST_RETRY);
        let short = Duration::from_millis(50);
        assert_eq!(pause(9, short, 0.0), short, "never slower than without failures");
    }

    /// A store with one key, whose issuer takes connections and never answers.
    async fn with_silent_issuer() -> (Arc<KeyStore>, tokio::net::TcpListener) {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let config = crate::identity::tests::support::config(&url);
        let fetcher = Fetcher::new(&config, &Arc::new(rustls::RootCertStore::empty())).unwrap();
        let metrics = Metrics::new().unwrap();
        let store = KeyStore::new(config, fetcher, None, Clock::System, &metrics);
        let key = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"known","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        store.keep(KeySet::parse(key.as_bytes()).unwrap());
        (store, silent)
    }

    #[tokio::test]
    async fn strangers_who_wait_for_a_slow_issuer_are_few_and_the_rest_are_refused_at_once() {
        let (store, _silent) = with_silent_issuer().await;
        let asks = |kid: String| {
            let store = Arc::clone(&store);
            async move { store.find_or_fetch(Algorithm::EdDsa, Some(&kid)).await.map(drop) }
        };
        let mut all = tokio::task::JoinSet::new();
        (0..UNKNOWN_KEY_WAITERS + 50).for_each(|n| drop(all.spawn(asks(format!("made-up-{n}")))));
        for _ in 0..50 {
            let refused = all.join_next().await.unwrap().unwrap();
            assert_eq!(refused, Err(Lookup::NoKey(NoKey::Unknown)));
        }
        assert_eq!(all.len(), UNKNOWN_KEY_WAITERS, "as many wait");
        assert_eq!(store.waiters.available_permits(), 0);
        assert_eq!(asks("known".to_owned()).await, Ok(()), "a known key waits for nobody");
        all.shutdown().await;
        assert_eq!(store.waiters.available_permits(), UNKNOWN_KEY_WAITERS);
    }

    #[tokio::test]
    async fn dropping_a_store_ends_its_task() {
        let config = crate::identity::tests::support::config("http://127.0.0.1:1");
        let roots = Arc::new(rustls::RootCertStore::empty());
        let fetcher = Fetcher::new(&config, &roots).unwrap();
        let metrics = Metrics::new().unwrap();
        let store = KeyStore::new(config, fetcher, None, Clock::System, &metrics);
        store.start();
        let task = store.task.lock().unwrap().clone().unwrap();
        assert!(!task.is_finished());
        drop(store);
        // Ends by itself: a task that went on would keep this from ever being true.
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}
