//! SageMaker's name, resolved again and again in the background, so that no call waits for
//! DNS once there is an answer.
//!
//! The system's resolver is asked, which knows search domains, hosts files and split DNS; it
//! does not say how long an answer holds, so it is asked at a steady pace. While it fails,
//! the last addresses stay.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Route;
use super::addresses::{AddressCounts, Addresses, Pick};

/// An answer of DNS is used for so many refreshes after it was last given.
const KEPT_FOR: u32 = 4;
const RETRY: Duration = Duration::from_secs(1);

/// The addresses of a route's host. The background work ends with the last handle.
#[derive(Clone, Debug)]
pub(super) struct Destinations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    addresses: Addresses,
    /// Whether the first attempt is over.
    tried: watch::Sender<bool>,
}

impl Destinations {
    /// Starts resolving. Needs a tokio runtime.
    pub(super) fn follow(route: &Route, refresh: Duration) -> Self {
        let (host, port) = (route.name(), route.port());
        let addresses = Addresses::new(refresh.saturating_mul(KEPT_FOR));
        let shared = Arc::new(Shared { addresses, tried: watch::Sender::new(false) });
        if let Ok(ip) = host.parse::<IpAddr>() {
            shared.settle(&[SocketAddr::new(ip, port)]);
        } else {
            tokio::spawn(keep_current(Arc::downgrade(&shared), host.to_owned(), port, refresh));
        }
        Self(shared)
    }

    /// An address for a call. Waits only while the name was never resolved, and then until
    /// the first attempt is over or `within` has passed.
    ///
    /// Cancel-safe.
    pub(super) async fn pick(&self, within: Duration) -> Option<Pick> {
        if let Some(pick) = self.0.addresses.pick(Instant::now()) {
            return Some(pick);
        }
        let mut tried = self.0.tried.subscribe();
        let _ = tokio::time::timeout(within, tried.wait_for(|tried| *tried)).await;
        self.0.addresses.pick(Instant::now())
    }

    pub(super) fn counts(&self) -> AddressCounts {
        self.0.addresses.counts(Instant::now())
    }
}

impl Shared {
    fn settle(&self, resolved: &[SocketAddr]) {
        self.addresses.update(resolved, Instant::now());
        self.tried.send_replace(true);
    }
}

async fn keep_current(shared: Weak<Shared>, host: String, port: u16, refresh: Duration) {
    let mut failing = false;
    loop {
        let found = resolve(&host, port).await;
        let Some(shared) = shared.upgrade() else { return };
        let pause = match found {
            Ok(found) => {
                shared.settle(&found);
                if std::mem::take(&mut failing) {
                    tracing::info!(%host, "SageMaker's name is resolved again");
                }
                refresh
            }
            Err(error) => {
                // Once, and not at every try.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%host, %error, "SageMaker's name could not be resolved");
                }
                shared.tried.send_replace(true);
                RETRY.min(refresh)
            }
        };
        drop(shared);
        tokio::time::sleep(pause).await;
    }
}

/// In the system's order of preference; never empty.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    if found.is_empty() { Err(none()) } else { Ok(found) }
}
