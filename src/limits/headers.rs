//! Where a caller stands, as draft-ietf-httpapi-ratelimit-headers writes it.
//!
//! `RateLimit-Policy` lists every limit of the team; `RateLimit` gives the one closest to
//! refusing, which is the one a client must pace itself by.

use std::fmt::Write as _;

use http::header::{HeaderName, HeaderValue, RETRY_AFTER};

use super::local::Limit;

pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(super) const CURRENT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RETRY: HeaderName = RETRY_AFTER;

/// One limit at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Requests that would still be admitted.
    pub(super) remaining: u64,
    /// Nanoseconds until there is more: all of it, or, after a refusal, the next request.
    /// `None` where time alone brings nothing (concurrency).
    pub(super) reset: Option<u64>,
}

/// `"requests-200/s";q=200;w=1, "concurrency-64";q=64;qu="concurrent-requests"`
pub(super) fn policy<'a>(limits: impl Iterator<Item = (&'a str, Limit)>) -> HeaderValue {
    let mut text = String::new();
    for (name, limit) in limits {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = match limit {
            Limit::Requests { per, window, .. } => {
                let seconds = window.as_secs().max(1);
                write!(text, "{comma}\"{name}\";q={per};w={seconds}")
            }
            Limit::Concurrency(most) => {
                write!(text, "{comma}\"{name}\";q={most};qu=\"concurrent-requests\"")
            }
        };
    }
    value(text)
}

/// `"requests-200/s";r=150;t=1`
pub(super) fn current(name: &str, standing: Standing) -> HeaderValue {
    let mut text = String::with_capacity(name.len() + 32);
    let _ = write!(text, "\"{name}\";r={}", standing.remaining);
    if let Some(reset) = standing.reset {
        let _ = write!(text, ";t={}", whole_seconds(reset));
    }
    value(text)
}

/// Rounded up: coming back earlier would be refused again.
pub(super) fn whole_seconds(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000_000)
}

/// The names and numbers above are all printable ASCII, so the fallback is never taken.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
