//! A valid set of AWS credentials, always at hand.
//!
//! The SDK's own identity cache refreshes seconds before expiry, in the path of a request,
//! and a failed refresh fails the request. Here a task refreshes minutes ahead, with backoff
//! on failure, and requests read the last good set without waiting.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::default_provider::region::DefaultRegionChain;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::identity::Identity;
use aws_types::region::Region;

use crate::telemetry::clock::Clock;

/// Refresh this long before expiry: enough for an hour-long outage of nothing, and for many
/// tries at the one-hour sessions of role chaining and the six-hour ones of instances.
const AHEAD: Duration = Duration::from_mins(10);
/// Credentials without an expiry come from the environment or a profile, which may change.
const RECHECK: Duration = Duration::from_mins(5);
/// For one answer of the source: a `credential_process` that hangs must not be the last one.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How often, while waiting, the time of day is looked at: a clock that was set forward
/// brings the expiry nearer than it was.
const LOOK: Duration = Duration::from_secs(10);

/// Where credentials come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The AWS default chain: environment, profile, web identity, container, instance.
    DefaultChain,
    /// A given provider: the demo's and the tests' own.
    Provider(SharedCredentialsProvider),
}

/// A handle on the current credentials. Cloning shares them; the refreshing task ends when
/// the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Credentials(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: ArcSwapOption<Current>,
    clock: Clock,
}

#[derive(Debug)]
struct Current {
    identity: Identity,
    expires: Option<SystemTime>,
}

impl Credentials {
    /// Starts fetching in the background. The first set may not be there yet when this
    /// returns: see [`usable`](Self::usable).
    pub async fn start(source: Source, region: &str, clock: Clock) -> Self {
        let provider = match source {
            Source::Provider(provider) => provider,
            Source::DefaultChain => {
                let region = Region::new(region.to_owned());
                let chain = DefaultCredentialsChain::builder().region(region).build().await;
                SharedCredentialsProvider::new(chain)
            }
        };
        let shared = Arc::new(Shared { current: ArcSwapOption::empty(), clock });
        tokio::spawn(refresh_until_dropped(Arc::downgrade(&shared), provider));
        Self(shared)
    }

    /// The credentials to sign with now, or `None` when there are none or they expired.
    /// Never waits.
    pub fn current(&self, now: SystemTime) -> Option<Identity> {
        let current = self.0.current.load();
        let current = current.as_ref()?;
        current.expires.is_none_or(|at| now < at).then(|| current.identity.clone())
    }

    /// The access key id, which is no secret, and when it expires.
    pub fn access_key(&self) -> Option<(String, Option<SystemTime>)> {
        let current = self.0.current.load();
        let current = current.as_ref()?;
        let keys = current.identity.data::<aws_credential_types::Credentials>()?;
        Some((keys.access_key_id().to_owned(), current.expires))
    }

    /// Whether a request could be signed now.
    pub fn usable(&self) -> bool {
        self.current(self.0.clock.now()).is_some()
    }

    /// Seconds until the credentials expire: negative once they have, infinite for ones
    /// that do not, NaN while there are none.
    pub fn seconds_left(&self) -> f64 {
        let current = self.0.current.load();
        let Some(current) = current.as_ref() else { return f64::NAN };
        let Some(at) = current.expires else { return f64::INFINITY };
        match at.duration_since(self.0.clock.now()) {
            Ok(left) => left.as_secs_f64(),
            Err(past) => -past.duration().as_secs_f64(),
        }
    }
}

/// The region of the AWS chain (environment, profile, instance), for when none is configured.
pub async fn default_region() -> Option<String> {
    let region = DefaultRegionChain::builder().build().region().await?;
    Some(region.as_ref().to_owned())
}

async fn refresh_until_dropped(
    shared: std::sync::Weak<Shared>,
    provider: SharedCredentialsProvider,
) {
    let mut failures = 0;
    loop {
        let fetched = fetch(&provider).await;
        let Some(shared) = shared.upgrade() else { return };
        let wait = match fetched {
            Ok(fetched) => {
                failures = 0;
                let expires = fetched.expiry();
                let identity = Identity::from(fetched);
                shared.current.store(Some(Arc::new(Current { identity, expires })));
                until_refresh(expires, shared.clock.now())
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, failures, "the AWS credentials could not be refreshed");
                backoff(failures)
            }
        };
        let clock = shared.clock.clone();
        drop(shared);
        sleep(wait, &clock).await;
    }
}

async fn fetch(provider: &SharedCredentialsProvider) -> Result<Keys, CredentialsError> {
    let answer = tokio::time::timeout(PATIENCE, provider.provide_credentials()).await;
    answer.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(PATIENCE)))
}

/// For `wait`, or until so much has passed by the time of day.
async fn sleep(wait: Duration, clock: &Clock) {
    let due = clock.now() + wait;
    let mut left = wait;
    while !left.is_zero() && clock.now() < due {
        let step = left.min(LOOK);
        tokio::time::sleep(step).await;
        left -= step;
    }
}

/// How long to wait after a success. Within the last minutes the source may keep handing out
/// the same set (IMDS does), so ask again at a steady pace.
fn until_refresh(expires: Option<SystemTime>, now: SystemTime) -> Duration {
    let Some(at) = expires else { return RECHECK };
    let left = at.duration_since(now).unwrap_or_default();
    // Short sessions: at half their life rather than at once.
    left.saturating_sub(AHEAD).max(left / 2).clamp(FIRST_RETRY, Duration::from_hours(1))
}

fn backoff(failures: u32) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(5));
    doubled.min(LAST_RETRY)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::time::UNIX_EPOCH;

    use aws_credential_types::provider::future::ProvideCredentials as Provided;

    use super::*;

    const START: SystemTime = UNIX_EPOCH;

    fn at(seconds: u64) -> SystemTime {
        START + Duration::from_secs(seconds)
    }

    /// Hands out numbered one-hour credentials; fails, or hangs, while told to.
    #[derive(Clone, Debug)]
    struct Numbered {
        clock: Clock,
        calls: Arc<AtomicU32>,
        failing: Arc<AtomicBool>,
        hanging: Arc<AtomicBool>,
    }

    impl ProvideCredentials for Numbered {
        fn provide_credentials<'a>(&'a self) -> Provided<'a>
        where
            Self: 'a,
        {
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            if self.hanging.load(Ordering::SeqCst) {
                return Provided::new(std::future::pending());
            }
            if self.failing.load(Ordering::SeqCst) {
                return Provided::ready(Err(CredentialsError::not_loaded("the source is down")));
            }
            let expires = self.clock.now() + Duration::from_hours(1);
            Provided::ready(Ok(Keys::new(format!("AKID{call}"), "s", None, Some(expires), "test")))
        }
    }

    fn key(credentials: &Credentials, now: SystemTime) -> Option<String> {
        let identity = credentials.current(now)?;
        identity.data::<Keys>().map(|keys| keys.access_key_id().to_owned())
    }

    async fn started(clock: &Clock) -> (Numbered, Credentials) {
        let source = Numbered {
            clock: clock.clone(),
            calls: Arc::default(),
            failing: Arc::default(),
            hanging: Arc::default(),
        };
        let provider = Source::Provider(SharedCredentialsProvider::new(source.clone()));
        (source, Credentials::start(provider, "us-east-1", clock.clone()).await)
    }

    async fn turns() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn valid_credentials_outlive_a_failing_source_and_recover_by_themselves() {
        let clock = Clock::manual(at(0));
        let (source, credentials) = started(&clock).await;
        turns().await;
        assert_eq!(key(&credentials, at(0)).as_deref(), Some("AKID0"));

        // Ten minutes ahead of expiry the source is asked again, and is down.
        source.failing.store(true, Ordering::SeqCst);
        clock.set(at(3001));
        tokio::time::advance(Duration::from_secs(3001)).await;
        turns().await;
        assert!(source.calls.load(Ordering::SeqCst) >= 2, "refreshed ahead of expiry");
        assert_eq!(key(&credentials, at(3599)).as_deref(), Some("AKID0"), "still valid");
        assert_eq!(key(&credentials, at(3600)), None, "never past the expiry");

        // For an hour.
        clock.set(at(6601));
        tokio::time::advance(Duration::from_hours(1)).await;
        turns().await;
        assert_eq!(key(&credentials, at(6601)), None);
        assert!(!credentials.usable());

        source.failing.store(false, Ordering::SeqCst);
        tokio::time::advance(LAST_RETRY).await;
        turns().await;
        assert!(key(&credentials, at(6602)).is_some_and(|key| key != "AKID0"), "recovered");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_forward_makes_them_be_fetched_within_seconds() {
        let clock = Clock::manual(at(0));
        let (_source, credentials) = started(&clock).await;
        turns().await;
        assert_eq!(key(&credentials, at(0)).as_deref(), Some("AKID0"));
        tokio::time::advance(LOOK).await;
        turns().await;
        assert_eq!(key(&credentials, at(0)).as_deref(), Some("AKID0"), "not without a reason");
        clock.set(at(3500));
        tokio::time::advance(LOOK).await;
        turns().await;
        assert_eq!(key(&credentials, at(3500)).as_deref(), Some("AKID1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_hangs_is_asked_again() {
        let clock = Clock::manual(at(0));
        let (source, credentials) = started(&clock).await;
        source.hanging.store(true, Ordering::SeqCst);
        turns().await;
        assert_eq!(key(&credentials, at(0)), None);
        source.hanging.store(false, Ordering::SeqCst);
        tokio::time::advance(PATIENCE).await;
        turns().await;
        tokio::time::advance(FIRST_RETRY).await;
        turns().await;
        assert_eq!(key(&credentials, at(0)).as_deref(), Some("AKID1"));
    }

    #[test]
    fn refreshes_come_minutes_ahead_and_never_in_a_rush() {
        let hour = Duration::from_hours(1);
        assert_eq!(until_refresh(None, at(0)), RECHECK);
        assert_eq!(until_refresh(Some(at(3600)), at(0)), hour - AHEAD);
        assert_eq!(until_refresh(Some(at(300)), at(0)), Duration::from_secs(150));
        assert_eq!(until_refresh(Some(at(0)), at(10)), FIRST_RETRY);
        assert_eq!(until_refresh(Some(at(200_000)), at(0)), hour);
        assert_eq!([1, 2, 3, 9].map(|n| backoff(n).as_secs()), [1, 2, 4, 30]);
    }
}
