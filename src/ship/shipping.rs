//! The room's threads: one for each sink, one for the keeper.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::config::{ShipConfig, SinkConfig};
use super::keeper::{Keeper, Start};
use super::shipper::{Progress, Shipper, Stop};
use super::sinks::{CloudWatchLogs, Firehose, Otlp, S3, Sink, Stdout};
use super::spool::Rules;
use crate::audit::{Instance, Journal};
use crate::aws::Credentials;
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// Shipping goes on below the requests' priority: whatever it takes, it takes from what
/// they leave.
const NICE: i32 = 10;

/// Who ships, and by what right.
#[derive(Debug)]
pub struct Identity {
    pub instance: Instance,
    /// For sinks that name no other.
    pub region: String,
    pub fips: bool,
    pub credentials: Credentials,
}

/// Why the journal cannot be shipped as configured.
#[derive(Debug, thiserror::Error)]
#[error("sink `{sink}`: {problem}")]
pub struct ShipError {
    sink: &'static str,
    problem: String,
}

/// The threads at work. Dropped, they end at the next step; the next start goes on from
/// where they were.
#[derive(Debug)]
pub struct Shipping {
    stop: watch::Sender<Stop>,
    /// Ends when the last sink's thread does.
    sinks: mpsc::Receiver<Infallible>,
}

/// What each sink's thread is given.
#[derive(Clone)]
struct Ground {
    config: Arc<ShipConfig>,
    metrics: Metrics,
    stop: watch::Receiver<Stop>,
    /// Held until the thread ends.
    running: mpsc::Sender<Infallible>,
}

impl Shipping {
    /// Starts the threads, where there is anything for them to do. The directory must be there.
    ///
    /// # Errors
    /// When a sink's certificates cannot be used, or a thread not be started.
    pub fn start(
        config: ShipConfig,
        identity: &Identity,
        journal: Journal,
        metrics: &Metrics,
    ) -> Result<Self, ShipError> {
        let (stop, stopped) = watch::channel(Stop::Run);
        let (running, sinks) = mpsc::channel(1);
        if config.sinks.is_empty() && config.retention.is_none() {
            return Ok(Self { stop, sinks });
        }
        let config = Arc::new(config);
        let ground = Ground {
            config: Arc::clone(&config),
            metrics: metrics.clone(),
            stop: stopped,
            running,
        };
        let waiting = config.sinks.iter().map(|sink| prepare(sink, identity, &ground));
        let waiting = waiting.collect::<Result<Vec<_>, _>>()?;
        let keeper = Keeper {
            directory: config.directory.clone(),
            rules: Rules {
                spool: config.spool,
                full: config.spool_full,
                retention: config.retention,
            },
            sinks: waiting.iter().map(|(name, _)| *name).collect(),
            journal,
            metrics: metrics.clone(),
            clock: Clock::System,
            stop: ground.stop,
            shipping: None,
            waiting,
            full: false,
        };
        let started = on_a_thread("audit-keeper", || keeper.run());
        started.map_err(|error| ShipError { sink: "keeper", problem: error.to_string() })?;
        Ok(Self { stop, sinks })
    }

    /// Ships what there is, without waiting for more to go with it, and ends. To be called
    /// when nothing is written any more. What is not shipped within `grace` is at the next
    /// start: `false`.
    pub async fn close(mut self, grace: Duration) -> bool {
        self.stop.send_replace(Stop::Flush);
        let ended = tokio::time::timeout(grace, self.sinks.recv()).await.is_ok();
        self.stop.send_replace(Stop::Now);
        ended
    }
}

fn prepare(
    sink: &SinkConfig,
    identity: &Identity,
    ground: &Ground,
) -> Result<(&'static str, Start), ShipError> {
    match sink {
        SinkConfig::Stdout => start(Stdout::open().map_err(|error| error.to_string()), ground),
        SinkConfig::CloudWatchLogs(config) => start(CloudWatchLogs::new(config, identity), ground),
        SinkConfig::Firehose(config) => start(Firehose::new(config, identity), ground),
        SinkConfig::S3(config) => start(S3::new(config, identity), ground),
        SinkConfig::Otlp(config) => start(Otlp::new(config, identity), ground),
    }
}

fn start<S: Sink>(
    sink: Result<S, String>,
    ground: &Ground,
) -> Result<(&'static str, Start), ShipError> {
    let sink = sink.map_err(|problem| ShipError { sink: S::NAME, problem })?;
    let ground = ground.clone();
    Ok((S::NAME, Box::new(move || spawn(sink, ground))))
}

fn spawn<S: Sink>(sink: S, ground: Ground) -> io::Result<Arc<Progress>> {
    let Ground { config, metrics, stop, running } = ground;
    let directory = config.directory.clone();
    let shipper = Shipper::new(sink, directory, &metrics.audit_events, Clock::System, stop)?;
    let progress = shipper.progress();
    on_a_thread(&format!("audit-{}", S::NAME), || async move {
        shipper.run().await;
        drop(running);
    })?;
    Ok(progress)
}

/// Each thread has a runtime of its own, so that a blocked pipe or a slow disk holds up one
/// sink and nothing else.
fn on_a_thread<F: Future<Output = ()>>(
    name: &str,
    work: impl FnOnce() -> F + Send + 'static,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        // A kernel that refuses leaves the thread as fast as the others.
        let _ = rustix::process::nice(NICE);
        runtime.block_on(work());
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}
