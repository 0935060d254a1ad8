//! The signed call to SageMaker and the answer's way back.
//!
//! Owns the reading and hashing of a request's body, the rebuilding of its head, the
//! signature, the connections, and the relay of the answer. It refuses bodies over their
//! bound. Invariants: nothing is sent that is not [`Signed`], and only an admitted call can
//! be signed; the host comes from configuration alone; of the caller's headers only those of
//! the operation's table go on; nothing is sent twice once a byte of it may have gone out;
//! no call waits for DNS once the host's name has been resolved.

mod addresses;
mod budget;
mod client;
mod connect;
mod headers;
mod health;
mod payload;
mod relay;
mod resolve;
mod route;
mod sending;
mod sign;

pub use addresses::AddressCounts;
pub use client::{Answer, SendError, Upstream, UpstreamError};
pub use payload::{BodyLimits, Payload, PayloadError};
pub use relay::{Relay, RelayError};
pub use route::{Config, Route, RouteError, Timeouts};
pub use sign::{SignError, Signed};
