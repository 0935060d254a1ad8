//! Answers from the record: who called what, when, and how it ended.
//!
//! Reads what the journal wrote, wherever it was copied to: files in the order of their
//! names, a chunk at a time, so that a year of records needs no more memory than a day. Text
//! that a matching line must hold is searched for before anything is parsed.
//!
//! It refuses to judge: whether the record was touched is what `verify` says. What is no
//! record is counted and named, never passed over in silence. Invariant: every record that
//! matches is told once; an intent is told only when nothing says how it ended.

mod entry;
mod filter;
mod scan;
mod summary;

pub use entry::{Decision, Entry};
pub use filter::{Filter, Names};
pub use scan::{Progress, Scan, ScanError, Seen, Step};
pub use summary::{Group, Key, Summary};

#[cfg(test)]
mod tests;
