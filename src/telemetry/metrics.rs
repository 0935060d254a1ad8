//! Every metric the gateway exports, declared in one place.
//!
//! Invariant: a label's value comes from configuration or from a permitted request, so the
//! number of series is bounded by what the operator wrote, never by what strangers send.

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
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
    /// `sagegate_decisions_total{result,cache}`
    pub decisions: IntCounterVec,
    /// `sagegate_tokens_total{result,cache}`
    pub tokens: IntCounterVec,
    /// `sagegate_jwks_age_seconds{issuer}`
    pub jwks_age: GaugeVec,
    /// Seconds until the upstream credentials expire; `+Inf` for credentials that do not.
    pub credentials_expiry: prometheus::Gauge,
    /// `sagegate_reloads_total{result}`
    pub reloads: IntCounterVec,
    /// `sagegate_audit_events_total{sink,result}`
    pub audit_events: IntCounterVec,
    /// `sagegate_limit_decisions_total{team,limit,result}`
    pub limit_decisions: IntCounterVec,
}

impl Metrics {
    /// # Errors
    /// When a metric cannot be registered, which means two share a name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let metric = HistogramVec::new(opts, &["operation"])?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let metrics = Self {
            requests: counter(
                "sagegate_requests_total",
                "Requests by how they ended.",
                &["operation", "endpoint", "team", "outcome"],
            )?,
            request_duration: histogram(
                "sagegate_request_duration_seconds",
                "From the request's head to the end of the answer.",
                &SECONDS,
            )?,
            upstream_duration: histogram(
                "sagegate_upstream_duration_seconds",
                "From sending to SageMaker to the end of its answer.",
                &SECONDS,
            )?,
            overhead: histogram(
                "sagegate_overhead_seconds",
                "What the gateway added: total less upstream.",
                &OVERHEAD,
            )?,
            in_flight: IntGauge::new("sagegate_in_flight_requests", "Requests being served.")?,
            decisions: counter(
                "sagegate_decisions_total",
                "Decisions by result and cache use.",
                &["result", "cache"],
            )?,
            tokens: counter(
                "sagegate_tokens_total",
                "Tokens by result and cache use.",
                &["result", "cache"],
            )?,
            jwks_age: GaugeVec::new(
                Opts::new(
                    "sagegate_jwks_age_seconds",
                    "Since the issuer's keys were last fetched.",
                ),
                &["issuer"],
            )?,
            credentials_expiry: prometheus::Gauge::new(
                "sagegate_credentials_expiry_seconds",
                "Until the AWS credentials expire.",
            )?,
            reloads: counter("sagegate_reloads_total", "Configuration reloads.", &["result"])?,
            audit_events: counter(
                "sagegate_audit_events_total",
                "Audit events by sink and result.",
                &["sink", "result"],
            )?,
            limit_decisions: counter(
                "sagegate_limit_decisions_total",
                "Admissions by team, limit and result.",
                &["team", "limit", "result"],
            )?,
            registry: registry.clone(),
        };
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.jwks_age.clone()))?;
        registry.register(Box::new(metrics.credentials_expiry.clone()))?;
        build_info(&registry)?;
        Ok(metrics)
    }

    /// The Prometheus text format, version 0.0.4.
    ///
    /// # Errors
    /// When a metric family cannot be written as text.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// From a cached small model (1 ms) to the longest stream (10 min).
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 600.0];

/// From the cached path (tens of µs) to a wait that someone would notice.
const OVERHEAD: [f64; 10] =
    [0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1, 1.0];

fn build_info(registry: &Registry) -> Result<(), prometheus::Error> {
    let info = GaugeVec::new(Opts::new("sagegate_build_info", "Always 1."), &["version"])?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    registry.register(Box::new(info))
}
