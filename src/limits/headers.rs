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
    value(&text)
}

/// `"requests-200/s";r=150;t=1`
pub(super) fn current(name: &str, standing: Standing) -> HeaderValue {
    let mut text = String::with_capacity(name.len() + 48);
    text.push('"');
    text.push_str(name);
    text.push_str("\";r=");
    push_decimal(&mut text, standing.remaining);
    if let Some(reset) = standing.reset {
        text.push_str(";t=");
        push_decimal(&mut text, whole_seconds(reset));
    }
    value(&text)
}

/// Rounded up: coming back earlier would be refused again.
pub(super) fn whole_seconds(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000_000)
}

/// Without the formatting machinery, which costs as much as the whole admission.
fn push_decimal(text: &mut String, number: u64) {
    if number >= 10 {
        push_decimal(text, number / 10);
    }
    text.push(u32::try_from(number % 10).ok().and_then(|n| char::from_digit(n, 10)).unwrap_or('0'));
}

/// The names and numbers above are all printable ASCII, so the fallback is never taken.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_print() {
        for number in [0, 9, 10, 1_009, u64::MAX] {
            let mut text = String::new();
            push_decimal(&mut text, number);
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        let seconds = [0, 1, 1_000_000_000, 1_000_000_001].map(whole_seconds);
        assert_eq!(seconds, [0, 1, 1, 2]);
    }
}
