//! Rows as a table, as JSON (an object a line) or as CSV.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use jiff::Timestamp;
use serde::Serialize;

use crate::audit::query::{Entry, Group, Key, Summary};
use crate::cli::table::{Align, Table};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Calls,
    Summary,
}

/// Writes calls as they come, or their summary at the end.
pub(super) struct Output<W: Write> {
    rows: Rows<W>,
    summary: Option<Summary>,
}

enum Rows<W: Write> {
    Calls(BufWriter<W>, Table<11>),
    Summary(BufWriter<W>, Table<11>),
    Json(BufWriter<W>),
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> Output<W> {
    pub(super) fn new(to: W, format: Format, shape: Shape) -> Self {
        let rows = match (format, shape) {
            (Format::Table, Shape::Calls) => Rows::Calls(BufWriter::new(to), Call::table()),
            (Format::Table, Shape::Summary) => Rows::Summary(BufWriter::new(to), Counted::table()),
            (Format::Json, _) => Rows::Json(BufWriter::new(to)),
            (Format::Csv, _) => Rows::Csv(Box::new(csv::Writer::from_writer(to))),
        };
        Self { rows, summary: (shape == Shape::Summary).then(Summary::default) }
    }

    pub(super) fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        match &mut self.summary {
            Some(summary) => summary.add(entry),
            None => self.rows.call(entry)?,
        }
        Ok(())
    }

    /// Nothing is held back after this.
    pub(super) fn end(mut self) -> io::Result<()> {
        for (key, group) in self.summary.iter().flat_map(Summary::groups) {
            self.rows.group(key, group)?;
        }
        if let Some(other) = self.summary.map(|summary| summary.other).filter(|o| o.calls > 0) {
            let user = "(others)".to_owned();
            let key = Key { user, endpoint: String::new(), operation: String::new() };
            self.rows.group(&key, &other)?;
        }
        match &mut self.rows {
            Rows::Calls(to, _) | Rows::Summary(to, _) | Rows::Json(to) => to.flush(),
            Rows::Csv(to) => to.flush(),
        }
    }
}

impl<W: Write> Rows<W> {
    fn call(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        match self {
            Self::Calls(to, table) => table.row(to, &Call::of(entry, Cow::Borrowed).cells()),
            Self::Summary(..) => Ok(()),
            Self::Json(to) => object(to, &Call::of(entry, Cow::Borrowed)),
            Self::Csv(to) => Ok(to.serialize(Call::of(entry, harmless))?),
        }
    }

    fn group(&mut self, key: &Key, group: &Group) -> io::Result<()> {
        match self {
            Self::Calls(..) => Ok(()),
            Self::Summary(to, table) => {
                table.row(to, &Counted::of(key, group, Cow::Borrowed).cells())
            }
            Self::Json(to) => object(to, &Counted::of(key, group, Cow::Borrowed)),
            Self::Csv(to) => Ok(to.serialize(Counted::of(key, group, harmless))?),
        }
    }
}

fn object(to: &mut impl Write, row: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, row)?;
    to.write_all(b"\n")
}

/// A spreadsheet reads a cell that begins like this as a formula and runs it (OWASP, CSV
/// injection); names and details in the record are a stranger's words.
fn harmless(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}").into()
    } else {
        text.into()
    }
}

/// One call; the members are the columns of JSON and CSV.
#[derive(Serialize)]
struct Call<'a> {
    time: String,
    user: Cow<'a, str>,
    team: Option<Cow<'a, str>>,
    operation: Cow<'a, str>,
    endpoint: Option<Cow<'a, str>>,
    decision: &'static str,
    status: Option<u16>,
    ending: Option<Cow<'a, str>>,
    bytes_in: u64,
    bytes_out: u64,
    duration_ms: Option<u64>,
    source: Option<Cow<'a, str>>,
    detail: Option<Cow<'a, str>>,
    gateway: Option<Cow<'a, str>>,
    request_id: Cow<'a, str>,
}

impl<'a> Call<'a> {
    fn of(entry: &'a Entry<'_>, text: impl Fn(&'a str) -> Cow<'a, str>) -> Self {
        let maybe = |given: &'a Option<Cow<'_, str>>| given.as_deref().map(&text);
        Self {
            time: time(entry.time),
            user: text(&entry.user),
            team: maybe(&entry.team),
            operation: text(&entry.operation),
            endpoint: maybe(&entry.endpoint),
            decision: entry.decision.as_str(),
            status: entry.status,
            ending: maybe(&entry.ending),
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
            duration_ms: entry.duration,
            source: maybe(&entry.source),
            detail: maybe(&entry.detail),
            gateway: maybe(&entry.gateway),
            request_id: text(&entry.request_id),
        }
    }

    fn table() -> Table<11> {
        Table::new([
            ("TIME", Align::Left, 24),
            ("USER", Align::Left, 24),
            ("TEAM", Align::Left, 8),
            ("OPERATION", Align::Left, 14),
            ("ENDPOINT", Align::Left, 16),
            ("DECISION", Align::Left, 15),
            ("STATUS", Align::Right, 0),
            ("IN", Align::Right, 8),
            ("OUT", Align::Right, 8),
            ("MS", Align::Right, 6),
            ("DETAIL", Align::Left, 0),
        ])
    }

    fn cells(self) -> [String; 11] {
        [
            self.time,
            self.user.into_owned(),
            self.team.unwrap_or_default().into_owned(),
            self.operation.into_owned(),
            self.endpoint.unwrap_or_default().into_owned(),
            self.decision.to_owned(),
            shown(self.status),
            self.bytes_in.to_string(),
            self.bytes_out.to_string(),
            shown(self.duration_ms),
            self.detail.unwrap_or_default().into_owned(),
        ]
    }
}

/// One line of the summary.
#[derive(Serialize)]
struct Counted<'a> {
    user: Cow<'a, str>,
    endpoint: Cow<'a, str>,
    operation: Cow<'a, str>,
    calls: u64,
    denied: u64,
    refused: u64,
    unknown: u64,
    bytes_in: u64,
    bytes_out: u64,
    p50_ms: Option<u64>,
    p99_ms: Option<u64>,
}

impl<'a> Counted<'a> {
    fn of(key: &'a Key, group: &Group, text: impl Fn(&'a str) -> Cow<'a, str>) -> Self {
        Self {
            user: text(&key.user),
            endpoint: text(&key.endpoint),
            operation: text(&key.operation),
            calls: group.calls,
            denied: group.denied,
            refused: group.refused,
            unknown: group.unknown,
            bytes_in: group.bytes_in,
            bytes_out: group.bytes_out,
            p50_ms: group.latency(0.5),
            p99_ms: group.latency(0.99),
        }
    }

    fn table() -> Table<11> {
        Table::new([
            ("USER", Align::Left, 24),
            ("ENDPOINT", Align::Left, 16),
            ("OPERATION", Align::Left, 14),
            ("CALLS", Align::Right, 8),
            ("DENIED", Align::Right, 0),
            ("REFUSED", Align::Right, 0),
            ("UNKNOWN", Align::Right, 0),
            ("IN", Align::Right, 10),
            ("OUT", Align::Right, 10),
            ("P50 MS", Align::Right, 0),
            ("P99 MS", Align::Right, 0),
        ])
    }

    fn cells(self) -> [String; 11] {
        [
            self.user.into_owned(),
            self.endpoint.into_owned(),
            self.operation.into_owned(),
            self.calls.to_string(),
            self.denied.to_string(),
            self.refused.to_string(),
            self.unknown.to_string(),
            self.bytes_in.to_string(),
            self.bytes_out.to_string(),
            shown(self.p50_ms),
            shown(self.p99_ms),
        ]
    }
}

fn shown(number: Option<impl ToString>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

fn time(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|m| Timestamp::from_millisecond(m).ok());
    time.unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
