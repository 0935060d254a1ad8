//! What the files of a journal are called, and which there are.
//!
//! `sagegate-<UTC>-<chain>.jsonl` holds records, the same with `.heads` the signed heads
//! written meanwhile, and with `.torn` what a crash left at its end.
//! Invariant: sorted by name, the files of one chain are in the order they were begun, also
//! within a millisecond and when the clock is set back.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::digest::ChainUid;

const STEM: &str = "sagegate-";
const STAMP: &str = "%Y%m%dT%H%M%S.%3fZ";
pub const RECORDS: &str = "jsonl";
pub const HEADS: &str = "heads";
pub const TORN: &str = "torn";

/// When a file was begun (milliseconds since the epoch, later than every earlier file of its
/// chain) and of what chain it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName {
    pub stamp: u64,
    pub chain: ChainUid,
}

impl FileName {
    /// `None` for a file that is none of a journal's records.
    pub fn parse(path: &Path) -> Option<Self> {
        if path.extension()? != RECORDS {
            return None;
        }
        let (stamp, chain) = path.file_stem()?.to_str()?.strip_prefix(STEM)?.rsplit_once('-')?;
        let stamp = DateTime::strptime("%Y%m%dT%H%M%S%.fZ", stamp).ok()?;
        let stamp = stamp.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond();
        let name =
            Self { stamp: u64::try_from(stamp).ok()?, chain: ChainUid::parse(chain.as_bytes())? };
        // One text for each name: what else the pattern lets pass is somebody else's.
        (path.file_name()?.to_str()? == name.to_string()).then_some(name)
    }
}

impl fmt::Display for FileName {
    /// `sagegate-20261123T120000.123Z-9f2c41d07ab35e18.jsonl`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = i64::try_from(self.stamp).ok();
        let time = time.and_then(|millis| Timestamp::from_millisecond(millis).ok());
        let time = time.unwrap_or(Timestamp::MAX).strftime(STAMP);
        write!(f, "{STEM}{time}-{}.{RECORDS}", self.chain)
    }
}

/// The files of one chain, in the order they were begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainFiles {
    pub chain: ChainUid,
    /// Never empty.
    pub files: Vec<PathBuf>,
}

/// Every chain that has a file in `directory`, by the age of the newest: the last was written
/// last.
///
/// # Errors
/// When the directory cannot be read.
pub fn chains(directory: &Path) -> io::Result<Vec<ChainFiles>> {
    Ok(sorted(ending(directory, RECORDS)?))
}

/// What lies in `directory` and ends in `.extension`, by name.
///
/// # Errors
/// When the directory cannot be read.
pub fn ending(directory: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    found.retain(|path| path.extension().is_some_and(|ends| ends == extension));
    found.sort();
    Ok(found)
}

/// The records' files among `paths`, by chain.
pub fn sorted(paths: impl IntoIterator<Item = PathBuf>) -> Vec<ChainFiles> {
    let named = paths.into_iter().filter_map(|path| Some((FileName::parse(&path)?, path)));
    let mut named: Vec<_> = named.collect();
    named.sort_by_key(|(name, _)| (name.chain, name.stamp));
    let runs = named.chunk_by(|(one, _), (other, _)| one.chain == other.chain);
    let mut chains: Vec<_> = runs
        .filter_map(|run| {
            let (last, _) = run.last()?;
            let files = run.iter().map(|(_, path)| path.clone()).collect();
            Some((last.stamp, ChainFiles { chain: last.chain, files }))
        })
        .collect();
    chains.sort_by_key(|(newest, chain)| (*newest, chain.chain));
    chains.into_iter().map(|(_, chain)| chain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(stamp: u64, chain: &str) -> FileName {
        FileName { stamp, chain: ChainUid::parse(chain.as_bytes()).unwrap() }
    }

    #[test]
    fn a_name_says_when_and_of_what_chain_and_reads_back() {
        let name = name(1_795_435_200_123, "9f2c41d07ab35e18");
        let text = "sagegate-20261123T120000.123Z-9f2c41d07ab35e18.jsonl";
        assert_eq!(name.to_string(), text);
        assert_eq!(FileName::parse(&Path::new("/var/log").join(text)), Some(name));
        for other in [
            "sagegate-20261123T120000.123Z-9f2c41d07ab35e18.heads",
            "sagegate-20261123T120000Z-9f2c41d07ab35e18.jsonl",
            "sagegate-20261123T120000.123Z-9F2C41D07AB35E18.jsonl",
            "sagegate-20261123T120000.123Z-9f2c41d0.jsonl",
            "sagegate-20261123T250000.123Z-9f2c41d07ab35e18.jsonl",
            "other.jsonl",
        ] {
            assert_eq!(FileName::parse(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn chains_come_with_their_files_in_order_and_the_newest_last() {
        let (a, b) = ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb");
        let file = |stamp, chain| PathBuf::from(name(stamp, chain).to_string());
        let paths = [file(3, b), file(9, a), file(5, b), file(1, a), "notes.txt".into()];
        let chains = sorted(paths);
        let files: Vec<_> = chains.iter().map(|chain| chain.files.clone()).collect();
        assert_eq!(files, [vec![file(3, b), file(5, b)], vec![file(1, a), file(9, a)]]);
    }
}
