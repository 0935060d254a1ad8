//! A gateway that runs: from bound sockets to the last flushed event.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use super::build::{Ground, StartError, bind, lender, shipping, snapshot, tls};
use super::changes::InForce;
use super::reload::{Fixed, Reloader};
use super::trail::{Trail, follow};
use crate::admin::{Admin, Health, Probes};
use crate::audit::{Instance, Journal};
use crate::aws::Source;
use crate::config::Loaded;
use crate::gateway::Gateway;
use crate::limits::{Lender, Mode};
use crate::server::{Bounds, Drain, Server};
use crate::ship::Shipping;
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// What does not come from the files.
#[derive(Debug)]
pub struct Options {
    pub credentials: Source,
    pub metrics: Metrics,
    /// Which gateway the record shall say it was.
    pub instance: Instance,
}

/// A running gateway.
#[derive(Debug)]
pub struct App {
    address: SocketAddr,
    admin_address: SocketAddr,
    probes_address: Option<SocketAddr>,
    stop_admin: Drain,
    gateway: JoinHandle<()>,
    admin: JoinHandle<()>,
    health: Health,
    drain_timeout: Duration,
    reloader: Reloader,
    watching: AbortHandle,
    shipping: Option<Shipping>,
}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request and stream ended by itself, and the record is flushed.
    Clean,
    /// The drain timeout ended what was still open; the record is flushed.
    CutOff,
    /// The record could not be flushed in time.
    Unflushed,
}

/// What the journal gets to flush after the last request.
const FLUSH: Duration = Duration::from_secs(10);
/// What shipping gets after that. On a volume that ends with the pod, the rest is lost.
const SHIP: Duration = Duration::from_secs(10);

impl App {
    /// Binds, starts the background work and serves. Keys and credentials may still be on
    /// their way when this returns: `/readyz` says when they are there.
    ///
    /// # Errors
    /// When something outside the files stands in the way; see [`StartError`].
    pub async fn start(loaded: Loaded, options: Options) -> Result<Self, StartError> {
        let Options { credentials: source, metrics, instance } = options;
        let tls = tls(loaded.server.tls.as_ref())?;
        let (listen, bounds) = (loaded.server.listen, loaded.server.bounds);
        let server = bind("calls", listen, tls.clone(), bounds, &metrics).await?;
        let own = Bounds::default();
        let admin_server = bind("admin", loaded.admin.listen, None, own, &metrics).await?;
        let probe_server = match loaded.admin.probes {
            Some(address) => Some(bind("probes", address, None, own, &metrics).await?),
            None => None,
        };
        let directory = loaded.journal.directory.clone().unwrap_or_default();
        let journal = Journal::open(loaded.journal.clone(), instance.clone(), &metrics)
            .map_err(|source| StartError::Journal { directory, source })?;

        let lender = lender(loaded.limit_store.clone(), &metrics);
        let ground = Ground { source, clock: Clock::System, metrics: metrics.clone(), lender };
        let (fixed, drain_timeout) = (Fixed::of(&loaded), loaded.drain_timeout);
        let (state, dangers) = (InForce::of(&loaded), loaded.dangers.clone());
        let trail = Trail::new(journal.clone(), Clock::System);
        let ship = loaded.ship.clone();
        let first = snapshot(loaded, None, &ground).await?;
        let shipping = shipping(ship, instance, &first.upstream, &journal, &metrics)?;
        first.identity.start();
        trail.started(&state, first.policy.version(), &dangers);
        let current = Arc::new(ArcSwap::from_pointee(first));
        let modes = ground.lender.as_ref().map(Lender::modes);

        let (drain, stop_admin) = (Drain::default(), Drain::default());
        let health = Health {
            snapshot: Arc::clone(&current),
            journal: journal.clone(),
            drain: drain.clone(),
        };
        let gateway = Gateway::new(Arc::clone(&current), journal, Clock::System, &metrics);
        let probes = Probes::new(health.clone());
        let admin = Admin::new(health.clone(), metrics);
        Ok(Self {
            address: server.address(),
            admin_address: admin_server.address(),
            gateway: tokio::spawn(server.serve(gateway, drain)),
            probes_address: probe_server.as_ref().map(Server::address),
            admin: tokio::spawn(operators(
                admin_server.serve(admin, stop_admin.clone()),
                probe_server.map(|server| server.serve(probes, stop_admin.clone())),
            )),
            stop_admin,
            health,
            drain_timeout,
            watching: tokio::spawn(follow(Arc::downgrade(&current), modes, trail.clone()))
                .abort_handle(),
            reloader: Reloader { current, ground, tls, fixed, state, trail },
            shipping,
        })
    }

    /// Where callers connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where `/livez`, `/readyz` and `/metrics` are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Where `/livez` and `/readyz` are alone, if `admin.probes` says so.
    pub fn probes_address(&self) -> Option<SocketAddr> {
        self.probes_address
    }

    /// Whether the shared limit store answers, as it changes; `None` where there is none.
    pub fn limit_modes(&self) -> Option<watch::Receiver<Mode>> {
        self.reloader.ground.lender.as_ref().map(Lender::modes)
    }

    /// What `/readyz` is answered from.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Applies a newly loaded configuration to every request that starts after it; on an
    /// error the old state stays.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn reload(&mut self, loaded: Loaded) -> Result<(), StartError> {
        let drain_timeout = loaded.drain_timeout;
        self.reloader.reload(loaded).await?;
        self.drain_timeout = drain_timeout;
        Ok(())
    }

    /// Puts on record that a configuration was refused before it came here.
    pub fn refuse_reload(&self, reason: &str) {
        self.reloader.trail.refused(reason);
    }

    /// Fails readiness, stops accepting, lets requests and streams end within the drain
    /// timeout, and flushes the record. The admin listener answers until then.
    pub async fn drain(mut self) -> Drained {
        self.health.drain.start();
        let ended = tokio::time::timeout(self.drain_timeout, &mut self.gateway).await;
        if ended.is_err() {
            // Whoever is cut off is recorded as such before the journal closes.
            self.health.drain.cut();
            let _ = tokio::time::timeout(FLUSH, &mut self.gateway).await;
        }
        if let Some(lender) = &self.reloader.ground.lender {
            lender.close().await;
        }
        self.watching.abort();
        let drained = if ended.is_ok() { Drained::Clean } else { Drained::CutOff };
        self.reloader.trail.stopping(drained);
        let flushed = tokio::time::timeout(FLUSH, self.health.journal.close()).await;
        if let Some(shipping) = self.shipping
            && !shipping.close(SHIP).await
        {
            tracing::warn!("the rest of the journal is shipped at the next start");
        }
        self.stop_admin.cut();
        let _ = self.admin.await;
        if flushed.is_ok() { drained } else { Drained::Unflushed }
    }
}

/// The operator's listeners, to the end of both.
async fn operators(admin: impl Future<Output = ()>, probes: Option<impl Future<Output = ()>>) {
    match probes {
        None => admin.await,
        Some(probes) => drop(tokio::join!(admin, probes)),
    }
}
