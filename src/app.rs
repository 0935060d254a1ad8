//! Builds the rooms from configuration; binds, serves, reloads, drains.
//!
//! The one place that knows every room. Invariant: a reload replaces the whole snapshot or
//! nothing of it, and what cannot change while running (listeners, the journal, the log) is
//! said to need a restart rather than half applied.

mod build;
mod changes;
mod reload;
mod running;
mod trail;

pub use build::StartError;
pub use running::{App, Drained, Options};
