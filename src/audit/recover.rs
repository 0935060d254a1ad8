//! What a start finds of the runs before it: the chain to go on with, a torn end, requests
//! that went to SageMaker and whose outcome nobody wrote.
//!
//! Invariant: no whole record is taken away. What is cut off the end of a file, because it is
//! no record, is kept beside it and told of; nothing else is changed.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::digest::ChainUid;
use super::files::{self, ChainFiles, FileName, TORN};
use super::head::{Head, Reason};
use super::ledger::{Cause, Gap, Position};
use super::line::{Kind, Line, Link, unsealed};
use super::reader::Lines;
use super::render::outcome_unknown;

/// Where and how the journal goes on.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) at: Position,
    /// The time in the last file's name.
    pub(super) stamp: u64,
    pub(super) gaps: Vec<Gap>,
    /// Records of what the chain lacks, as the queue holds records.
    pub(super) opening: Vec<u8>,
    /// Where the search for them began, should it have to begin again.
    pub(super) open_from: Option<u64>,
    /// Holds others off the chain until its next file is locked.
    pub(super) lock: Option<File>,
}

/// Takes over the newest chain in `directory` that no process is writing, or begins one.
///
/// # Errors
/// When what is there cannot be read, or a torn end cannot be set aside.
pub(super) fn recover(directory: &Path) -> io::Result<Recovered> {
    match free_chain(directory)? {
        Some((chain, lock)) => take_over(&chain, lock),
        None => {
            let at = Position::first(ChainUid::generate()?);
            let (gaps, opening) = (Vec::new(), Vec::new());
            Ok(Recovered { at, stamp: 0, gaps, opening, open_from: None, lock: None })
        }
    }
}

/// The newest chain whose newest file could be locked.
fn free_chain(directory: &Path) -> io::Result<Option<(ChainFiles, File)>> {
    let mut chains = match files::chains(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        chains => chains?,
    };
    while let Some(chain) = chains.pop() {
        let Some(newest) = chain.files.last() else { continue };
        let file = match OpenOptions::new().read(true).append(true).open(newest) {
            // Another user's.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
            file => file?,
        };
        if file.try_lock().is_err() {
            continue;
        }
        // Who rotated meanwhile holds another file by now.
        let now = files::chains(directory)?;
        if now.iter().any(|now| now.chain == chain.chain && now.files.last() == Some(newest)) {
            return Ok(Some((chain, file)));
        }
    }
    Ok(None)
}

fn take_over(chain: &ChainFiles, lock: File) -> io::Result<Recovered> {
    let mut gaps = Vec::new();
    let mut found = Found::nothing(chain.chain);
    for path in chain.files.iter().rev() {
        found = Found::at_the_end_of(path, chain.chain)?;
        gaps.extend(set_aside(path, found.end)?);
        if found.at.link != Link::NONE {
            break;
        }
    }
    gaps.reverse();
    let stamp = chain.files.last().and_then(|path| FileName::parse(path));
    Ok(Recovered {
        opening: found.unknown_outcomes(&chain.files)?,
        open_from: found.open_from,
        at: found.at,
        stamp: stamp.map_or(0, |name| name.stamp),
        gaps,
        lock: Some(lock),
    })
}

/// Cuts off what stands behind `end`, after it was kept beside the file.
fn set_aside(path: &Path, end: u64) -> io::Result<Option<Gap>> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let bytes = file.metadata()?.len().saturating_sub(end);
    let kept = path.with_extension(TORN);
    if bytes == 0 {
        // A start that ended before it could tell: else a later file would hold the last record.
        let untold = fs::metadata(&kept).map_or(0, |metadata| metadata.len());
        return Ok((untold > 0).then(|| torn(path, end, untold)));
    }
    let mut beside = OpenOptions::new().create(true).append(true).mode(0o600).open(kept)?;
    file.seek(SeekFrom::Start(end))?;
    io::copy(&mut file, &mut beside)?;
    beside.flush()?;
    beside.sync_all()?;
    file.set_len(end)?;
    file.sync_all()?;
    let gap = torn(path, end, bytes);
    tracing::warn!(file = gap.file, offset = end, bytes, "an audit file's torn end is set aside");
    Ok(Some(gap))
}

fn torn(path: &Path, offset: u64, bytes: u64) -> Gap {
    Gap { file: name(path), offset, bytes, cause: Cause::Torn }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What the end of a file says.
#[derive(Debug)]
struct Found {
    at: Position,
    /// Where the last whole record ends.
    end: u64,
    /// From which record on an intent may lack its outcome.
    open_from: Option<u64>,
}

impl Found {
    fn nothing(chain: ChainUid) -> Self {
        Self { at: Position::first(chain), end: 0, open_from: None }
    }

    /// Every file begins with a head, so that a whole one is enough.
    fn at_the_end_of(path: &Path, chain: ChainUid) -> io::Result<Self> {
        let mut found = Self::nothing(chain);
        let start = last_head(path)?;
        let mut lines = lines_from(path, start)?;
        while let Some(piece) = lines.next()? {
            let end = piece.end();
            let Some(line) = intact(piece.text, chain).filter(|_| piece.whole) else { continue };
            if line.kind == Kind::Head
                && let Some(Head { statement, .. }) = Head::parse(piece.text)
            {
                found.at.head = (statement.number, statement.digest());
                // A run that ended as it should left nothing open.
                let ended = statement.reason == Reason::Stop;
                found.open_from = if ended { None } else { statement.open_from };
            } else if line.kind == Kind::Intent {
                found.open_from.get_or_insert(line.sequence);
            }
            found.at.link = line.link();
            found.end = end;
        }
        found.at.file = name(path);
        Ok(found)
    }

    /// A record for each intent that has no outcome, in the order of the intents.
    fn unknown_outcomes(&self, files: &[PathBuf]) -> io::Result<Vec<u8>> {
        let Some(from) = self.open_from else { return Ok(Vec::new()) };
        let mut open = HashMap::<Vec<u8>, (u64, Vec<u8>)>::new();
        for path in self.files_from(files, from)? {
            let mut lines = lines_from(path, 0)?;
            while let Some(piece) = lines.next()? {
                let line = Line::parse(piece.text).filter(|line| line.sequence >= from);
                let Some((line, (kind, id))) = line.and_then(|l| Some((l, l.request()?))) else {
                    continue;
                };
                if kind == Kind::Intent {
                    open.insert(id.to_vec(), (line.sequence, line.rendered().to_vec()));
                } else {
                    open.remove(id);
                }
            }
        }
        let mut open: Vec<_> = open.into_values().collect();
        open.sort_unstable_by_key(|(sequence, _)| *sequence);
        let records = open.iter().flat_map(|(_, intent)| {
            let rendered = outcome_unknown(intent);
            [&unsealed(Kind::OutcomeUnknown, &rendered).concat()[..], b"\n"].concat()
        });
        Ok(records.collect())
    }

    /// The files that hold the records from `from` on.
    fn files_from<'f>(
        &self,
        files: &'f [PathBuf],
        from: u64,
    ) -> io::Result<impl Iterator<Item = &'f PathBuf>> {
        let mut first = 0;
        for (index, path) in files.iter().enumerate().rev() {
            let mut lines = lines_from(path, 0)?;
            let line = lines.next()?.and_then(|piece| intact(piece.text, self.at.chain));
            if line.is_some_and(|line| line.sequence <= from) {
                first = index;
                break;
            }
        }
        Ok(files.iter().skip(first))
    }
}

fn intact(text: &[u8], chain: ChainUid) -> Option<Line<'_>> {
    Line::parse(text).filter(|line| line.chain == chain && line.is_intact())
}

fn lines_from(path: &Path, start: u64) -> io::Result<Lines<File>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    Ok(Lines::at(file, start))
}

/// Where the last whole head of a file begins, or its beginning: read from the end, for a
/// head is written every minute and a file holds hours.
fn last_head(path: &Path) -> io::Result<u64> {
    /// Longer than a head, so that one which crosses from one window into the next is whole
    /// in one of them.
    const OVERLAP: u64 = 16 * 1024;
    const WINDOW: u64 = 1 << 20;
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut window = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(WINDOW);
        file.seek(SeekFrom::Start(start))?;
        window.clear();
        (&mut file).take(end - start).read_to_end(&mut window)?;
        if let Some(at) = last_head_in(&window) {
            return Ok(start + at as u64);
        }
        end = if start == 0 { 0 } else { start + OVERLAP };
    }
    Ok(0)
}

fn last_head_in(window: &[u8]) -> Option<usize> {
    // A string cannot hold it: its quotation marks would be escaped.
    memmem::rfind_iter(window, br#","event_code":"head""#).find_map(|at| {
        let (before, rest) = window.split_at_checked(at)?;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let end = at + rest.iter().position(|byte| *byte == b'\n')?;
        Line::parse(window.get(start..end)?)?.is_intact().then_some(start)
    })
}

#[cfg(test)]
mod tests;
