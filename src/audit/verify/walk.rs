//! One chain from its first record to its last.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::diagnose::diagnose;
use super::fault::{Fault, What};
use super::{Evidence, Kept, Report, open};
use crate::audit::digest::{ChainUid, Fingerprint};
use crate::audit::files::FileName;
use crate::audit::head::{Head, Reason, Statement};
use crate::audit::line::{Kind, Line, Link};
use crate::audit::reader::{Lines, Piece};

pub(super) struct Walk<'e> {
    chain: ChainUid,
    evidence: &'e Evidence,
    /// The heads to hold the records against, by what they count, and how many are done.
    kept: Vec<&'e Kept>,
    held: usize,
    /// `None` before the first record.
    last: Option<Link>,
    /// Where it stands.
    place: (PathBuf, u64),
    /// The last head's number and digest.
    head: Option<(u64, Fingerprint)>,
    /// By file: from where on it is void.
    void: HashMap<String, Void>,
    /// The last record that a head counts.
    vouched: u64,
    /// What says that retention removed a file, and where it stands.
    retired: Vec<(u64, Retired)>,
    ended: bool,
    report: Report,
}

/// The word of a file's beginning on one before it, which the walk has yet to come to: a line
/// that is in no chain voids nothing.
struct Void {
    offset: u64,
    place: (PathBuf, u64),
    told: bool,
}

/// A chain as far as it can be judged by itself.
pub(super) struct Walked {
    pub(super) report: Report,
    /// What heads vouch for of removed files, which may be of other chains: of the processes
    /// that share a directory one removes files for all.
    pub(super) retired: Vec<Retired>,
}

/// A file that retention removed, and the last record it held.
#[derive(Clone, Copy)]
pub(super) struct Retired {
    pub(super) chain: ChainUid,
    pub(super) count: u64,
}

/// Why a walk stops.
enum Stop {
    Fault(Fault),
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Walked {
    /// With `removed` of its records gone by retention's word.
    pub(super) fn begins(self, files: &[PathBuf], removed: u64, whole: bool) -> Report {
        let mut report = self.report;
        let before = report.first.saturating_sub(1);
        match (&report.fault, files.first()) {
            (None, Some(path)) if whole && before > removed => {
                let what = What::MissingBeginning { from: 1, to: before };
                report.fault = Some(Fault { path: path.clone(), line: 1, what });
            }
            (None, _) if before > 0 => {
                report.notes.push(format!("begins behind record {before}"));
            }
            _ => {}
        }
        report
    }
}

impl<'e> Walk<'e> {
    pub(super) fn new(chain: ChainUid, evidence: &'e Evidence) -> Self {
        let mut kept: Vec<_> = evidence.heads.get(&chain).into_iter().flatten().collect();
        kept.sort_by_key(|kept| (kept.head.statement.count, kept.head.statement.number));
        Self {
            chain,
            evidence,
            kept,
            held: 0,
            last: None,
            place: (PathBuf::new(), 1),
            head: None,
            void: HashMap::new(),
            vouched: 0,
            retired: Vec::new(),
            ended: false,
            report: Report::new(chain),
        }
    }

    pub(super) fn through(mut self, files: &[PathBuf]) -> io::Result<Walked> {
        let walked = self.walk(files);
        self.report.files = files.len();
        self.report.last = self.last.map_or(0, |last| last.sequence);
        match walked {
            Ok(()) => {}
            Err(Stop::Fault(fault)) => self.report.fault = Some(fault),
            Err(Stop::Io(error)) => return Err(error),
        }
        // Behind the last head anybody can say so who can write the file; the journal puts a
        // head behind each before it removes anything.
        let counted = self.retired.into_iter().filter(|(at, _)| *at <= self.vouched);
        Ok(Walked { report: self.report, retired: counted.map(|(_, retired)| retired).collect() })
    }

    fn walk(&mut self, files: &[PathBuf]) -> Result<(), Stop> {
        self.check_kept()?;
        for path in files {
            self.find_gaps(path)?;
        }
        for (index, path) in files.iter().enumerate() {
            self.file(path, index + 1 == files.len())?;
        }
        self.end()
    }

    /// What is kept elsewhere is held against the key first: a bad head proves nothing.
    fn check_kept(&self) -> Result<(), Stop> {
        let Some(key) = &self.evidence.key else { return Ok(()) };
        let bad = self.kept.iter().find(|kept| !kept.head.is_signed_by(key));
        bad.map_or(Ok(()), |kept| {
            let what = What::BadSignature(kept.head.statement.number);
            Err(Stop::Fault(Fault { path: kept.path.clone(), line: kept.line, what }))
        })
    }

    /// The gaps that the beginning of a file tells of, which are of files before it.
    fn find_gaps(&mut self, path: &Path) -> io::Result<()> {
        let mut lines = Lines::new(open(path)?);
        let mut number = 0;
        while let Some(piece) = lines.next()? {
            number += 1;
            let line = Line::parse(piece.text).filter(|line| line.is_intact());
            match line.map(|line| line.kind) {
                Some(Kind::Head) => {}
                Some(Kind::Gap) => {
                    if let Some(gap) = gap(piece.text) {
                        let place = (path.to_owned(), number);
                        self.void.insert(gap.file, Void { offset: gap.offset, place, told: false });
                    }
                }
                _ => break,
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, newest: bool) -> Result<(), Stop> {
        let file = open(path)?;
        // The one that writes it may be in the middle of a line.
        let live = newest && file.try_lock_shared().is_err();
        let mut lines = Lines::new(file);
        let void = self.void.get(&name(path)).map_or(u64::MAX, |void| void.offset);
        let mut number = 0;
        while let Some(piece) = lines.next()? {
            if piece.offset >= void {
                break;
            }
            number += 1;
            if !piece.whole && live {
                self.report.notes.push(format!("{} is being written", name(path)));
                break;
            }
            self.line(path, number, piece)?;
        }
        Ok(())
    }

    fn line(&mut self, path: &Path, number: u64, piece: Piece<'_>) -> Result<(), Stop> {
        let fault = |what| Stop::Fault(Fault { path: path.to_owned(), line: number, what });
        let line = Line::parse(piece.text).filter(|line| piece.whole && line.chain == self.chain);
        let Some(line) = line.filter(Line::is_intact) else {
            if !piece.whole {
                return Err(fault(What::Torn));
            }
            return Err(self.diagnosed(path, number, piece.offset, None)?);
        };
        match self.last {
            None => self.begins(&line).map_err(fault)?,
            Some(last) if line.follows(last) => {}
            Some(last)
                if number == 1 && line.kind == Kind::Head && line.sequence > last.sequence + 1 =>
            {
                return Err(self.missing_before(path, last, piece.text));
            }
            Some(_) => {
                return Err(self.diagnosed(path, number, piece.offset, Some(line.link()))?);
            }
        }
        self.ended = false;
        match line.kind {
            Kind::Head => self.head(&line, piece.text).map_err(fault)?,
            Kind::Gap => self.note_gap(piece.text),
            Kind::Retired => self.note_retired(line.sequence, piece.text),
            _ => {}
        }
        self.hold(line.link()).map_err(fault)?;
        self.last = Some(line.link());
        if self.place.0 != path {
            path.clone_into(&mut self.place.0);
        }
        self.place.1 = number;
        Ok(())
    }

    /// The first record that is here.
    fn begins(&mut self, line: &Line<'_>) -> Result<(), What> {
        self.report.first = line.sequence;
        match line.sequence {
            1 if line.previous != Fingerprint::ZERO => Err(What::Edited),
            _ => Ok(()),
        }
    }

    fn diagnosed(
        &self,
        path: &Path,
        number: u64,
        offset: u64,
        bad: Option<Link>,
    ) -> Result<Stop, Stop> {
        let last = self.last.unwrap_or(Link::NONE);
        let what = diagnose(path, offset, self.chain, bad, last)?;
        // The one before is what was replaced.
        let (path, line) = match what {
            What::Replaced => self.place.clone(),
            _ => (path.to_owned(), number),
        };
        Ok(Stop::Fault(Fault { path, line, what }))
    }

    /// Between two files: the end of the one before, or a whole file.
    fn missing_before(&self, path: &Path, last: Link, text: &[u8]) -> Stop {
        let Some(Head { statement, .. }) = Head::parse(text) else {
            return Stop::Fault(Fault { path: path.to_owned(), line: 1, what: What::Unreadable });
        };
        let (from, to) = (last.sequence + 1, statement.count);
        Stop::Fault(if statement.file == name(&self.place.0) {
            let (path, line) = self.place.clone();
            Fault { path, line, what: What::CutFile { from, to } }
        } else {
            let what = What::MissingFile { from, to, file: statement.file };
            Fault { path: path.to_owned(), line: 1, what }
        })
    }

    fn head(&mut self, line: &Line<'_>, text: &[u8]) -> Result<(), What> {
        let head = Head::parse(text).ok_or(What::Unreadable)?;
        let Statement { chain_uid, number, count, fingerprint, previous, .. } = head.statement;
        if (chain_uid, count + 1, fingerprint) != (self.chain, line.sequence, line.previous) {
            return Err(What::Unfit(number));
        }
        if let Some(key) = &self.evidence.key
            && !head.is_signed_by(key)
        {
            return Err(What::BadSignature(number));
        }
        let expected = self.head.map_or((number, previous), |(last, digest)| (last + 1, digest));
        if (number, previous) != expected {
            return Err(What::HeadOutOfOrder { found: number, expected: expected.0 });
        }
        self.vouched = self.vouched.max(line.sequence);
        self.head = Some((number, head.statement.digest()));
        self.ended = head.statement.reason == Reason::Stop;
        self.report.heads += 1;
        self.report.signed += u64::from(head.signature.is_some());
        Ok(())
    }

    /// Holds the record against the heads that count up to it.
    fn hold(&mut self, link: Link) -> Result<(), What> {
        while let Some(kept) = self.kept.get(self.held) {
            let Statement { count, fingerprint, number, .. } = kept.head.statement;
            if count > link.sequence {
                break;
            }
            if count == link.sequence && fingerprint != link.fingerprint {
                return Err(What::OtherChain { record: count, head: number });
            }
            self.vouched = self.vouched.max(count);
            self.held += 1;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let (path, line) = self.place.clone();
        if let Some(kept) = self.kept.last().filter(|_| self.held < self.kept.len()) {
            let Statement { count, number: head, .. } = kept.head.statement;
            return Err(Stop::Fault(match self.last {
                Some(_) => Fault { path, line, what: What::CutTail { count, head } },
                None => {
                    let what = What::MissingChain { count, head };
                    Fault { path: kept.path.clone(), line: kept.line, what }
                }
            }));
        }
        if let Some(void) = self.void.values().find(|void| !void.told) {
            let (path, line) = void.place.clone();
            return Err(Stop::Fault(Fault { path, line, what: What::Foreign }));
        }
        // With no head to hold it against, the key says nothing.
        if self.evidence.key.is_some() && self.report.heads == 0 && self.kept.is_empty() {
            return Err(Stop::Fault(Fault { path, line, what: What::NoHead }));
        }
        if let Some(last) = self.last.filter(|_| !self.ended) {
            let behind = last.sequence.saturating_sub(self.vouched);
            self.report.notes.push(format!(
                "no head ends it: it is being written, or a run crashed; no head speaks for the last {behind} records"
            ));
        }
        Ok(())
    }

    fn note_gap(&mut self, text: &[u8]) {
        let Some(Gap { file, offset, bytes, reason }) = gap(text) else { return };
        if let Some(void) = self.void.get_mut(&file) {
            void.told = true;
        }
        let note = format!(
            "gap: {file} ends at byte {offset}: {bytes} bytes behind it are no records ({reason})"
        );
        self.report.notes.push(note);
    }

    fn note_retired(&mut self, at: u64, text: &[u8]) {
        #[derive(Deserialize)]
        struct Record {
            unmapped: Unmapped,
        }
        #[derive(Deserialize)]
        struct Unmapped {
            retired: File,
        }
        #[derive(Deserialize)]
        struct File {
            file: PathBuf,
            count: u64,
        }
        let Ok(record) = serde_json::from_slice::<Record>(text) else { return };
        let File { file, count } = record.unmapped.retired;
        if let Some(FileName { chain, .. }) = FileName::parse(&file) {
            self.retired.push((at, Retired { chain, count }));
        }
    }
}

#[derive(Deserialize)]
struct Gap {
    file: String,
    offset: u64,
    bytes: u64,
    reason: String,
}

fn gap(text: &[u8]) -> Option<Gap> {
    #[derive(Deserialize)]
    struct Record {
        unmapped: Unmapped,
    }
    #[derive(Deserialize)]
    struct Unmapped {
        gap: Gap,
    }
    serde_json::from_slice::<Record>(text).ok().map(|record| record.unmapped.gap)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
