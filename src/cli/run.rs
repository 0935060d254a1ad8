//! `sagegate run`: serve until told to stop.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::load::{environment, load, metrics, say_error};
use crate::app::{App, Drained, Options};
use crate::audit::Instance;
use crate::aws::Source;
use crate::config::{self, Loaded, Watch};
use crate::telemetry::log;
use crate::telemetry::metrics::Metrics;

pub(super) fn run(path: &Path) -> ExitCode {
    let metrics = match metrics() {
        Ok(metrics) => metrics,
        Err(code) => return code,
    };
    let loaded = match load(path, &metrics) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    log::init(loaded.log.level, loaded.log.format);
    let runtime = match runtime(&loaded) {
        Ok(runtime) => runtime,
        Err(error) => {
            say_error(&error);
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(path, loaded, metrics))
}

fn runtime(loaded: &Loaded) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = loaded.workers {
        builder.worker_threads(workers.get());
    }
    builder.enable_all().build()
}

async fn serve(path: &Path, loaded: Loaded, metrics: Metrics) -> ExitCode {
    for danger in &loaded.dangers {
        tracing::warn!("`danger.{danger}` is on");
    }
    let (watch, terminate, interrupt) =
        (Watch::new(&loaded), signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut watch), Ok(mut terminate), Ok(mut interrupt)) = (watch, terminate, interrupt)
    else {
        tracing::error!("the process's signals cannot be listened for");
        return ExitCode::FAILURE;
    };
    let options = Options {
        credentials: Source::DefaultChain,
        metrics: metrics.clone(),
        instance: instance(),
    };
    let mut app = match App::start(loaded, options).await {
        Ok(app) => app,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(address = %app.address(), admin = %app.admin_address(), "serving");
    loop {
        tokio::select! {
            () = watch.changed() => reload(path, &mut app, &mut watch, &metrics).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("draining");
    match app.drain().await {
        Drained::Clean => {
            tracing::info!("drained");
            ExitCode::SUCCESS
        }
        Drained::CutOff => {
            tracing::warn!("the drain timeout cut off what was still open");
            ExitCode::SUCCESS
        }
        Drained::Unflushed => {
            tracing::error!("the record could not be flushed");
            ExitCode::FAILURE
        }
    }
}

/// All of the new state or nothing of it.
async fn reload(path: &Path, app: &mut App, watch: &mut Watch, metrics: &Metrics) {
    let applied = match config::load(path, &environment, metrics) {
        Ok(loaded) => {
            watch.follow(&loaded);
            app.reload(loaded).await.map_err(|error| error.to_string())
        }
        Err(faults) => {
            watch.follow_failed(&faults);
            app.refuse_reload(&faults.to_string());
            Err(faults.to_string())
        }
    };
    let result = match applied {
        Ok(()) => {
            tracing::info!("reloaded");
            "ok"
        }
        Err(reason) => {
            tracing::error!(%reason, "the new configuration is not used; the old one stays");
            "failed"
        }
    };
    metrics.reloads.with_label_values(&[result]).inc();
}

/// This gateway in the record: the pod's name in Kubernetes, the host's elsewhere.
fn instance() -> Instance {
    let uid = environment("HOSTNAME")
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned());
    Instance { uid, version: env!("CARGO_PKG_VERSION").to_owned() }
}
