//! `audit.sinks` as typed: where the journal is shipped to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// Where the journal's files are shipped to; each sink follows them at its own pace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sinks {
    // An empty key is a fault: a record that was to be kept elsewhere would not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CloudWatchLogs")]
    pub cloudwatch_logs: Option<CloudWatchLogs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Firehose")]
    pub firehose: Option<Firehose>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "S3")]
    pub s3: Option<S3>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Otlp")]
    pub otlp: Option<Otlp>,
}

impl Sinks {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Amazon CloudWatch Logs: PutLogEvents, and CreateLogStream where the stream is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["group"]))]
pub struct CloudWatchLogs {
    /// The log group. It must be there: its retention and its key are not the gateway's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1))]
    pub group: String,
    /// The log stream. Default: the gateway's host or pod name.
    #[serde(default)]
    pub stream: Option<String>,
    /// Default: `aws.region`.
    #[serde(default)]
    pub region: Option<String>,
    /// A VPC endpoint or a test server. Default: the service's host in the region.
    #[serde(default)]
    pub endpoint_url: Option<String>,
    /// PEM roots to trust for the endpoint instead of the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// Amazon Data Firehose: PutRecordBatch, one event a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["stream"]))]
pub struct Firehose {
    /// The Firehose stream's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1))]
    pub stream: String,
    /// Default: `aws.region`.
    #[serde(default)]
    pub region: Option<String>,
    /// A VPC endpoint or a test server. Default: the service's host in the region.
    #[serde(default)]
    pub endpoint_url: Option<String>,
    /// PEM roots to trust for the endpoint instead of the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// Amazon S3: gzip objects of JSON Lines under `prefix/year/month/day/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["bucket"]))]
pub struct S3 {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1))]
    pub bucket: String,
    /// What keys begin with, before the year.
    #[serde(default)]
    pub prefix: String,
    /// How long events gather for one object.
    #[serde(default = "default_every")]
    pub every: Span,
    /// Default: `aws.region`.
    #[serde(default)]
    pub region: Option<String>,
    /// A VPC endpoint or a test server. Default: the service's host in the region.
    #[serde(default)]
    pub endpoint_url: Option<String>,
    /// PEM roots to trust for the endpoint instead of the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// 1,440 objects a day from a quiet gateway; a busy one fills them sooner.
fn default_every() -> Span {
    Span::seconds(60)
}

/// An OpenTelemetry log collector: OTLP/HTTP in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["url"]))]
pub struct Otlp {
    /// The whole URL: https://collector.example.com:4318/v1/logs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1))]
    pub url: String,
    /// Sent with each request, such as the collector's API key: write it as ${NAME}.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// PEM roots to trust for the collector instead of the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// A text that does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What the AWS sinks have in common.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub region: Option<&'a str>,
    pub endpoint_url: Option<&'a str>,
    pub ca: Option<&'a Path>,
}

macro_rules! placed {
    ($($sink:ident),*) => {$(
        impl $sink {
            pub fn place(&self) -> Place<'_> {
                Place {
                    region: self.region.as_deref(),
                    endpoint_url: self.endpoint_url.as_deref(),
                    ca: self.ca.as_deref(),
                }
            }
        }
    )*};
}

placed!(CloudWatchLogs, Firehose, S3);
