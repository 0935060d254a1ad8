//! `sagegate limits`: every limit, where it is written, and what the shared store says is used.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::load::{load, metrics, say, say_error};
use super::table::{Align, Table};
use super::{DEFAULT_FILE, USAGE};
use crate::config::Loaded;
use crate::limits::{Filter, Limit, Scope, used_now};
use crate::names::Team;
use crate::telemetry::clock::Clock;

/// Whose limits.
#[derive(Debug, clap::Args)]
pub(super) struct Question {
    /// The configuration file.
    #[arg(long = "config", value_name = "FILE", default_value = DEFAULT_FILE)]
    path: PathBuf,
    /// Only those that this team is held to.
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
}

pub(super) fn limits(question: &Question) -> ExitCode {
    let loaded = match metrics().and_then(|metrics| load(&question.path, &metrics)) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let team = question.team.as_deref().map(Team::new);
    if let Some(stranger) = team.as_ref().filter(|team| !loaded.limits.teams.contains(team)) {
        let names: Vec<_> = loaded.limits.teams.iter().map(Team::as_str).collect();
        say_error(&format!("error: no team `{stranger}`; there is {}", names.join(", ")));
        return ExitCode::from(USAGE);
    }
    let used = used(&loaded);
    let mut each = used.as_deref().unwrap_or_default().iter().copied();
    let held_to = |limit: &&Limit| team.is_none() || limit.scope.includes(team.as_ref());
    let limits = loaded.limits.limits.iter().map(|limit| (limit, each.next().flatten()));
    let limits: Vec<_> = limits.filter(|(limit, _)| held_to(limit)).collect();
    if limits.is_empty() {
        say(&"no limits");
    }
    // That nobody reads it is not our failure.
    let _ = print(&mut io::stdout().lock(), &limits);
    match used {
        Ok(_) => ExitCode::SUCCESS,
        Err(reason) => {
            say_error(&format!("error: what is used is not known: {reason}"));
            ExitCode::FAILURE
        }
    }
}

/// For each limit, in the order of the file. Nothing without a shared store: what is used then
/// is each gateway's own affair.
fn used(loaded: &Loaded) -> Result<Vec<Option<u64>>, String> {
    let Some(store) = loaded.limit_store.clone() else { return Ok(Vec::new()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = used_now(store, &loaded.limits, Clock::System.now());
    runtime.map_err(|e| e.to_string())?.block_on(asked).map_err(|e| e.to_string())
}

fn print(to: &mut impl Write, limits: &[(&Limit, Option<u64>)]) -> io::Result<()> {
    let widest = |cell: fn(&Limit) -> String| {
        limits.iter().map(|(limit, _)| cell(limit).chars().count()).max().unwrap_or(0)
    };
    let mut table = Table::new([
        ("TEAM", Align::Left, widest(team)),
        ("LIMIT", Align::Left, widest(name)),
        ("ALLOWS", Align::Left, widest(Limit::to_string)),
        ("FOR", Align::Left, widest(calls)),
        ("USED", Align::Right, 0),
        ("FROM", Align::Left, 0),
    ]);
    limits.iter().try_for_each(|(limit, used)| {
        let used = used.map_or_else(|| "–".to_owned(), |used| limit.measure.amount(used));
        let (allows, from) = (limit.to_string(), limit.origin.to_string());
        table.row(to, &[team(limit), name(limit), allows, calls(limit), used, from])
    })
}

fn team(limit: &Limit) -> String {
    match &limit.scope {
        Scope::Everybody => "(everybody)".to_owned(),
        Scope::Team(team) => team.to_string(),
        Scope::NoTeam => "(no team)".to_owned(),
    }
}

fn name(limit: &Limit) -> String {
    limit.name.to_string()
}

fn calls(limit: &Limit) -> String {
    let Filter { endpoints, operations } = &limit.filter;
    let endpoints: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    let operations: Vec<_> = operations.iter().map(ToString::to_string).collect();
    match (endpoints.join(", "), operations.join(", ")) {
        (all, every) if all.is_empty() && every.is_empty() => "every call".to_owned(),
        (endpoints, every) if every.is_empty() => endpoints,
        (all, operations) if all.is_empty() => operations,
        (endpoints, operations) => format!("{endpoints}: {operations}"),
    }
}
