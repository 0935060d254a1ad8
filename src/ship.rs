//! The journal on its way to where the company keeps its records.
//!
//! The room owns the shippers, which follow the journal's files, each at its own pace and
//! with its own position on disk, and the keeper, which bounds what is not yet shipped and
//! removes what is shipped and old. It refuses to be in anybody's way: it reads files that
//! others write, on threads of its own and below their priority, and no request waits for
//! it. The one thing that it says to requests is that the spool is full.
//!
//! Invariants: a position moves only over events that the sink has accepted or that were set
//! aside in a file and counted; no file is removed that a sink still needs. So every event
//! arrives at least once, and twice only with the same `metadata.uid`.

mod aws;
mod batch;
mod config;
mod files;
mod follower;
mod http;
mod keeper;
mod position;
mod rejected;
mod shipper;
mod shipping;
mod sinks;
mod spool;

pub use config::{Aws, CloudWatchLogs, Firehose, Otlp, S3, ShipConfig, SinkConfig, SpoolFull};
pub use shipping::{Identity, ShipError, Shipping};
