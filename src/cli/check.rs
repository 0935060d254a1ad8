//! `sagegate check`: would it start with these files?

use std::path::Path;
use std::process::ExitCode;

use super::load::{load, metrics, say, say_error};
use crate::ship::ShipConfig;

pub(super) fn check(path: &Path) -> ExitCode {
    let loaded = match metrics().and_then(|metrics| load(path, &metrics)) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    for danger in &loaded.dangers {
        say_error(&format!("warning: `danger.{danger}` is on"));
    }
    if loaded.ship.as_ref().is_some_and(ShipConfig::keeps_all) {
        say_error(
            &"warning: nothing removes the journal's files, and the disk is full one day: set `audit.retention`",
        );
    }
    let mut reads = vec!["role", "action", "endpoint"];
    reads.extend(loaded.policy.footprint().inputs().map(|input| input.as_str()));
    say(&format!(
        "{}: ok\npolicy: {}\ndecisions read: {}{}",
        path.display(),
        loaded.policy.version(),
        reads.join(", "),
        if loaded.policy.uncacheable() { " (not cached)" } else { "" },
    ));
    ExitCode::SUCCESS
}
