//! Keeps the slices filled: asks the store ahead of need, and notices when it is gone.
//!
//! One task for a gateway. A request wakes it when a slice runs low; twenty times a second it
//! looks by itself for what is low, idle or to be renewed. It never has more than a few calls
//! under way, so that a store that was away is not met by all teams at once.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::breaker::Breaker;
use super::lease::OnFailure;
use super::script::{Wish, Words};
use super::slice::{Alone, Asking, Kind, Pool, Slice};
use super::store::{RedisConfig, Store, StoreError};
use crate::telemetry::metrics::Metrics;

/// How the limits are kept now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In this process alone: no store is configured.
    Embedded,
    /// By the shared store.
    Shared,
    /// The store cannot be asked; this holds instead.
    Failing(OnFailure),
}

impl Mode {
    pub const ALL: [Self; 5] = [
        Self::Embedded,
        Self::Shared,
        Self::Failing(OnFailure::Local),
        Self::Failing(OnFailure::Open),
        Self::Failing(OnFailure::Closed),
    ];

    /// Shows it as the mode that holds.
    pub fn show(self, metrics: &Metrics) {
        for one in Self::ALL {
            metrics.limit_mode.with_label_values(&[one.as_str()]).set(i64::from(one == self));
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Shared => "shared",
            Self::Failing(OnFailure::Local) => "local",
            Self::Failing(OnFailure::Open) => "open",
            Self::Failing(OnFailure::Closed) => "closed",
        }
    }
}

const TICK: Duration = Duration::from_millis(50);
/// An unused store is asked this often all the same, so that its end is noticed before a
/// request has to find out.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Calls under way at once.
const CALLS: usize = 8;
/// Pools that wait to be served; more are found by the next tick.
const QUEUE: usize = 1_024;
/// Where gateways are counted that use no limit yet.
const EVERYBODY: &str = "sagegate:{gateways}";

/// The shared store, as the limits see it. Cloning shares it; when the last is dropped, its
/// task ends.
#[derive(Clone)]
pub struct Lender(Arc<Inner>);

struct Inner {
    store: Store,
    origin: Instant,
    pools: Mutex<HashMap<Box<str>, Arc<Pool>>>,
    health: Mutex<Breaker>,
    /// Where the call went that failed: in a cluster, another node may well answer.
    probed: Mutex<String>,
    /// How many gateways there were when the store last said.
    gateways: AtomicU64,
    wake: mpsc::Sender<Arc<Pool>>,
    calls: Arc<Semaphore>,
    mode: watch::Sender<Mode>,
    /// Counts the answers, for requests that wait for one.
    answers: watch::Sender<u64>,
    /// Microseconds by which the store's clock is ahead of this machine's.
    ahead: AtomicI64,
    metrics: Metrics,
    chance: RandomState,
}

impl fmt::Debug for Lender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lender").field("store", &self.0.store).finish_non_exhaustive()
    }
}

impl Lender {
    /// Starts asking. Until the store has answered once, it counts as failed.
    pub fn start(config: RedisConfig, metrics: &Metrics) -> Self {
        let (wake, woken) = mpsc::channel(QUEUE);
        let lender = Self(Arc::new(Inner::new(config, metrics, wake)));
        lender.0.enter(Mode::Failing(lender.0.store.config().on_failure.unconfirmed()));
        tokio::spawn(run(Arc::downgrade(&lender.0), woken));
        lender
    }

    /// Whether the store answers, as it changes: for the record.
    pub fn modes(&self) -> watch::Receiver<Mode> {
        self.0.mode.subscribe()
    }

    /// Where its nanoseconds start.
    pub(in crate::limits) fn origin(&self) -> Instant {
        self.0.origin
    }

    /// By how much the store's clock is ahead of this machine's, and by how much behind.
    pub(in crate::limits) fn store_ahead(&self) -> (Duration, Duration) {
        let micros = self.0.ahead.load(Ordering::Relaxed);
        let span = Duration::from_micros(micros.unsigned_abs());
        if micros < 0 { (Duration::ZERO, span) } else { (span, Duration::ZERO) }
    }

    /// All slices of one hash tag.
    pub(in crate::limits) fn pool(&self, tag: &str) -> Arc<Pool> {
        let mut pools = lock(&self.0.pools);
        let pool = pools.entry(tag.into()).or_insert_with(|| Arc::new(Pool::new(tag)));
        Arc::clone(pool)
    }

    /// The slice of this key, as it stands or new; past the bound that of `common`.
    pub(in crate::limits) fn slice(
        &self,
        pool: &Pool,
        key: &str,
        common: &str,
        kind: Kind,
    ) -> Arc<Slice> {
        // Under the breaker's lock, so that a new slice cannot miss that it changes.
        let health = lock(&self.0.health);
        let alone = (!health.is_closed()).then(|| self.0.alone());
        pool.slice(key, common, kind, alone)
    }

    /// Asks for this pool soon, without waiting.
    pub(in crate::limits) fn wake(&self, pool: &Arc<Pool>) {
        // A full queue is served first; the next tick finds the rest.
        if pool.queue() && self.0.wake.try_send(Arc::clone(pool)).is_err() {
            pool.unqueue();
        }
    }

    /// Attempts again with each answer of the store while it is still `asking`, for no longer
    /// than configured: then `None`. That says nothing of the store, which may have answered
    /// many others meanwhile; its failure is for the calls themselves to tell.
    pub(in crate::limits) async fn answered<T>(
        &self,
        mut attempt: impl FnMut() -> T,
        asking: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let begun = Instant::now();
        let mut answers = self.0.answers.subscribe();
        let all = async {
            loop {
                // What came between the first attempt and the subscription counts as well.
                let outcome = attempt();
                if !asking(&outcome) || answers.changed().await.is_err() {
                    return outcome;
                }
            }
        };
        let outcome = tokio::time::timeout(self.0.store.config().timeout, all).await;
        self.0.metrics.limit_lease_wait.observe(begun.elapsed().as_secs_f64());
        outcome.ok()
    }

    /// Gives back what is held. Slices are empty from then on.
    ///
    /// Waits for the store no longer than configured; dropped, it leaves the rest to expire.
    pub async fn close(&self) {
        for pool in self.0.all_pools() {
            let asks = pool.returns(self.0.now());
            let wishes: Vec<(&str, Wish)> = asks.iter().map(|one| (&*one.key, one.wish)).collect();
            if lock(&self.0.health).is_closed() && !asks.is_empty() {
                let _ = self.0.store.ask(&pool.members, &wishes, self.0.store.patience()).await;
            }
        }
    }
}

/// The lender's task.
async fn run(lender: Weak<Inner>, mut woken: mpsc::Receiver<Arc<Pool>>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heartbeat = Instant::now();
    loop {
        let woken = tokio::select! {
            pool = woken.recv() => pool,
            _ = tick.tick() => None,
        };
        let Some(lender) = lender.upgrade() else { return };
        if let Some(pool) = woken {
            pool.unqueue();
            lender.serve(&pool).await;
            continue;
        }
        lender.probe_if_due().await;
        let now = Instant::now();
        let beats = now.saturating_duration_since(heartbeat) >= HEARTBEAT;
        if beats {
            heartbeat = now;
            lender.beat();
        }
        for pool in lender.all_pools() {
            lender.serve(&pool).await;
        }
    }
}

impl Inner {
    fn new(config: RedisConfig, metrics: &Metrics, wake: mpsc::Sender<Arc<Pool>>) -> Self {
        Self {
            // One name for each process, so that a dead one's slots are not a new one's.
            store: Store::new(config, uuid::Uuid::now_v7().simple().to_string()),
            origin: Instant::now(),
            pools: Mutex::default(),
            health: Mutex::new(Breaker::UNKNOWN),
            probed: Mutex::new(EVERYBODY.to_owned()),
            gateways: AtomicU64::new(1),
            wake,
            calls: Arc::new(Semaphore::new(CALLS)),
            mode: watch::Sender::new(Mode::Embedded),
            answers: watch::Sender::default(),
            ahead: AtomicI64::new(0),
            metrics: metrics.clone(),
            chance: RandomState::new(),
        }
    }

    /// Asks for all that the pool wants, in tasks of their own. What is asked for wants no
    /// more, so each turn asks for others.
    async fn serve(self: &Arc<Self>, pool: &Arc<Pool>) {
        while lock(&self.health).is_closed() {
            let asks = pool.asks(self.now());
            if asks.is_empty() {
                return;
            }
            self.spawn(Arc::clone(pool), asks).await;
        }
        pool.sweep(self.now());
    }

    /// Waits for its turn among the few calls under way, each of which ends in time.
    async fn spawn(self: &Arc<Self>, pool: Arc<Pool>, asks: Vec<Asking>) {
        let turn = Arc::clone(&self.calls).acquire_owned().await;
        if !lock(&self.health).is_closed() {
            return pool.unanswered(&asks);
        }
        let lender = Arc::clone(self);
        tokio::spawn(async move {
            let _turn = turn;
            let wishes: Vec<(&str, Wish)> = asks.iter().map(|one| (&*one.key, one.wish)).collect();
            match lender.store.ask(&pool.members, &wishes, lender.store.patience()).await {
                Ok(words) => {
                    lender.metrics.limit_lease_requests.with_label_values(&["answered"]).inc();
                    lender.learn(&words);
                    pool.answered(&asks, &words.each, lender.now());
                    lender.tell();
                }
                Err(error) => {
                    lender.metrics.limit_lease_requests.with_label_values(&["failed"]).inc();
                    pool.unanswered(&asks);
                    lender.failed(&error, &pool.members);
                }
            }
        });
    }

    /// In a task of its own: a request may wait for what the lender does next.
    fn beat(self: &Arc<Self>) {
        let held: usize = self.all_pools().iter().map(|pool| pool.len()).sum();
        self.metrics.limit_leases.set(i64::try_from(held).unwrap_or(i64::MAX));
        if !lock(&self.health).is_closed() {
            return;
        }
        let lender = Arc::clone(self);
        tokio::spawn(async move {
            match lender.store.ask(EVERYBODY, &[], lender.store.patience()).await {
                Ok(words) => lender.heard(&words),
                Err(error) => lender.failed(&error, EVERYBODY),
            }
        });
    }

    async fn probe_if_due(self: &Arc<Self>) {
        let due = lock(&self.health).probes(self.now());
        if !due {
            return;
        }
        let members = lock(&self.probed).clone();
        match self.store.probe(&members).await {
            Ok(words) => {
                self.learn(&words);
                self.recovered();
            }
            Err(error) => self.failed(&error, &members),
        }
    }

    /// Opens the breaker: whoever waits goes on without the store, and so does everybody after.
    /// One slow answer is not enough to lift all limits: that takes a probe that fails as well.
    fn failed(&self, error: &StoreError, members: &str) {
        self.metrics.limit_store_errors.with_label_values(&[error.kind()]).inc();
        let now = self.now();
        let mut health = lock(&self.health);
        let before = *health;
        *health = before.failed(now, self.chance.hash_one(now));
        if before.is_closed() {
            members.clone_into(&mut lock(&self.probed));
        }
        let on_failure = self.store.config().on_failure;
        let holds = if before.is_closed() { on_failure.unconfirmed() } else { on_failure };
        if *health != before && self.enter(Mode::Failing(holds)) {
            let mode = Mode::Failing(holds).as_str();
            tracing::warn!(%error, on_failure = mode, "the limit store cannot be asked");
            let alone = self.alone();
            self.all_pools().iter().for_each(|pool| pool.leave(alone));
            self.tell();
        }
    }

    fn recovered(&self) {
        let mut health = lock(&self.health);
        *health = Breaker::Closed;
        tracing::info!("the limit store answers");
        self.enter(Mode::Shared);
        let now = self.now();
        self.all_pools().iter().for_each(|pool| pool.rejoin(now));
    }

    /// Whether it is another mode than before.
    fn enter(&self, mode: Mode) -> bool {
        mode.show(&self.metrics);
        self.mode.send_if_modified(|current| std::mem::replace(current, mode) != mode)
    }

    /// An answer to nothing: how many gateways there are.
    fn heard(&self, words: &Words) {
        self.gateways.store(words.gateways, Ordering::Relaxed);
        self.learn(words);
    }

    /// Learns the store's clock.
    fn learn(&self, words: &Words) {
        let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let here = i64::try_from(here).unwrap_or(i64::MAX);
        let there = i64::try_from(words.now).unwrap_or(i64::MAX);
        self.ahead.store(there.saturating_sub(here), Ordering::Relaxed);
    }

    /// Wakes whoever waits.
    fn tell(&self) {
        self.answers.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn alone(&self) -> Alone {
        let gateways = self.gateways.load(Ordering::Relaxed);
        let on_failure = match *self.mode.borrow() {
            Mode::Failing(holds) => holds,
            Mode::Embedded | Mode::Shared => self.store.config().on_failure,
        };
        Alone { on_failure, gateways, now: self.now() }
    }

    fn all_pools(&self) -> Vec<Arc<Pool>> {
        lock(&self.pools).values().cloned().collect()
    }

    /// Nanoseconds on the scale of the limits.
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
