//! Standard output, for platforms that collect it.
//!
//! The descriptor is duplicated and written without the standard library's line buffer, so
//! that "written" means that the operating system has it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use super::{Resume, Sink, Trouble};

/// How often a full pipe that does not block is tried again.
const FULL_PIPE: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(in crate::audit) struct StdoutSink {
    file: File,
    /// Whether its first page is out.
    begun: bool,
}

impl StdoutSink {
    pub(in crate::audit) fn open() -> io::Result<Self> {
        Ok(Self::new(io::stdout().as_fd().try_clone_to_owned()?))
    }

    fn new(file: impl Into<File>) -> Self {
        Self { file: file.into(), begun: false }
    }
}

impl Sink for StdoutSink {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn prepare(&mut self) -> io::Result<Option<String>> {
        Ok((!self.begun).then(|| "-".to_owned()))
    }

    /// A reader that is slow is waited for, whether or not the pipe blocks; meanwhile the
    /// queue fills and pushes back.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(FULL_PIPE);
                }
                result => return result,
            }
        }
    }

    /// There is no disk to ask behind a pipe.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn kept(&mut self, _heads: &[u8]) {
        self.begun = true;
    }

    fn recover(&mut self, _error: &Trouble) -> Resume {
        Resume::NextByte
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::fd::OwnedFd;

    #[test]
    fn what_is_written_is_with_the_system_at_once_even_half_a_line() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = StdoutSink::new(OwnedFd::from(writer));
        assert!(sink.prepare().unwrap().is_some());
        assert_eq!(sink.write(b"{\"a\":").unwrap(), 5);
        let mut got = [0; 5];
        reader.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"{\"a\":");
        drop(reader);
        assert_eq!(sink.write(b"1}\n").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
