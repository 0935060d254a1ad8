//! The record of who called what: one OCSF API Activity event per request, allowed or
//! refused, in a journal that pushes back rather than forget.
//!
//! The room owns the event's shape (`render`, `privacy`), the queue, the writing thread and
//! its files, the chain that the records make ([`line`], [`head`]), what a start finds of it
//! (`recover`), and those who read it again: [`verify`] and [`query`]. What carries it off the
//! machine is the room `ship`. It refuses to promise what it cannot keep:
//! [`Journal::reserve`] says no while the queue or the spool is full or the disk fails, and
//! then the request must not go on.
//!
//! Invariant: a committed event is written once, whole and in order, or still in memory
//! to be written; it is never dropped silently, and never holds a secret.

pub mod digest;
mod event;
pub mod files;
pub mod head;
mod journal;
mod json;
mod ledger;
pub mod line;
mod note;
mod privacy;
pub mod query;
mod queue;
pub mod reader;
mod recover;
mod render;
#[cfg(test)]
pub(crate) mod samples;
pub mod signing;
mod sinks;
pub mod verify;
mod writer;

pub use event::{
    Call, Caller, Cloud, Decision, Disposition, Ending, Event, Http, Outcome, Targets, Upstream,
    Verdict,
};
pub use journal::{
    Committed, Durability, Instance, Intent, Journal, JournalConfig, OnRecord, Unavailable,
};
pub use note::{Activity, Note, Severity};
pub use privacy::{BadKey, Omit, Privacy, PseudonymKey, Pseudonyms};
