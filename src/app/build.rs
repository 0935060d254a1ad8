//! Configuration → rooms.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::{Instance, Journal};
use crate::aws::{Credentials, Source, default_region};
use crate::config::{AwsConfig, Loaded};
use crate::identity::{Authenticator, IdentityError};
use crate::limits::{BodyMemory, Concurrency, Lender, Limits, Mode, RedisConfig};
use crate::server::{self, Bounds, Server, Tls, TlsError, TlsFiles};
use crate::ship::{Identity, ShipConfig, ShipError, Shipping};
use crate::snapshot::Snapshot;
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{self, BodyLimits, Upstream, UpstreamError};

/// Why the gateway cannot run with a configuration that is itself without fault.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("no AWS region: set `aws.region`, or AWS_REGION in the environment")]
    NoRegion,
    #[error("`server.tls`: {0}")]
    Tls(#[from] TlsError),
    #[error("cannot listen on {address}: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("the journal cannot be opened in `audit.directory` ({}): {source}", directory.display())]
    Journal { directory: PathBuf, source: io::Error },
    #[error("the journal cannot be shipped: {0}")]
    Ship(#[from] ShipError),
}

/// What the rooms share across reloads.
#[derive(Debug)]
pub(super) struct Ground {
    pub source: Source,
    pub clock: Clock,
    pub metrics: Metrics,
    /// Of limits that are shared with other gateways.
    pub lender: Option<Lender>,
}

/// Builds the next snapshot. What of `previous` did not change lives on: fetched keys,
/// the counts of limits, connections, credentials.
pub(super) async fn snapshot(
    loaded: Loaded,
    previous: Option<&Snapshot>,
    ground: &Ground,
) -> Result<Snapshot, StartError> {
    let Ground { clock, metrics, lender, .. } = ground;
    let identity = Authenticator::new(
        loaded.issuers,
        previous.map(|previous| &previous.identity),
        clock.clone(),
        metrics,
    )?;
    let upstream = upstream(loaded.aws, previous.map(|p| &p.upstream), ground).await?;
    let bodies = BodyLimits {
        max: loaded.max_body,
        time: loaded.body_timeout,
        memory: body_memory(loaded.body_memory, previous.map(|p| &p.bodies.memory)),
    };
    let limits =
        Limits::new(loaded.limits, previous.map(|p| &p.limits), lender.as_ref(), clock, metrics);
    let requests = requests(loaded.requests, previous.map(|p| &p.requests));
    Ok(Snapshot { requests, identity, policy: loaded.policy, limits, bodies, upstream })
}

/// Bodies that are in memory now count on, unless the bound itself changed.
fn body_memory(bytes: u64, previous: Option<&BodyMemory>) -> BodyMemory {
    match previous {
        Some(same) if same.capacity() == bytes => same.clone(),
        _ => BodyMemory::new(bytes),
    }
}

/// Requests that are open now count on, unless the bound changed. Each needs a socket to
/// SageMaker, so there are never more than the limit on open files has for them.
fn requests(most: NonZeroU32, previous: Option<&Arc<Concurrency>>) -> Arc<Concurrency> {
    let sockets = u32::try_from(server::sockets(most.get() as usize)).unwrap_or(most.get());
    let most = NonZeroU32::new(sockets).unwrap_or(NonZeroU32::MIN);
    match previous {
        Some(same) if same.limit() == most.get() => Arc::clone(same),
        _ => Concurrency::new(most),
    }
}

async fn upstream(
    aws: AwsConfig,
    previous: Option<&Upstream>,
    ground: &Ground,
) -> Result<Upstream, StartError> {
    let region = match aws.region {
        Some(region) => region,
        None => default_region().await.ok_or(StartError::NoRegion)?,
    };
    let config = upstream::Config {
        region,
        runtime_url: aws.runtime_url,
        fips: aws.fips,
        dual_stack: aws.dual_stack,
        ca: aws.ca,
        dns_refresh: aws.dns_refresh,
        timeouts: aws.timeouts,
    };
    if let Some(same) = previous.filter(|previous| *previous.config() == config) {
        return Ok(same.clone());
    }
    let credentials = match previous.filter(|p| p.config().region == config.region) {
        Some(previous) => previous.credentials().clone(),
        None => {
            let source = ground.source.clone();
            Credentials::start(source, &config.region, ground.clock.clone()).await
        }
    };
    Ok(Upstream::new(config, credentials, &ground.metrics)?)
}

/// Asks the shared limit store from now on, if there is one.
pub(super) fn lender(store: Option<RedisConfig>, metrics: &Metrics) -> Option<Lender> {
    if store.is_none() {
        Mode::Embedded.show(metrics);
    }
    store.map(|config| Lender::start(config, metrics))
}

/// Starts what follows the journal's files, if it has any.
pub(super) fn shipping(
    config: Option<ShipConfig>,
    instance: Instance,
    upstream: &Upstream,
    journal: &Journal,
    metrics: &Metrics,
) -> Result<Option<Shipping>, StartError> {
    let identity = Identity {
        instance,
        region: upstream.config().region.clone(),
        fips: upstream.config().fips,
        credentials: upstream.credentials().clone(),
    };
    let start = |config| Shipping::start(config, &identity, journal.clone(), metrics);
    Ok(config.map(start).transpose()?)
}

/// A listener by its name in the metrics.
pub(super) async fn bind(
    name: &'static str,
    address: SocketAddr,
    tls: Option<Tls>,
    bounds: Bounds,
    metrics: &Metrics,
) -> Result<Server, StartError> {
    let bound = Server::bind(name, address, tls, bounds, metrics).await;
    bound.map_err(|source| StartError::Bind { address, source })
}

pub(super) fn tls(files: Option<&TlsFiles>) -> Result<Option<Tls>, StartError> {
    Ok(files.map(Tls::load).transpose()?)
}
