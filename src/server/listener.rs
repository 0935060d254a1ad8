//! The listening socket, the bound on connections, and the drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{Drain, Handler, Tls, connection};

/// Connections at once. Each costs at most about 64 KiB, so this bounds them at 640 MiB, a
/// size that only thousands of busy callers reach.
const MAX_CONNECTIONS: usize = 10_000;
/// File descriptors worth having: two for each connection, and some for the rest.
const DESCRIPTORS: u64 = 2 * MAX_CONNECTIONS as u64 + 1_024;
/// After a failed accept (out of descriptors, most likely): long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound socket that serves until it is drained.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<Tls>,
    address: SocketAddr,
}

impl Server {
    /// Binds `address`; port 0 picks a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr, tls: Option<Tls>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, tls, address })
    }

    /// The bound address, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until `drain` starts, then waits for the open ones to end, which
    /// they all do once it cuts them. Dropping the future stops accepting and leaves open
    /// connections to run on.
    pub async fn serve<H: Handler>(self, handler: H, drain: Drain) {
        let connections = TaskTracker::new();
        let places = Arc::new(Semaphore::new(places(descriptors())));
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&places) => accepted,
                () = drain.started() => break,
            };
            let Some((stream, peer, place)) = accepted else { break };
            let (tls, handler, drain) = (self.tls.clone(), handler.clone(), drain.clone());
            connections.spawn(async move {
                tokio::select! {
                    () = connection::serve(stream, peer, tls, handler, drain.clone()) => {}
                    () = drain.is_cut() => {}
                }
                drop(place);
            });
        }
        // Refuse new connections while the open ones finish.
        drop(self.listener);
        connections.close();
        connections.wait().await;
    }

    /// Waits for a place first, so that callers over the bound queue in the kernel.
    /// `None` only when the semaphore was closed, which nothing does.
    async fn accept(
        &self,
        places: &Arc<Semaphore>,
    ) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return Some((stream, peer, place)),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// How many connections so many descriptors allow: half, because each may need another one
/// to SageMaker, and because connections of strangers must leave some for the journal, the
/// keys and the configuration.
fn places(descriptors: u64) -> usize {
    usize::try_from(descriptors / 2).map_or(MAX_CONNECTIONS, |half| half.clamp(1, MAX_CONNECTIONS))
}

/// The limit on open files, raised as far as it is of use and the hard limit lets us: the
/// soft one is 1,024 in many a container, for the sake of programs that use `select(2)`.
fn descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(now) = current else { return DESCRIPTORS };
    let raised = maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS).max(now);
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => raised,
        Err(_) => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        for (descriptors, expected) in
            [(0, 1), (256, 128), (1_024, 512), (DESCRIPTORS, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(places(descriptors), expected, "{descriptors}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_and_never_lowered() {
        let before = getrlimit(Resource::Nofile);
        let after = descriptors();
        assert_eq!(getrlimit(Resource::Nofile).current, before.current.map(|_| after));
        assert!(before.current.is_none_or(|before| after >= before));
        assert_eq!(getrlimit(Resource::Nofile).maximum, before.maximum);
    }
}
