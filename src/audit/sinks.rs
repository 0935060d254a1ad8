//! Where pages go: a file that rotates, or standard output.
//!
//! A sink writes what it is given and says how much of it; retrying is the writer's. A
//! sink is used by one thread only, so it may block.

mod file;
mod stdout;

use std::io;

use super::ledger::Gap;
pub(super) use file::{FileSink, Rotation};
pub(super) use stdout::StdoutSink;

pub(super) trait Sink: Send {
    /// The metric's label.
    fn name(&self) -> &'static str;

    /// Before each page: whether it is the first of a new file, and of which.
    fn prepare(&mut self) -> io::Result<Option<String>>;

    /// Like `write(2)`: how many of `bytes` are now with the operating system.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Has the disk take what was written, where that was asked for.
    fn sync(&mut self) -> io::Result<()>;

    /// The page is where it belongs; `heads` are the heads that it holds.
    fn kept(&mut self, heads: &[u8]);

    /// Before a try after `error`.
    fn recover(&mut self, error: &Trouble) -> Resume;
}

/// What went wrong, and at what.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("no file for it: {0}")]
    Prepare(io::Error),
    #[error("{0}")]
    Write(io::Error),
    #[error("the disk did not take it: {0}")]
    Sync(io::Error),
}

/// Where writing goes on after an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resume {
    /// At the next byte: what was written of a page stands right before it.
    NextByte,
    /// With the whole page, in another file. What was written of it counts no more; where it
    /// could not be taken away, that is to be on record.
    Page(Option<Gap>),
}
