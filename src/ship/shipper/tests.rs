//! A shipper against sinks that fail, with the time in the tests' hands.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::slice;
use std::sync::Mutex;

use super::*;
use crate::audit::samples::Samples;
use crate::audit::verify::{Evidence, verify};
use crate::audit::{Durability, Instance, Journal, JournalConfig, Privacy};
use crate::ship::batch::Limits;
use crate::ship::rejected;
use crate::telemetry::metrics::Metrics;

const FIRST: &str = "sagegate-20261123T120000.000Z-aa.jsonl";
const SECOND: &str = "sagegate-20261123T130000.000Z-aa.jsonl";

/// A sink that keeps what it accepts and answers as told; at the end of its answers it
/// accepts everything.
#[derive(Clone, Debug, Default)]
struct Scripted(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    answers: VecDeque<Answer>,
    accepted: Vec<String>,
    tries: u32,
    limits: Option<Limits>,
}

#[derive(Debug)]
enum Answer {
    Fates(Vec<Fate>),
    Down,
    TooLarge,
    Hangs,
}

const LIMITS: Limits =
    Limits { events: 10, bytes: 1000, overhead: 0, event: 200, linger: Duration::ZERO };

impl Sink for Scripted {
    const NAME: &'static str = "scripted";

    fn limits(&self) -> Limits {
        self.0.lock().unwrap().limits.unwrap_or(LIMITS)
    }

    async fn send(&mut self, parcel: Parcel<'_>) -> Result<Vec<Fate>, SendError> {
        let text = |event: &&[u8]| String::from_utf8(event.to_vec()).unwrap();
        let events: Vec<_> = parcel.events.iter().map(text).collect();
        let answer = {
            let mut script = self.0.lock().unwrap();
            script.tries += 1;
            script.answers.pop_front().unwrap_or(Answer::Fates(vec![Fate::Accepted; events.len()]))
        };
        match answer {
            Answer::Fates(fates) => {
                let accepted =
                    events.into_iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Accepted);
                self.0.lock().unwrap().accepted.extend(accepted.map(|(event, _)| event));
                Ok(fates)
            }
            Answer::Down => Err(SendError::failed("connection refused")),
            Answer::TooLarge => Err(SendError::TooLarge("413".to_owned())),
            Answer::Hangs => std::future::pending().await,
        }
    }
}

fn journal(directory: &Path) -> Journal {
    let config = JournalConfig {
        directory: Some(directory.to_owned()),
        durability: Durability::Write,
        rotate_size: 1 << 20,
        rotate_age: Duration::from_hours(1),
        signing_key: None,
        queue: 64,
        privacy: Privacy::default(),
    };
    let instance = Instance { uid: "gw-1".into(), version: "0.1.0".into() };
    Journal::open(config, instance, &Metrics::new().unwrap()).unwrap()
}

struct World {
    root: tempfile::TempDir,
    sink: Scripted,
    metrics: Metrics,
    stop: watch::Sender<Stop>,
    progress: Option<Arc<Progress>>,
}

impl World {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            sink: Scripted::default(),
            metrics: Metrics::new().unwrap(),
            stop: watch::channel(Stop::Run).0,
            progress: None,
        }
    }

    fn shipper(&mut self) -> Shipper<Scripted> {
        let (directory, stop) = (self.root.path().to_owned(), self.stop.subscribe());
        let events = &self.metrics.audit_events;
        let shipper = Shipper::new(self.sink.clone(), directory, events, Clock::System, stop);
        let shipper = shipper.unwrap();
        self.progress = Some(shipper.progress());
        shipper
    }

    /// Runs until everything is shipped.
    async fn ship(&mut self) {
        self.stop.send_replace(Stop::Flush);
        self.shipper().run().await;
    }

    fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.sink.0.lock().unwrap().answers = answers.into_iter().collect();
    }

    fn limit(&self, limits: Limits) {
        self.sink.0.lock().unwrap().limits = Some(limits);
    }

    fn accepted(&self) -> Vec<u64> {
        let events = &self.sink.0.lock().unwrap().accepted;
        events.iter().map(|event| Glance::of(event.as_bytes()).metadata.sequence).collect()
    }

    fn tries(&self) -> u32 {
        self.sink.0.lock().unwrap().tries
    }

    fn count(&self, result: &str) -> u64 {
        self.metrics.audit_events.with_label_values(&["scripted", result]).get()
    }

    fn oldest(&self) -> u64 {
        self.progress.as_ref().unwrap().oldest.load(Ordering::Relaxed)
    }
}

fn event(sequence: u64) -> String {
    format!(r#"{{"metadata":{{"sequence":{sequence},"uid":"u-{sequence}"}},"time":{sequence}000}}"#)
}

fn append(root: &Path, file: &str, sequences: impl IntoIterator<Item = u64>) {
    let lines: String = sequences.into_iter().map(|n| event(n) + "\n").collect();
    append_text(root, file, &lines);
}

fn append_text(root: &Path, file: &str, text: &str) {
    use std::io::Write as _;
    let mut options = std::fs::File::options();
    let mut file = options.create(true).append(true).open(root.join(file)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn files_are_shipped_in_order_and_a_restart_goes_on_where_it_was() {
    let mut world = World::new();
    append(world.root.path(), FIRST, 1..=25);
    append(world.root.path(), SECOND, 26..=30);
    world.ship().await;
    assert_eq!(world.accepted(), (1..=30).collect::<Vec<_>>());
    append(world.root.path(), SECOND, 31..=32);
    world.ship().await;
    assert_eq!(world.accepted(), (1..=32).collect::<Vec<_>>());
    assert_eq!((world.count("written"), world.count("missing"), world.oldest()), (32, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn every_chain_of_a_shared_directory_is_shipped() {
    let mut world = World::new();
    append(world.root.path(), FIRST, 1..=15);
    append(world.root.path(), "sagegate-20261123T110000.000Z-bb.jsonl", 1..=15);
    world.ship().await;
    let mut accepted = world.accepted();
    accepted.sort_unstable();
    assert_eq!(accepted, (1..=15).flat_map(|n| [n, n]).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_sink_down_ten_minutes_loses_and_duplicates_nothing() {
    let mut world = World::new();
    append(world.root.path(), FIRST, 1..=12);
    let outage = Duration::from_secs(600);
    let tries = outage.as_secs() / (LONGEST_WAIT.as_secs() / 2) + 6;
    world.script((0..tries).map(|_| Answer::Down));
    let begun = Instant::now();
    let shipper = tokio::spawn(world.shipper().run());
    tokio::time::sleep(outage).await;
    assert!(world.accepted().is_empty());
    assert_eq!(world.oldest(), 1000, "the lag is that of the first event");
    let tried = world.tries();
    assert!((20..=46).contains(&tried), "{tried} tries in ten minutes");
    assert!(world.count("failed") >= 200);

    world.script([]);
    append(world.root.path(), FIRST, 13..=14);
    while world.accepted().len() < 14 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(begun.elapsed() <= outage + LONGEST_WAIT + Duration::from_secs(2));
    assert_eq!(world.accepted(), (1..=14).collect::<Vec<_>>());
    world.stop.send_replace(Stop::Now);
    shipper.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_has_after_ten_minutes_down_is_the_whole_chain() {
    let mut world = World::new();
    world.limit(Limits { bytes: 64 << 10, event: 64 << 10, ..LIMITS });
    let journal = journal(world.root.path());
    for _ in 0..10 {
        let samples = Samples::new();
        journal.reserve().unwrap().commit(&samples.allowed()).await.unwrap();
    }
    journal.close().await;
    // Some of the first batch is taken before the sink goes down, and some is not.
    let (outage, some) = (Duration::from_mins(10), Answer::Fates(vec![Fate::Accepted; 2]));
    world.script([some].into_iter().chain((0..100).map(|_| Answer::Down)));
    let shipper = tokio::spawn(world.shipper().run());
    tokio::time::sleep(outage).await;
    assert_eq!(world.accepted(), [1, 2]);
    world.script([]);
    world.stop.send_replace(Stop::Flush);
    shipper.await.unwrap();

    let kept = world.root.path().join("out-of-the-sink");
    std::fs::write(&kept, world.sink.0.lock().unwrap().accepted.join("\n") + "\n").unwrap();
    let report = verify(slice::from_ref(&kept), Evidence::default()).unwrap().remove(0);
    assert_eq!((report.fault, report.notes, report.last), (None, Vec::new(), 12));
    assert_eq!(world.accepted(), (1..=12).collect::<Vec<_>>(), "each once");
    let mut evidence = Evidence::default();
    assert_eq!(evidence.add_heads(&kept).unwrap(), 2);
    let reports = verify(&[world.root.path().to_owned()], evidence).unwrap();
    assert!(reports.iter().all(|report| report.fault.is_none()), "{reports:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_within_an_outage_begins_with_what_was_not_accepted() {
    let mut world = World::new();
    append(world.root.path(), FIRST, 1..=15);
    world.script([Answer::Fates(vec![Fate::Accepted; 10]), Answer::Hangs]);
    let shipper = tokio::spawn(world.shipper().run());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.accepted(), (1..=10).collect::<Vec<_>>());
    shipper.abort();
    world.ship().await;
    assert_eq!(world.accepted(), (1..=15).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_try_without_an_answer_ends_and_is_made_again() {
    let mut world = World::new();
    append(world.root.path(), FIRST, 1..=3);
    world.script([Answer::Hangs]);
    let begun = Instant::now();
    world.ship().await;
    assert_eq!((world.accepted(), world.tries()), (vec![1, 2, 3], 2));
    assert!(begun.elapsed() >= TIMEOUT && begun.elapsed() < TIMEOUT + FIRST_WAIT * 2);
}

#[tokio::test(start_paused = true)]
async fn only_what_failed_is_sent_again() {
    let mut world = World::new();
    append(world.root.path(), FIRST, 1..=4);
    let busy = || Fate::Failed("ServiceUnavailableException".into());
    world.script([Answer::Fates(vec![Fate::Accepted, busy(), Fate::Accepted, busy()])]);
    world.ship().await;
    assert_eq!(world.accepted(), [1, 3, 2, 4]);
    assert_eq!((world.count("failed"), world.count("written")), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_rejects_is_set_aside_and_counted_and_the_rest_goes_on() {
    let mut world = World::new();
    append(world.root.path(), FIRST, 1..=3);
    append_text(world.root.path(), FIRST, &format!("{{\"long\":\"{}\"}}\n", "x".repeat(200)));
    append(world.root.path(), FIRST, 5..=5);
    // The long one is found before anything is sent.
    world.script([Answer::Fates(vec![
        Fate::Accepted,
        Fate::Rejected("too old".into()),
        Fate::Accepted,
        Fate::Accepted,
    ])]);
    world.ship().await;
    assert_eq!(world.accepted(), [1, 3, 5]);
    assert_eq!((world.count("rejected"), world.count("written")), (2, 3));
    let kept = std::fs::read_to_string(rejected::path(world.root.path(), "scripted")).unwrap();
    let lines: Vec<serde_json::Value> =
        kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["event"]["long"].as_str().unwrap().len(), 200);
    assert_eq!(lines[1]["event"], serde_json::from_str::<serde_json::Value>(&event(2)).unwrap());
    assert_eq!(lines[1]["rejected"]["reason"], "too old");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_large_is_halved_and_a_lone_event_that_is_too_large_set_aside() {
    let mut world = World::new();
    append(world.root.path(), FIRST, 1..=4);
    world.script([Answer::TooLarge, Answer::TooLarge, Answer::TooLarge]);
    world.ship().await;
    // Four, two, one: that one is set aside, and the others follow one by one.
    assert_eq!((world.accepted(), world.count("rejected")), (vec![2, 3, 4], 1));
    assert_eq!(world.tries(), 6);
}

#[tokio::test(start_paused = true)]
async fn half_a_line_waits_for_its_end_and_a_torn_one_for_nobody() {
    let mut world = World::new();
    append(world.root.path(), FIRST, 1..=2);
    append_text(world.root.path(), FIRST, &event(3)[..20]);
    world.ship().await;
    assert_eq!(world.accepted(), [1, 2]);
    append_text(world.root.path(), FIRST, &(event(3)[20..].to_owned() + "\n{\"torn"));
    append(world.root.path(), SECOND, 4..=4);
    world.ship().await;
    assert_eq!(world.accepted(), [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_file_is_gone_on_from_and_what_it_held_is_counted() {
    let mut world = World::new();
    append(world.root.path(), FIRST, 1..=3);
    world.ship().await;
    append(world.root.path(), FIRST, 4..=6);
    std::fs::remove_file(world.root.path().join(FIRST)).unwrap();
    append(world.root.path(), SECOND, 7..=8);
    world.ship().await;
    assert_eq!(world.accepted(), [1, 2, 3, 7, 8]);
    assert_eq!(world.count("missing"), 3);
}

#[tokio::test(start_paused = true)]
async fn events_gather_until_there_are_enough_or_they_waited_enough() {
    let mut world = World::new();
    let linger = Duration::from_secs(60);
    world.limit(Limits { bytes: 400, events: 100, linger, ..LIMITS });
    append(world.root.path(), FIRST, 1..=2);
    let shipper = tokio::spawn(world.shipper().run());
    tokio::time::sleep(linger - POLL).await;
    assert_eq!((world.tries(), world.oldest()), (0, 1000));
    tokio::time::sleep(POLL * 3).await;
    assert_eq!(world.accepted(), [1, 2]);
    append(world.root.path(), FIRST, 3..=30);
    tokio::time::sleep(POLL * 30).await;
    let accepted = world.accepted().len();
    assert!((20..30).contains(&accepted), "full batches do not wait: {accepted}");
    append(world.root.path(), SECOND, 31..=31);
    tokio::time::sleep(POLL * 3).await;
    assert!(world.accepted().len() >= 30, "a closed file does not wait");
    world.stop.send_replace(Stop::Flush);
    shipper.await.unwrap();
    assert_eq!(world.accepted(), (1..=31).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_read_in_bounded_pieces() {
    let mut world = World::new();
    append(world.root.path(), FIRST, 1..=1000);
    world.ship().await;
    let mut seen = BTreeMap::new();
    for sequence in world.accepted() {
        *seen.entry(sequence).or_insert(0) += 1;
    }
    assert!(seen.len() == 1000 && seen.values().all(|times| *times == 1));
    assert!(world.tries() >= 100, "ten at a time: {}", world.tries());
}

#[test]
fn waits_double_up_to_their_bound_and_differ() {
    for (failures, most) in [(1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (99, 30.0)] {
        let waits: Vec<f64> = (0..50).map(|_| backoff(failures).as_secs_f64()).collect();
        assert!(waits.iter().all(|wait| (most / 2.0..=most).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| wait.to_bits() != waits[0].to_bits()));
    }
}
