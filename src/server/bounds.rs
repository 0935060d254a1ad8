//! What a listener's callers may hold, and how long they may take.

use std::time::Duration;

/// One listener's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at once. Fewer where the limit on open files is lower.
    pub connections: usize,
    /// Of them, from one address, or one /64 of IPv6. Loopback has no such bound: a sidecar has
    /// no other callers.
    pub connections_per_address: Option<usize>,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// Headers of one request over HTTP/1; over HTTP/2, `head` bounds their number too.
    pub headers: usize,
    /// Bytes of one request's head.
    pub head: u32,
    pub timeouts: Timeouts,
}

/// How long each step of a connection may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Of a TLS handshake.
    pub handshake: Duration,
    /// From a head's first byte to its last.
    pub head: Duration,
    /// Without a request; up to a quarter longer.
    pub idle: Duration,
    /// For which a caller may take nothing of an answer.
    pub unread: Duration,
    /// At a drain: for which callers are still taken.
    pub notice: Duration,
}

/// For a listener that nobody configures: the operator's.
impl Default for Bounds {
    fn default() -> Self {
        Self {
            // A few probes and scrapers; the rest of the descriptors belong to callers.
            connections: 128,
            connections_per_address: None,
            streams: 16,
            headers: 100,
            head: 16 << 10,
            timeouts: Timeouts {
                handshake: Duration::from_secs(10),
                head: Duration::from_secs(10),
                idle: Duration::from_mins(2),
                unread: Duration::from_mins(5),
                // The operator's listeners end last.
                notice: Duration::ZERO,
            },
        }
    }
}
