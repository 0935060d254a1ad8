//! Notices that a configuration changed.
//!
//! By content, not by time stamps or file events: a ConfigMap swaps a symlink, an editor
//! renames, a mount loses its events, and in all of these the hash says what matters. What
//! is watched is what was loaded, and the directory of policies, where a file may appear.
//! A change is told once; whether the new state is any good is for [`load`](super::load).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior};

use super::fault::{Faults, Tried};
use super::loaded::{Loaded, Source};
use super::sources;

/// How often the files are looked at. A reload is no emergency, and hashing a few files
/// every two seconds costs nothing.
const EVERY: Duration = Duration::from_secs(2);

/// Whether any of the files changed since this was read from them.
pub(super) fn changed_since(result: &Result<Loaded, Faults>) -> bool {
    match result {
        Ok(loaded) => Files::loaded(loaded).look(),
        Err(faults) => Files(faults.tried.clone()).look(),
    }
}

/// The watched files and what they held when last looked at. Knows no runtime.
#[derive(Clone, Debug, Default)]
struct Files(Tried);

impl Files {
    /// What was loaded counts as seen, so that a change between loading and watching shows.
    fn loaded(loaded: &Loaded) -> Self {
        let seen = |source: &Source| (source.path.clone(), Some(source.sha256.clone()));
        let files = loaded.sources.iter().map(seen).collect();
        Self(Tried { files, policies_dir: loaded.policies_dir.clone() })
    }

    /// Looks again; whether anything differs from the last look.
    fn look(&mut self) -> bool {
        let now = self.now();
        // A file that neither was there nor is there now is no change.
        let held = |files: &BTreeMap<PathBuf, Option<String>>| -> Vec<_> {
            files
                .iter()
                .filter(|(_, hash)| hash.is_some())
                .map(|(a, b)| (a.clone(), b.clone()))
                .collect()
        };
        let changed = held(&now) != held(&self.0.files);
        self.0.files = now;
        changed
    }

    fn now(&self) -> BTreeMap<PathBuf, Option<String>> {
        let listed = self.0.policies_dir.as_deref().map(sources::policies);
        let listed = listed.and_then(Result::ok).unwrap_or_default();
        let all = self.0.files.keys().cloned().chain(listed);
        let hashed = |path: PathBuf| {
            let hash = sources::sha256(&path).ok();
            (path, hash)
        };
        all.map(hashed).collect()
    }
}

/// Waits for a reason to load again: a changed file or SIGHUP.
#[derive(Debug)]
pub struct Watch {
    files: Files,
    interval: Interval,
    hangup: Signal,
    /// SIGHUP came and has not been told yet.
    hung_up: bool,
}

impl Watch {
    /// Watches what `loaded` was read from. Needs tokio's runtime.
    ///
    /// # Errors
    /// If SIGHUP cannot be listened for.
    pub fn new(loaded: &Loaded) -> std::io::Result<Self> {
        let mut interval = tokio::time::interval(EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hangup = signal(SignalKind::hangup())?;
        Ok(Self { files: Files::loaded(loaded), interval, hangup, hung_up: false })
    }

    /// Follows the files of a newly loaded state: it may name other ones.
    pub fn follow(&mut self, loaded: &Loaded) {
        self.files = Files::loaded(loaded);
    }

    /// Follows, besides, the files of an attempt that failed: a certificate that was missing
    /// may arrive later, and must then be a reason to try again.
    pub fn follow_failed(&mut self, faults: &Faults) {
        let Tried { files, policies_dir } = faults.tried.clone();
        self.files.0.files.extend(files);
        self.files.0.policies_dir = policies_dir.or(self.files.0.policies_dir.take());
    }

    /// Returns when a file changed or SIGHUP came. A state that was told, good or faulty, is
    /// told again only when it changes again.
    ///
    /// Cancel-safe: dropping the future loses neither a change nor a signal; the next call
    /// finds it.
    pub async fn changed(&mut self) {
        while !self.hung_up {
            tokio::select! {
                Some(()) = self.hangup.recv() => self.hung_up = true,
                _ = self.interval.tick() => if self.look().await { return },
            }
        }
        // What is loaded next is what is seen, whichever of both woke us.
        self.look().await;
        self.hung_up = false;
    }

    /// Off the runtime's threads, because a mounted volume may be slow. The state changes
    /// only when the look is complete, so that a drop in between loses nothing.
    async fn look(&mut self) -> bool {
        let mut files = self.files.clone();
        let looking = tokio::task::spawn_blocking(move || (files.look(), files));
        // It fails only when the runtime shuts down; then there is nothing to reload for.
        let Ok((changed, files)) = looking.await else { return false };
        self.files = files;
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn files(paths: &[&Path], directory: Option<&Path>) -> Files {
        let held = |path: &&Path| ((*path).to_owned(), sources::sha256(path).ok());
        let files = paths.iter().map(held).collect();
        Files(Tried { files, policies_dir: directory.map(Path::to_owned) })
    }

    #[test]
    fn a_change_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "a").unwrap();
        let mut files = files(&[&path], None);
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
        let mut files = files(&[&path], None);
        fs::write(&path, "a").unwrap();
        assert!(!files.look());
    }

    #[test]
    fn a_change_between_loading_and_watching_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "a").unwrap();
        let mut files = files(&[&path], None);
        fs::write(&path, "b").unwrap();
        assert!(files.look());
    }

    #[test]
    fn policies_that_appear_and_go_are_changes() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = files(&[], Some(dir.path()));
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
        let mut files = files(&[&at("access.yaml")], None);
        assert!(!files.look());
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(files.look());
        assert!(!files.look());
    }

    fn write_config(dir: &Path, more: &str) {
        let text = format!(
            "server: {{ listen: 127.0.0.1:0 }}\nissuers: {{ corp: {{ issuer: https://a.example.com, audiences: [a] }} }}\n{more}"
        );
        fs::write(dir.join("sagegate.yaml"), text).unwrap();
        fs::write(dir.join("access.yaml"), "").unwrap();
    }

    fn load(dir: &Path) -> Result<Loaded, Faults> {
        crate::config::tests::load(&dir.join("sagegate.yaml"), &|_| None)
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn a_changed_file_wakes_the_watch() {
        let dir = tempfile::tempdir().unwrap();
        write_config(dir.path(), "");
        run(async {
            let mut watch = Watch::new(&load(dir.path()).unwrap()).unwrap();
            write_config(dir.path(), "log: { level: debug }");
            watch.changed().await;
            watch.follow(&load(dir.path()).unwrap());
            assert!(!watch.look().await);
        });
    }

    #[test]
    fn a_file_that_a_failed_attempt_missed_wakes_the_watch_when_it_arrives() {
        let dir = tempfile::tempdir().unwrap();
        write_config(dir.path(), "");
        run(async {
            let mut watch = Watch::new(&load(dir.path()).unwrap()).unwrap();
            write_config(dir.path(), "aws: { ca: late.pem }\npolicies: late/");
            watch.changed().await;
            watch.follow_failed(&load(dir.path()).unwrap_err());
            assert!(!watch.look().await);
            fs::write(dir.path().join("late.pem"), "x").unwrap();
            watch.changed().await;
            assert!(!watch.look().await);
            fs::create_dir(dir.path().join("late")).unwrap();
            fs::write(dir.path().join("late/a.cedar"), "x").unwrap();
            watch.changed().await;
        });
    }

    #[test]
    fn sighup_wakes_the_watch_though_nothing_changed() {
        let dir = tempfile::tempdir().unwrap();
        write_config(dir.path(), "");
        run(async {
            let mut watch = Watch::new(&load(dir.path()).unwrap()).unwrap();
            let kill = std::process::Command::new("kill")
                .args(["-HUP", &std::process::id().to_string()])
                .status();
            assert!(kill.unwrap().success());
            watch.changed().await;
            assert!(!watch.hung_up && !watch.look().await);
        });
    }
}
