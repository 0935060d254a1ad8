//! What `access.yaml` says of limits.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::access::{Known, action, endpoint_pattern};
use crate::config::at::At;
use crate::config::file::access as file;
use crate::config::file::{ByteSize, Window};
use crate::limits::{
    Filter, Limit, LimitsConfig, MICROS, Measure, Origin, Per, Period, Scope, Unit,
};
use crate::names::Team;

/// What all limits of a file share.
struct Context<'a> {
    zone: TimeZone,
    known: &'a Known,
}

pub(super) fn compile(at: &At<'_>, file: &file::Access, known: &Known) -> LimitsConfig {
    let context = Context { zone: zone(at, file.time_zone.as_deref()), known };
    let list = |at: &At<'_>, scope: &Scope, limits: &[file::Limit]| -> Vec<Limit> {
        at.items(limits).filter_map(|(here, limit)| one(&here, limit, scope, &context)).collect()
    };
    let mut all = list(&at.key("limits"), &Scope::Everybody, &file.limits);
    let teams = at.key("teams");
    for (_, here, name, team) in teams.named(&file.teams) {
        all.extend(list(&here.key("limits"), &Scope::Team(Team::new(name)), &team.limits));
    }
    let default_team = at.key("default_team").key("limits");
    all.extend(list(&default_team, &Scope::NoTeam, &file.default_team.limits));
    LimitsConfig::new(file.teams.iter().map(|(name, _)| Team::new(name)).collect(), all)
}

/// Of the names that are built in: the image need not have any.
fn zone(at: &At<'_>, name: Option<&str>) -> TimeZone {
    let zones = TimeZoneDatabase::bundled();
    let Some(name) = name else { return TimeZone::UTC };
    zones.get(name).unwrap_or_else(|_| {
        let known: Vec<_> = zones.available().map(|name| name.to_string()).collect();
        let message = format!("there is no time zone `{name}`");
        at.key("time_zone").reject_name(message, name, known.iter().map(String::as_str));
        TimeZone::UTC
    })
}

/// `None` with a fault, or for a limit that was faulty already.
fn one(at: &At<'_>, file: &file::Limit, scope: &Scope, context: &Context<'_>) -> Option<Limit> {
    let measure = measure(at, file, context);
    let filter = filter(at, file);
    let (path, line) = at.origin();
    Some(Limit {
        name: Arc::default(),
        scope: scope.clone(),
        measure: measure?,
        per: per(file.per, scope),
        filter,
        origin: Origin { file: path.into(), line },
    })
}

/// A team's limit per team is one count, as without `per`.
fn per(file: Option<file::Per>, scope: &Scope) -> Per {
    match (file, scope) {
        (None, _) | (Some(file::Per::Team), Scope::Team(_) | Scope::NoTeam) => Per::Whole,
        (Some(file::Per::Team), Scope::Everybody) => Per::Team,
        (Some(file::Per::User), _) => Per::User,
        (Some(file::Per::Role), _) => Per::Role,
        (Some(file::Per::Endpoint), _) => Per::Endpoint,
    }
}

fn filter(at: &At<'_>, file: &file::Limit) -> Filter {
    let here = at.key("endpoints");
    let endpoints = file.endpoints.iter().flatten().enumerate();
    Filter {
        endpoints: endpoints.map(|(n, text)| endpoint_pattern(&here.item(n), text)).collect(),
        operations: file.operations.iter().flatten().copied().map(action).collect(),
    }
}

const KINDS: &str = "`requests`, `body_bytes`, `inference_seconds` or `concurrency`";
const BURST: &str = "`burst` goes with `requests` and `inference_seconds`";

/// So many units a window, and the key that says so.
struct Amount {
    key: &'static str,
    unit: Unit,
    units: u64,
    window: Window,
}

fn amounts(file: &file::Limit) -> impl Iterator<Item = Amount> {
    let requests = file.requests.map(|rate| Amount {
        key: "requests",
        unit: Unit::Requests,
        units: rate.count.into(),
        window: rate.window,
    });
    let body_bytes = file.body_bytes.map(|rate| Amount {
        key: "body_bytes",
        unit: Unit::BodyBytes,
        units: rate.bytes,
        window: rate.window,
    });
    let inference = file.inference_seconds.map(|rate| Amount {
        key: "inference_seconds",
        unit: Unit::InferenceTime,
        units: u64::from(rate.count) * MICROS,
        window: rate.window,
    });
    [requests, body_bytes, inference].into_iter().flatten()
}

fn measure(at: &At<'_>, file: &file::Limit, context: &Context<'_>) -> Option<Measure> {
    let mut amounts = amounts(file);
    match (amounts.next(), amounts.next(), file.concurrency) {
        (Some(amount), None, None) => rate(at, &amount, file.burst, context),
        (None, _, Some(_)) if file.burst.is_some() => {
            at.key("burst").reject(BURST);
            None
        }
        (None, _, Some(open)) => NonZeroU32::new(open).map(Measure::Concurrency),
        _ if at.damaged() => None,
        (None, ..) if file.burst.is_some() => {
            at.key("burst").reject(BURST);
            None
        }
        (None, ..) => {
            at.reject(format!("a limit is one of {KINDS}"));
            None
        }
        (Some(_), ..) => {
            let hint = Some("write one limit for each");
            at.reject_with(format!("one limit is only one of {KINDS}"), hint);
            None
        }
    }
}

fn rate(
    at: &At<'_>,
    amount: &Amount,
    burst: Option<u32>,
    context: &Context<'_>,
) -> Option<Measure> {
    let Amount { key, unit, units, window } = *amount;
    let Some(quota) = NonZeroU64::new(units) else {
        let hint = Some("to shut a team out, take its binding away");
        at.key(key).reject_with("must not be zero", hint);
        return None;
    };
    let period = match window {
        Window::Second => Some(Period::Second),
        Window::Minute => Some(Period::Minute),
        Window::Hour => Some(Period::Hour),
        Window::Day => None,
    };
    match (burst, unit, period) {
        (_, Unit::BodyBytes, _) if units < context.known.max_body => {
            largest_body(&at.key(key), context.known.max_body);
            None
        }
        (Some(_), Unit::BodyBytes, _) => {
            at.key("burst").reject(BURST);
            None
        }
        (Some(_), _, None) => {
            let hint = Some("all of it may be used whenever in the day");
            at.key("burst").reject_with("a quota of a day has no burst", hint);
            None
        }
        (_, _, None) => Some(Measure::Day { unit, quota, zone: context.zone.clone() }),
        (burst, _, Some(period)) => {
            let factor = if unit == Unit::InferenceTime { MICROS } else { 1 };
            let burst = burst.and_then(|burst| NonZeroU64::new(u64::from(burst) * factor));
            Some(Measure::Rate { unit, quota, period, burst: burst.unwrap_or(quota) })
        }
    }
}

fn largest_body(at: &At<'_>, most: u64) {
    let most = ByteSize(most);
    at.reject_with(
        format!("a body of {most}, which `server.max_body` lets in, could never be admitted"),
        Some("allow as much, over a longer time, or lower `server.max_body`"),
    );
}
