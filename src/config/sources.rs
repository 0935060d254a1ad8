//! Reads the files that a configuration is made of, from the disk or from texts at hand, and
//! remembers each by its hash.
//!
//! Everything is read here, once, bounded: what was checked is what is used, and what is
//! remembered is what a change is noticed by.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use super::fault::Tried;

/// Ten thousand roles are some 2 MiB; whatever is larger is another kind of file.
const MAX_FILE: u64 = 32 << 20;

/// The files looked at so far; paths are relative to `base`.
#[derive(Debug)]
pub(super) struct Sources {
    base: PathBuf,
    tried: Tried,
    /// Instead of the disk.
    given: Option<BTreeMap<PathBuf, Vec<u8>>>,
}

impl Sources {
    /// Paths will be relative to the folder of `main`.
    pub(super) fn beside(main: &Path) -> Self {
        let base = main.parent().unwrap_or(Path::new("")).to_owned();
        Self { base, tried: Tried::default(), given: None }
    }

    /// The same, and there are no other files than `files`; nothing is read from the disk.
    pub(super) fn given(main: &Path, files: BTreeMap<PathBuf, Vec<u8>>) -> Self {
        Self { given: Some(files), ..Self::beside(main) }
    }

    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// A resolved path as the configuration's folder sees it: the same wherever that is, and
    /// however `--config` spells it.
    pub(super) fn relative(&self, path: &Path) -> PathBuf {
        let path = path.strip_prefix(&self.base).unwrap_or(path);
        path.components().filter(|step| *step != Component::CurDir).collect()
    }

    /// Reads a file whose path is resolved already.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let bytes = match &self.given {
            Some(files) => files.get(path).cloned().ok_or(io::ErrorKind::NotFound.into()),
            None => read(path),
        };
        let sha256 = bytes.as_ref().ok().map(|bytes| hex::encode(digest(&SHA256, bytes)));
        self.tried.files.insert(path.to_owned(), sha256);
        bytes
    }

    /// The policies of a directory whose path is resolved already.
    pub(super) fn policies(&mut self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        self.tried.policies_dir = Some(directory.to_owned());
        let Some(files) = &self.given else { return policies(directory) };
        let beside = |path: &&PathBuf| path.parent() == Some(directory) && is_policy(path);
        Ok(files.keys().filter(beside).cloned().collect())
    }

    pub(super) fn into_tried(self) -> Tried {
        self.tried
    }
}

/// The `*.cedar` files of a directory, sorted by name.
pub(super) fn policies(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| is_policy(path));
    paths.sort();
    Ok(paths)
}

fn is_policy(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "cedar")
}

/// The hash of what a file holds now.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    Ok(hex::encode(digest(&SHA256, &read(path)?)))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Asked before it is opened: opening a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("it is larger than 32MiB"));
    }
    Ok(bytes)
}

/// Why a file could not be read, without the noise of `os error 2`.
pub(super) fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not be read (permissions)".to_owned(),
        _ => error.to_string(),
    }
}
