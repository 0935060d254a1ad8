//! The journal under pressure: full queues, failing disks, late closes.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::Waker;

mod fsync;

use super::*;
use crate::audit::ledger::{Cause, Gap};
use crate::audit::line::{Line, Link};
use crate::audit::samples::Samples;
use crate::audit::sinks::{Resume, Trouble};
use crate::audit::verify::{Evidence, verify};

fn config(durability: Durability) -> JournalConfig {
    JournalConfig {
        directory: None,
        durability,
        rotate_size: 64 << 20,
        rotate_age: Duration::from_secs(3600),
        signing_key: None,
        queue: 1024,
        privacy: Privacy::default(),
    }
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
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// The ids of the requests on record, in a chain without a fault.
fn requests(text: &str) -> Vec<String> {
    let mut last = Link::NONE;
    let mut ids = Vec::new();
    for line in text.lines() {
        let line = Line::parse(line.as_bytes()).expect(line);
        assert!(line.is_intact() && line.follows(last), "{line:?}");
        last = line.link();
        if line.kind == Kind::Request {
            ids.push(String::from_utf8(line.uid().unwrap().to_vec()).unwrap());
        }
    }
    ids
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
        assert_eq!(requests(&text).len(), sequence);
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
    assert_eq!(requests(&files(directory.path()).concat()).len(), 50);
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
    assert_eq!(requests(&files(directory.path()).concat()), [samples.id()]);
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
    let written = requests(&text);
    assert_eq!(written.len(), THREADS * EVENTS);
    assert_eq!(BTreeSet::from_iter(written), ids);
    let reports = verify(&[directory.path().to_owned()], Evidence::default()).unwrap();
    assert_eq!((reports[0].fault.as_ref(), reports[0].files), (None, files.len()));
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

#[test]
fn a_directory_that_cannot_be_made_is_an_error_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let metrics = Metrics::new().unwrap();
    let config = in_directory(&file.path().join("audit"), Durability::Write);
    assert!(Journal::open(config, instance(), &metrics).is_err());
}

/// A sink that does what the test says, one write at a time. Its first page is taken as it
/// comes, and begins a file as each does that is begun anew.
struct Scripted {
    answers: Receiver<io::Result<usize>>,
    syncs: Receiver<io::Result<()>>,
    written: Arc<Mutex<Vec<u8>>>,
    resume: Resume,
    pages: usize,
    begun: bool,
}

impl Sink for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn prepare(&mut self) -> io::Result<Option<String>> {
        Ok((!self.begun).then(|| "scripted".to_owned()))
    }

    /// `Ok(n)` takes at most `n` bytes. A test that is over takes everything.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let answer = if self.pages == 0 { Ok(usize::MAX) } else { everything(&self.answers) };
        let taken = answer?.min(bytes.len());
        self.written.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.pages == 0 { Ok(()) } else { self.syncs.recv().unwrap_or(Ok(())) }
    }

    fn kept(&mut self, _: &[u8]) {
        self.pages += 1;
        self.begun = true;
    }

    fn recover(&mut self, _: &Trouble) -> Resume {
        if self.resume != Resume::NextByte {
            self.begun = false;
        }
        self.resume.clone()
    }
}

fn everything(answers: &Receiver<io::Result<usize>>) -> io::Result<usize> {
    answers.recv().unwrap_or(Ok(usize::MAX))
}

struct Script {
    journal: Journal,
    metrics: Metrics,
    answers: SyncSender<io::Result<usize>>,
    syncs: SyncSender<io::Result<()>>,
    written: Arc<Mutex<Vec<u8>>>,
}

fn begun(sink: Box<dyn Sink>) -> (Arc<Renderer>, Begun) {
    let renderer = Arc::new(Renderer::new(&instance(), Privacy::default()));
    let at = Position::first(ChainUid::generate().unwrap());
    let ledger = Ledger::new(at, true, Arc::clone(&renderer), None, Clock::System);
    (renderer, Begun { sink, ledger, opening: Vec::new() })
}

fn script(config: &JournalConfig, resume: Resume) -> Script {
    let metrics = Metrics::new().unwrap();
    // Without room in the channels: a `send` that returned was received by the writer.
    let (answers, receiver) = sync_channel(0);
    let (syncs, synced) = sync_channel(0);
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let sink = Scripted {
        answers: receiver,
        syncs: synced,
        written: Arc::clone(&written),
        resume,
        pages: 0,
        begun: false,
    };
    let (renderer, begun) = begun(Box::new(sink));
    let journal = Journal::start(config, &renderer, begun, &metrics).unwrap();
    // What comes from here on is of later pages.
    while written.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    let asks = config.durability == Durability::Fsync;
    let syncs = if asks { syncs } else { sync_channel(0).0 };
    Script { journal, metrics, answers, syncs, written }
}

impl Script {
    fn answer(&self, answer: io::Result<usize>) {
        self.answers.send(answer).unwrap();
    }

    /// What was written in the end, once no more stands in its way.
    async fn rest(self) -> (Journal, Metrics, String) {
        drop((self.answers, self.syncs));
        written(&self.journal.inner.queue).await;
        let text = String::from_utf8(self.written.lock().unwrap().clone()).unwrap();
        (self.journal, self.metrics, text)
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
    let (journal, metrics, text) = script.rest().await;
    assert!(journal.healthy());
    assert!(journal.reserve().is_ok());
    assert_eq!(requests(&text), [samples.id(), samples.id()]);
    assert_eq!(count(&metrics, "scripted", "failed"), 1);
    assert_eq!(count(&metrics, "scripted", "written"), 2);
}

#[tokio::test]
async fn in_a_new_file_the_whole_page_is_written_again_behind_a_head() {
    let gap = Gap { file: "old".into(), offset: 9, bytes: 100, cause: Cause::Unsynced };
    let script = script(&config(Durability::Write), Resume::Page(Some(gap)));
    let samples = Samples::new();
    let committed = script.journal.reserve().unwrap().commit(&samples.allowed());
    script.answer(Ok(100));
    script.answer(Err(ErrorKind::StaleNetworkFileHandle.into()));
    assert!(committed.await.is_err());
    let torn = script.written.lock().unwrap().split_off(0).len() - 100;
    let (_, _, text) = script.rest().await;
    let kinds: Vec<_> =
        text.lines().map(|line| Line::parse(line.as_bytes()).unwrap().kind).collect();
    assert_eq!(kinds, [Kind::Head, Kind::Gap, Kind::Request, Kind::Head]);
    assert!(torn > 0 && text.contains(r#""gap":{"file":"old","offset":9,"bytes":100"#), "{text}");
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
    let samples = Samples::new();
    drop(script.journal.reserve().unwrap().commit(&samples.allowed()));
    assert_eq!(requests(&script.rest().await.2), [samples.id()]);
}

#[test]
fn an_intent_dropped_without_an_event_frees_its_place() {
    let script = script(&JournalConfig { queue: 1, ..config(Durability::Write) }, Resume::NextByte);
    let intent = script.journal.reserve().unwrap();
    assert_eq!(script.journal.reserve().unwrap_err(), Unavailable::Full);
    drop(intent);
    assert!(script.journal.reserve().is_ok());
}

#[tokio::test]
async fn a_full_spool_refuses_new_places_and_nothing_else() {
    let script = script(&config(Durability::Write), Resume::NextByte);
    let early = script.journal.reserve().unwrap();
    script.journal.set_spool_full(true);
    assert_eq!(script.journal.reserve().unwrap_err(), Unavailable::SpoolFull);
    assert_eq!(count(&script.metrics, "scripted", "refused"), 1);
    drop(early.commit(&Samples::new().allowed()));
    script.journal.set_spool_full(false);
    assert!(script.journal.reserve().is_ok());
}
