//! Child processes that never outlive the bench, and what `/proc` says about them.

use std::fs::{File, read_to_string};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Outcome;

/// The kernel's unit in `/proc/PID/stat` (`USER_HZ`): 100 on x86-64 and arm64.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running child; dropping it kills it.
pub(crate) struct Process(Child);

impl Process {
    /// Starts `command` with its output in `log`.
    pub(crate) fn logged(command: &mut Command, log: &Path) -> Outcome<Self> {
        let file = File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| format!("cannot start {command:?}: {error}"))?;
        Ok(Self(child))
    }

    /// Starts another part of this bench, and gives the pipes to talk with it.
    pub(crate) fn part<A: AsRef<std::ffi::OsStr>>(
        arguments: impl IntoIterator<Item = A>,
    ) -> Outcome<(Self, ChildStdin, BufReader<ChildStdout>)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let input = child.stdin.take().ok_or("no stdin")?;
        let output = child.stdout.take().ok_or("no stdout")?;
        Ok((Self(child), input, BufReader::new(output)))
    }

    /// `false` once the process has ended.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// User and system time of all its threads so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Outcome<f64> {
        let stat = read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // The name in parentheses may hold spaces; what follows it is fields 3 and on.
        let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let ticks =
            |at: usize| -> Outcome<f64> { Ok(fields.get(at).ok_or("short stat")?.parse()?) };
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> Outcome<f64> {
        self.status_kib("VmRSS:")
    }

    /// What of the resident memory is its own; the rest is pages of its binary and libraries.
    pub(crate) fn anonymous_kib(&self) -> Outcome<f64> {
        self.status_kib("RssAnon:")
    }

    fn status_kib(&self, field: &str) -> Outcome<f64> {
        let status = read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_ascii_whitespace().next());
        Ok(kib.ok_or_else(|| format!("no {field} in status"))?.parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// One line from a child, without its end.
pub(crate) fn line(output: &mut BufReader<ChildStdout>) -> Outcome<String> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}
