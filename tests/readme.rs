//! What the README and docs/metrics.md show is true: a stranger copies the one's files first
//! and compares what they get, and builds alerts on the other's names.

#![expect(clippy::unwrap_used, reason = "all tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sagegate::config::{Faults, Loaded, load_texts};
use sagegate::telemetry::metrics::Metrics;

const README: &str = include_str!("../README.md");
const METRICS: &str = include_str!("../docs/metrics.md");

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

#[test]
fn every_metric_and_every_outcome_is_documented_and_no_other() {
    let exported = include_str!("../src/telemetry/metrics.rs").split(" Said(").skip(1);
    let exported = exported.filter_map(|said| {
        let words: Vec<_> = said.split(");").next()?.split('"').skip(1).step_by(2).collect();
        let (name, labels) = (words.first()?, words.get(2..)?.join(","));
        Some(if labels.is_empty() { (*name).to_owned() } else { format!("{name}{{{labels}}}") })
    });
    let (names, outcomes) = METRICS.split_once("`outcome`:").unwrap();
    assert_eq!(first_cells(names), exported.collect());

    let refused = include_str!("../src/gateway/refusal.rs").split("=> row(").skip(1);
    let refused = refused.filter_map(|row| row.split('"').nth(3));
    let relayed = ["ok", "upstream_4xx", "upstream_5xx", "aborted", "broken"];
    let outcome = |name: &str| name.to_owned();
    assert_eq!(first_cells(outcomes), refused.chain(relayed).map(outcome).collect());
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

/// What is in backticks in the first cell of each row.
fn first_cells(table: &str) -> BTreeSet<String> {
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    cells.flat_map(|cell| cell.trim_end_matches('`').split("`, `")).map(str::to_owned).collect()
}

/// The rest of the block that has this line.
fn after(line: &str) -> &'static str {
    let (_, rest) = README.split_once(line).unwrap();
    rest.split("```").next().unwrap()
}
