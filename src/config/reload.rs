//! Notices that a configuration changed.
//!
//! By content, not by time stamps or file events: a ConfigMap swaps a symlink, an editor
//! renames, a mount loses its events, and in all of these the hash says what matters. What
//! is watched is what was loaded, and the directory of policies, where a file may appear.
//! A change is told once; whether the new state is any good is for [`load`](super::load).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior};

use super::loaded::{Loaded, Source};
use super::sources;

/// How often the files are looked at. A reload is no emergency, and hashing a few files
/// every two seconds costs nothing.
const EVERY: Duration = Duration::from_secs(2);

/// What every watched file holds: its hash, or `None` if it cannot be read.
type Seen = BTreeMap<PathBuf, Option<String>>;

/// The watched files and what they held when last looked at. Knows no runtime.
#[derive(Clone, Debug, Default)]
struct Files {
    files: Vec<PathBuf>,
    directory: Option<PathBuf>,
    seen: Seen,
}

impl Files {
    /// What was loaded counts as seen, so that a change between loading and watching shows.
    fn new(sources: &[Source], directory: Option<&Path>) -> Self {
        let seen = sources.iter().map(|one| (one.path.clone(), Some(one.sha256.clone())));
        Self {
            files: sources.iter().map(|one| one.path.clone()).collect(),
            directory: directory.map(Path::to_owned),
            seen: seen.collect(),
        }
    }

    /// Looks again; whether anything differs from the last look.
    fn look(&mut self) -> bool {
        let now = self.now();
        let changed = now != self.seen;
        self.seen = now;
        changed
    }

    fn now(&self) -> Seen {
        let listed = self.directory.as_deref().map(sources::policies);
        let listed = listed.and_then(Result::ok).unwrap_or_default();
        let all = self.files.iter().cloned().chain(listed);
        all.map(|path| {
            let hash = sources::sha256(&path).ok();
            (path, hash)
        })
        .collect()
    }
}

/// Waits for a reason to load again: a changed file or SIGHUP.
#[derive(Debug)]
pub struct Watch {
    files: Files,
    interval: Interval,
    hangup: Signal,
}

impl Watch {
    /// Watches what `loaded` was read from. Needs tokio's runtime.
    ///
    /// # Errors
    /// If SIGHUP cannot be listened for.
    pub fn new(loaded: &Loaded) -> std::io::Result<Self> {
        let mut interval = tokio::time::interval(EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let files = Files::new(&loaded.sources, loaded.policies_dir.as_deref());
        Ok(Self { files, interval, hangup: signal(SignalKind::hangup())? })
    }

    /// Follows the files of a newly loaded state: it may name other ones.
    pub fn follow(&mut self, loaded: &Loaded) {
        self.files = Files::new(&loaded.sources, loaded.policies_dir.as_deref());
    }

    /// Returns when a file changed or SIGHUP came. Files that were faulty are told again
    /// only when they change again.
    ///
    /// Cancel-safe: dropping the future loses no change; the next call finds it.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                // A hang-up that arrives as the signals end would spin; ticks go on.
                Some(()) = self.hangup.recv() => {
                    // What is loaded now is what is seen, whichever of both woke us.
                    self.look().await;
                    return;
                }
                _ = self.interval.tick() => {
                    if self.look().await {
                        return;
                    }
                }
            }
        }
    }

    /// Off the runtime's threads, because a mounted volume may be slow. The state changes
    /// only when the look is complete, so that a drop in between loses nothing.
    async fn look(&mut self) -> bool {
        let mut files = self.files.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let changed = files.look();
            (changed, files)
        });
        // It fails only when the runtime shuts down; then there is nothing to reload for.
        let Ok((changed, files)) = looked.await else { return false };
        self.files = files;
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn source(path: &Path) -> Source {
        Source { path: path.to_owned(), sha256: sources::sha256(path).unwrap() }
    }

    #[test]
    fn a_change_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "a").unwrap();
        let mut files = Files::new(&[source(&path)], None);
        assert!(!files.look());
        fs::write(&path, "b").unwrap();
        assert!(files.look());
        assert!(!files.look());
        fs::remove_file(&path).unwrap();
        assert!(files.look());
        assert!(!files.look());
    }

    #[test]
    fn touching_a_file_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "a").unwrap();
        let mut files = Files::new(&[source(&path)], None);
        fs::write(&path, "a").unwrap();
        assert!(!files.look());
    }

    #[test]
    fn a_change_between_loading_and_watching_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "a").unwrap();
        let loaded = source(&path);
        fs::write(&path, "b").unwrap();
        assert!(Files::new(&[loaded], None).look());
    }

    #[test]
    fn policies_that_appear_and_go_are_changes() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new(&[], Some(dir.path()));
        assert!(!files.look());
        fs::write(dir.path().join("note.txt"), "no policy").unwrap();
        assert!(!files.look());
        fs::write(dir.path().join("a.cedar"), "").unwrap();
        assert!(files.look());
        fs::remove_file(dir.path().join("a.cedar")).unwrap();
        assert!(files.look());
    }

    /// Kubernetes writes a ConfigMap into a new folder, and renames a symlink over `..data`.
    #[test]
    fn a_config_maps_swap_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (folder, text) in [("..1", "old"), ("..2", "new")] {
            fs::create_dir(at(folder)).unwrap();
            fs::write(at(folder).join("access.yaml"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/access.yaml", at("access.yaml")).unwrap();
        let mut files = Files::new(&[source(&at("access.yaml"))], None);
        assert!(!files.look());
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(files.look());
        assert!(!files.look());
    }
}
