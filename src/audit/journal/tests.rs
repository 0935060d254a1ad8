//! The journal under pressure: full queues, failing disks, late closes.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::Waker;

use serde_json::Value;

use super::*;
use crate::audit::samples::Samples;
use crate::audit::sinks::Resume;

fn config(durability: Durability) -> JournalConfig {
    JournalConfig { directory: None, stdout: false, durability, rotate_size: 64 << 20, queue: 1024 }
}

fn in_directory(directory: &Path, durability: Durability) -> JournalConfig {
    JournalConfig { directory: Some(directory.to_owned()), ..config(durability) }
}

fn instance() -> Instance {
    Instance { uid: "gw-1".into(), version: "0.1.0".into() }
}

fn open(config: JournalConfig) -> (Journal, Metrics) {
    let metrics = Metrics::new().unwrap();
    (Journal::open(config, instance(), &metrics).unwrap(), metrics)
}

/// Every file of the directory in the order of their names.
fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

fn sequences(text: &str) -> Vec<u64> {
    let sequence =
        |line| serde_json::from_str::<Value>(line).unwrap()["metadata"]["sequence"].as_u64();
    text.lines().map(|line| sequence(line).unwrap()).collect()
}

fn count(metrics: &Metrics, sink: &str, result: &str) -> u64 {
    metrics.audit_events.with_label_values(&[sink, result]).get()
}

fn poll_once(committed: &mut Committed) -> Poll<Result<(), Unavailable>> {
    Pin::new(committed).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn at_write_an_event_is_in_the_file_before_the_wait_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, metrics) = open(in_directory(directory.path(), Durability::Write));
    let samples = Samples::new();
    for sequence in 1..=3 {
        journal.reserve().unwrap().commit(&samples.allowed()).await.unwrap();
        let text = files(directory.path()).concat();
        assert_eq!(sequences(&text), (1..=sequence).collect::<Vec<_>>());
    }
    assert!(text_holds(directory.path(), &samples.id()));
    journal.close().await;
    assert_eq!(count(&metrics, "file", "written"), 3);
}

fn text_holds(directory: &Path, wanted: &str) -> bool {
    files(directory).concat().contains(wanted)
}

#[tokio::test]
async fn at_memory_nothing_is_waited_for_and_close_writes_it_all() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(in_directory(directory.path(), Durability::Memory));
    let samples = Samples::new();
    for _ in 0..50 {
        let mut committed = journal.reserve().unwrap().commit(&samples.denied());
        assert_eq!(poll_once(&mut committed), Poll::Ready(Ok(())));
    }
    journal.close().await;
    assert_eq!(sequences(&files(directory.path()).concat()), (1..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_closed_journal_takes_no_new_requests_but_the_last_events_of_old_ones() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, metrics) = open(in_directory(directory.path(), Durability::Write));
    let samples = Samples::new();
    let late = journal.reserve().unwrap();
    assert!(journal.healthy());
    journal.close().await;
    assert!(!journal.healthy());
    assert_eq!(journal.reserve().unwrap_err(), Unavailable::Closed);
    assert_eq!(count(&metrics, "file", "refused"), 1);
    late.commit(&samples.aborted()).await.unwrap();
    assert_eq!(sequences(&files(directory.path()).concat()), [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_lose_nothing_across_rotations() {
    const THREADS: usize = 8;
    const EVENTS: usize = 250;
    let directory = tempfile::tempdir().unwrap();
    let rotating = JournalConfig {
        rotate_size: 16 * 1024,
        queue: THREADS,
        ..in_directory(directory.path(), Durability::Write)
    };
    let (journal, _) = open(rotating);
    let tasks: Vec<_> =
        (0..THREADS).map(|_| tokio::spawn(commit_each(journal.clone(), EVENTS))).collect();
    let mut ids = BTreeSet::new();
    for task in tasks {
        ids.extend(task.await.unwrap());
    }
    journal.close().await;
    let files = files(directory.path());
    let text = files.concat();
    assert!(files.len() > 10, "{} files", files.len());
    assert_eq!(sequences(&text), (1..=(THREADS * EVENTS) as u64).collect::<Vec<_>>());
    let uid = |line| serde_json::from_str::<Value>(line).unwrap()["metadata"]["uid"].clone();
    let written: BTreeSet<_> =
        text.lines().map(|line| uid(line).as_str().unwrap().to_owned()).collect();
    assert_eq!(written, ids);
}

async fn commit_each(journal: Journal, events: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..events {
        let samples = Samples::new();
        journal.reserve().unwrap().commit(&samples.allowed()).await.unwrap();
        ids.push(samples.id());
    }
    ids
}

#[tokio::test]
async fn each_start_begins_a_file_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sagegate-20200101T000000.000Z-torn.jsonl"), "{\"tor")
        .unwrap();
    let (journal, _) = open(in_directory(directory.path(), Durability::Write));
    journal.reserve().unwrap().commit(&Samples::new().allowed()).await.unwrap();
    let files = files(directory.path());
    assert_eq!((files.len(), files[0].as_str()), (2, "{\"tor"));
    assert_eq!(sequences(&files[1]), [1]);
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let metrics = Metrics::new().unwrap();
    let config = in_directory(&file.path().join("audit"), Durability::Write);
    assert!(Journal::open(config, instance(), &metrics).is_err());
}

/// A sink that does what the test says, one write at a time.
struct Scripted {
    answers: Receiver<io::Result<usize>>,
    written: Arc<Mutex<Vec<u8>>>,
    resume: Resume,
}

impl Sink for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn prepare(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// `Ok(n)` takes at most `n` bytes. A test that is over takes everything.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.answers.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
        self.written.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn recover(&mut self, _: &io::Error) -> io::Result<Resume> {
        Ok(self.resume)
    }
}

struct Script {
    journal: Journal,
    metrics: Metrics,
    answers: SyncSender<io::Result<usize>>,
    written: Arc<Mutex<Vec<u8>>>,
}

fn script(config: &JournalConfig, resume: Resume) -> Script {
    let metrics = Metrics::new().unwrap();
    // Without room in the channel: a `send` that returned was received by the writer.
    let (answers, receiver) = sync_channel(0);
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let sink = Scripted { answers: receiver, written: Arc::clone(&written), resume };
    let events = &metrics.audit_events;
    let journal = Journal::start(config, &instance(), Box::new(sink), None, events).unwrap();
    Script { journal, metrics, answers, written }
}

impl Script {
    fn text(&self) -> String {
        String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
    }

    fn answer(&self, answer: io::Result<usize>) {
        self.answers.send(answer).unwrap();
    }
}

fn full_disk() -> io::Error {
    ErrorKind::StorageFull.into()
}

#[tokio::test]
async fn a_full_disk_refuses_requests_until_it_has_room_and_then_nothing_is_missing() {
    let script = script(&config(Durability::Write), Resume::NextByte);
    let samples = Samples::new();
    let in_flight = script.journal.reserve().unwrap();
    let committed = script.journal.reserve().unwrap().commit(&samples.allowed());
    script.answer(Ok(100));
    script.answer(Err(full_disk()));
    assert_eq!(committed.await, Err(Unavailable::Failing));
    assert_eq!(script.journal.reserve().unwrap_err(), Unavailable::Failing);
    assert!(!script.journal.healthy());
    assert_eq!(in_flight.commit(&samples.denied()).await, Err(Unavailable::Failing));

    script.answer(Err(full_disk()));
    script.answer(Ok(usize::MAX));
    script.answer(Ok(usize::MAX));
    written(&script.journal.inner.queue).await;
    assert!(script.journal.healthy());
    assert!(script.journal.reserve().is_ok());
    assert_eq!(sequences(&script.text()), [1, 2]);
    assert_eq!(count(&script.metrics, "scripted", "failed"), 1);
    assert_eq!(count(&script.metrics, "scripted", "written"), 2);
}

#[tokio::test]
async fn in_a_new_file_the_torn_line_is_written_again_whole() {
    let script = script(&config(Durability::Write), Resume::LineStart);
    let committed = script.journal.reserve().unwrap().commit(&Samples::new().allowed());
    script.answer(Ok(100));
    script.answer(Err(ErrorKind::StaleNetworkFileHandle.into()));
    assert!(committed.await.is_err());
    let torn = std::mem::take(&mut *script.written.lock().unwrap());
    script.answer(Ok(usize::MAX));
    written(&script.journal.inner.queue).await;
    assert_eq!((torn.len(), sequences(&script.text())), (100, vec![1]));
}

#[tokio::test]
async fn an_interrupted_write_is_no_failure() {
    let script = script(&config(Durability::Write), Resume::NextByte);
    let committed = script.journal.reserve().unwrap().commit(&Samples::new().allowed());
    script.answer(Err(ErrorKind::Interrupted.into()));
    script.answer(Ok(usize::MAX));
    assert_eq!(committed.await, Ok(()));
    assert_eq!(count(&script.metrics, "scripted", "failed"), 0);
}

#[tokio::test]
async fn a_disk_that_hangs_fills_the_queue_and_not_the_memory() {
    let script = script(&JournalConfig { queue: 3, ..config(Durability::Write) }, Resume::NextByte);
    let samples = Samples::new();
    let mut waiting: Vec<_> =
        (0..3).map(|_| script.journal.reserve().unwrap().commit(&samples.allowed())).collect();
    assert!(waiting.iter_mut().all(|committed| poll_once(committed).is_pending()));
    assert_eq!(script.journal.reserve().unwrap_err(), Unavailable::Full);
    assert_eq!(count(&script.metrics, "scripted", "refused"), 1);

    drop(script.answers);
    for committed in waiting {
        assert_eq!(committed.await, Ok(()));
    }
    assert!(script.journal.reserve().is_ok());
}

#[tokio::test]
async fn an_event_whose_wait_was_dropped_is_written_all_the_same() {
    let script = script(&config(Durability::Write), Resume::NextByte);
    drop(script.journal.reserve().unwrap().commit(&Samples::new().allowed()));
    script.answer(Ok(usize::MAX));
    written(&script.journal.inner.queue).await;
    assert_eq!(sequences(&script.text()), [1]);
}

#[test]
fn an_intent_dropped_without_an_event_frees_its_place() {
    let script = script(&JournalConfig { queue: 1, ..config(Durability::Write) }, Resume::NextByte);
    let intent = script.journal.reserve().unwrap();
    assert_eq!(script.journal.reserve().unwrap_err(), Unavailable::Full);
    drop(intent);
    assert!(script.journal.reserve().is_ok());
}

/// The journal in `directory` with a copy whose reader the test plays.
fn with_copy(directory: &Path, bytes: usize) -> (Journal, Metrics, SyncSender<io::Result<usize>>) {
    let metrics = Metrics::new().unwrap();
    let (answers, receiver) = sync_channel(0);
    let (written, resume) = (Arc::default(), Resume::NextByte);
    let sink = Box::new(Scripted { answers: receiver, written, resume });
    let events = &metrics.audit_events;
    let queue = Arc::new(Queue::new(Durability::Write, Limits { places: usize::MAX, bytes }));
    Writer::new(Arc::clone(&queue), sink, None, events).spawn().unwrap();
    let dropped = events.with_label_values(&["scripted", "dropped"]);
    let file = Box::new(FileSink::open(directory, 1 << 20, Clock::System).unwrap());
    let follower = Some(Follower { queue, dropped });
    let journal =
        Journal::start(&config(Durability::Write), &instance(), file, follower, events).unwrap();
    (journal, metrics, answers)
}

#[tokio::test]
async fn a_copy_that_blocks_loses_counted_lines_and_never_holds_up_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, metrics, answers) = with_copy(directory.path(), 8 * 1024);
    let samples = Samples::new();
    for _ in 0..20 {
        journal.reserve().unwrap().commit(&samples.allowed()).await.unwrap();
    }
    assert_eq!(sequences(&files(directory.path()).concat()), (1..=20).collect::<Vec<_>>());
    let dropped = count(&metrics, "scripted", "dropped");
    assert!((1..20).contains(&dropped), "{dropped}");

    drop(answers);
    journal.close().await;
    assert_eq!(count(&metrics, "scripted", "written"), 20 - dropped);
}

#[tokio::test]
async fn a_copy_that_is_read_misses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, metrics, answers) = with_copy(directory.path(), 8 * 1024);
    drop(answers);
    let samples = Samples::new();
    journal.reserve().unwrap().commit(&samples.allowed()).await.unwrap();
    journal.close().await;
    assert_eq!(count(&metrics, "scripted", "dropped"), 0);
    assert_eq!(count(&metrics, "scripted", "written"), 1);
}
