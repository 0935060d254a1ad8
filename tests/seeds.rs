//! Every committed seed of `fuzz/` through the check that is fuzzed with it, so that what a
//! fuzzer once found stays found where nobody fuzzes. A seed named `good…` must be let
//! through, and every other one must not.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "all tests")]

use std::fs;
use std::path::Path;

#[path = "../fuzz/checks/call.rs"]
mod call;
#[path = "../fuzz/checks/config.rs"]
mod config;
#[path = "../fuzz/checks/framing.rs"]
mod framing;
#[path = "../fuzz/checks/journal.rs"]
mod journal;
#[path = "../fuzz/checks/jwks.rs"]
mod jwks;
#[path = "../fuzz/checks/pattern.rs"]
mod pattern;
#[path = "../fuzz/checks/token.rs"]
mod token;

/// Whether the input is let through; panics if it should not have been.
type Check = fn(&[u8]) -> bool;

const CHECKS: [(&str, Check); 7] = [
    ("call", call::check),
    ("config", config::check),
    ("framing", framing::check),
    ("journal", journal::check),
    ("jwks", jwks::check),
    ("pattern", pattern::check),
    ("token", token::check),
];

#[test]
fn every_seed_passes_its_check() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, check) in CHECKS {
        let seeds = fs::read_dir(fuzz.join("seeds").join(name)).expect("a folder of seeds");
        let seeds: Vec<_> = seeds.map(|seed| seed.expect("a seed").path()).collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            let good =
                seed.file_name().is_some_and(|name| name.to_string_lossy().starts_with("good"));
            let passed = check(&fs::read(&seed).expect("a seed"));
            assert_eq!(passed, good, "{}", seed.display());
        }
    }
}

/// A target that is not replayed here would be forgotten.
#[test]
fn every_target_has_its_check_here() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/targets");
    let targets = fs::read_dir(targets).expect("the targets");
    let mut names: Vec<_> = targets
        .map(|target| target.expect("a target").path())
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    assert_eq!(names, CHECKS.map(|(name, _)| name));
}
