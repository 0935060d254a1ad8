//! Limits that several gateways share through Redis or Valkey.
//!
//! A gateway does not ask the store for each request. It takes a slice of a limit ahead of
//! need (`lease`, `slots`), spends it here, and has a task (`lender`) that fills it up. Only
//! the first request of a team that was not here for a while waits, for one round trip.
//!
//! Owns the store's connection, its script and what is held of it. It refuses to let a request
//! wait for longer than the configured time, or at all once the store has failed: then
//! `on_failure` holds until a probe is answered.
//!
//! Invariant: over any span of t seconds all gateways together admit at most
//! `burst + rate × t`, and 5 % of what that is for ten seconds, or one request a gateway where
//! that is more.

mod breaker;
mod lease;
mod lender;
mod peek;
mod script;
mod slice;
mod slots;
mod store;
mod terms;

pub use lease::OnFailure;
pub use lender::{Lender, Mode};
pub use store::{RedisConfig, RedisTls, StoreError};

pub(super) use lease::{Empty, Spent};
pub(super) use peek::Peeker;
pub(super) use script::Day;
pub(super) use slice::{Kind, Pool, Slice};
pub(super) use terms::Terms;

#[cfg(test)]
mod simulation;
