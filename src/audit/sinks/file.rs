//! Files in one directory, each begun by this process and never reopened, so that the torn
//! last line of a crashed run is never written behind.
//!
//! Invariants: files sort by name in the order they were begun (see
//! [`files`](crate::audit::files)); the one that is written is locked, so that no other
//! process goes on with its chain; and it holds whole pages up to `kept`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Resume, Sink, Trouble};
use crate::audit::digest::ChainUid;
use crate::audit::files::{FileName, HEADS};
use crate::audit::ledger::{Cause, Gap};
use crate::telemetry::clock::{Clock, unix_millis};

/// When a new file is begun.
#[derive(Clone, Copy, Debug)]
pub(in crate::audit) struct Rotation {
    /// Bytes.
    pub(in crate::audit) size: u64,
    pub(in crate::audit) age: Duration,
}

#[derive(Debug)]
pub(in crate::audit) struct FileSink {
    directory: PathBuf,
    chain: ChainUid,
    rotation: Rotation,
    /// Whether the disk shall have a page before it counts as kept.
    syncs: bool,
    clock: Clock,
    /// In the last file's name, or of the chain's last one before.
    stamp: u64,
    /// Whether the current file holds its first page.
    begun: bool,
    /// `None` after one had to be given up.
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    since: Instant,
    size: u64,
    /// How much of it is pages that were kept.
    kept: u64,
}

impl FileSink {
    /// Creates the directory where it is missing (0700), and the first file (0600), whose
    /// name comes after `last`.
    pub(in crate::audit) fn open(
        directory: &Path,
        chain: ChainUid,
        last: u64,
        rotation: Rotation,
        syncs: bool,
        clock: Clock,
    ) -> io::Result<Self> {
        let directory = directory.to_owned();
        let mut sink = Self {
            directory,
            chain,
            rotation,
            syncs,
            clock,
            stamp: last,
            begun: false,
            current: None,
        };
        sink.begin()?;
        Ok(sink)
    }

    /// An existing directory keeps its mode: it is the operator's.
    fn begin(&mut self) -> io::Result<()> {
        let stamp = unix_millis(self.clock.now()).max(self.stamp + 1);
        let name = FileName { stamp, chain: self.chain };
        let path = self.directory.join(name.to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        self.stamp = stamp;
        if let Err(error) = file.try_lock() {
            tracing::warn!(%error, "the audit file cannot be locked: no other process must write here");
        }
        if self.syncs {
            // Else the file may be there after a power failure, and its name not.
            File::open(&self.directory)?.sync_all()?;
        }
        self.begun = false;
        self.current = Some(Current { file, path, since: Instant::now(), size: 0, kept: 0 });
        Ok(())
    }

    /// Whether the current file takes no more.
    fn is_full(&self, current: &Current) -> bool {
        current.kept > 0
            && (current.size >= self.rotation.size || current.since.elapsed() >= self.rotation.age)
    }
}

impl Sink for FileSink {
    fn name(&self) -> &'static str {
        "file"
    }

    /// A file is full once it has reached the size, so it exceeds it by at most a page.
    /// One that somebody removed takes no more lines, for they would vanish with it.
    fn prepare(&mut self) -> io::Result<Option<String>> {
        match &self.current {
            None => self.begin()?,
            Some(current) if current.file.metadata()?.nlink() == 0 => {
                tracing::error!(path = %current.path.display(), "somebody removed the audit file");
                self.begin()?;
            }
            Some(current) if self.is_full(current) => {
                if let Err(error) = self.begin() {
                    // The record goes before the size: the full file takes more.
                    tracing::warn!(%error, "audit journal cannot begin a new file");
                }
            }
            Some(_) => {}
        }
        let current = self.current.as_ref().filter(|_| !self.begun);
        Ok(current.map(Current::name))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let current = self.current.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let written = current.file.write(bytes)?;
        current.size += u64::try_from(written).unwrap_or_default();
        Ok(written)
    }

    fn sync(&mut self) -> io::Result<()> {
        match &self.current {
            Some(current) if self.syncs => current.file.sync_data(),
            _ => Ok(()),
        }
    }

    fn kept(&mut self, heads: &[u8]) {
        self.begun = true;
        let Some(current) = &mut self.current else { return };
        current.kept = current.size;
        if let Err(error) = current.append_heads(heads, self.syncs) {
            // They are in the journal as well.
            tracing::warn!(%error, "an audit head could not be written beside its file");
        }
    }

    /// A full disk is waited for; any other error may be the file's own, so a new one is
    /// begun. After a failed sync nobody knows what the disk has of a file, and a second
    /// sync would say yes to what the first one lost.
    fn recover(&mut self, error: &Trouble) -> Resume {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match error {
            Trouble::Prepare(_) => Resume::Page(None),
            Trouble::Write(e) if matches!(e.kind(), StorageFull | QuotaExceeded) => {
                Resume::NextByte
            }
            Trouble::Write(_) | Trouble::Sync(_) => {
                Resume::Page(self.current.take().and_then(Current::give_up))
            }
        }
    }
}

impl Current {
    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn append_heads(&self, heads: &[u8], sync: bool) -> io::Result<()> {
        if heads.is_empty() {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let path = self.path.with_extension(HEADS);
        let mut file = options.append(true).create(true).mode(0o600).open(path)?;
        file.write_all(heads)?;
        if sync { file.sync_data() } else { Ok(()) }
    }

    /// Takes away what is no kept page, for it will be written again elsewhere; what could
    /// not be taken away is a gap. A file without any page goes.
    fn give_up(self) -> Option<Gap> {
        let gone = if self.kept == 0 {
            std::fs::remove_file(&self.path)
        } else {
            self.file.set_len(self.kept).and_then(|()| self.file.sync_data())
        };
        let error = gone.err().filter(|error| error.kind() != io::ErrorKind::NotFound)?;
        let file = self.name();
        tracing::warn!(file, offset = self.kept, %error, "what was written here last cannot be taken back");
        let bytes = self.size - self.kept;
        Some(Gap { file, offset: self.kept, bytes, cause: Cause::Unsynced })
    }
}

#[cfg(test)]
mod tests;
