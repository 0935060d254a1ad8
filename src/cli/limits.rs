//! `sagegate limits`: every limit, and where it is written.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::load::{load, metrics, say, say_error};
use super::table::{Align, Table};
use super::{DEFAULT_FILE, USAGE};
use crate::limits::{Filter, Limit, Scope};
use crate::names::Team;

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
    let held_to = |limit: &&Limit| team.is_none() || limit.scope.includes(team.as_ref());
    let limits: Vec<_> = loaded.limits.limits.iter().filter(held_to).collect();
    if limits.is_empty() {
        say(&"no limits");
    }
    // That nobody reads it is not our failure.
    let _ = print(&mut io::stdout().lock(), &limits);
    ExitCode::SUCCESS
}

fn print(to: &mut impl Write, limits: &[&Limit]) -> io::Result<()> {
    let widest = |cell: fn(&Limit) -> String| {
        limits.iter().map(|limit| cell(limit).chars().count()).max().unwrap_or(0)
    };
    let mut table = Table::new([
        ("TEAM", Align::Left, widest(team)),
        ("LIMIT", Align::Left, widest(name)),
        ("ALLOWS", Align::Left, widest(Limit::to_string)),
        ("FOR", Align::Left, widest(calls)),
        ("FROM", Align::Left, 0),
    ]);
    limits.iter().try_for_each(|limit| {
        let from = limit.origin.to_string();
        table.row(to, &[team(limit), name(limit), limit.to_string(), calls(limit), from])
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
