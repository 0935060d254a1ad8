//! What the files mean: everything the gateway is built from, compiled and checked.
//!
//! Invariant: a `Loaded` exists only if neither file had a fault.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::pending::{
    Access, AwsConfig, IssuerConfig, JournalConfig, PolicyFile, ServerConfig, TeamLimits,
};
use crate::telemetry::log;

/// Both files, compiled into the rooms' own types.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub server: ServerConfig,
    /// Bytes of one request's body, at most.
    pub max_body: u64,
    /// Bytes of all requests' bodies together, at most.
    pub body_memory: u64,
    /// How long a drain waits for open requests and streams.
    pub drain_timeout: Duration,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub admin: SocketAddr,
    pub aws: AwsConfig,
    pub issuers: Vec<IssuerConfig>,
    pub access: Access,
    pub limits: Vec<TeamLimits>,
    /// `policies/*.cedar`, sorted by name.
    pub policies: Vec<PolicyFile>,
    pub journal: JournalConfig,
    pub log: LogConfig,
    /// The options under `danger:` that are on; start-up warns about each.
    pub dangers: Vec<&'static str>,
    /// Every file that was read, for the record of what is in force and for [`Watch`].
    ///
    /// [`Watch`]: super::Watch
    pub sources: Vec<Source>,
    /// The directory of Cedar policies, if there is one: a file may yet appear in it.
    pub policies_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub level: tracing::Level,
    pub format: log::Format,
}

/// A file that was read, and what was in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub path: PathBuf,
    /// Lower-case hex.
    pub sha256: String,
}
