//! Reads on from where a sink is: whole lines, file after file, chain after chain.
//!
//! Knows nothing of sinks but their limits. What it reads it never takes for shipped: the
//! mark moves when [`advance`](Follower::advance) is told that a batch is settled.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::batch::{Batch, Glance, Limits, Lines};
use super::files::{Chains, JournalFile, chains};
use super::position::{Mark, Positions};

/// The journal's lines have at most 4 MiB. What goes on for longer is none of its lines, and
/// is passed on in pieces rather than held in memory.
const LONGEST_LINE: usize = 8 << 20;

#[derive(Debug)]
pub(super) struct Follower {
    directory: PathBuf,
    sink: &'static str,
    positions: Positions,
    gathering: BTreeMap<String, Gathering>,
    /// The chain that the last batch was of: the next one is asked first.
    served: String,
}

/// Events that wait for more to go with them.
#[derive(Clone, Copy, Debug)]
struct Gathering {
    since: Instant,
    /// When the first happened, in milliseconds since the epoch.
    oldest: Option<u64>,
}

#[derive(Debug)]
pub(super) enum Next {
    Batch {
        batch: Batch,
        /// Events that are in no file any more and were never shipped.
        missing: u64,
    },
    /// There are events, and they wait for more.
    Gathering {
        oldest: Option<u64>,
    },
    CaughtUp,
}

impl Follower {
    pub(super) fn open(directory: &Path, sink: &'static str) -> io::Result<Self> {
        let positions = Positions::load(directory, sink)?;
        let (gathering, served) = (BTreeMap::new(), String::new());
        Ok(Self { directory: directory.to_owned(), sink, positions, gathering, served })
    }

    /// What to ship next; `eager` waits for no more events.
    pub(super) fn next(&mut self, limits: &Limits, now: Instant, eager: bool) -> io::Result<Next> {
        let chains = chains(&self.directory)?;
        self.forget_removed(&chains);
        let mut oldest = None;
        let (before, after): (Vec<_>, Vec<_>) =
            chains.iter().partition(|(uid, _)| **uid <= self.served);
        for (uid, files) in after.into_iter().chain(before) {
            if let Some(waiting) = self.still_gathering(uid, files, limits, now).filter(|_| !eager)
            {
                oldest = Some(older(oldest, waiting.oldest));
                continue;
            }
            let Some((batch, last)) = self.read(uid, files, limits)? else { continue };
            if last && !eager && !batch.is_full() && self.begin_gathering(&batch, limits, now) {
                oldest = Some(older(oldest, Glance::of(batch.first()).time));
                continue;
            }
            self.gathering.remove(uid);
            self.served.clone_from(uid);
            let missing = self.missing_before(&batch);
            return Ok(Next::Batch { batch, missing });
        }
        Ok(oldest.map_or(Next::CaughtUp, |oldest| Next::Gathering { oldest }))
    }

    /// Everything in `batch` is accepted or set aside.
    ///
    /// # Errors
    /// When the position cannot be stored; it has moved all the same, and is stored with the
    /// next one.
    pub(super) fn advance(&mut self, batch: &Batch) -> io::Result<()> {
        let sequence = Glance::of(batch.last()).metadata.sequence;
        let mark = Mark { file: batch.file.clone(), offset: batch.end(), sequence };
        self.positions.chains.insert(batch.chain.clone(), mark);
        self.positions.store(&self.directory, self.sink)
    }

    /// A chain without a file is a chain that is over.
    fn forget_removed(&mut self, chains: &Chains) {
        self.positions.chains.retain(|uid, _| chains.contains_key(uid));
        self.gathering.retain(|uid, _| chains.contains_key(uid));
    }

    /// Whether the chain's events still wait, as far as can be told without reading them.
    fn still_gathering(
        &self,
        uid: &str,
        files: &[JournalFile],
        limits: &Limits,
        now: Instant,
    ) -> Option<Gathering> {
        let gathering = *self.gathering.get(uid)?;
        let mark = self.positions.chains.get(uid);
        let last = files.last()?;
        let offset = match mark {
            Some(mark) if mark.file == last.name => mark.offset,
            // A closed file will not grow: what is left in it has waited long enough.
            _ if files.len() > 1 => return None,
            _ => 0,
        };
        let filled = last.bytes.saturating_sub(offset) >= limits.bytes as u64;
        (!filled && now.duration_since(gathering.since) < limits.linger).then_some(gathering)
    }

    /// Whether the events of an unfilled batch are to wait for more.
    fn begin_gathering(&mut self, batch: &Batch, limits: &Limits, now: Instant) -> bool {
        let begun = Gathering { since: now, oldest: Glance::of(batch.first()).time };
        let gathering = self.gathering.entry(batch.chain.clone()).or_insert(begun);
        now.duration_since(gathering.since) < limits.linger
    }

    /// The chain's next lines, and whether they are of its last file, which may still grow.
    fn read(
        &mut self,
        uid: &str,
        files: &[JournalFile],
        limits: &Limits,
    ) -> io::Result<Option<(Batch, bool)>> {
        let mark = self.positions.chains.get(uid);
        let sequence = mark.map_or(0, |mark| mark.sequence);
        let (from, mut offset) = mark.map_or(("", 0), |mark| (&mark.file, mark.offset));
        let first = files.iter().position(|file| file.name.as_str() >= from);
        for (index, file) in files.iter().enumerate().skip(first.unwrap_or(files.len())) {
            if file.name != from {
                offset = 0;
            }
            // Read after the directory was: a file that had a later one then is closed, so
            // that its end here is its end.
            let lines = lines(&self.directory.join(&file.name), offset, limits.bytes)?;
            if !lines.bytes.is_empty() {
                let place = (file.name.clone(), offset);
                let batch = Batch::new(uid.to_owned(), place, lines, limits);
                return Ok(Some((batch, index + 1 == files.len())));
            }
        }
        self.skip_to_end(uid, files, sequence);
        Ok(None)
    }

    /// Nothing is left to read: the mark goes to the last file, so that the closed ones
    /// before it, torn ends and all, are seen to be done.
    fn skip_to_end(&mut self, uid: &str, files: &[JournalFile], sequence: u64) {
        let Some(last) = files.last() else { return };
        if self.positions.chains.get(uid).is_none_or(|mark| mark.file < last.name) {
            let mark = Mark { file: last.name.clone(), offset: 0, sequence };
            self.positions.chains.insert(uid.to_owned(), mark);
        }
    }

    /// How many events of the chain lie between the last one shipped and the batch.
    fn missing_before(&self, batch: &Batch) -> u64 {
        let shipped = self.positions.chains.get(&batch.chain).map_or(0, |mark| mark.sequence);
        match Glance::of(batch.first()).metadata.sequence {
            _ if shipped == 0 => 0,
            next => next.saturating_sub(shipped + 1),
        }
    }
}

/// The earlier of two times, of which either may not be known.
fn older(one: Option<Option<u64>>, other: Option<u64>) -> Option<u64> {
    one.flatten().into_iter().chain(other).min()
}

/// What there is of whole lines from `offset` on: about `most` bytes of them, or one line.
/// Nothing of a file that is gone.
fn lines(path: &Path, offset: u64, most: usize) -> io::Result<Lines> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lines::default()),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    loop {
        let read = file.by_ref().take(most as u64).read_to_end(&mut bytes)?;
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => bytes.truncate(end + 1),
            None if read == 0 => bytes.clear(),
            None if bytes.len() < LONGEST_LINE => continue,
            None => {}
        }
        return Ok(Lines { bytes, more: read >= most });
    }
}
