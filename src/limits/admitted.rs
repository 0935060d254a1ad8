//! The two answers of the admit stage. Both keep the permit, for the record.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{HeaderName, HeaderValue};

use super::headers::{self, Standing};
use super::local::{Held, Limit};
use crate::policy::Permit;

/// A call that is within all its limits, and what it holds of them. Only this room makes one.
/// Dropping it frees its concurrency; what it took of a rate stays taken.
#[derive(Debug)]
pub struct Admitted {
    pub(super) permit: Permit,
    /// `None` for a caller without limits.
    pub(super) held: Option<Held>,
}

impl Admitted {
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// Gives back what it took of the team's rates, because nothing was sent. Only the first
    /// call counts. Concurrency stays held until the drop.
    pub fn give_back(&mut self, now: Instant) {
        if let Some(held) = &mut self.held {
            held.give_back(now);
        }
    }

    /// `RateLimit-Policy` and `RateLimit` as of the admission; `None` without limits.
    pub fn rate_limit_headers(&self) -> Option<[(HeaderName, HeaderValue); 2]> {
        self.held.as_ref().and_then(Held::headers)
    }
}

/// A call that must wait.
pub struct OverLimit {
    pub(super) permit: Box<Permit>,
    pub(super) limit: Limit,
    pub(super) name: Arc<str>,
    pub(super) policy: HeaderValue,
    pub(super) retry_after: Duration,
}

impl OverLimit {
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// The limit that refused; of several, the one with the longest wait.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// The limit's name in headers and metrics: `requests-200/s`.
    pub fn limit_name(&self) -> &str {
        &self.name
    }

    /// How long until a request would be admitted, if nobody else of the team sends one.
    /// For a concurrency limit, which no clock frees, one second.
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// `RateLimit-Policy`, `RateLimit` and `Retry-After` (whole seconds, rounded up).
    pub fn headers(&self) -> [(HeaderName, HeaderValue); 3] {
        let nanos = u64::try_from(self.retry_after.as_nanos()).unwrap_or(u64::MAX);
        let seconds = headers::whole_seconds(nanos);
        let reset = matches!(self.limit, Limit::Requests { .. }).then_some(nanos);
        let standing = Standing { remaining: 0, reset };
        [
            (headers::POLICY, self.policy.clone()),
            (headers::CURRENT, headers::current(&self.name, standing)),
            (headers::RETRY, seconds.into()),
        ]
    }
}

impl fmt::Display for OverLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "over the team's limit of {}", self.limit)
    }
}

impl fmt::Debug for OverLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverLimit")
            .field("limit", &self.limit)
            .field("retry_after", &self.retry_after)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for OverLimit {}
