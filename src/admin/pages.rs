//! `/livez`, `/readyz`, `/metrics`.

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

type Page = Response<Full<Bytes>>;

impl Admin {
    pub fn new(health: Health, metrics: Metrics) -> Self {
        Self { health, metrics }
    }

    fn page(&self, method: &Method, path: &str) -> Page {
        if method != Method::GET && method != Method::HEAD {
            return read_only();
        }
        match path {
            // Being answered at all is what it says.
            "/livez" => page(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => page(StatusCode::NOT_FOUND, "here are /livez, /readyz and /metrics\n".to_owned()),
        }
    }

    fn ready(&self) -> Page {
        let faults = self.health.faults();
        if faults.is_empty() {
            page(StatusCode::OK, "ok\n".to_owned())
        } else {
            page(StatusCode::SERVICE_UNAVAILABLE, faults.join("\n") + "\n")
        }
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

const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

impl Handler for Admin {
    type Body = Full<Bytes>;

    async fn handle(&self, request: Request<Incoming>, _: Peer) -> Page {
        self.page(request.method(), request.uri().path())
    }

    fn malformed(&self, peer: Peer, fault: Malformed) {
        tracing::debug!(peer = %peer.address, ?fault, "not a request, on the admin listener");
    }
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
