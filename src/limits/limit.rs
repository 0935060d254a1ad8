//! What a limit is: a value, as `access.yaml` means it, without what is used of it.
//!
//! Everything here comes from the configuration alone, names included, so that what
//! appears in headers and metrics is bounded by what the operator wrote.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::names::{Action, Endpoint, Team};
use crate::policy::Pattern;

/// All limits, in the order of the file, and all teams, with limits of their own or without.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitsConfig {
    pub teams: Vec<Team>,
    pub limits: Vec<Limit>,
}

/// One limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// In headers and metrics: `requests-200/s`, `all-concurrency-512`. Single in its scope.
    pub name: Arc<str>,
    pub scope: Scope,
    pub measure: Measure,
    pub per: Per,
    pub filter: Filter,
    pub origin: Origin,
}

/// Whose limit it is: the list of the file in which it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `limits:` at top level.
    Everybody,
    Team(Team),
    /// `default_team:`, for callers of no team.
    NoTeam,
}

/// What is counted, and how much of it there is.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// `quota` units every `period`, `burst` of them at once.
    Rate { unit: Unit, quota: NonZeroU64, period: Period, burst: NonZeroU64 },
    /// `quota` units a calendar day in `zone`, whenever in the day.
    Day { unit: Unit, quota: NonZeroU64, zone: TimeZone },
    /// Requests in flight, streams included.
    Concurrency(NonZeroU32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    Requests,
    /// Bytes of request bodies.
    BodyBytes,
    /// Microseconds from sending a call to the end of its answer.
    InferenceTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    Second,
    Minute,
    Hour,
}

/// Who has a count of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    /// Nobody: one count for all whom the limit is for.
    Whole,
    User,
    Team,
    /// The caller's first role, in file order.
    Role,
    Endpoint,
}

/// The calls that a limit is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In lower case; none: every endpoint.
    pub endpoints: Vec<Pattern>,
    /// None: every operation.
    pub operations: Vec<Action>,
}

/// Where a limit is written. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub file: Arc<Path>,
    pub line: usize,
}

/// What stays the same when only the numbers of a limit change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    scope: Scope,
    unit: Option<Unit>,
    period: Option<Period>,
    zone: Option<TimeZone>,
    per: Per,
    filter: Filter,
}

/// Microseconds in a second of inference.
pub const MICROS: u64 = 1_000_000;

impl LimitsConfig {
    /// Gives each limit its name: what it measures and how much of it, for whom, numbered
    /// where two of a scope would be called the same.
    pub fn new(teams: Vec<Team>, limits: Vec<Limit>) -> Self {
        let mut named: Vec<Limit> = Vec::with_capacity(limits.len());
        for mut limit in limits {
            let base = limit.describe();
            let taken = |name: &str| {
                named.iter().any(|other| other.scope == limit.scope && &*other.name == name)
            };
            let numbered = (2_usize..).map(|n| format!("{base}-{n}"));
            let mut names = std::iter::once(base.clone()).chain(numbered);
            limit.name = names.find(|name| !taken(name)).unwrap_or_default().into();
            named.push(limit);
        }
        Self { teams, limits: named }
    }

    /// The limits that a call is held to.
    pub fn applying<'a>(
        &'a self,
        team: Option<&'a Team>,
        action: Action,
        endpoint: &'a Endpoint,
    ) -> impl Iterator<Item = &'a Limit> {
        let holds = move |limit: &&Limit| {
            limit.scope.includes(team) && limit.filter.admits(action, endpoint)
        };
        self.limits.iter().filter(holds)
    }
}

impl Limit {
    pub(super) fn identity(&self) -> Identity {
        let (period, zone) = match &self.measure {
            Measure::Rate { period, .. } => (Some(*period), None),
            Measure::Day { zone, .. } => (None, Some(zone.clone())),
            Measure::Concurrency(_) => (None, None),
        };
        let (scope, unit, filter) = (self.scope.clone(), self.unit(), self.filter.clone());
        Identity { scope, unit, period, zone, per: self.per, filter }
    }

    /// `None` for concurrency.
    pub fn unit(&self) -> Option<Unit> {
        match self.measure {
            Measure::Rate { unit, .. } | Measure::Day { unit, .. } => Some(unit),
            Measure::Concurrency(_) => None,
        }
    }

    fn describe(&self) -> String {
        let all = if self.scope == Scope::Everybody { "all-" } else { "" };
        let per = match self.per {
            Per::Whole => "",
            Per::User => "-per-user",
            Per::Team => "-per-team",
            Per::Role => "-per-role",
            Per::Endpoint => "-per-endpoint",
        };
        let measure = match &self.measure {
            Measure::Rate { unit, quota, period, .. } => {
                format!("{}-{}/{}", unit.as_str(), unit.amount(*quota), period.as_str())
            }
            Measure::Day { unit, quota, .. } => {
                format!("{}-{}/day", unit.as_str(), unit.amount(*quota))
            }
            Measure::Concurrency(most) => format!("concurrency-{most}"),
        };
        format!("{all}{measure}{per}")
    }
}

impl Scope {
    pub fn includes(&self, team: Option<&Team>) -> bool {
        match self {
            Self::Everybody => true,
            Self::Team(own) => team == Some(own),
            Self::NoTeam => team.is_none(),
        }
    }
}

impl Filter {
    pub fn admits(&self, action: Action, endpoint: &Endpoint) -> bool {
        (self.operations.is_empty() || self.operations.contains(&action))
            && (self.endpoints.is_empty()
                || self.endpoints.iter().any(|pattern| pattern.matches(endpoint.folded())))
    }
}

impl Unit {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::BodyBytes => "body-bytes",
            Self::InferenceTime => "inference-seconds",
        }
    }

    /// An amount as the file spells it: bytes in the largest whole unit, time in seconds.
    fn amount(self, units: NonZeroU64) -> String {
        const SCALE: [(&str, u64); 4] =
            [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
        let units = units.get();
        match self {
            Self::Requests => units.to_string(),
            Self::InferenceTime => (units / MICROS).to_string(),
            Self::BodyBytes => {
                let whole = SCALE.iter().find(|(_, factor)| units.is_multiple_of(*factor));
                let (name, factor) = whole.unwrap_or(&("B", 1));
                format!("{}{name}", units / factor)
            }
        }
    }
}

impl Period {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }

    pub const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    pub(super) const fn nanos(self) -> u64 {
        self.seconds() * 1_000_000_000
    }
}

/// For callers: `200 requests per second with a burst of 400, per user`.
impl Measure {
    /// So many of what it counts, as the file spells them.
    pub fn amount(&self, units: u64) -> String {
        match (self, NonZeroU64::new(units)) {
            (Self::Rate { unit, .. } | Self::Day { unit, .. }, Some(units)) => unit.amount(units),
            _ => units.to_string(),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.measure.fmt(f)?;
        match self.per {
            Per::Whole => Ok(()),
            Per::User => f.write_str(", per user"),
            Per::Team => f.write_str(", per team"),
            Per::Role => f.write_str(", per role"),
            Per::Endpoint => f.write_str(", per endpoint"),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |unit: &Unit, units: &NonZeroU64| match unit {
            Unit::Requests => format!("{units} requests"),
            Unit::BodyBytes => format!("{} of request bodies", unit.amount(*units)),
            Unit::InferenceTime => format!("{} seconds of inference", unit.amount(*units)),
        };
        match self {
            Self::Rate { unit, quota, period, burst } => {
                let period = match period {
                    Period::Second => "second",
                    Period::Minute => "minute",
                    Period::Hour => "hour",
                };
                write!(f, "{} per {period}", counted(unit, quota))?;
                if burst == quota {
                    return Ok(());
                }
                write!(f, " with a burst of {}", unit.amount(*burst))
            }
            Self::Day { unit, quota, zone } => {
                let zone = zone.iana_name().unwrap_or("UTC");
                write!(f, "{} a day ({zone})", counted(unit, quota))
            }
            Self::Concurrency(most) => write!(f, "{most} concurrent requests"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}
