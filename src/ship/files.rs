//! The journal's files as they lie in its directory.
//!
//! A file is named `sagegate-<time>-<chain>.jsonl`. The files of one chain, sorted by name,
//! are in the order in which they were written, and each is closed once there is a later
//! one. Processes that share a directory have a chain each.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// By the chain's id; each with its files in order.
pub(super) type Chains = BTreeMap<String, Vec<JournalFile>>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JournalFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
}

/// Every journal file of `directory`. What else lies there is none of our business.
pub(super) fn chains(directory: &Path) -> io::Result<Chains> {
    let mut chains = Chains::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(chain) = chain_of(&name).map(str::to_owned) else { continue };
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let (bytes, modified) = (metadata.len(), metadata.modified()?);
        chains.entry(chain).or_default().push(JournalFile { name, bytes, modified });
    }
    chains.values_mut().for_each(|files| files.sort());
    Ok(chains)
}

fn chain_of(name: &str) -> Option<&str> {
    let stem = name.strip_prefix("sagegate-")?.strip_suffix(".jsonl")?;
    stem.split_once('-').map(|(_, chain)| chain).filter(|chain| !chain.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_journal_files_are_found_each_in_its_chain_and_in_order() {
        let root = tempfile::tempdir().unwrap();
        for name in [
            "sagegate-20261123T120001.000Z-aa.jsonl",
            "sagegate-20261123T120000.000Z-aa.jsonl",
            "sagegate-20261123T120000.500Z-bb.jsonl",
            "sagegate-20261123T120000.500Z-bb.heads",
            "sagegate-20261123T120000.500Z-.jsonl",
            "ship-s3.position",
            "other.jsonl",
        ] {
            std::fs::write(root.path().join(name), name).unwrap();
        }
        let found = chains(root.path()).unwrap();
        let names: Vec<Vec<&str>> =
            found.values().map(|files| files.iter().map(|f| f.name.as_str()).collect()).collect();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["aa", "bb"]);
        assert_eq!(names[0].len(), 2);
        assert!(names[0][0].contains("120000") && names[0][1].contains("120001"));
        assert_eq!(found["bb"][0].bytes, 38);
    }
}
