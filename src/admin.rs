//! Health and metrics, for the operator's eyes and the orchestrator's probes.
//!
//! Owns the admin listener's three pages, and the two of them that the probes' listener has.
//! Invariant: liveness speaks of this process alone
//! and never of an upstream, or one provider's outage would restart every gateway.

mod health;
mod pages;

pub use health::Health;
pub use pages::{Admin, Probes};
