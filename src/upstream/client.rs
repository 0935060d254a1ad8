//! The connections to SageMaker and the sending over them.

use std::io::BufReader;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::headers::{INVOKED_VARIANT, REQUEST_ID, passed};
use super::{Config, Payload, Relay, Route, RouteError, SignError, Signed, Timeouts, sign};
use crate::aws::Credentials;
use crate::limits::Admitted;
use crate::names::RequestId;

/// Below the minute after which load balancers commonly close an idle connection.
const POOL_IDLE: Duration = Duration::from_secs(50);
/// Idle connections kept: as many as requests are served at once by a busy gateway.
const POOL_SIZE: usize = 512;
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// The way to SageMaker. Cloning shares its connections.
#[derive(Clone, Debug)]
pub struct Upstream(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    route: Route,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    credentials: Credentials,
}

/// SageMaker's answer: its head as the caller may see it, and its body on the way.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Relay,
    /// What the call holds of its limits, until the answer ends.
    pub admitted: Admitted,
}

impl Answer {
    /// SageMaker's own request id.
    pub fn request_id(&self) -> Option<&HeaderValue> {
        self.headers.get(REQUEST_ID)
    }

    /// The production variant that SageMaker chose.
    pub fn invoked_variant(&self) -> Option<&HeaderValue> {
        self.headers.get(INVOKED_VARIANT)
    }
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("SageMaker cannot be reached: {0}")]
    Connect(#[source] hyper_util::client::legacy::Error),
    #[error("SageMaker sent no answer within {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error("the connection to SageMaker broke before an answer came: {0}")]
    Broken(#[source] hyper_util::client::legacy::Error),
    #[error("SageMaker's answer has no framing, so its end could not be told from a break")]
    Unframed,
}

impl SendError {
    /// Whether it is certain that nothing of the call went out.
    fn unsent(&self) -> bool {
        matches!(self, Self::Connect(_))
    }
}

/// Why there is no way to SageMaker.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("`aws.ca` holds no usable PEM certificate")]
    Ca,
    #[error("TLS to SageMaker cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Upstream {
    /// Resolves the route and trusts the platform's roots, or those given. Connects to
    /// nothing yet.
    ///
    /// # Errors
    /// When the route or the certificates cannot be used.
    pub fn new(config: Config, credentials: Credentials) -> Result<Self, UpstreamError> {
        let route = Route::resolve(&config)?;
        let client = client(&config)?;
        Ok(Self(Arc::new(Shared { config, route, client, credentials })))
    }

    pub fn config(&self) -> &Config {
        &self.0.config
    }

    pub fn route(&self) -> &Route {
        &self.0.route
    }

    pub fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    /// Signs an admitted call over its whole body.
    ///
    /// # Errors
    /// When there are no valid credentials. What the call took of its rates is given back.
    pub fn sign(
        &self,
        mut admitted: Admitted,
        payload: Payload,
        id: RequestId,
        now: SystemTime,
    ) -> Result<Signed, SignError> {
        let Shared { config, route, credentials, .. } = &*self.0;
        let call = admitted.permit().call();
        match sign::head(call, &payload, route, credentials, &config.region, id, now) {
            Ok(head) => Ok(Signed::new(admitted, head, payload)),
            Err(error) => {
                admitted.give_back(Instant::now());
                Err(error)
            }
        }
    }

    /// Sends a signed call and waits for the answer's head. The body is freed then.
    /// Dropping the future aborts the call.
    ///
    /// # Errors
    /// When no answer came; see [`SendError`]. A call is tried again only when no connection
    /// could be made, or when a pooled one was closed before a byte of the call was written
    /// (which the client itself does). What a call that never went out took of its rates is
    /// given back.
    pub async fn send(&self, signed: Signed) -> Result<Answer, SendError> {
        let timeouts = self.0.config.timeouts;
        let head = tokio::time::timeout(timeouts.response_head, self.attempt(&signed)).await;
        let mut admitted = signed.into_admitted();
        match head.unwrap_or(Err(SendError::TooSlow(timeouts.response_head))) {
            Ok(response) => Ok(answer(response, timeouts, admitted)),
            Err(error) => {
                if error.unsent() {
                    admitted.give_back(Instant::now());
                }
                Err(error)
            }
        }
    }

    async fn attempt(&self, signed: &Signed) -> Result<Response<Incoming>, SendError> {
        let first = self.0.client.request(signed.request()).await;
        let response = match first {
            Err(error) if error.is_connect() => self.0.client.request(signed.request()).await,
            other => other,
        };
        let response = response.map_err(|error| {
            if error.is_connect() { SendError::Connect(error) } else { SendError::Broken(error) }
        })?;
        if framed(&response) { Ok(response) } else { Err(SendError::Unframed) }
    }
}

fn answer(response: Response<Incoming>, timeouts: Timeouts, admitted: Admitted) -> Answer {
    let (head, body) = response.into_parts();
    let body = Relay::new(body, timeouts);
    Answer { status: head.status, headers: passed(head.headers), body, admitted }
}

/// A body that ends where the connection does could be cut short without a trace. RFC 9112
/// §6.3: so does one whose last transfer coding is not `chunked`, and what follows a 101 is
/// no HTTP at all.
fn framed<B: Body>(response: &Response<B>) -> bool {
    let chunked = || {
        let codings = response.headers().get_all(TRANSFER_ENCODING).into_iter().next_back();
        let last = codings.and_then(|codings| codings.to_str().ok()?.rsplit(',').next());
        last.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
    };
    !response.status().is_informational()
        && (response.body().size_hint().exact().is_some() || chunked())
}

fn client(
    config: &Config,
) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, UpstreamError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(config.timeouts.connect));
    tcp.set_keepalive(Some(TCP_KEEPALIVE));
    let tls = HttpsConnectorBuilder::new()
        .with_tls_config(tls(config)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_SIZE)
        .build(tls))
}

fn tls(config: &Config) -> Result<ClientConfig, UpstreamError> {
    let mut roots = RootCertStore::empty();
    match &config.ca {
        Some(pem) => {
            use rustls::pki_types::CertificateDer;
            use rustls::pki_types::pem::PemObject;
            for certificate in CertificateDer::pem_reader_iter(BufReader::new(pem.as_slice())) {
                let certificate = certificate.map_err(|_| UpstreamError::Ca)?;
                roots.add(certificate).map_err(|_| UpstreamError::Ca)?;
            }
            if roots.is_empty() {
                return Err(UpstreamError::Ca);
            }
        }
        // An empty set is no fault here: a `runtime_url` over loopback needs none, and
        // every TLS connection would fail with its reason.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;

    use super::*;

    /// An answer whose body is as long as the connection says, to hyper's own client.
    fn answered(status: u16, codings: &[&str]) -> Response<impl Body> {
        let frames = futures_util::stream::empty::<Result<http_body::Frame<Bytes>, SendError>>();
        let mut response = Response::new(StreamBody::new(frames));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for coding in codings {
            response.headers_mut().append(TRANSFER_ENCODING, coding.parse().unwrap());
        }
        response
    }

    #[test]
    fn an_answer_whose_end_cannot_be_told_from_a_break_is_refused() {
        for good in [&["chunked"][..], &["gzip, Chunked"], &["gzip", "chunked"]] {
            assert!(framed(&answered(200, good)), "{good:?}");
        }
        for bad in [&[][..], &["gzip"], &["identity"], &["chunked, gzip"], &["chunked", "gzip"]] {
            assert!(!framed(&answered(200, bad)), "{bad:?}");
        }
    }

    #[test]
    fn an_answer_that_leaves_http_is_refused() {
        let answered =
            |status: u16| Response::builder().status(status).body(Full::new(Bytes::new())).unwrap();
        assert!(framed(&answered(204)));
        assert!(!framed(&answered(101)));
    }
}
