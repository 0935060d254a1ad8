//! The journal by itself, on the disk of the temporary directory: records a second and CPU a
//! record by durability, what `fsync` adds to a call, and how fast a journal is verified and asked.
//!
//!     cargo bench --bench journal [-- --short]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints, or stops")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use sagegate::audit::query::{Filter, Names, Scan};
use sagegate::audit::verify::{Evidence, verify};
use sagegate::audit::{
    Call, Cloud, Disposition, Durability, Ending, Event, Http, Instance, Journal, JournalConfig,
    Outcome, Targets,
};
use sagegate::names::{Action, Endpoint, RequestId};
use sagegate::telemetry::metrics::Metrics;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const DURABILITIES: [(&str, Durability); 3] =
    [("memory", Durability::Memory), ("write", Durability::Write), ("fsync", Durability::Fsync)];

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let records = if short { 2_000 } else { 200_000 };
    let runtime = Runtime::new().unwrap();
    println!("| records | each | records/s | CPU a record |\n|---|---|---|---|");
    for (name, durability) in DURABILITIES {
        runtime.block_on(throughput(name, durability, records));
    }
    println!("\n| fsync adds, calls at once | p50 | p99 | a batch |\n|---|---|---|---|");
    for callers in [1, 16, 256] {
        runtime.block_on(added(callers, if short { 256 } else { 4096 }));
    }
    println!("\n| one thread | size | MB/s |\n|---|---|---|");
    let (directory, records) = (TempDir::new().unwrap(), if short { 5_000 } else { 300_000 });
    runtime.block_on(filled(directory.path(), records));
    read("verify", directory.path(), verified);
    let all = |path: &Path| assert_eq!(found(path, &Filter::default()), u64::from(records));
    read("query for every call", directory.path(), all);
    let absent = Names::new(&["corp/nobody".to_owned()], false).unwrap();
    let absent = Filter { users: Some(absent), ..Filter::default() };
    read("query for somebody's few", directory.path(), |path| assert_eq!(found(path, &absent), 0));
}

fn open(directory: &Path, durability: Durability) -> (Journal, Metrics) {
    let config = JournalConfig {
        directory: Some(directory.to_owned()),
        durability,
        rotate_size: 256 << 20,
        rotate_age: Duration::from_secs(86_400),
        signing_key: None,
        queue: 8192,
        privacy: sagegate::audit::Privacy::default(),
    };
    let metrics = Metrics::new().unwrap();
    let instance = Instance { uid: "bench".to_owned(), version: "0".to_owned() };
    (Journal::open(config, instance, &metrics).unwrap(), metrics)
}

/// As many as the queue takes, from one producer that never waits for one record.
async fn throughput(name: &str, durability: Durability, records: u32) {
    let directory = TempDir::new().unwrap();
    let (journal, _) = open(directory.path(), durability);
    let endpoint = Endpoint::parse("fraud-v1").unwrap();
    let (began, cpu) = (Instant::now(), cpu_seconds());
    write(&journal, &endpoint, records).await;
    journal.close().await;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = (cpu_seconds() - cpu) * 1e6 / f64::from(records);
    let size = size_of(directory.path()) / u64::from(records);
    println!("| {name} | {size} B | {:.0} | {cpu:.1} µs |", f64::from(records) / seconds);
}

async fn write(journal: &Journal, endpoint: &Endpoint, records: u32) {
    for _ in 0..records {
        let intent = loop {
            match journal.reserve() {
                Ok(intent) => break intent,
                Err(_) => tokio::time::sleep(Duration::from_micros(200)).await,
            }
        };
        drop(intent.commit(&event(endpoint, true)));
    }
}

/// What a call waits for its intent and its outcome.
async fn added(callers: u32, calls: u32) {
    let directory = TempDir::new().unwrap();
    let (journal, metrics) = open(directory.path(), Durability::Fsync);
    let tasks: Vec<_> = (0..callers)
        .map(|_| tokio::spawn(waits(journal.clone(), (calls / callers).max(16))))
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    waits.sort_unstable();
    let at = |percent: usize| waits.get(waits.len() * percent / 100).unwrap().as_secs_f64() * 1e3;
    let syncs = &metrics.audit_sync_records;
    #[expect(clippy::cast_precision_loss, reason = "a mean for a table")]
    let batch = syncs.get_sample_sum() / syncs.get_sample_count() as f64;
    println!("| {callers} | {:.2} ms | {:.2} ms | {batch:.1} |", at(50), at(99));
    journal.close().await;
}

async fn waits(journal: Journal, calls: u32) -> Vec<Duration> {
    let endpoint = Endpoint::parse("fraud-v1").unwrap();
    let mut waits = Vec::new();
    for _ in 0..calls {
        let began = Instant::now();
        let intent = journal.reserve().unwrap();
        let _proof = intent.declare(|| event(&endpoint, false)).await.unwrap();
        intent.commit(&event(&endpoint, true)).await.unwrap();
        waits.push(began.elapsed());
    }
    waits
}

async fn filled(directory: &Path, records: u32) {
    let (journal, _) = open(directory, Durability::Write);
    write(&journal, &Endpoint::parse("fraud-v1").unwrap(), records).await;
    journal.close().await;
}

/// How fast `work` goes through a journal.
fn read(name: &str, directory: &Path, work: impl FnOnce(&Path)) {
    #[expect(clippy::cast_precision_loss, reason = "a size for a table")]
    let megabytes = size_of(directory) as f64 / 1e6;
    let began = Instant::now();
    work(directory);
    let seconds = began.elapsed().as_secs_f64();
    println!("| {name} | {megabytes:.0} MB | {:.0} |", megabytes / seconds);
}

fn verified(directory: &Path) {
    let reports = verify(&[directory.to_owned()], Evidence::default()).unwrap();
    assert!(reports.iter().all(|report| report.fault.is_none()), "{reports:?}");
}

/// How many calls a query finds, without the printing of them.
fn found(directory: &Path, filter: &Filter) -> u64 {
    let seen = Scan::new(&[directory.to_owned()]).unwrap().run(filter, &mut |_| Ok(())).unwrap();
    assert_eq!((seen.unreadable, seen.torn), (0, 0));
    seen.matched
}

fn size_of(directory: &Path) -> u64 {
    std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Of all threads, in user and system mode; proc(5) counts in hundredths on Linux.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

fn event(endpoint: &Endpoint, ended: bool) -> Event<'_> {
    Event {
        request_id: RequestId::generate(),
        time: SystemTime::now(),
        correlation: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        source: SocketAddr::from((Ipv4Addr::LOCALHOST, 51_514)),
        http: Http {
            method: "POST",
            path: Some("/endpoints/fraud-v1/invocations"),
            version: "1.1",
            user_agent: Some("python-httpx/0.28"),
            body_length: 1024,
        },
        call: Some(Call {
            operation: Action::InvokeEndpoint,
            endpoint: Some(endpoint),
            targets: Targets { variant: Some("blue"), ..Targets::default() },
            inference_id: Some("order-4711"),
        }),
        caller: None,
        decision: None,
        cloud: Cloud { partition: "aws", region: "us-west-2", account: Some("111122223333") },
        upstream: None,
        outcome: ended.then_some(Outcome {
            disposition: Disposition::Allowed,
            ending: Ending::Complete,
            status: 200,
            error: None,
            detail: None,
            bytes_out: 1024,
            duration: Duration::from_millis(13),
        }),
    }
}
