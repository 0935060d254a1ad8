//! Values that carry their unit: sizes, time spans, rates, addresses.
//!
//! A number without a unit is refused: `30` could be seconds or milliseconds, and a limit
//! that is off by a thousand is no limit. Each type is one row of [`UNITS`], which gives the
//! schema its pattern and a fault its words.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

/// How the text of a unit looks, for the schema and for people.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// The schema's `format`.
    pub format: &'static str,
    /// The schema's `pattern`: a help to editors, never stricter than `valid`.
    pub pattern: &'static str,
    /// Continues "expected …".
    pub words: &'static str,
    pub valid: fn(&str) -> bool,
}

/// Every unit that the files know.
pub const UNITS: [Unit; 6] =
    [ByteSize::UNIT, Span::UNIT, Rate::UNIT, Listen::UNIT, Network::UNIT, ByteRate::UNIT];

/// A number of bytes: `25MiB`. Powers of 1024 only, because a memory bound that means 5 %
/// less than it seems to helps nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A span of time: `30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// So many in a window of time: `200/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub window: Window,
}

/// So many bytes in a window of time: `10GiB/hour`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate {
    pub bytes: u64,
    pub window: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Second,
    Minute,
    Hour,
    /// A calendar day.
    Day,
}

/// An address and a port to listen on. Names are refused: what they resolve to at start may
/// not be what the file's reader expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

/// A network, or one address as the network of just itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl ByteSize {
    const UNIT: Unit = Unit {
        format: "byte-size",
        pattern: r"^[0-9]+(B|KiB|MiB|GiB)$",
        words: "a size such as `25MiB` (units: B, KiB, MiB, GiB)",
        valid: |text| text.parse::<Self>().is_ok(),
    };
    const SCALE: [(&str, u64); 4] =
        [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
}

impl Span {
    const UNIT: Unit = Unit {
        format: "time-span",
        pattern: r"^[0-9]+(ms|s|m|min|h|d)$",
        words: "a time span such as `30s` (units: ms, s, m or min, h, d)",
        valid: |text| text.parse::<Self>().is_ok(),
    };
    const SCALE: [(&str, u64); 6] = [
        ("ms", 1),
        ("s", 1_000),
        ("min", 60_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];

    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl Rate {
    const UNIT: Unit = Unit {
        format: "rate",
        pattern: r"^[0-9]+/(s|second|m|min|minute|h|hour|day)$",
        words: "a rate such as `200/s` (per: s, min or minute, h or hour, day)",
        valid: |text| text.parse::<Self>().is_ok(),
    };
}

impl ByteRate {
    const UNIT: Unit = Unit {
        format: "byte-rate",
        pattern: r"^[0-9]+(B|KiB|MiB|GiB)/(s|second|m|min|minute|h|hour|day)$",
        words: "a size per time such as `10GiB/hour` (per: s, min or minute, h or hour, day)",
        valid: |text| text.parse::<Self>().is_ok(),
    };
}

impl Window {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "s" | "second" => Some(Self::Second),
            "m" | "min" | "minute" => Some(Self::Minute),
            "h" | "hour" => Some(Self::Hour),
            "day" => Some(Self::Day),
            _ => None,
        }
    }
}

impl Listen {
    const UNIT: Unit = Unit {
        format: "socket-address",
        pattern: r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]+$",
        words: "an address and a port such as `0.0.0.0:8443` or `[::]:8443`",
        valid: |text| text.parse::<Self>().is_ok(),
    };
}

impl Network {
    const UNIT: Unit = Unit {
        format: "ip-network",
        pattern: r"^[0-9A-Fa-f:.]+(/[0-9]+)?$",
        words: "a network such as `10.0.0.0/8`, or one address",
        valid: |text| text.parse::<Self>().is_ok(),
    };
}

/// A text that is not of a unit. The words for people are the unit's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct NotOfUnit(&'static str);

impl FromStr for ByteSize {
    type Err = NotOfUnit;

    fn from_str(text: &str) -> Result<Self, NotOfUnit> {
        scaled(text, &Self::SCALE).map(Self).ok_or(NotOfUnit(Self::UNIT.words))
    }
}

impl FromStr for Span {
    type Err = NotOfUnit;

    fn from_str(text: &str) -> Result<Self, NotOfUnit> {
        let millis = scaled(text, &Self::SCALE).ok_or(NotOfUnit(Self::UNIT.words))?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl FromStr for Rate {
    type Err = NotOfUnit;

    fn from_str(text: &str) -> Result<Self, NotOfUnit> {
        let wrong = NotOfUnit(Self::UNIT.words);
        let (count, window) = text.split_once('/').ok_or(wrong)?;
        let count = number(count).and_then(|n| u32::try_from(n).ok()).ok_or(wrong)?;
        Ok(Self { count, window: Window::parse(window).ok_or(wrong)? })
    }
}

impl FromStr for ByteRate {
    type Err = NotOfUnit;

    fn from_str(text: &str) -> Result<Self, NotOfUnit> {
        let wrong = NotOfUnit(Self::UNIT.words);
        let (size, window) = text.split_once('/').ok_or(wrong)?;
        let bytes = scaled(size, &ByteSize::SCALE).ok_or(wrong)?;
        Ok(Self { bytes, window: Window::parse(window).ok_or(wrong)? })
    }
}

impl FromStr for Listen {
    type Err = NotOfUnit;

    fn from_str(text: &str) -> Result<Self, NotOfUnit> {
        text.parse().map(Self).map_err(|_| NotOfUnit(Self::UNIT.words))
    }
}

impl FromStr for Network {
    type Err = NotOfUnit;

    fn from_str(text: &str) -> Result<Self, NotOfUnit> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| NotOfUnit(Self::UNIT.words))
    }
}

/// Only digits: no sign, no underscore, no blank.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn scaled(text: &str, scale: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(end);
    let (_, factor) = scale.iter().find(|(name, _)| *name == unit)?;
    number(count)?.checked_mul(*factor)
}

impl std::fmt::Display for ByteSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, factor) = largest(self.0, &Self::SCALE);
        write!(f, "{}{name}", self.0 / factor)
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (name, factor) = largest(millis, &Self::SCALE);
        write!(f, "{}{name}", millis / factor)
    }
}

/// The largest unit in which `value` is a whole number.
fn largest<'a>(value: u64, scale: &[(&'a str, u64)]) -> (&'a str, u64) {
    let whole = scale.iter().copied().filter(|(_, factor)| value.is_multiple_of(*factor));
    whole.max_by_key(|(_, factor)| *factor).unwrap_or(("", 1))
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.count, self.window)
    }
}

impl std::fmt::Display for ByteRate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", ByteSize(self.bytes), self.window)
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
            Self::Day => "day",
        })
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! as_text {
    ($($unit:ident),*) => {$(
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $unit {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($unit).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let Unit { format, pattern, .. } = Self::UNIT;
                schemars::json_schema!({"type": "string", "format": format, "pattern": pattern})
            }
        }
    )*};
}

as_text!(ByteSize, Span, Rate, Listen, Network, ByteRate);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_read_what_they_say_and_nothing_else() {
        let table: [(usize, &[&str], &[&str]); 6] = [
            (
                0,
                &["0B", "25MiB", "1GiB"],
                &["", "25", "25MB", "25 MiB", "-1B", "1.5MiB", "MiB", "99999999999GiB", "2５MiB"],
            ),
            (
                1,
                &["0s", "30s", "5m", "10min", "24h", "250ms", "7d"],
                &["", "30", "30 s", "1h30m", "-1s", "s", "30sec"],
            ),
            (
                2,
                &["200/s", "1/minute", "0/h", "5/min", "5/m", "1000000/day"],
                &["", "200", "200/", "/s", "200/week", "-1/s", "1.5/s", "5000000000/s"],
            ),
            (
                3,
                &["0.0.0.0:8443", "[::1]:0"],
                &["", "8443", ":8443", "localhost:8443", "0.0.0.0", "::1:80", "1.2.3.4:99999"],
            ),
            (
                4,
                &["10.0.0.0/8", "10.1.2.3", "::1", "fd00::/8"],
                &["", "10.0.0.0/33", "10.0.0", "host", "10.0.0.0/"],
            ),
            (
                5,
                &["10GiB/hour", "0B/s", "1KiB/day", "5MiB/m"],
                &["", "10GiB", "10/hour", "10GB/h", "10GiB/", "10GiB/week", "99999999999GiB/s"],
            ),
        ];
        for (unit, good, bad) in table {
            let valid = UNITS[unit].valid;
            good.iter().for_each(|text| assert!(valid(text), "{text}"));
            bad.iter().for_each(|text| assert!(!valid(text), "{text}"));
        }
    }

    #[test]
    fn units_mean_what_they_say() {
        assert_eq!("25MiB".parse(), Ok(ByteSize(26_214_400)));
        assert_eq!("5m".parse(), Ok(Span::seconds(300)));
        assert_eq!("10min".parse(), Ok(Span::seconds(600)));
        assert_eq!("3/minute".parse(), Ok(Rate { count: 3, window: Window::Minute }));
        assert_eq!("10.1.2.3".parse::<Network>().unwrap().to_string(), "10.1.2.3/32");
        assert_eq!("::1".parse::<Network>().unwrap().to_string(), "::1/128");
    }

    proptest! {
        #[test]
        fn units_read_back_as_they_print(bytes: u32, millis: u32, count: u32) {
            let size = ByteSize(u64::from(bytes));
            prop_assert_eq!(size.to_string().parse(), Ok(size));
            let span = Span(Duration::from_millis(u64::from(millis)));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            for window in [Window::Second, Window::Minute, Window::Hour, Window::Day] {
                let rate = Rate { count, window };
                prop_assert_eq!(rate.to_string().parse(), Ok(rate));
                let rate = ByteRate { bytes: size.0, window };
                prop_assert_eq!(rate.to_string().parse(), Ok(rate));
            }
        }
    }
}
