//! The two answers of the admit stage.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::header::{HeaderName, HeaderValue};

use super::admit::{Moment, Time};
use super::count::{ASK, CUT, Standing};
use super::headers;
use super::limit::{Limit, Measure};
use super::share::{Ask, Length, Share, Taken};
use crate::policy::Permit;

/// A call that is within all its limits, and what it holds of them. Only this room makes one.
///
/// Dropping it frees its concurrency. What it took of rates and quotas is given back, unless
/// the call was [`sent`](Self::sent); then the time it took is charged.
#[derive(Debug)]
pub struct Admitted {
    permit: Permit,
    held: Held,
    /// The body's length is not known yet.
    undeclared: bool,
}

/// What one call holds.
#[derive(Debug)]
pub(super) struct Held {
    share: Arc<Share>,
    time: Time,
    taken: Taken,
    /// Since when SageMaker works on it.
    sent: OnceLock<Instant>,
    ended: bool,
}

impl Admitted {
    pub(super) fn new(permit: Permit, held: Held, undeclared: bool) -> Self {
        Self { permit, held, undeclared }
    }

    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// The body is here: takes for it, if its length was not declared.
    ///
    /// # Errors
    /// [`OverLimit`]; then all that the call took of rates and quotas was given back.
    pub fn read(&mut self, length: u64, now: Moment) -> Result<(), OverLimit> {
        if !std::mem::take(&mut self.undeclared) {
            return Ok(());
        }
        let Held { share, time, taken, .. } = &mut self.held;
        let ask = Ask { permit: &self.permit, body: Length::Found(length), waited: true };
        share.take_body(taken, ask, time.now(now))
    }

    /// From here on something of the call may have gone out: nothing comes back any more.
    pub fn sent(&self, now: Instant) {
        self.held.sent.get_or_init(|| now);
    }

    /// The answer has ended: charges the time since the call was sent. Only the first call
    /// counts.
    pub fn ended(&mut self, now: Moment) {
        self.held.ended(now);
    }

    /// `RateLimit-Policy` and `RateLimit` as of the admission; `None` without limits.
    pub fn rate_limit_headers(&self) -> Option<[(HeaderName, HeaderValue); 2]> {
        let (policy, current) = self.held.share.headers(&self.held.taken)?;
        Some([(headers::POLICY, policy), (headers::CURRENT, current)])
    }
}

impl Held {
    pub(super) fn new(share: Arc<Share>, time: Time, taken: Taken) -> Self {
        Self { share, time, taken, sent: OnceLock::new(), ended: false }
    }

    fn ended(&mut self, now: Moment) {
        let Some(sent) = self.sent.get().copied().filter(|_| !self.ended) else { return };
        self.ended = true;
        let micros = now.instant.saturating_duration_since(sent).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.share.charge(&self.taken, micros, self.time.now(now));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.taken.is_empty() {
            return;
        }
        let moment = self.time.moment();
        let now = self.time.now(moment);
        match self.sent.get() {
            None => self.share.give_back(&mut self.taken, now),
            Some(_) => self.ended(moment),
        }
        self.share.free(&mut self.taken, now);
    }
}

/// A call that must wait.
pub struct OverLimit {
    limit: Arc<Limit>,
    policy: HeaderValue,
    retry_after: Duration,
}

impl OverLimit {
    pub(super) fn new(limit: Arc<Limit>, policy: HeaderValue, nanos: u64) -> Self {
        Self { limit, policy, retry_after: Duration::from_nanos(nanos) }
    }

    /// The shared store is asked meanwhile, and may have enough.
    pub(super) fn is_asking(&self) -> bool {
        self.retry_after == Duration::from_nanos(ASK)
    }

    /// The shared store cannot be asked, and nothing is admitted without it.
    pub fn is_cut(&self) -> bool {
        self.retry_after == Duration::from_nanos(CUT)
    }

    /// The limit that refused; of several, the one with the longest wait.
    pub fn limit(&self) -> &Limit {
        &self.limit
    }

    /// How long until the call would be admitted, if nobody else takes what it waits for.
    /// For a concurrency limit, which no clock frees, one second.
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// `RateLimit-Policy`, `RateLimit` and `Retry-After` (whole seconds, rounded up).
    pub fn headers(&self) -> [(HeaderName, HeaderValue); 3] {
        let nanos = u64::try_from(self.retry_after.as_nanos()).unwrap_or(u64::MAX).max(1);
        let open = matches!(self.limit.measure, Measure::Concurrency(_));
        let standing = Standing { remaining: 0, of: 0, reset: (!open).then_some(nanos) };
        [
            (headers::POLICY, self.policy.clone()),
            (headers::CURRENT, headers::current(&self.limit, standing)),
            (headers::RETRY, headers::whole_seconds(nanos).into()),
        ]
    }
}

impl fmt::Display for OverLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "over the limit `{}`: {}", self.limit.name, self.limit)
    }
}

impl fmt::Debug for OverLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverLimit")
            .field("limit", &self.limit.name)
            .field("retry_after", &self.retry_after)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for OverLimit {}
