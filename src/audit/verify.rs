//! Whether a journal is what was written: every record whole, in its place and none missing,
//! and as long as its signed heads say.
//!
//! Reads each file once, a line at a time, without parsing what the lines say. What a chain
//! alone cannot show, a cut tail or a chain that was made anew, shows where heads were kept
//! elsewhere. Invariant: the first bad position is named; what is behind it is not judged.

mod diagnose;
mod fault;
mod walk;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

pub use fault::{Fault, What};

use super::digest::ChainUid;
use super::files::{self, HEADS, RECORDS};
use super::head::Head;
use super::line::Line;
use super::reader::Lines;
use super::signing::PublicKey;
use walk::Walk;

/// What to hold a journal against, beside itself.
#[derive(Debug, Default)]
pub struct Evidence {
    heads: BTreeMap<ChainUid, Vec<Kept>>,
    key: Option<PublicKey>,
    /// Whether a chain must be there from its beginning.
    whole: bool,
}

/// A head that was kept beside the journal, or elsewhere.
#[derive(Clone, Debug)]
struct Kept {
    head: Head,
    path: PathBuf,
    line: u64,
}

/// How one chain stands.
#[derive(Debug)]
pub struct Report {
    pub chain: ChainUid,
    pub files: usize,
    /// The sequence numbers of its first and last record.
    pub first: u64,
    pub last: u64,
    pub heads: u64,
    /// How many of them carry a signature; it was checked where there was a key.
    pub signed: u64,
    /// What an auditor should know though it is no fault.
    pub notes: Vec<String>,
    pub fault: Option<Fault>,
}

impl Evidence {
    /// With the public key that every head must be signed by.
    pub fn with_key(self, key: Option<PublicKey>) -> Self {
        Self { key, ..self }
    }

    /// With the heads in `path`: lines as they stand beside a journal's file, or the heads'
    /// records as a sink keeps them. Other lines are passed over. Returns how many there are.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn add_heads(&mut self, path: &Path) -> io::Result<usize> {
        let mut lines = Lines::new(open(path)?);
        let (mut line, mut heads) = (0, 0);
        while let Some(piece) = lines.next()? {
            line += 1;
            if let Some(head) = Head::parse(piece.text) {
                heads += 1;
                let kept = Kept { path: path.to_owned(), line, head };
                self.heads.entry(kept.head.statement.chain_uid).or_default().push(kept);
            }
        }
        Ok(heads)
    }
}

/// Verifies every chain in `places`: directories, and files of their own.
///
/// # Errors
/// When something cannot be read.
pub fn verify(places: &[PathBuf], mut evidence: Evidence) -> io::Result<Vec<Report>> {
    let mut strays = Vec::new();
    let mut paths = Vec::new();
    evidence.whole = places.iter().all(|place| place.is_dir());
    for place in places {
        match place.is_dir() {
            true => list(place, &mut paths, &mut evidence)?,
            false => paths.push(place.clone()),
        }
    }
    let mut chains: BTreeMap<ChainUid, Vec<PathBuf>> = BTreeMap::new();
    let named = files::sorted(paths.iter().cloned());
    chains.extend(named.into_iter().map(|chain| (chain.chain, chain.files)));
    for path in paths.iter().filter(|path| files::FileName::parse(path).is_none()) {
        match chain_of(path)? {
            Some(chain) => chains.entry(chain).or_default().push(path.clone()),
            None => strays.push(path),
        }
    }
    // A chain of which only heads are left.
    for chain in evidence.heads.keys() {
        chains.entry(*chain).or_default();
    }
    let strays = strays.into_iter().map(|path| Report::of_stray(path));
    let walked = chains.iter().map(|(chain, files)| Walk::new(*chain, &evidence).through(files));
    let walked = walked.collect::<io::Result<Vec<_>>>()?;
    let mut removed = BTreeMap::<ChainUid, u64>::new();
    for retired in walked.iter().flat_map(|walked| &walked.retired) {
        let count = removed.entry(retired.chain).or_default();
        *count = retired.count.max(*count);
    }
    let reports = walked.into_iter().zip(&chains).map(|(walked, (chain, files))| {
        walked.begins(files, removed.get(chain).copied().unwrap_or(0), evidence.whole)
    });
    Ok(reports.chain(strays).collect())
}

/// The files of records in a directory; the heads beside them are evidence.
fn list(directory: &Path, paths: &mut Vec<PathBuf>, evidence: &mut Evidence) -> io::Result<()> {
    // Heads first: what is written meanwhile is then longer than they say, and never shorter.
    for path in files::ending(directory, HEADS)? {
        evidence.add_heads(&path)?;
    }
    paths.extend(files::ending(directory, RECORDS)?);
    Ok(())
}

/// The chain of a file that does not say so in its name.
fn chain_of(path: &Path) -> io::Result<Option<ChainUid>> {
    let mut lines = Lines::new(open(path)?);
    while let Some(piece) = lines.next()? {
        if let Some(line) = Line::parse(piece.text) {
            return Ok(Some(line.chain));
        }
    }
    Ok(None)
}

fn open(path: &Path) -> io::Result<File> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    File::open(path).map_err(named)
}

impl Report {
    fn new(chain: ChainUid) -> Self {
        let (files, heads, signed) = (0, 0, 0);
        Self { chain, files, first: 0, last: 0, heads, signed, notes: Vec::new(), fault: None }
    }

    fn of_stray(path: &Path) -> Self {
        let fault = Fault { path: path.to_owned(), line: 1, what: What::Stray };
        Self { files: 1, fault: Some(fault), ..Self::new(ChainUid::NONE) }
    }
}

#[cfg(test)]
mod tests;
