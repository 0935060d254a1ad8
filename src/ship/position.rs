//! How far a sink is, on disk: a small file beside the journal, replaced in one step.
//!
//! Written after a sink accepted events, never before. A position that is lost costs
//! duplicates, not events.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::JournalFile;

/// One sink's positions, by chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Positions {
    pub(super) chains: BTreeMap<String, Mark>,
}

/// Everything of the chain before this is shipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) file: String,
    pub(super) offset: u64,
    /// Of the last event shipped; 0 where that is not known.
    pub(super) sequence: u64,
}

impl Positions {
    /// What was stored; the very beginning if that is nothing or cannot be understood.
    pub(super) fn load(directory: &Path, sink: &str) -> io::Result<Self> {
        let path = path(directory, sink);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            let path = path.display();
            tracing::error!(sink, %path, %error, "no position to go on from: all is shipped again");
            Self::default()
        }))
    }

    /// Replaces what was stored. A machine that dies meanwhile leaves the old one or this.
    pub(super) fn store(&self, directory: &Path, sink: &str) -> io::Result<()> {
        let path = path(directory, sink);
        let fresh = path.with_extension("position.new");
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_data()?;
        std::fs::rename(&fresh, &path)
    }

    /// How many bytes of `file` are still to be shipped.
    pub(super) fn unshipped(&self, chain: &str, file: &JournalFile) -> u64 {
        match self.chains.get(chain) {
            Some(mark) if file.name < mark.file => 0,
            Some(mark) if file.name == mark.file => file.bytes.saturating_sub(mark.offset),
            _ => file.bytes,
        }
    }

    /// Whether the sink has gone past `file`, and so has all of it, torn end and all.
    pub(super) fn has_left(&self, chain: &str, file: &JournalFile) -> bool {
        self.chains.get(chain).is_some_and(|mark| file.name < mark.file)
    }
}

fn path(directory: &Path, sink: &str) -> PathBuf {
    directory.join(format!("ship-{sink}.position"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(file: &str, offset: u64) -> Positions {
        let mark = Mark { file: file.into(), offset, sequence: 7 };
        Positions { chains: [("aa".to_owned(), mark)].into() }
    }

    #[test]
    fn a_position_is_read_as_it_was_stored() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Positions::load(root.path(), "s3").unwrap(), Positions::default());
        at("b", 3).store(root.path(), "s3").unwrap();
        at("b", 4).store(root.path(), "s3").unwrap();
        assert_eq!(Positions::load(root.path(), "s3").unwrap(), at("b", 4));
        assert_eq!(Positions::load(root.path(), "otlp").unwrap(), Positions::default());
        let mode = std::fs::metadata(path(root.path(), "s3")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it is in a directory that may be the operator's");
    }

    #[test]
    fn a_torn_position_ships_again_rather_than_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("ship-s3.position"), r#"{"chains":{"aa""#).unwrap();
        assert_eq!(Positions::load(root.path(), "s3").unwrap(), Positions::default());
    }

    #[test]
    fn what_is_unshipped_is_behind_the_mark() {
        let file = |name: &str| JournalFile { name: name.into(), bytes: 10, modified: UNIX_EPOCH };
        let unshipped = |chain, name| at("b", 4).unshipped(chain, &file(name));
        assert_eq!(["a", "b", "c"].map(|name| unshipped("aa", name)), [0, 6, 10]);
        assert_eq!(unshipped("bb", "a"), 10, "another chain");
    }
}
