//! Where batches go: a file that rotates, or standard output.
//!
//! A sink writes what it is given and says how much of it; retrying is the writer's. A
//! sink is used by one thread only, so it may block.

mod file;
mod stdout;

use std::io;

pub(super) use file::FileSink;
pub(super) use stdout::StdoutSink;

pub(super) trait Sink: Send {
    /// The metric's label.
    fn name(&self) -> &'static str;

    /// Before each batch: here a sink may begin a new file.
    fn prepare(&mut self) -> io::Result<()>;

    /// Like `write(2)`: how many of `bytes` are now with the operating system.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Before a try after `error`.
    fn recover(&mut self, error: &io::Error) -> io::Result<Resume>;
}

/// Where writing goes on after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resume {
    /// At the next byte: what was written of a line stands right before it.
    NextByte,
    /// At the beginning of the line: the rest would stand in another file.
    LineStart,
}
