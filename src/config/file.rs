//! The two files as typed: what a user may write, and what each key defaults to.
//!
//! One field a key, its help text beside it (the JSON Schemas in `config/` are generated
//! from here) and the reason for its default. Nothing here is resolved: a name may dangle
//! and a path may lead nowhere; that is for `compile`. Imports nothing of ours.

pub mod access;
pub mod gateway;
mod named;
pub mod privacy;
mod server;
pub mod sinks;
pub mod store;
mod units;

pub use named::Named;
pub use units::{ByteRate, ByteSize, Listen, Network, Rate, Span, UNITS, Unit, Window};
