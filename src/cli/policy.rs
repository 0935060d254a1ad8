//! `sagegate policy`: the Cedar that the roles compile to, for reviewers.

use std::path::Path;
use std::process::ExitCode;

use super::load::{load, metrics, say};

pub(super) fn policy(path: &Path) -> ExitCode {
    match metrics().and_then(|metrics| load(path, &metrics)) {
        Ok(loaded) => {
            say(&loaded.policy.cedar().trim_end());
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}
