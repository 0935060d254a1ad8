//! What the README shows is true: a stranger copies its files first and compares what they
//! get.

#![expect(clippy::unwrap_used, reason = "all tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sagegate::config::{Faults, Loaded, load_texts};
use sagegate::telemetry::metrics::Metrics;

const README: &str = include_str!("../README.md");

#[test]
fn its_files_load_and_compile_to_the_policy_that_it_shows() {
    let loaded = load(excerpts()).unwrap_or_else(|faults| panic!("{faults}"));
    let shown = after("$ sagegate policy | head -n 11\n");
    let cedar = loaded.policy.cedar();
    assert_eq!(cedar.lines().take(11).collect::<Vec<_>>(), shown.lines().collect::<Vec<_>>());
    assert!(after("$ sagegate explain ").contains(&**loaded.policy.version()));
}

#[test]
fn its_four_slips_are_told_as_it_shows_them() {
    let mut files = excerpts();
    let access = files.get_mut(Path::new("access.yaml")).unwrap();
    let mut text = String::from_utf8(access.clone()).unwrap();
    for (right, wrong) in [
        ("forbid:", "forbit:"),
        ("InvokeEndpoint]", "InvokeEndpiont]"),
        ("200/s", "200"),
        ("roles: [fraud-caller]", "roles: [fraud-callers]"),
    ] {
        assert!(text.contains(right), "{right}");
        text = text.replacen(right, wrong, 1);
    }
    *access = text.into_bytes();
    let faults = load(files).map(|_| ()).unwrap_err();
    assert_eq!(format!("{faults}\n"), after("$ sagegate check\n"));
}

fn load(files: BTreeMap<PathBuf, Vec<u8>>) -> Result<Loaded, Faults> {
    load_texts(files, Path::new("sagegate.yaml"), &|_| None, &Metrics::new().unwrap())
}

/// Blocks of YAML, by the name in their first line.
fn excerpts() -> BTreeMap<PathBuf, Vec<u8>> {
    let blocks = README.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let named = blocks.filter_map(|block| {
        let name = block.lines().next()?.strip_prefix("# ")?;
        Some((name.into(), block.as_bytes().to_vec()))
    });
    named.collect()
}

/// The rest of the block that has this line.
fn after(line: &str) -> &'static str {
    let (_, rest) = README.split_once(line).unwrap();
    rest.split("```").next().unwrap()
}
