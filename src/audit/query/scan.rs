//! Through the files, a chunk of lines at a time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use memchr::{memchr, memrchr};
use regex::bytes::Regex;

use super::entry::{Decision, Entry, Record};
use super::filter::Filter;
use crate::audit::files::{self, RECORDS};

const CHUNK: usize = 1 << 20;
/// A longer line is none of ours: the journal's are of some kilobytes.
const LONGEST: usize = 8 << 20;
/// Intents that wait for their outcome, at most. A gateway has at most 1,000,000 calls open
/// and as a rule some hundreds; each that is kept takes some 300 bytes.
const OPEN: usize = 1_000_000;
/// By how much the records at a file's ends may be from those inside: calls are recorded
/// when they end, and clocks are set. A file further off than this is passed over.
const SLACK: u64 = 24 * 3_600_000;

/// The files to read, in order.
#[derive(Clone, Debug)]
pub struct Scan {
    files: Vec<(PathBuf, u64)>,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub matched: u64,
    /// Lines that are no records, and where the first is: file and byte.
    pub unreadable: u64,
    pub first_unreadable: Option<(PathBuf, u64)>,
    /// Files whose last line had no end and could not be read: being written, or torn.
    pub torn: u64,
    /// More intents were open at once than can be kept: some calls of unknown outcome may
    /// be missing.
    pub overflowed: bool,
}

/// Bytes read of all there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub read: u64,
    pub of: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` holds no `*.jsonl` file", path.display())]
    Empty { path: PathBuf },
    /// Of whoever takes the entries.
    #[error(transparent)]
    Write(io::Error),
}

/// What a scan tells while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    Call(&'a Entry<'a>),
    Read(Progress),
}

impl Scan {
    /// Files as they are; of directories, all `*.jsonl` by name, which is the order they
    /// were begun in.
    ///
    /// # Errors
    /// When a path cannot be read, or a directory holds no such file.
    pub fn new(paths: &[PathBuf]) -> Result<Self, ScanError> {
        let mut files = Vec::new();
        for path in paths {
            let found = journals(path);
            let found = found.map_err(|source| ScanError::Read { path: path.clone(), source })?;
            if found.is_empty() {
                return Err(ScanError::Empty { path: path.clone() });
            }
            files.extend(found);
        }
        Ok(Self { files })
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|(_, size)| size).sum()
    }

    /// Tells `reader` every call that is asked for: those that ended in the order of their
    /// ends, then those of which nobody knows.
    ///
    /// # Errors
    /// When a file cannot be read, or the reader takes no more.
    pub fn run(
        &self,
        filter: &Filter,
        reader: &mut impl FnMut(Step<'_>) -> io::Result<()>,
    ) -> Result<Seen, ScanError> {
        let mut run = Run::new(filter, reader, self.size());
        for (path, size) in &self.files {
            run.file(path).map_err(|stop| stop.in_file(path))?;
            run.finished(*size);
        }
        run.close().map_err(ScanError::Write)
    }
}

fn journals(path: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let about = std::fs::metadata(path)?;
    if !about.is_dir() {
        return Ok(vec![(path.to_owned(), about.len())]);
    }
    let sized = |path: PathBuf| std::fs::metadata(&path).map(|about| (path, about.len()));
    files::ending(path, RECORDS)?.into_iter().map(sized).collect()
}

/// Why a file was not read to its end.
enum Stop {
    Read(io::Error),
    Write(io::Error),
}

impl Stop {
    fn in_file(self, path: &Path) -> ScanError {
        match self {
            Self::Read(source) => ScanError::Read { path: path.to_owned(), source },
            Self::Write(error) => ScanError::Write(error),
        }
    }
}

struct Run<'a, R> {
    filter: &'a Filter,
    needles: Vec<Regex>,
    reader: &'a mut R,
    seen: Seen,
    /// By request id.
    open: HashMap<String, Entry<'static>>,
    buffer: Vec<u8>,
    progress: Progress,
    finished: u64,
}

impl<'a, R: FnMut(Step<'_>) -> io::Result<()>> Run<'a, R> {
    fn new(filter: &'a Filter, reader: &'a mut R, of: u64) -> Self {
        Self {
            needles: filter.needles(),
            filter,
            reader,
            seen: Seen::default(),
            open: HashMap::new(),
            buffer: Vec::new(),
            progress: Progress { read: 0, of },
            finished: 0,
        }
    }

    fn file(&mut self, path: &Path) -> Result<(), Stop> {
        let mut file = File::open(path).map_err(Stop::Read)?;
        if self.passes_over(&mut file).map_err(Stop::Read)? {
            return Ok(());
        }
        // Taken out while it is read from: its lines are borrowed.
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let read = self.lines(path, &mut file, &mut buffer);
        self.buffer = buffer;
        read
    }

    fn lines(&mut self, path: &Path, file: &mut File, buffer: &mut Vec<u8>) -> Result<(), Stop> {
        let mut at = 0;
        loop {
            let read = fill(file, buffer).map_err(Stop::Read)?;
            let whole = memrchr(b'\n', buffer).map_or(0, |end| end + 1);
            let lines = buffer.get(..whole).unwrap_or_default();
            self.chunk(lines, &mut |seen, within| seen.unreadable_at(path, at + within as u64))
                .map_err(Stop::Write)?;
            buffer.drain(..whole);
            at += whole as u64;
            self.progress.read += read as u64;
            (self.reader)(Step::Read(self.progress)).map_err(Stop::Write)?;
            if read == 0 {
                return self.rest(buffer).map_err(Stop::Write);
            }
            if buffer.len() > LONGEST {
                self.seen.unreadable_at(path, at);
                at += buffer.len() as u64 + skip_line(file).map_err(Stop::Read)?;
                buffer.clear();
            }
        }
    }

    /// What follows the last line's end. A record copied without its newline is a record.
    fn rest(&mut self, rest: &[u8]) -> io::Result<()> {
        let mut torn = 0;
        self.chunk(rest, &mut |_, _| torn += 1)?;
        self.seen.torn += torn;
        Ok(())
    }

    /// `unreadable` hears where in the chunk a line begins that is no record.
    fn chunk(
        &mut self,
        chunk: &[u8],
        unreadable: &mut impl FnMut(&mut Seen, usize),
    ) -> io::Result<()> {
        let mut start = 0;
        while let Some(rest) = chunk.get(start..).filter(|rest| !rest.is_empty()) {
            // The next line that may be asked for: the whole rest is searched at once.
            if let Some(rarest) = self.needles.first() {
                let Some(found) = rarest.find(rest) else { return Ok(()) };
                let before = rest.get(..found.start()).unwrap_or_default();
                start += memrchr(b'\n', before).map_or(0, |end| end + 1);
            }
            let rest = chunk.get(start..).unwrap_or_default();
            let line = rest.get(..memchr(b'\n', rest).unwrap_or(rest.len())).unwrap_or_default();
            if self.may_match(line) && !self.line(line)? {
                unreadable(&mut self.seen, start);
            }
            start += line.len() + 1;
        }
        Ok(())
    }

    fn may_match(&self, line: &[u8]) -> bool {
        !line.is_empty() && self.needles.iter().skip(1).all(|needle| needle.is_match(line))
    }

    /// `false` for what is no record.
    fn line(&mut self, line: &[u8]) -> io::Result<bool> {
        match Record::parse(line) {
            None => return Ok(false),
            Some(Record::Other) => {}
            Some(Record::Intended(entry)) => self.intended(entry),
            Some(Record::Ended(entry)) => self.ended(&entry)?,
        }
        Ok(true)
    }

    fn intended(&mut self, entry: Entry<'_>) {
        if !self.filter.takes(Decision::Unknown) || !self.filter.concerns(&entry) {
            return;
        }
        if self.open.len() >= OPEN {
            self.seen.overflowed = true;
            return;
        }
        self.open.insert(entry.request_id.as_ref().to_owned(), entry.into_owned());
    }

    fn ended(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        if !self.open.is_empty() {
            self.open.remove(entry.request_id.as_ref());
        }
        if self.filter.takes(entry.decision) && self.filter.concerns(entry) {
            self.seen.matched += 1;
            (self.reader)(Step::Call(entry))?;
        }
        Ok(())
    }

    /// Whether all of the file is far from the time that is asked for.
    fn passes_over(&self, file: &mut File) -> io::Result<bool> {
        let Filter { since, until, .. } = self.filter;
        if since.is_none() && until.is_none() {
            return Ok(false);
        }
        let (Some(first), Some(last)) = ends(file)? else { return Ok(false) };
        file.seek(SeekFrom::Start(0))?;
        Ok(since.is_some_and(|since| first.max(last).saturating_add(SLACK) < since)
            || until.is_some_and(|until| first.min(last) > until.saturating_add(SLACK)))
    }

    /// However much of the file was read.
    fn finished(&mut self, size: u64) {
        self.finished += size;
        self.progress.read = self.finished;
    }

    /// What has no outcome now has none.
    fn close(self) -> io::Result<Seen> {
        let mut open: Vec<_> = self.open.into_values().collect();
        open.sort_by(|a, b| (a.time, &a.request_id).cmp(&(b.time, &b.request_id)));
        let mut seen = self.seen;
        seen.matched += open.len() as u64;
        for entry in &open {
            (self.reader)(Step::Call(entry))?;
        }
        Ok(seen)
    }
}

impl Seen {
    fn unreadable_at(&mut self, path: &Path, byte: u64) {
        self.unreadable += 1;
        if self.first_unreadable.is_none() {
            self.first_unreadable = Some((path.to_owned(), byte));
        }
    }
}

/// Up to a chunk more; 0 at the end.
fn fill(file: &mut File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    file.take(CHUNK as u64).read_to_end(buffer)
}

/// The bytes up to and with the next line's end.
fn skip_line(file: &mut File) -> io::Result<u64> {
    let mut chunk = Vec::new();
    let mut skipped = 0;
    while fill(file, &mut chunk)? > 0 {
        if let Some(end) = memchr(b'\n', &chunk) {
            let beyond = i64::try_from(chunk.len() - end - 1).unwrap_or_default();
            file.seek_relative(-beyond)?;
            return Ok(skipped + end as u64 + 1);
        }
        skipped += chunk.len() as u64;
        chunk.clear();
    }
    Ok(skipped)
}

/// The times of a file's first and last record.
fn ends(file: &mut File) -> io::Result<(Option<u64>, Option<u64>)> {
    const PEEK: u64 = 64 << 10;
    let mut bytes = Vec::new();
    file.take(PEEK).read_to_end(&mut bytes)?;
    let first = bytes.split(|byte| *byte == b'\n').next().and_then(time);
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(PEEK)))?;
    bytes.clear();
    file.take(PEEK).read_to_end(&mut bytes)?;
    // The last line may be torn.
    let last = bytes.split(|byte| *byte == b'\n').rev().find_map(time);
    Ok((first, last))
}

fn time(line: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Timed {
        time: u64,
    }
    serde_json::from_slice::<Timed>(line).ok().map(|timed| timed.time)
}
