//! How a request ended, told to the metrics.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec};

use crate::names::{Action, Endpoint, Team};
use crate::telemetry::metrics::Metrics;

/// Endpoints that get a series of their own; later ones share `other`.
const MOST_ENDPOINTS: usize = 1_000;

/// The metrics that a request ends in, with the handles of the fixed labels at hand.
#[derive(Debug)]
pub(super) struct Tally {
    metrics: Metrics,
    durations: [Durations; Action::ALL.len()],
    /// Endpoints that have answered. A role that permits `*` lets a caller make names up;
    /// only names that SageMaker knows become labels.
    known: RwLock<HashSet<Arc<str>>>,
}

#[derive(Debug)]
struct Durations {
    request: Histogram,
    upstream: Histogram,
    overhead: Histogram,
}

/// What the metrics want to know of an ending.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended<'a> {
    pub operation: Option<Action>,
    /// `None` unless the call was permitted.
    pub permitted: Option<(&'a Endpoint, Option<&'a Team>)>,
    pub outcome: &'static str,
    pub answered: bool,
    pub total: Duration,
    pub upstream: Option<Duration>,
}

impl Tally {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let of = |vec: &HistogramVec, action: Action| vec.with_label_values(&[action.as_str()]);
        let durations = Action::ALL.map(|action| Durations {
            request: of(&metrics.request_duration, action),
            upstream: of(&metrics.upstream_duration, action),
            overhead: of(&metrics.overhead, action),
        });
        Self { metrics: metrics.clone(), durations, known: RwLock::default() }
    }

    pub(super) fn arrived(&self) {
        self.metrics.in_flight.inc();
    }

    pub(super) fn left(&self) {
        self.metrics.in_flight.dec();
    }

    pub(super) fn ended(&self, ended: Ended<'_>) {
        let operation = ended.operation.map_or("", Action::as_str);
        let (endpoint, team) = match ended.permitted {
            None => ("", ""),
            Some((endpoint, team)) => {
                (self.label(endpoint, ended.answered), team.map_or("", Team::as_str))
            }
        };
        let labels = [operation, endpoint, team, ended.outcome];
        self.metrics.requests.with_label_values(&labels).inc();
        let Some(durations) = ended.operation.and_then(|action| self.durations.get(index(action)))
        else {
            return;
        };
        let upstream = ended.upstream.unwrap_or_default();
        durations.request.observe(ended.total.as_secs_f64());
        durations.overhead.observe(ended.total.saturating_sub(upstream).as_secs_f64());
        if ended.upstream.is_some() {
            durations.upstream.observe(upstream.as_secs_f64());
        }
    }

    fn label<'a>(&self, endpoint: &'a Endpoint, answered: bool) -> &'a str {
        let name = endpoint.folded();
        if self.known.read().unwrap_or_else(PoisonError::into_inner).contains(name) {
            return name;
        }
        if !answered {
            return OTHER;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_ENDPOINTS {
            return OTHER;
        }
        known.insert(Arc::clone(name));
        name
    }
}

const OTHER: &str = "other";

const fn index(action: Action) -> usize {
    action as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended<'a>(endpoint: &'a Endpoint, answered: bool) -> Ended<'a> {
        Ended {
            operation: Some(Action::InvokeEndpoint),
            permitted: Some((endpoint, None)),
            outcome: "ok",
            answered,
            total: Duration::from_millis(3),
            upstream: Some(Duration::from_millis(2)),
        }
    }

    #[test]
    fn an_endpoint_becomes_a_label_only_once_it_answered_and_only_so_many() {
        let metrics = Metrics::new().unwrap();
        let tally = Tally::new(&metrics);
        let made_up = Endpoint::parse("made-up").unwrap();
        tally.ended(ended(&made_up, false));
        assert!(!metrics.render().unwrap().contains("made-up"));
        for n in 0..MOST_ENDPOINTS + 5 {
            tally.ended(ended(&Endpoint::parse(&format!("real-{n}")).unwrap(), true));
        }
        let text = metrics.render().unwrap();
        assert_eq!(text.matches("endpoint=\"real-").count(), MOST_ENDPOINTS);
        assert!(text.contains("endpoint=\"other\""));
    }

    #[test]
    fn overhead_is_total_less_upstream() {
        let metrics = Metrics::new().unwrap();
        Tally::new(&metrics).ended(ended(&Endpoint::parse("a").unwrap(), true));
        let text = metrics.render().unwrap();
        assert!(text.contains("sagegate_overhead_seconds_sum{operation=\"InvokeEndpoint\"} 0.001"));
    }

    #[test]
    fn every_action_has_its_place() {
        for (at, action) in Action::ALL.into_iter().enumerate() {
            assert_eq!(index(action), at);
        }
    }
}
