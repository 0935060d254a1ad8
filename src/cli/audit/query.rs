//! `sagegate audit query`: arguments → what is asked → a scan → rows.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::output::{Format, Output, Shape};
use crate::audit::PseudonymKey;
use crate::audit::query::{Decision, Filter, Names, Progress, Scan, ScanError, Seen, Step};
use crate::cli::USAGE;
use crate::cli::load::say_error;
use crate::config::file::Span;
use crate::names::Action;
use crate::telemetry::clock::unix_millis;

/// Reading less is done before one could look at the progress.
const LARGE: u64 = 256 << 20;
/// A terminal need not be redrawn faster than it is read.
const REDRAW: Duration = Duration::from_millis(250);

/// What is asked of the record. Parts that are given must all hold; one that is given more
/// than once holds if any of its values does.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Query {
    /// Directories of the journal, or files of it.
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Calls of this user, `issuer/name`; `*` is any text.
    #[arg(long = "user", value_name = "USER")]
    users: Vec<String>,
    /// The secret of `audit.pseudonym_key`: finds `--user`, written out, under the
    /// pseudonym as well.
    #[arg(long, value_name = "FILE", requires = "users")]
    pseudonym_key: Option<PathBuf>,
    /// Calls to this endpoint, without regard to case; `*` is any text.
    #[arg(long = "endpoint", value_name = "NAME")]
    endpoints: Vec<String>,
    #[arg(long = "operation", value_name = "NAME", value_parser = operation())]
    operations: Vec<Action>,
    /// Calls of this team; `*` is any text.
    #[arg(long = "team", value_name = "NAME")]
    teams: Vec<String>,
    /// Calls from this time on: RFC 3339, a date, or how long ago (`2h`, `7d`).
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<SystemTime>,
    /// Calls before this time, given likewise.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<SystemTime>,
    /// Calls that ended like this; `unknown` is those that nobody knows the end of.
    #[arg(long = "decision", value_name = "DECISION", value_parser = decision())]
    decisions: Vec<Decision>,
    /// Count by user, endpoint and operation instead of listing calls. The latencies are
    /// those of allowed calls.
    #[arg(long)]
    summary: bool,
    /// Default: table on a terminal, else json (an object a line).
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
}

pub(super) fn query(query: &Query) -> ExitCode {
    let filter = match query.filter() {
        Ok(filter) => filter,
        Err(error) => {
            say_error(&format!("error: {error}"));
            return ExitCode::from(USAGE);
        }
    };
    match query.answer(&filter) {
        Ok(seen) => {
            note(&seen);
            ExitCode::SUCCESS
        }
        // Whoever read the answer has enough of it.
        Err(ScanError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            say_error(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

impl Query {
    fn filter(&self) -> Result<Filter, Unasked> {
        let names = |patterns: &[String], ignore_case| {
            (!patterns.is_empty()).then(|| Names::new(patterns, ignore_case)).transpose()
        };
        Ok(Filter {
            users: names(&self.known_as()?, false)?,
            endpoints: names(&self.endpoints, true)?,
            teams: names(&self.teams, false)?,
            operations: self.operations.clone(),
            decisions: self.decisions.clone(),
            since: self.since.map(unix_millis),
            until: self.until.map(unix_millis),
        })
    }

    /// The users as they are asked for, and their pseudonyms.
    fn known_as(&self) -> Result<Vec<String>, Unasked> {
        let mut users = self.users.clone();
        let Some(path) = &self.pseudonym_key else { return Ok(users) };
        let unusable = |why: String| Unasked::Key { path: path.clone(), why };
        let secret = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        // Pseudonyms carry the name that the key had then; any will do for searching.
        let key = PseudonymKey::new("any", &secret);
        let key = key.map_err(|bad| unusable(bad.to_string()))?;
        if let Some(pattern) = users.iter().find(|user| user.contains('*')) {
            return Err(Unasked::Pattern(pattern.clone()));
        }
        users.extend(self.users.iter().map(|user| key.search(user)));
        Ok(users)
    }

    fn answer(&self, filter: &Filter) -> Result<Seen, ScanError> {
        let scan = Scan::new(&self.paths)?;
        let format = self.format.unwrap_or(match io::stdout().is_terminal() {
            true => Format::Table,
            false => Format::Json,
        });
        let shape = if self.summary { Shape::Summary } else { Shape::Calls };
        let mut output = Output::new(io::stdout().lock(), format, shape);
        let mut meter = Meter::new(scan.size());
        let seen = scan.run(filter, &mut |step| match step {
            Step::Call(entry) => output.entry(entry),
            Step::Read(progress) => {
                meter.show(progress);
                Ok(())
            }
        });
        meter.clear();
        // What was found before a fault is an answer too.
        output.end().map_err(ScanError::Write)?;
        seen
    }
}

/// Why a question is none.
#[derive(Debug, thiserror::Error)]
enum Unasked {
    #[error("the names cannot be searched for: {0}")]
    Names(#[from] regex::Error),
    #[error("cannot use `{}`: {why}", path.display())]
    Key { path: PathBuf, why: String },
    #[error("`{0}` has no pseudonym: with `--pseudonym-key` a user is written out")]
    Pattern(String),
}

/// How far the reading is, on one line of standard error, where a person waits for it.
struct Meter {
    on: bool,
    shown: Option<Instant>,
}

impl Meter {
    fn new(size: u64) -> Self {
        Self { on: size >= LARGE && io::stderr().is_terminal(), shown: None }
    }

    fn show(&mut self, progress: Progress) {
        if !self.on || self.shown.is_some_and(|shown| shown.elapsed() < REDRAW) {
            return;
        }
        self.shown = Some(Instant::now());
        let mib = |bytes: u64| bytes >> 20;
        let part = progress.read * 100 / progress.of.max(1);
        let (read, of) = (mib(progress.read), mib(progress.of));
        let _ = write!(io::stderr().lock(), "\r\x1b[Kread {read} of {of} MiB ({part} %)");
    }

    fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// What the reader of an answer must know about how complete it is.
fn note(seen: &Seen) {
    if let Some((path, byte)) = &seen.first_unreadable {
        let (lines, path) = (seen.unreadable, path.display());
        say_error(&format!(
            "note: {lines} line(s) are no records, the first in {path} at byte {byte}; \
             `sagegate audit verify` says what happened to them"
        ));
    }
    if seen.torn > 0 {
        say_error(&format!("note: the last line of {} file(s) has no end", seen.torn));
    }
    if seen.overflowed {
        say_error(&"note: too many calls were open at once to say of each whether it ended");
    }
}

fn operation() -> impl TypedValueParser<Value = Action> {
    PossibleValuesParser::new(Action::ALL.map(Action::as_str))
        .try_map(|name| name.parse::<Action>())
}

fn decision() -> impl TypedValueParser<Value = Decision> {
    let known = Decision::ALL.map(Decision::as_str);
    PossibleValuesParser::new(known).try_map(|name| {
        Decision::ALL.into_iter().find(|decision| decision.as_str() == name).ok_or("unknown")
    })
}

fn time(text: &str) -> Result<SystemTime, String> {
    moment(text, SystemTime::now())
}

fn moment(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    if let Ok(Span(ago)) = text.parse() {
        return now.checked_sub(ago).ok_or_else(|| "that long ago".to_owned());
    }
    let midnight = |date: Date| date.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
    // Read as a date, a time without its zone would lose its hours without a word.
    let time = match text.contains('T') {
        true => text.parse(),
        false => text.parse().and_then(midnight),
    };
    time.map(SystemTime::from).map_err(|_| {
        "expected a time such as `2026-11-23T12:00:00Z`, a date (UTC), or how long ago: `2h`, `7d`"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_time_is_a_moment_a_day_or_how_long_ago() {
        let now = moment("2026-11-23T12:00:00.123Z", SystemTime::UNIX_EPOCH).unwrap();
        let at = |text| moment(text, now).map(unix_millis);
        assert_eq!(unix_millis(now), 1_795_435_200_123);
        assert_eq!(at("2026-11-23T13:00:00+01:00"), Ok(1_795_435_200_000));
        assert_eq!(at("2026-11-23"), Ok(1_795_392_000_000));
        assert_eq!(at("2h"), Ok(1_795_428_000_123));
        assert_eq!(at("7d"), Ok(1_794_830_400_123));
        for bad in ["yesterday", "2026-11-23T12:00:00", "2x", "", "99999999999999d"] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }
}
