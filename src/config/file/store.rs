//! `sagegate.yaml`: where limits are kept.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// How limits are kept. The limits themselves stand in access.yaml.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A store that several gateways share. Default: each gateway keeps its own counts.
    // An empty key is a fault: the gateways would each admit the whole without a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Store")]
    pub store: Option<Store>,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["redis"]))]
pub struct Store {
    #[serde(default)]
    pub redis: Redis,
}

/// Redis or Valkey.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["url"]))]
pub struct Redis {
    /// redis://user:password@host:6379/0, or rediss:// for TLS. Take the password from the
    /// environment: ${REDIS_PASSWORD}.
    pub url: Secret,
    /// The URL is that of any node of a cluster.
    pub cluster: bool,
    /// For rediss://.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RedisTls")]
    pub tls: Option<RedisTls>,
    /// The longest a request waits for the store.
    pub timeout: Span,
    /// While the store cannot be asked. local: each gateway enforces its last known fair
    /// share. open: nothing is limited. closed: nothing is admitted.
    pub on_failure: OnFailure,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: Secret(String::new()),
            cluster: false,
            tls: None,
            // Some fifty times a round trip within a zone, and no caller notices it once.
            timeout: Span(std::time::Duration::from_millis(20)),
            // An outage of the store should neither stop the callers nor the limits.
            on_failure: OnFailure::Local,
        }
    }
}

/// PEM files; relative to this file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisTls {
    /// Roots to trust for the store instead of the system's.
    pub ca: Option<PathBuf>,
    /// A client certificate, with `private_key`.
    pub certificate: Option<PathBuf>,
    pub private_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnFailure {
    Local,
    Open,
    Closed,
}

/// A text that may hold a password: it prints as nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Secret(#[schemars(length(min = 1))] pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
