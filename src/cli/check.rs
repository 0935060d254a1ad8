//! `sagegate check`: would it start with these files?

use std::path::Path;
use std::process::ExitCode;

use super::load::{load, metrics, say, say_error};

pub(super) fn check(path: &Path) -> ExitCode {
    let loaded = match metrics().and_then(|metrics| load(path, &metrics)) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    for danger in &loaded.dangers {
        say_error(&format!("warning: `danger.{danger}` is on"));
    }
    say(&format!(
        "{}: ok ({} issuers, {} roles, {} bindings, {} teams, {} policy files; policy {})",
        path.display(),
        loaded.issuers.len(),
        loaded.policy.counts().roles,
        loaded.policy.counts().bindings,
        loaded.policy.counts().teams,
        loaded.policy.counts().files,
        loaded.policy.version(),
    ));
    ExitCode::SUCCESS
}
