//! A changed configuration, applied while requests run.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::build::{Ground, StartError, snapshot};
use super::changes::InForce;
use super::trail::Trail;
use crate::audit::JournalConfig;
use crate::config::{AdminConfig, Loaded};
use crate::limits::RedisConfig;
use crate::server::{Bounds, Tls};
use crate::ship::ShipConfig;
use crate::snapshot::Snapshot;

/// What a reload starts from.
#[derive(Debug)]
pub(super) struct Reloader {
    pub current: Arc<ArcSwap<Snapshot>>,
    pub ground: Ground,
    pub tls: Option<Tls>,
    pub fixed: Fixed,
    pub state: InForce,
    pub trail: Trail,
}

/// What is settled when the process starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fixed {
    listen: SocketAddr,
    bounds: Bounds,
    admin: AdminConfig,
    journal: JournalConfig,
    ship: Option<ShipConfig>,
    tls: bool,
    limit_store: Option<RedisConfig>,
}

impl Fixed {
    pub(super) fn of(loaded: &Loaded) -> Self {
        Self {
            listen: loaded.server.listen,
            bounds: loaded.server.bounds,
            admin: loaded.admin,
            journal: loaded.journal.clone(),
            ship: loaded.ship.clone(),
            tls: loaded.server.tls.is_some(),
            limit_store: loaded.limit_store.clone(),
        }
    }
}

impl Reloader {
    /// All of `loaded`, or nothing of it; on record either way.
    pub(super) async fn reload(&mut self, loaded: Loaded) -> Result<(), StartError> {
        let applied = self.apply(loaded).await;
        applied.inspect_err(|error| self.trail.refused(&error.to_string()))
    }

    async fn apply(&mut self, loaded: Loaded) -> Result<(), StartError> {
        if Fixed::of(&loaded) != self.fixed {
            tracing::warn!(
                "`server.listen`, what `server.bounds` and `server.timeouts` say of \
                 connections, turning `server.tls` on or off, `admin`, `limits.store` and \
                 `audit` apply at the next start"
            );
        }
        let files = loaded.server.tls.clone();
        let state = InForce::of(&loaded);
        let previous = self.current.load_full();
        let next = snapshot(loaded, Some(&previous), &self.ground).await?;
        // The last thing that can fail comes before the first thing that changes.
        if let (Some(tls), Some(files)) = (&self.tls, files) {
            tls.reload(&files)?;
        }
        next.identity.start();
        self.trail.reloaded(&self.state, &state, next.policy.version());
        self.state = state;
        self.current.store(Arc::new(next));
        Ok(())
    }
}
