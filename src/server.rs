//! Bytes → requests: listening, TLS, HTTP/1.1 and HTTP/2, and draining.
//!
//! Owns sockets and nothing about what is asked over them: a [`Handler`] answers. Refuses
//! what is not HTTP (hyper answers 400, 408 or 431 and closes), what could be read in two ways
//! ([`framing`]) and frames that ask nothing ([`frames`]); the handler is told, so that even
//! that is on record. Invariant: a bounded number of connections, in all and by address, each
//! of which ends when it is idle too long, when its TLS handshake takes too long, or when the
//! server drains.

mod bounds;
mod connection;
mod descriptors;
mod drain;
pub mod frames;
pub mod framing;
mod idle;
mod listener;
mod places;
mod tls;
mod wire;

pub use bounds::{Bounds, Timeouts};
pub use connection::{Handler, Malformed, Peer};
pub use descriptors::sockets;
pub use drain::Drain;
pub use listener::Server;
pub use tls::{Tls, TlsError, TlsFiles};
