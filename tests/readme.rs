//! The README's two files load as they stand there: they are what a stranger copies first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sagegate::config::load_texts;
use sagegate::telemetry::metrics::Metrics;

#[test]
fn the_files_in_the_readme_load() {
    let files = excerpts(include_str!("../README.md"));
    assert_eq!(files.len(), 2, "{:?}", files.keys());
    let metrics = Metrics::new().expect("metrics are well-formed");
    let loaded = load_texts(files, Path::new("sagegate.yaml"), &|_| None, &metrics);
    if let Err(faults) = &loaded {
        assert!(faults.is_empty(), "{faults}");
    }
    assert!(loaded.is_ok_and(|loaded| loaded.policy.cedar().contains("fraud-internal-*")));
}

/// Blocks of YAML, by the name in their first line.
fn excerpts(readme: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let blocks = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let named = blocks.filter_map(|block| {
        let name = block.lines().next()?.strip_prefix("# ")?;
        Some((name.into(), block.as_bytes().to_vec()))
    });
    named.collect()
}
