//! What the room is told: where the journal is and where it shall go.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Where the journal is shipped to, and what may happen to its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShipConfig {
    /// The journal's.
    pub directory: PathBuf,
    /// At most one of a kind: a sink's kind is its name.
    pub sinks: Vec<SinkConfig>,
    /// How many bytes of the journal may be unshipped before requests are refused.
    pub spool: u64,
    pub spool_full: SpoolFull,
    /// How long a file is kept at least, once every sink has it; `None` is for ever.
    pub retention: Option<Duration>,
}

impl ShipConfig {
    /// Whether no file is ever removed, so that the disk is full one day.
    pub fn keeps_all(&self) -> bool {
        let drops = self.spool_full == SpoolFull::DropOldestShipped && !self.sinks.is_empty();
        self.retention.is_none() && !drops
    }
}

/// What happens at the spool's bound. In no case is a file removed that a sink still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolFull {
    /// The bound is for what is unshipped; at it requests are refused.
    Refuse,
    /// The bound is for all files; at it the oldest that every sink has are removed,
    /// whatever their age. Requests are refused once what is unshipped alone reaches it.
    DropOldestShipped,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkConfig {
    Stdout,
    CloudWatchLogs(CloudWatchLogs),
    Firehose(Firehose),
    S3(S3),
    Otlp(Otlp),
}

/// What every AWS service needs to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aws {
    /// Default: the gateway's.
    pub region: Option<String>,
    /// A VPC endpoint or a test server; else from the region.
    pub endpoint_url: Option<String>,
    /// PEM roots instead of the system's.
    pub ca: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudWatchLogs {
    pub aws: Aws,
    pub group: String,
    /// Default: the gateway's own name, so that each writes a stream of its own.
    pub stream: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firehose {
    pub aws: Aws,
    pub stream: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    pub aws: Aws,
    pub bucket: String,
    /// Before `year/month/day/`; empty, or with a slash at its end.
    pub prefix: String,
    /// How long events gather for one object.
    pub every: Duration,
}

#[derive(Clone, Debug)]
pub struct Otlp {
    /// The whole URL, `/v1/logs` included.
    pub url: String,
    pub headers: Vec<(String, SecretString)>,
    /// PEM roots instead of the system's.
    pub ca: Option<Vec<u8>>,
}

impl PartialEq for Otlp {
    fn eq(&self, other: &Self) -> bool {
        use secrecy::ExposeSecret as _;
        let shown = |otlp: &Self| -> Vec<_> {
            let headers = otlp.headers.iter();
            headers.map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect()
        };
        (&self.url, &self.ca) == (&other.url, &other.ca) && shown(self) == shown(other)
    }
}

impl Eq for Otlp {}
