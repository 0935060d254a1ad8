//! `/livez`, `/readyz`, `/metrics`; and the first two alone, for probes.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::Health;
use crate::server::{Handler, Malformed, Peer};
use crate::telemetry::metrics::Metrics;

/// Answers the operator.
#[derive(Clone, Debug)]
pub struct Admin {
    health: Health,
    metrics: Metrics,
}

/// Answers probes from anywhere: whether, and never why.
#[derive(Clone, Debug)]
pub struct Probes {
    health: Health,
}

type Page = Response<Full<Bytes>>;

impl Admin {
    pub fn new(health: Health, metrics: Metrics) -> Self {
        Self { health, metrics }
    }

    fn ready(&self) -> Page {
        let faults = self.health.faults();
        if faults.is_empty() { ok() } else { unready(faults.join("\n") + "\n") }
    }

    fn metrics(&self) -> Page {
        let snapshot = self.health.snapshot.load();
        self.metrics.credentials_expiry.set(snapshot.upstream.credentials().seconds_left());
        let addresses = snapshot.upstream.addresses();
        for (state, count) in [("open", addresses.open), ("closed", addresses.closed)] {
            self.metrics.upstream_addresses.with_label_values(&[state]).set(count as f64);
        }
        match self.metrics.render() {
            Ok(text) => {
                let mut page = page(StatusCode::OK, text);
                page.headers_mut().insert(CONTENT_TYPE, PROMETHEUS);
                page
            }
            Err(error) => {
                tracing::error!(%error, "the metrics could not be written");
                page(StatusCode::INTERNAL_SERVER_ERROR, "see the log\n".to_owned())
            }
        }
    }
}

impl Probes {
    pub fn new(health: Health) -> Self {
        Self { health }
    }
}

const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

impl Handler for Admin {
    type Body = Full<Bytes>;

    async fn handle(&self, request: Request<Incoming>, _: Peer) -> Page {
        read(&request).unwrap_or_else(|path| match path {
            // Being answered at all is what it says.
            "/livez" => ok(),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => unknown("here are /livez, /readyz and /metrics\n"),
        })
    }

    fn malformed(&self, peer: Peer, fault: Malformed) {
        tracing::debug!(peer = %peer.address, ?fault, "not a request, on the admin listener");
    }
}

impl Handler for Probes {
    type Body = Full<Bytes>;

    async fn handle(&self, request: Request<Incoming>, _: Peer) -> Page {
        read(&request).unwrap_or_else(|path| match path {
            "/livez" => ok(),
            "/readyz" if self.health.faults().is_empty() => ok(),
            "/readyz" => unready("not ready\n".to_owned()),
            _ => unknown("here are /livez and /readyz\n"),
        })
    }

    fn malformed(&self, peer: Peer, fault: Malformed) {
        tracing::debug!(peer = %peer.address, ?fault, "not a request, on the probes' listener");
    }
}

/// The page that is asked for, or the answer to whoever does not read.
fn read(request: &Request<Incoming>) -> Result<Page, &str> {
    let method = request.method();
    if method == Method::GET || method == Method::HEAD {
        return Err(request.uri().path());
    }
    Ok(read_only())
}

fn ok() -> Page {
    page(StatusCode::OK, "ok\n".to_owned())
}

fn unready(why: String) -> Page {
    page(StatusCode::SERVICE_UNAVAILABLE, why)
}

fn unknown(here: &str) -> Page {
    page(StatusCode::NOT_FOUND, here.to_owned())
}

/// RFC 9110 §15.5.6: a 405 says what is allowed.
fn read_only() -> Page {
    let mut page = page(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n".to_owned());
    page.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    page
}

fn page(status: StatusCode, text: String) -> Page {
    let mut page = Response::new(Full::new(Bytes::from(text)));
    *page.status_mut() = status;
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    page
}
