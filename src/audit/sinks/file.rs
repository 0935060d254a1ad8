//! Files `sagegate-<UTC time>-<random>.jsonl` in one directory, each begun by this process
//! and never reopened, so that the torn last line of a crashed run is never written behind.
//!
//! Invariant: sorted by name, one process's files are in the order they were begun, also
//! within a millisecond and when the clock is set back.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{Resume, Sink};
use crate::telemetry::clock::{Clock, unix_millis};

#[derive(Debug)]
pub(in crate::audit) struct FileSink {
    directory: PathBuf,
    rotate_size: u64,
    clock: Clock,
    /// Two processes may share a directory, in which their ids may be equal (containers).
    process: String,
    /// Milliseconds in the current file's name.
    stamp: u64,
    file: File,
    size: u64,
}

impl FileSink {
    /// Creates the directory where it is missing (0700), and the first file (0600).
    pub(in crate::audit) fn open(
        directory: &Path,
        rotate_size: u64,
        clock: Clock,
    ) -> io::Result<Self> {
        // An existing directory keeps its mode: it is the operator's.
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut process = Uuid::new_v4().simple().to_string();
        process.truncate(8);
        let stamp = unix_millis(clock.now());
        let file = begin(directory, stamp, &process)?;
        let directory = directory.to_owned();
        Ok(Self { directory, rotate_size, clock, process, stamp, file, size: 0 })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let stamp = unix_millis(self.clock.now()).max(self.stamp + 1);
        self.file = begin(&self.directory, stamp, &self.process)?;
        self.stamp = stamp;
        self.size = 0;
        Ok(())
    }
}

impl Sink for FileSink {
    fn name(&self) -> &'static str {
        "file"
    }

    /// A file is full once it has reached the size, so it exceeds it by at most a batch.
    /// One that somebody removed takes no more lines, for they would vanish with it.
    fn prepare(&mut self) -> io::Result<()> {
        if self.file.metadata()?.nlink() == 0 {
            return self.rotate();
        }
        if self.size >= self.rotate_size
            && let Err(error) = self.rotate()
        {
            // The record goes before the size: the full file takes more.
            tracing::warn!(%error, "audit journal cannot begin a new file");
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.size += u64::try_from(written).unwrap_or_default();
        Ok(written)
    }

    /// A full disk is waited for; any other error may be the file's own, so a new one is
    /// begun and the torn line repeated there whole.
    fn recover(&mut self, error: &io::Error) -> io::Result<Resume> {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded) {
            return Ok(Resume::NextByte);
        }
        self.rotate().map(|()| Resume::LineStart)
    }
}

fn begin(directory: &Path, stamp: u64, process: &str) -> io::Result<File> {
    let path = directory.join(format!("sagegate-{}-{process}.jsonl", utc(stamp)));
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

/// `20261123T120000.123Z`
fn utc(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|m| jiff::Timestamp::from_millisecond(m).ok());
    time.unwrap_or(jiff::Timestamp::MAX).strftime("%Y%m%dT%H%M%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, UNIX_EPOCH};

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn noon() -> Clock {
        Clock::manual(UNIX_EPOCH + Duration::from_millis(1_795_435_200_123))
    }

    #[test]
    fn the_directory_and_its_files_are_for_the_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("var/audit");
        let _sink = FileSink::open(&directory, 1, noon()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        let name = names(&directory).remove(0);
        assert_eq!(mode(&directory.join(&name)), 0o600);
        assert!(name.starts_with("sagegate-20261123T120000.123Z-"), "{name}");
    }

    #[test]
    fn files_sort_in_the_order_they_were_begun_even_within_a_millisecond() {
        let root = tempfile::tempdir().unwrap();
        let clock = noon();
        let mut sink = FileSink::open(root.path(), 4, clock.clone()).unwrap();
        for line in 0..12 {
            if line == 6 {
                clock.set(UNIX_EPOCH);
            }
            sink.prepare().unwrap();
            assert_eq!(sink.write(format!("{line:03}\n").as_bytes()).unwrap(), 4);
        }
        let names = names(root.path());
        let read = |name: &String| std::fs::read_to_string(root.path().join(name)).unwrap();
        let lines: String = names.iter().map(read).collect();
        let wanted: String = (0..12).map(|line| format!("{line:03}\n")).collect();
        assert_eq!((names.len(), lines), (12, wanted));
    }

    #[test]
    fn a_file_below_the_size_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let mut sink = FileSink::open(root.path(), 9, noon()).unwrap();
        for _ in 0..2 {
            sink.prepare().unwrap();
            sink.write(b"{1}\n").unwrap();
        }
        assert_eq!(names(root.path()).len(), 1);
    }

    #[test]
    fn a_removed_file_is_replaced_before_the_next_batch() {
        let root = tempfile::tempdir().unwrap();
        let mut sink = FileSink::open(root.path(), 1 << 20, noon()).unwrap();
        std::fs::remove_file(root.path().join(names(root.path()).remove(0))).unwrap();
        sink.prepare().unwrap();
        sink.write(b"{1}\n").unwrap();
        let name = names(root.path()).remove(0);
        assert_eq!(std::fs::read(root.path().join(name)).unwrap(), b"{1}\n");
    }

    #[test]
    fn a_full_disk_is_waited_for_and_any_other_error_begins_a_new_file() {
        let root = tempfile::tempdir().unwrap();
        let mut sink = FileSink::open(root.path(), 1 << 20, noon()).unwrap();
        let file = sink.file.try_clone().unwrap();
        sink.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let full = sink.write(b"{1}\n").unwrap_err();
        sink.file = file;
        assert_eq!(sink.recover(&full).unwrap(), Resume::NextByte);
        assert_eq!(names(root.path()).len(), 1);
        let stale = io::Error::from(io::ErrorKind::StaleNetworkFileHandle);
        assert_eq!(sink.recover(&stale).unwrap(), Resume::LineStart);
        assert_eq!(names(root.path()).len(), 2);
    }
}
