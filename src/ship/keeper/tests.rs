//! The keeper beside a journal that is written, with the retention's time in the test's hands.

use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

use super::*;
use crate::audit::files::{self, RECORDS};
use crate::audit::samples::{Samples, valid_kinds};
use crate::audit::verify::{Evidence, Report, verify};
use crate::audit::{Durability, Instance, JournalConfig, Privacy};
use crate::ship::config::SpoolFull;

const DAY: Duration = Duration::from_hours(24);

/// A journal of a file for each record, in memory before the disk has it.
fn journal(directory: &Path, metrics: &Metrics) -> Journal {
    let config = JournalConfig {
        directory: Some(directory.to_owned()),
        durability: Durability::Memory,
        rotate_size: 1,
        rotate_age: DAY,
        signing_key: None,
        queue: 64,
        privacy: Privacy::default(),
    };
    let instance = Instance { uid: "gw-1".into(), version: "0.1.0".into() };
    Journal::open(config, instance, metrics).unwrap()
}

fn keeper(directory: &Path, clock: Clock) -> (Keeper, watch::Sender<Stop>) {
    let metrics = Metrics::new().unwrap();
    let (stopping, stop) = watch::channel(Stop::Run);
    let keeper = Keeper {
        directory: directory.to_owned(),
        rules: Rules { spool: 10 << 30, full: SpoolFull::Refuse, retention: Some(DAY) },
        sinks: Vec::new(),
        journal: journal(directory, &metrics),
        metrics,
        clock,
        stop,
        shipping: None,
        waiting: Vec::new(),
        full: false,
    };
    (keeper, stopping)
}

fn verified(directory: &Path) -> Report {
    verify(&[directory.to_owned()], Evidence::default()).unwrap().remove(0)
}

/// Behind which all that was committed before is written, at any durability.
async fn flush(journal: &Journal) {
    let note = Note {
        time: SystemTime::now(),
        operation: "KeySetChange",
        activity: Activity::Update,
        severity: Severity::Informational,
        failure: None,
        message: "the keys of corp changed",
        members: br#""keys":{"issuer":"corp"}"#,
    };
    journal.note(Kind::Keys, &note).await.unwrap();
}

#[tokio::test]
async fn what_retention_removed_is_on_record_under_a_head_and_the_rest_verifies() {
    let root = tempfile::tempdir().unwrap();
    let clock = Clock::manual(SystemTime::now());
    let (mut keeper, _stop) = keeper(root.path(), clock.clone());
    for _ in 0..3 {
        drop(keeper.journal.reserve().unwrap().commit(&Samples::new().allowed()));
        flush(&keeper.journal).await;
    }
    keeper.look().await.unwrap();
    let before = verified(root.path());
    assert_eq!((before.first, before.fault), (1, None), "nothing is old enough");

    clock.set(SystemTime::now() + DAY + Duration::from_secs(1));
    keeper.look().await.unwrap();
    let after = verified(root.path());
    assert_eq!(after.fault, None);
    let begins = format!("begins behind record {}", after.first - 1);
    assert!(after.first >= 6 && after.notes.contains(&begins), "{after:?}");
    let kinds = valid_kinds(root.path());
    let told = kinds.iter().position(|kind| *kind == Kind::Retired).unwrap();
    assert_eq!(kinds[told + 1], Kind::Head, "{kinds:?}");
    let mode = std::fs::metadata(root.path().join("ship.lock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_journal_that_fails_is_told_of_a_removal_once_and_not_at_every_look() {
    let root = tempfile::tempdir().unwrap();
    let (broken, kept) = (root.path().join("journal"), root.path().join("kept"));
    let (mut keeper, _stop) = keeper(&broken, Clock::manual(SystemTime::now() + 2 * DAY));
    flush(&keeper.journal).await;
    flush(&keeper.journal).await;
    std::fs::create_dir(&kept).unwrap();
    for file in files::ending(&broken, RECORDS).unwrap() {
        std::fs::copy(&file, kept.join(file.file_name().unwrap())).unwrap();
    }
    let files = std::fs::read_dir(&kept).unwrap().count();
    keeper.directory.clone_from(&kept);
    // No file can be begun in place of the one that is gone.
    std::fs::remove_dir_all(&broken).unwrap();
    std::fs::write(&broken, "").unwrap();
    assert!(keeper.look().await.is_err());
    for _ in 0..5 {
        keeper.look().await.unwrap();
    }
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), files + 1, "with the lock's");
    std::fs::remove_file(&broken).unwrap();
    while !keeper.journal.healthy() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = valid_kinds(&broken);
    assert_eq!(told.iter().filter(|kind| **kind == Kind::Retired).count(), 1, "{told:?}");
}
