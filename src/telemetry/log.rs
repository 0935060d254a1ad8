//! The log's format and, above all, its ceiling.
//!
//! The configured level is for sagegate's own lines. Every other crate is held at `warn`,
//! whatever the level: hyper, h2 and aws-sigv4 print headers and bodies at `trace`, and no
//! setting of ours may turn that on.

use std::io::IsTerminal;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Text,
}

/// Starts logging to standard error. A second call changes nothing.
pub fn init(level: Level, format: Format) {
    let ceiling = Targets::new()
        .with_default(LevelFilter::WARN.min(LevelFilter::from_level(level)))
        .with_target("sagegate", level);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        Format::Json => layer.json().flatten_event(true).boxed(),
        Format::Text => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
    };
    // Already set by the embedding program or an earlier call: theirs stays.
    let _ = tracing_subscriber::registry().with(layer.with_filter(ceiling)).try_init();
}
