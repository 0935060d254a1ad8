//! Group commit, and a disk that says no to it.

use super::*;

fn fsync() -> JournalConfig {
    config(Durability::Fsync)
}

#[tokio::test]
async fn an_intent_is_on_disk_before_its_proof_and_the_outcome_before_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, metrics) = open(in_directory(directory.path(), Durability::Fsync));
    let samples = Samples::new();
    let intent = journal.reserve().unwrap();
    intent.declare(|| samples.intended()).await.unwrap();
    assert!(text_holds(directory.path(), &format!("{}:intent", samples.id())));
    intent.commit(&samples.allowed()).await.unwrap();
    assert_eq!(requests(&files(directory.path()).concat()), [samples.id()]);
    assert_eq!(metrics.audit_sync_records.get_sample_count(), 2);
    assert_eq!(metrics.audit_sync_wait.get_sample_count(), 2);
}

#[tokio::test]
async fn other_durabilities_record_no_intent_and_wait_for_none() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(in_directory(directory.path(), Durability::Write));
    let intent = journal.reserve().unwrap();
    let undeclared = || -> Event<'_> { panic!("nobody asks for the event") };
    intent.declare(undeclared).await.unwrap();
    let samples = Samples::new();
    intent.commit(&samples.allowed()).await.unwrap();
    assert!(!text_holds(directory.path(), ":intent"));
}

#[tokio::test]
async fn one_sync_serves_all_that_wait() {
    let script = script(&fsync(), Resume::NextByte);
    let samples = Samples::new();
    let commit = || script.journal.reserve().unwrap().commit(&samples.allowed());
    let first = commit();
    script.answer(Ok(usize::MAX));
    // The disk is at work on the first.
    let others: Vec<_> = (0..5).map(|_| commit()).collect();
    script.syncs.send(Ok(())).unwrap();
    first.await.unwrap();
    script.answer(Ok(usize::MAX));
    script.syncs.send(Ok(())).unwrap();
    for other in others {
        other.await.unwrap();
    }
    let records = &script.metrics.audit_sync_records;
    assert_eq!((records.get_sample_count(), records.get_sample_sum()), (2, 6.0));
}

#[tokio::test]
async fn what_the_disk_did_not_take_is_refused_and_written_again_elsewhere() {
    let script = script(&fsync(), Resume::Page(None));
    let samples = Samples::new();
    let intent = script.journal.reserve().unwrap();
    let declared = tokio::spawn({
        let samples = Samples::new();
        async move { intent.declare(|| samples.intended()).await.err() }
    });
    tokio::task::yield_now().await;
    script.answer(Ok(usize::MAX));
    script.syncs.send(Err(io::Error::other("I/O error"))).unwrap();
    assert_eq!(declared.await.unwrap(), Some(Unavailable::Failing));
    assert!(!script.journal.healthy());
    assert_eq!(script.journal.reserve().unwrap_err(), Unavailable::Failing);

    let before = script.written.lock().unwrap().len();
    script.answer(Ok(usize::MAX));
    script.syncs.send(Ok(())).unwrap();
    while !script.journal.healthy() {
        tokio::task::yield_now().await;
    }
    let (journal, _, text) = {
        drop(script.journal.reserve().unwrap().commit(&samples.allowed()));
        script.rest().await
    };
    assert!(journal.healthy());
    let kinds: Vec<_> =
        text[before..].lines().map(|line| Line::parse(line.as_bytes()).unwrap().kind).collect();
    assert_eq!(kinds, [Kind::Head, Kind::Intent, Kind::Request, Kind::Head]);
}
