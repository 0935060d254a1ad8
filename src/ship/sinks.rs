//! Where events go. A sink sends what it is given, once, and says what became of each event;
//! trying again, waiting and remembering are the shipper's.

mod cloudwatch_logs;
mod firehose;
mod otlp;
mod s3;
mod stdout;

use std::time::Duration;

use super::batch::{Fate, Limits, Parcel};

pub(super) use cloudwatch_logs::CloudWatchLogs;
pub(super) use firehose::Firehose;
pub(super) use otlp::Otlp;
pub(super) use s3::S3;
pub(super) use stdout::Stdout;

pub(super) trait Sink: Send + 'static {
    /// The metric's label, and part of the names of the sink's files.
    const NAME: &'static str;

    fn limits(&self) -> Limits;

    /// One try. A fate for each event, in order.
    ///
    /// Not cancel-safe as to duplicates: events of a dropped try may have arrived.
    fn send(
        &mut self,
        parcel: Parcel<'_>,
    ) -> impl Future<Output = Result<Vec<Fate>, SendError>> + Send;
}

/// A try that came to nothing, or so it must be assumed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("{reason}")]
    Failed {
        reason: String,
        /// The sink's own wish.
        retry_after: Option<Duration>,
    },
    /// More than the sink takes at once.
    #[error("{0}")]
    TooLarge(String),
}

impl SendError {
    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), retry_after: None }
    }
}
