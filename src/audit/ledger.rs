//! From rendered records to sealed lines: what the chain's next page holds.
//!
//! A page is what the writer brings to the disk at once: the head of a new file where one was
//! begun, the records that wait, a head where one is due. Invariant: until a page is
//! [`kept`](Ledger::keep) the ledger stands where it stood, so that a page that failed is made
//! anew for another file, from the same record on.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use memchr::memchr;

use super::digest::{ChainUid, Fingerprint};
use super::head::{Head, Reason, Statement};
use super::json::Json;
use super::line::{self, Kind, Link};
use super::note::{Activity, Note, Severity};
use super::render::Renderer;
use super::signing::Signer;
use crate::telemetry::clock::{Clock, unix_millis};

/// Where a chain goes on.
#[derive(Clone, Debug)]
pub(super) struct Position {
    pub(super) chain: ChainUid,
    pub(super) link: Link,
    /// The last head's number and digest.
    pub(super) head: (u64, Fingerprint),
    /// The file that holds the last record.
    pub(super) file: String,
}

impl Position {
    /// Of a chain that has no record yet.
    pub(super) fn first(chain: ChainUid) -> Self {
        Self { chain, link: Link::NONE, head: (0, Fingerprint::ZERO), file: String::new() }
    }
}

/// Bytes of a file that are no records of the chain, whether or not they are still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) file: String,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A run ended in the middle of a line.
    Torn,
    /// The disk did not take them for sure; they were written again in another file.
    Unsynced,
}

pub(super) struct Ledger {
    at: Position,
    /// The next head is the first of this run.
    starts: bool,
    /// To be told of in the next page.
    gaps: Vec<Gap>,
    /// Intents of this run without an outcome.
    open: Option<Open>,
    /// From where on runs before this one left any, until a page tells of them.
    inherited: Option<u64>,
    renderer: Arc<Renderer>,
    signer: Option<Box<dyn Signer>>,
    clock: Clock,
}

/// Sealed lines, and where the chain stands behind them.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) lines: Vec<u8>,
    /// The same heads for the file beside.
    pub(super) heads: Vec<u8>,
    /// The sequence number of the first of the records that waited.
    first: u64,
    after: Position,
}

impl Ledger {
    /// `intents`: whether they are recorded, and so may lack their outcome one day.
    pub(super) fn new(
        at: Position,
        intents: bool,
        renderer: Arc<Renderer>,
        signer: Option<Box<dyn Signer>>,
        clock: Clock,
    ) -> Self {
        let open = intents.then(Open::default);
        let (gaps, inherited) = (Vec::new(), None);
        Self { at, starts: true, gaps, open, inherited, renderer, signer, clock }
    }

    /// With what the runs before left to be told.
    pub(super) fn inheriting(self, gaps: Vec<Gap>, open_from: Option<u64>) -> Self {
        Self { gaps, inherited: open_from, ..self }
    }

    /// The next page: `records` as the queue holds them, in the file that was begun for it
    /// (`new_file`) or goes on, with a head at its end where there is a `closing` one.
    pub(super) fn page(
        &mut self,
        new_file: Option<&str>,
        records: &[u8],
        closing: Option<Reason>,
    ) -> Page {
        let mut page = Page {
            // A line is as long again by a quarter when it is sealed, and a head takes 2 KiB.
            lines: Vec::with_capacity(records.len() + records.len() / 4 + 4096),
            heads: Vec::new(),
            first: 0,
            after: self.at.clone(),
        };
        if let Some(file) = new_file {
            self.head(&mut page, if self.starts { Reason::Start } else { Reason::Rotation });
            file.clone_into(&mut page.after.file);
        }
        for gap in &self.gaps {
            page.seal(&line::unsealed(Kind::Gap, &self.gap(gap)).concat());
        }
        page.first = page.after.link.sequence + 1;
        lines(records).for_each(|record| page.seal(record));
        if let Some(reason) = closing {
            self.head(&mut page, reason);
        }
        page
    }

    /// The page, which holds `records`, is where it belongs.
    pub(super) fn keep(&mut self, page: Page, records: &[u8]) {
        if let Some(open) = &mut self.open {
            open.follow(page.first, records);
        }
        self.at = page.after;
        self.starts = false;
        self.inherited = None;
        self.gaps.clear();
    }

    /// To be told of in the next page.
    pub(super) fn note_gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
    }

    fn head(&mut self, page: &mut Page, reason: Reason) {
        let Position { chain, link, head: (number, previous), ref file } = page.after;
        let now = self.clock.now();
        let statement = Statement {
            chain_uid: chain,
            number: number + 1,
            time: unix_millis(now),
            count: link.sequence,
            fingerprint: link.fingerprint,
            file: file.clone(),
            reason,
            open_from: self.inherited.or_else(|| self.open.as_ref().map(|open| open.from(page))),
            previous,
        };
        let digest = statement.digest();
        let head = Head::new(statement, self.signer.as_deref_mut());
        let members = head.members();
        let message = format!("head {}: the chain has {} records", number + 1, link.sequence);
        let rendered = self.renderer.note(&Note {
            time: now,
            operation: "RecordHead",
            activity: Activity::Create,
            severity: Severity::Informational,
            failure: None,
            message: &message,
            members: &members,
        });
        page.seal(&line::unsealed(Kind::Head, &rendered).concat());
        page.heads.extend([b"{", &*members, b"}\n"].concat());
        page.after.head = (number + 1, digest);
    }

    fn gap(&self, gap: &Gap) -> Vec<u8> {
        let Gap { file, offset, bytes, cause } = gap;
        let mut members = Vec::new();
        let mut json = Json(&mut members);
        json.raw(r#""gap":{"file":"#).string(file);
        json.raw(r#","offset":"#).number(*offset).raw(r#","bytes":"#).number(*bytes);
        json.raw(r#","reason":"#).string(cause.as_str()).raw("}");
        let message = match cause {
            Cause::Torn => format!("the end of {file} was torn: {bytes} bytes set aside"),
            Cause::Unsynced => format!("{file} counts up to byte {offset} only"),
        };
        self.renderer.note(&Note {
            time: self.clock.now(),
            operation: "RecordGap",
            activity: Activity::Other,
            severity: Severity::Medium,
            failure: None,
            message: &message,
            members: &members,
        })
    }
}

impl Page {
    fn seal(&mut self, record: &[u8]) {
        let Position { chain, link, .. } = self.after;
        self.after.link = line::seal(chain, link, record, &mut self.lines);
    }
}

impl Cause {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::Unsynced => "unsynced",
        }
    }
}

/// The records of a batch, without their newlines.
fn lines(mut records: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (record, rest) = records.split_at_checked(memchr(b'\n', records)?)?;
        records = rest.get(1..)?;
        Some(record)
    })
}

/// Intents without an outcome so far.
#[derive(Debug, Default)]
struct Open {
    since: HashMap<Box<[u8]>, u64>,
    order: BTreeSet<u64>,
}

impl Open {
    fn follow(&mut self, first: u64, records: &[u8]) {
        for (sequence, record) in (first..).zip(lines(records)) {
            match line::request_of(record) {
                Some((Kind::Intent, id)) => {
                    self.since.insert(id.into(), sequence);
                    self.order.insert(sequence);
                }
                Some((_, id)) => {
                    if let Some(sequence) = self.since.remove(id) {
                        self.order.remove(&sequence);
                    }
                }
                None => {}
            }
        }
    }

    /// The first record that may lack its outcome behind `page` as it is so far.
    fn from(&self, page: &Page) -> u64 {
        // What the page itself holds is not followed before it is kept.
        let new = if page.first == 0 { page.after.link.sequence + 1 } else { page.first };
        self.order.first().map_or(new, |oldest| new.min(*oldest))
    }
}
