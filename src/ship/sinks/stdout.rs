//! Standard output, for platforms that collect it.
//!
//! A reader that stops reading blocks this sink's thread and nothing else: the events wait
//! in the journal. The descriptor is written without the standard library's line buffer, so
//! that "accepted" means that the operating system has it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use super::{SendError, Sink};
use crate::ship::batch::{Fate, Limits, Parcel};

/// How often a full pipe that does not block is tried again.
const FULL_PIPE: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(in crate::ship) struct Stdout(File);

impl Stdout {
    pub(in crate::ship) fn open() -> io::Result<Self> {
        Ok(Self(io::stdout().as_fd().try_clone_to_owned()?.into()))
    }

    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.0.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(FULL_PIPE).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Sink for Stdout {
    const NAME: &'static str = "stdout";

    fn limits(&self) -> Limits {
        Limits {
            events: usize::MAX,
            bytes: 256 << 10,
            overhead: 1,
            event: usize::MAX,
            linger: Duration::ZERO,
        }
    }

    async fn send(&mut self, parcel: Parcel<'_>) -> Result<Vec<Fate>, SendError> {
        let mut text = parcel.events.join(&b'\n');
        text.push(b'\n');
        let failed = |error: io::Error| SendError::failed(error.to_string());
        self.write(&text).await.map_err(failed)?;
        Ok(vec![Fate::Accepted; parcel.events.len()])
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;

    use super::*;

    #[tokio::test]
    async fn lines_are_with_the_system_at_once_and_a_reader_that_is_gone_is_an_error() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = Stdout(OwnedFd::from(writer).into());
        let parcel = Parcel { events: &[b"{1}", b"{2}"], file: "f", offset: 0 };
        assert_eq!(sink.send(parcel).await.unwrap(), vec![Fate::Accepted; 2]);
        let mut got = [0; 8];
        reader.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"{1}\n{2}\n");
        drop(reader);
        assert!(sink.send(parcel).await.is_err());
    }
}
