//! The gateway on real sockets: what goes in and what comes out, in literal bytes.
//!
//! Each module is a stage or a promise of DESIGN. Every refusal stands beside a control that
//! is let through, so that a gateway which refuses everything, or a test which looks at
//! nothing, fails.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test: clippy's own allowance does not reach its helper functions"
)]
#![expect(unreachable_pub, reason = "a binary has no outside")]

mod support;

mod admin;
mod admit;
mod audit;
mod authorize;
mod body;
mod bounds;
mod cli;
mod drain;
mod durable;
mod forward;
mod frames;
mod http2;
mod identity;
mod malformed;
mod panic;
mod parse;
mod protocol;
mod record;
mod reload;
mod stream;
mod tls;
mod unready;
mod upstream;
mod verify;
