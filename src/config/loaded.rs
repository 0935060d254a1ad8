//! What the files mean: everything the gateway is built from, compiled and checked.
//!
//! Invariant: a `Loaded` exists only if neither file had a fault.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use crate::audit::JournalConfig;
use crate::identity::IssuerConfig;
use crate::limits::{LimitsConfig, RedisConfig};
use crate::policy::Access;
use crate::policy::Policy;
use crate::server::{Bounds, TlsFiles};
use crate::ship::ShipConfig;
use crate::telemetry::log;
use crate::upstream::Timeouts;

/// Both files, compiled into the rooms' own types.
#[derive(Debug)]
pub struct Loaded {
    pub server: ServerConfig,
    /// Bytes of one request's body, at most.
    pub max_body: u64,
    /// Bytes of all requests' bodies together, at most.
    pub body_memory: u64,
    /// How long a drain waits for open requests and streams.
    pub drain_timeout: Duration,
    /// Threads that serve requests; one per core if it is not said.
    pub workers: Option<NonZeroUsize>,
    /// How long one request's body may take to arrive.
    pub body_timeout: Duration,
    /// Requests at once.
    pub requests: NonZeroU32,
    pub admin: AdminConfig,
    pub aws: AwsConfig,
    pub issuers: Vec<IssuerConfig>,
    /// What `access.yaml` says, for telling what a reload changed.
    pub access: Access,
    /// The same and `policies/*.cedar`, compiled.
    pub policy: Policy,
    pub limits: LimitsConfig,
    /// Where limits are kept, if not in this process alone.
    pub limit_store: Option<RedisConfig>,
    pub journal: JournalConfig,
    /// Where the journal's files go; `None` if there are none.
    pub ship: Option<ShipConfig>,
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

/// `server:`, as far as the listener wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    pub listen: SocketAddr,
    pub tls: Option<TlsFiles>,
    pub bounds: Bounds,
}

/// `admin:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub listen: SocketAddr,
    /// Where the first two are served as well.
    pub probes: Option<SocketAddr>,
}

/// `aws:`; the region may yet come from the AWS chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsConfig {
    pub region: Option<String>,
    pub runtime_url: Option<String>,
    pub fips: bool,
    pub dual_stack: bool,
    /// PEM.
    pub ca: Option<Vec<u8>>,
    pub dns_refresh: Duration,
    pub timeouts: Timeouts,
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
