//! `server:` and `admin:` as typed: the listeners, and what their callers may hold.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Listen, Span};

/// The listener that applications call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port. Without `tls`, a loopback address.
    pub listen: Listen,
    /// Serve TLS with this certificate.
    // Here and for `client_ca` and `policies` an empty key is a fault: what it was to protect
    // would be open without a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Tls")]
    pub tls: Option<Tls>,
    /// The largest body of one request.
    pub max_body: ByteSize,
    /// The memory for all requests' bodies together; requests beyond it are shed with 503.
    pub body_memory: ByteSize,
    /// How long a drain waits for open requests and streams.
    pub drain_timeout: Span,
    /// Threads that serve requests. Default: one per core.
    pub workers: Option<NonZeroUsize>,
    pub bounds: Bounds,
    pub timeouts: ServerTimeouts,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            // A shared Deployment; a sidecar writes its loopback address.
            listen: Listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443)),
            tls: None,
            // SageMaker's own limit for a real-time body is 25 MB.
            max_body: ByteSize(25 << 20),
            // Ten of the largest bodies, and small enough for a 512 MiB pod.
            body_memory: ByteSize(256 << 20),
            // Kubernetes' grace period by default; long streams need a longer one of both.
            drain_timeout: Span::seconds(30),
            workers: None,
            bounds: Bounds::default(),
            timeouts: ServerTimeouts::default(),
        }
    }
}

/// What callers may hold at once. Connections beyond a bound are closed, and requests
/// refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// Requests in flight, streams among them; beyond it, 503 and Retry-After.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// Open connections; fewer where the limit on open files is lower.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: u32,
    /// Of them, from one address. null: no such bound, which loopback never has.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_address: Option<u32>,
    /// Requests at once on one HTTP/2 connection.
    #[schemars(range(min = 1, max = 10_000))]
    pub streams: u32,
    /// Headers of one HTTP/1 request. Over HTTP/2 `head` bounds them, with 32 bytes for each.
    #[schemars(range(min = 16, max = 1_000))]
    pub headers: u32,
    /// The largest head of a request; from 16KiB to 1MiB.
    pub head: ByteSize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // Half of the record's queue, where each has its place; more than any endpoint
            // answers at once.
            requests: 4_096,
            // Each costs at most about 64 KiB, so this bounds them at 640 MiB, a size that
            // only thousands of busy callers reach.
            connections: 10_000,
            // A tenth of all: no single caller keeps the others out. A load balancer that
            // hides its callers has several addresses and reuses its connections.
            connections_per_address: Some(1_000),
            // As many as Go's servers and more than nghttp2's allow.
            streams: 256,
            // An SDK sends some fifteen.
            headers: 100,
            // A token of 16 KiB, a kilobyte each for a dozen headers, and room.
            head: ByteSize(64 << 10),
        }
    }
}

/// How long callers may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTimeouts {
    /// For a TLS handshake.
    pub handshake: Span,
    /// From the first byte of a request's head to its last.
    pub head: Span,
    /// From the end of the head to the end of the body.
    pub body: Span,
    /// Between requests, before the connection is closed.
    pub idle: Span,
    /// Without taking anything of an answer that is there.
    pub unread: Span,
    /// At a drain, before the listener and idle connections are closed: callers are still
    /// answered, and told to call elsewhere.
    pub notice: Span,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        Self {
            // A few round trips; who needs longer is no client.
            handshake: Span::seconds(10),
            // It comes in one or two segments.
            head: Span::seconds(10),
            // SageMaker's largest body of 25 MB at 400 kB/s.
            body: Span::seconds(60),
            // Longer than pools and load balancers keep theirs (Go and reqwest 90 s, ALB 60 s),
            // so that the side that sends is the side that closes.
            idle: Span::seconds(120),
            // Far above what a slow network needs for the few hundred KiB that are buffered.
            unread: Span::seconds(300),
            // Of what is on its way from callers who keep their connections. Kubernetes may
            // send new ones for some seconds more, if nothing else waits for it.
            notice: Span(Duration::from_millis(500)),
        }
    }
}

/// PEM files; relative to this file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["certificate", "private_key"]))]
pub struct Tls {
    /// The certificate chain, the server's own first.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub certificate: PathBuf,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub private_key: PathBuf,
    /// Ask for client certificates, and accept those that this bundle signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PathBuf")]
    pub client_ca: Option<PathBuf>,
    /// TLS 1.3 alone (Mozilla's "modern"). Default: 1.2 as well ("intermediate").
    #[serde(default)]
    pub modern: bool,
}

/// A required path that is missing: the schema says so, and the rest is still read.
fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

/// The listener for probes and metrics. It has no authentication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Beyond loopback only with `danger.public_admin`.
    pub listen: Listen,
    /// Another listener for `/livez` and `/readyz` alone, anywhere: for probes from outside the
    /// pod, which a kubelet's are.
    pub probes: Option<Listen>,
}

impl Default for Admin {
    fn default() -> Self {
        // Loopback: endpoint and team names stand in the metrics.
        Self {
            listen: Listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090)),
            probes: None,
        }
    }
}
