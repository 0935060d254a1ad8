//! Any texts → `config::load_texts`: they load, and mean the same each time, or every fault
//! has its place and the words of one line.
//!
//! The input is `sagegate.yaml`; a line `# file: NAME` begins another file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sagegate::config::{Fault, load_texts};
use sagegate::telemetry::metrics::Metrics;

const MAIN: &str = "sagegate.yaml";

/// Whether they load.
pub(crate) fn check(input: &[u8]) -> bool {
    let files = split(input);
    let metrics = Metrics::new().expect("metrics are well-formed");
    let load = || load_texts(files.clone(), Path::new(MAIN), &environment, &metrics);
    match load() {
        Ok(loaded) => {
            let again = load().expect("what loaded loads again");
            assert_eq!(again.policy.version(), loaded.policy.version());
            assert_eq!(again.access, loaded.access);
            assert!(!loaded.issuers.is_empty(), "nobody vouches for callers");
            true
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a reason");
            faults.iter().for_each(|fault| has_its_place(fault, &files));
            false
        }
    }
}

fn environment(name: &str) -> Option<String> {
    (name == "NAME").then(|| "a: [\"*\"] # ${NAME}".to_owned())
}

fn split(input: &[u8]) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut name) = (BTreeMap::<_, Vec<u8>>::new(), PathBuf::from(MAIN));
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"# file: ").map(str::from_utf8) {
            Some(Ok(next)) => name = next.trim().into(),
            _ => files.entry(name.clone()).or_default().extend(line),
        }
    }
    files
}

fn has_its_place(fault: &Fault, files: &BTreeMap<PathBuf, Vec<u8>>) {
    assert!(!fault.message.is_empty());
    let text = files.get(&fault.file).map(Vec::as_slice).unwrap_or_default();
    let lines = 1 + text.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    assert!(fault.position.line <= lines, "{fault} in a file of {lines} lines");
}
