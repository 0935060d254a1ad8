//! What every command that takes `--config` does first.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::{DEFAULT_FILE, USAGE};
use crate::config::{self, Loaded};
use crate::telemetry::metrics::Metrics;

/// Both files, or the exit code after their faults were printed to standard error.
pub(super) fn load(path: &Path, metrics: &Metrics) -> Result<Loaded, ExitCode> {
    config::load(path, &environment, metrics).map_err(|faults| {
        say_error(&faults);
        if path == Path::new(DEFAULT_FILE) && !path.exists() {
            say_error(&"  hint: say where it is with `--config FILE`");
        }
        ExitCode::from(USAGE)
    })
}

/// A variable of this process, for `${…}`.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

pub(super) fn metrics() -> Result<Metrics, ExitCode> {
    Metrics::new().map_err(|error| {
        say_error(&error);
        ExitCode::FAILURE
    })
}

/// A line to standard output. That nobody reads it is not our failure.
pub(super) fn say(text: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A line to standard error.
pub(super) fn say_error(text: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
