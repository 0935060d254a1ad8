//! The listening socket, the bound on connections, and the drain.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge};
use rustix::net::{SocketFlags, accept_with};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::connection::Connection;
use super::places::{Place, Places};
use super::{Bounds, Drain, Handler, Tls};
use crate::telemetry::metrics::Metrics;

/// After a failed accept (out of descriptors, most likely): long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound socket that serves until it is drained.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<Tls>,
    address: SocketAddr,
    bounds: Bounds,
    meters: Meters,
}

/// What a listener's metrics say of its connections.
#[derive(Clone, Debug)]
struct Meters {
    name: &'static str,
    open: IntGauge,
    refused: IntCounterVec,
}

type Accepted = (TcpStream, SocketAddr, Place);

impl Server {
    /// Binds `address`; port 0 picks a free one. `name` is the listener's in the metrics.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(
        name: &'static str,
        address: SocketAddr,
        tls: Option<Tls>,
        bounds: Bounds,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let open = metrics.connections.with_label_values(&[name]);
        let meters = Meters { name, open, refused: metrics.connections_refused.clone() };
        Ok(Self { listener, tls, address, bounds, meters })
    }

    /// The bound address, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until `drain` has given notice, then waits for the open ones to end,
    /// which they all do once it cuts them. Dropping the future stops accepting and leaves open
    /// connections to run on.
    pub async fn serve<H: Handler>(self, handler: H, drain: Drain) {
        let connections = TaskTracker::new();
        let places = Places::new(&self.bounds);
        let mut noticed = pin!(drain.noticed(self.bounds.timeouts.notice));
        let serve = |(stream, address, place): Accepted| {
            let connection = Connection { address, tls: self.tls.clone(), bounds: self.bounds };
            let (handler, drain, open) =
                (handler.clone(), drain.clone(), Open::new(&self.meters.open));
            connections.spawn(async move {
                tokio::select! {
                    () = connection.serve(stream, handler, drain.clone()) => {}
                    () = drain.is_cut() => {}
                }
                drop((place, open));
            });
        };
        loop {
            tokio::select! {
                accepted = self.accept(&places) => serve(accepted),
                () = noticed.as_mut() => break,
            }
        }
        self.waiting(&places).for_each(serve);
        // Refuse new connections while the open ones finish.
        drop(self.listener);
        connections.close();
        connections.wait().await;
    }

    /// Who has connected and was not accepted yet: closing the listener would reset them. For
    /// whom there is no place is refused as ever.
    fn waiting<'a>(&'a self, places: &'a Arc<Places>) -> impl Iterator<Item = Accepted> + 'a {
        let next =
            || accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).ok();
        std::iter::from_fn(next).take(self.bounds.connections).filter_map(|accepted| {
            let stream = TcpStream::from_std(accepted.into()).ok()?;
            let address = stream.peer_addr().ok()?;
            Some((stream, address, self.place(places, address)?))
        })
    }

    /// The next connection that finds a place. The others are closed at once.
    async fn accept(&self, places: &Arc<Places>) -> Accepted {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(place) = self.place(places, peer) {
                        return (stream, peer, place);
                    }
                }
                Err(error) => {
                    self.meters.refused("descriptors");
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A place for a connection; that there is none is counted.
    fn place(&self, places: &Arc<Places>, peer: SocketAddr) -> Option<Place> {
        places.take(peer.ip()).inspect_err(|full| self.meters.refused(full.as_str())).ok()
    }
}

impl Meters {
    fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[self.name, reason]).inc();
    }
}

/// Counts a connection for as long as it is open.
#[derive(Debug)]
struct Open(IntGauge);

impl Open {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
