//! Every metric the gateway exports, declared in one place.
//!
//! Invariant: a label's value comes from configuration or from a permitted request, so the
//! number of series is bounded by what the operator wrote, never by what strangers send.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// The registry and a handle for each metric. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// `sagegate_requests_total{operation,endpoint,team,outcome}`
    pub requests: IntCounterVec,
    /// `sagegate_request_duration_seconds{operation}`
    pub request_duration: HistogramVec,
    /// `sagegate_upstream_duration_seconds{operation}`
    pub upstream_duration: HistogramVec,
    /// `sagegate_overhead_seconds{operation}`: total less upstream
    pub overhead: HistogramVec,
    pub in_flight: IntGauge,
    /// `sagegate_connections{listener}`
    pub connections: IntGaugeVec,
    /// `sagegate_connections_refused_total{listener,reason}`
    pub connections_refused: IntCounterVec,
    /// `sagegate_decisions_total{result,cache}`
    pub decisions: IntCounterVec,
    /// `sagegate_tokens_total{result,cache}`
    pub tokens: IntCounterVec,
    /// `sagegate_jwks_age_seconds{issuer}`
    pub jwks_age: GaugeVec,
    /// Seconds until the upstream credentials expire; `+Inf` for credentials that do not.
    pub credentials_expiry: Gauge,
    /// `sagegate_upstream_addresses{state}`: `open`, or `closed` for one left alone
    pub upstream_addresses: GaugeVec,
    /// `sagegate_upstream_retries_total{result}`: `allowed` or `denied` by the budget
    pub upstream_retries: IntCounterVec,
    /// `sagegate_reloads_total{result}`: `ok` or `failed`
    pub reloads: IntCounterVec,
    /// `sagegate_audit_events_total{sink,result}`
    pub audit_events: IntCounterVec,
    /// `sagegate_audit_sync_records`: records that one fsync served
    pub audit_sync_records: Histogram,
    /// `sagegate_audit_sync_wait_seconds`: from the first of them to the end of the fsync
    pub audit_sync_wait: Histogram,
    /// `sagegate_audit_lag_seconds{sink}`: since the oldest event that is not shipped
    pub audit_lag: GaugeVec,
    /// `sagegate_audit_unshipped_bytes{sink}`
    pub audit_unshipped: GaugeVec,
    /// `sagegate_limit_decisions_total{team,limit,result}`
    pub limit_decisions: IntCounterVec,
    /// `sagegate_limit_mode{mode}`: 1 for the mode that holds, of `embedded`, `shared`, `local`,
    /// `open` and `closed`
    pub limit_mode: IntGaugeVec,
    /// `sagegate_limit_store_errors_total{kind}`: `timeout`, `connection` or `refused`
    pub limit_store_errors: IntCounterVec,
    /// `sagegate_limit_lease_requests_total{result}`: calls to the store, `answered` or `failed`
    pub limit_lease_requests: IntCounterVec,
    /// Requests that waited for the store, and for how long.
    pub limit_lease_wait: Histogram,
    /// Leases held by this gateway.
    pub limit_leases: IntGauge,
}

impl Metrics {
    /// # Errors
    /// When a metric cannot be registered, which means two share a name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |said: Said| registered(&registry, IntCounterVec::new(said.opts(), said.2)?);
        let gauge = |said: Said| registered(&registry, GaugeVec::new(said.opts(), said.2)?);
        let whole = |said: Said| registered(&registry, IntGaugeVec::new(said.opts(), said.2)?);
        let histogram = |said: Said, buckets: &[f64]| {
            let opts = HistogramOpts::from(said.opts()).buckets(buckets.to_vec());
            registered(&registry, HistogramVec::new(opts, said.2)?)
        };
        gauge(BUILD_INFO)?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let reloads = counter(RELOADS)?;
        // There from the start: of a series that begins at 1, no increase is ever seen.
        for result in ["ok", "failed"] {
            reloads.with_label_values(&[result]);
        }
        Ok(Self {
            requests: counter(REQUESTS)?,
            request_duration: histogram(REQUEST_DURATION, &SECONDS)?,
            upstream_duration: histogram(UPSTREAM_DURATION, &SECONDS)?,
            overhead: histogram(OVERHEAD, &OVERHEAD_SECONDS)?,
            in_flight: registered(&registry, IntGauge::with_opts(IN_FLIGHT.opts())?)?,
            connections: whole(CONNECTIONS)?,
            connections_refused: counter(CONNECTIONS_REFUSED)?,
            decisions: counter(DECISIONS)?,
            tokens: counter(TOKENS)?,
            jwks_age: gauge(JWKS_AGE)?,
            credentials_expiry: registered(&registry, Gauge::with_opts(EXPIRY.opts())?)?,
            upstream_addresses: gauge(UPSTREAM_ADDRESSES)?,
            upstream_retries: counter(UPSTREAM_RETRIES)?,
            reloads,
            audit_events: counter(AUDIT_EVENTS)?,
            audit_sync_records: plain_histogram(&registry, SYNC_RECORDS, &BATCH_RECORDS)?,
            audit_sync_wait: plain_histogram(&registry, SYNC_WAIT, &DISK_SECONDS)?,
            audit_lag: gauge(AUDIT_LAG)?,
            audit_unshipped: gauge(AUDIT_UNSHIPPED)?,
            limit_decisions: counter(LIMIT_DECISIONS)?,
            limit_mode: whole(LIMIT_MODE)?,
            limit_store_errors: counter(LIMIT_STORE_ERRORS)?,
            limit_lease_requests: counter(LIMIT_LEASE_REQUESTS)?,
            limit_lease_wait: plain_histogram(&registry, LIMIT_LEASE_WAIT, &OVERHEAD_SECONDS)?,
            limit_leases: registered(&registry, IntGauge::with_opts(LIMIT_LEASES.opts())?)?,
            registry,
        })
    }

    /// The Prometheus text format, version 0.0.4.
    ///
    /// # Errors
    /// When a metric family cannot be written as text.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// A metric's name, help and labels.
#[derive(Clone, Copy)]
struct Said(&'static str, &'static str, &'static [&'static str]);

const REQUESTS: Said = Said(
    "sagegate_requests_total",
    "Requests by how they ended.",
    &["operation", "endpoint", "team", "outcome"],
);
const REQUEST_DURATION: Said = Said(
    "sagegate_request_duration_seconds",
    "From the request's head to the end of the answer.",
    &["operation"],
);
const UPSTREAM_DURATION: Said = Said(
    "sagegate_upstream_duration_seconds",
    "From sending to SageMaker to the end of its answer.",
    &["operation"],
);
const OVERHEAD: Said = Said(
    "sagegate_overhead_seconds",
    "What the gateway added: total less upstream.",
    &["operation"],
);
const IN_FLIGHT: Said = Said("sagegate_in_flight_requests", "Requests being served.", &[]);
const CONNECTIONS: Said = Said("sagegate_connections", "Connections that are open.", &["listener"]);
const CONNECTIONS_REFUSED: Said = Said(
    "sagegate_connections_refused_total",
    "Connections closed at once, by the bound that they were over.",
    &["listener", "reason"],
);
const DECISIONS: Said =
    Said("sagegate_decisions_total", "Decisions by result and cache use.", &["result", "cache"]);
const TOKENS: Said =
    Said("sagegate_tokens_total", "Tokens by result and cache use.", &["result", "cache"]);
const JWKS_AGE: Said =
    Said("sagegate_jwks_age_seconds", "Since the issuer's keys were last fetched.", &["issuer"]);
const EXPIRY: Said =
    Said("sagegate_credentials_expiry_seconds", "Until the AWS credentials expire.", &[]);
const UPSTREAM_ADDRESSES: Said = Said(
    "sagegate_upstream_addresses",
    "SageMaker's addresses; closed ones are left alone for a while.",
    &["state"],
);
const UPSTREAM_RETRIES: Said = Said(
    "sagegate_upstream_retries_total",
    "Calls that could not be sent and were to be tried again, by whether the budget allowed it.",
    &["result"],
);
const RELOADS: Said = Said("sagegate_reloads_total", "Configuration reloads.", &["result"]);
const AUDIT_EVENTS: Said =
    Said("sagegate_audit_events_total", "Audit events by sink and result.", &["sink", "result"]);
const SYNC_RECORDS: Said =
    Said("sagegate_audit_sync_records", "Audit records that one fsync served.", &[]);
const SYNC_WAIT: Said = Said(
    "sagegate_audit_sync_wait_seconds",
    "From an audit record to the end of the fsync that served it, for the first of each batch.",
    &[],
);
const AUDIT_LAG: Said = Said(
    "sagegate_audit_lag_seconds",
    "Since the oldest event that the sink does not have yet.",
    &["sink"],
);
const AUDIT_UNSHIPPED: Said = Said(
    "sagegate_audit_unshipped_bytes",
    "Bytes of the journal that the sink does not have yet.",
    &["sink"],
);
const LIMIT_DECISIONS: Said = Said(
    "sagegate_limit_decisions_total",
    "Admissions by team, limit and result.",
    &["team", "limit", "result"],
);
const LIMIT_MODE: Said = Said("sagegate_limit_mode", "How limits are kept; 1 for now.", &["mode"]);
const LIMIT_STORE_ERRORS: Said = Said(
    "sagegate_limit_store_errors_total",
    "Calls to the shared limit store that failed, by kind.",
    &["kind"],
);
const LIMIT_LEASE_REQUESTS: Said = Said(
    "sagegate_limit_lease_requests_total",
    "Calls to the shared limit store for leases, by result.",
    &["result"],
);
const LIMIT_LEASE_WAIT: Said = Said(
    "sagegate_limit_lease_wait_seconds",
    "What requests waited for a lease of the shared limit store; most do not wait.",
    &[],
);
const LIMIT_LEASES: Said =
    Said("sagegate_limit_lease_held", "Leases of shared limits held here.", &[]);
const BUILD_INFO: Said = Said("sagegate_build_info", "Always 1.", &["version"]);

impl Said {
    fn opts(self) -> Opts {
        Opts::new(self.0, self.1)
    }
}

/// From a cached small model (1 ms) to the longest stream (10 min).
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 600.0];

/// From the cached path (tens of µs) to a wait that someone would notice.
const OVERHEAD_SECONDS: [f64; 10] =
    [0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1, 1.0];

/// From a lone request to a full queue.
const BATCH_RECORDS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0, 4096.0];

/// From a disk with a cache of its own to one that hangs.
const DISK_SECONDS: [f64; 12] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

fn plain_histogram(
    registry: &Registry,
    said: Said,
    buckets: &[f64],
) -> Result<Histogram, prometheus::Error> {
    let opts = HistogramOpts::from(said.opts()).buckets(buckets.to_vec());
    registered(registry, Histogram::with_opts(opts)?)
}

fn registered<C>(registry: &Registry, metric: C) -> Result<C, prometheus::Error>
where
    C: Collector + Clone + 'static,
{
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
