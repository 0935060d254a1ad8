//! Where a caller stands, as draft-ietf-httpapi-ratelimit-headers writes it.
//!
//! `RateLimit-Policy` lists every limit that the call is held to; `RateLimit` gives the one
//! with the smallest share left, which is the one a client must pace itself by.

use http::header::{HeaderName, HeaderValue, RETRY_AFTER};

use super::count::Standing;
use super::limit::{Limit, MICROS, Measure, Unit};

pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(super) const CURRENT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RETRY: HeaderName = RETRY_AFTER;

/// A limit's part of `RateLimit-Policy`: `"requests-200/s";q=200;w=1`.
pub(super) fn policy(limit: &Limit) -> String {
    let name = &limit.name;
    let (unit, quota, seconds) = match &limit.measure {
        Measure::Rate { unit, quota, period, .. } => (*unit, quota.get(), period.seconds()),
        // What a day is counted as, though some have an hour more or less.
        Measure::Day { unit, quota, .. } => (*unit, quota.get(), 86_400),
        Measure::Concurrency(most) => {
            return format!("\"{name}\";q={most};qu=\"concurrent-requests\"");
        }
    };
    let named = match unit {
        Unit::Requests => "",
        Unit::BodyBytes => ";qu=\"content-bytes\"",
        Unit::InferenceTime => ";qu=\"inference-seconds\"",
    };
    format!("\"{name}\";q={};w={seconds}{named}", shown(limit, quota))
}

/// The largest integer of a structured field (RFC 9651 §3.3.1).
const MOST: u64 = 999_999_999_999_999;

/// In the unit that callers see.
fn shown(limit: &Limit, units: u64) -> u64 {
    let units = match limit.unit() {
        Some(Unit::InferenceTime) => units / MICROS,
        Some(Unit::Requests | Unit::BodyBytes) | None => units,
    };
    units.min(MOST)
}

/// `"requests-200/s";r=150;t=1`
pub(super) fn current(limit: &Limit, standing: Standing) -> HeaderValue {
    let name = &limit.name;
    let mut text = String::with_capacity(name.len() + 48);
    text.push('"');
    text.push_str(name);
    text.push_str("\";r=");
    push_decimal(&mut text, shown(limit, standing.remaining));
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
pub(super) fn value(text: &str) -> HeaderValue {
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
