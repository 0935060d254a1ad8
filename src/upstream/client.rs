//! The sending of calls to SageMaker, and the connections that are kept for it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prometheus::IntCounter;

use super::addresses::{AddressCounts, Pick};
use super::budget::Budget;
use super::connect::Connector;
use super::headers::{INVOKED_VARIANT, REQUEST_ID, passed};
use super::resolve::Destinations;
use super::sending::Sending;
use super::{Config, Payload, Relay, Route, RouteError, SignError, Signed, Timeouts, sign};
use crate::audit::OnRecord;
use crate::aws::Credentials;
use crate::limits::Admitted;
use crate::names::RequestId;
use crate::telemetry::metrics::Metrics;

/// Below the minute after which load balancers commonly close an idle connection.
const POOL_IDLE: Duration = Duration::from_secs(50);
/// Idle connections kept to each address: as many as requests are served at once by a busy
/// gateway.
const POOL_SIZE: usize = 512;
/// What is read ahead of a caller who does not. hyper's own bound is 400 KiB, which a thousand
/// slow readers would make 400 MiB.
const READ_AHEAD: usize = 64 * 1024;
/// Of a call that could not be sent: to three addresses, if there are as many.
const MOST_TRIES: u32 = 3;

/// The way to SageMaker. Cloning shares its connections.
#[derive(Clone, Debug)]
pub struct Upstream(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    route: Route,
    client: Client<Connector, Full<Bytes>>,
    destinations: Destinations,
    budget: Budget,
    retries: Retries,
    credentials: Credentials,
}

/// `sagegate_upstream_retries_total`, by whether the budget had one left.
#[derive(Debug)]
struct Retries {
    allowed: IntCounter,
    denied: IntCounter,
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
    #[error("SageMaker's name `{0}` cannot be resolved")]
    Unresolved(String),
    #[error("SageMaker cannot be reached: {0}")]
    Connect(#[source] Error),
    #[error("SageMaker sent no answer within {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error("the connection to SageMaker broke before an answer came: {0}")]
    Broken(#[source] Error),
    #[error("SageMaker's answer has no framing, so its end could not be told from a break")]
    Unframed,
    #[error("the call has no URI: {0}")]
    Uri(#[from] http::Error),
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
    #[error("SageMaker's host is no name that a certificate can have: {0}")]
    Name(#[from] rustls::pki_types::InvalidDnsNameError),
}

impl Upstream {
    /// Resolves the route, trusts the platform's roots or those given, and begins to resolve
    /// the host's name. Connects to nothing yet. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the route or the certificates cannot be used.
    pub fn new(
        config: Config,
        credentials: Credentials,
        metrics: &Metrics,
    ) -> Result<Self, UpstreamError> {
        let route = Route::resolve(&config)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .http1_max_buf_size(READ_AHEAD)
            .build(Connector::new(&config, &route)?);
        let destinations = Destinations::follow(&route, config.dns_refresh);
        let (budget, retries) = (Budget::new(Instant::now()), Retries::new(metrics));
        let shared = Shared { config, route, client, destinations, budget, retries, credentials };
        Ok(Self(Arc::new(shared)))
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

    /// The addresses that SageMaker's name stands for.
    pub fn addresses(&self) -> AddressCounts {
        self.0.destinations.counts()
    }

    /// Signs an admitted call over its whole body, once it is on record as far as it has to be.
    ///
    /// # Errors
    /// When there are no valid credentials.
    pub fn sign(
        &self,
        admitted: Admitted,
        payload: Payload,
        _recorded: OnRecord,
        id: RequestId,
        now: SystemTime,
    ) -> Result<Signed, SignError> {
        let Shared { config, route, credentials, .. } = &*self.0;
        let call = admitted.permit().call();
        let head = sign::head(call, &payload, route, credentials, &config.region, id, now)?;
        Ok(Signed::new(admitted, head, payload))
    }

    /// Sends a signed call and waits for the answer's head. The body is freed then.
    /// Dropping the future aborts the call; without a connection by then it was not sent.
    ///
    /// # Errors
    /// When no answer came; see [`SendError`]. A call is tried again only when no connection
    /// could be made, at another address and within the budget; or when a pooled one was
    /// closed before a byte of the call was written (which the client itself does).
    pub async fn send(&self, signed: Signed) -> Result<Answer, SendError> {
        let timeouts = self.0.config.timeouts;
        let head = tokio::time::timeout(timeouts.response_head, self.attempt(&signed)).await;
        let head = head.unwrap_or(Err(SendError::TooSlow(timeouts.response_head)));
        let (response, pick) = head?;
        Ok(answer(response, pick, timeouts, signed.into_admitted()))
    }

    async fn attempt(&self, signed: &Signed) -> Result<(Response<Incoming>, Pick), SendError> {
        let Shared { budget, retries, .. } = &*self.0;
        budget.earn();
        for _ in 1..MOST_TRIES {
            match self.attempt_once(signed).await {
                Err(SendError::Connect(error)) => {
                    if !budget.spend(Instant::now()) {
                        retries.denied.inc();
                        return Err(SendError::Connect(error));
                    }
                    retries.allowed.inc();
                }
                settled => return settled,
            }
        }
        self.attempt_once(signed).await
    }

    /// Sends the call to one address, and tells what that says about the address.
    async fn attempt_once(&self, signed: &Signed) -> Result<(Response<Incoming>, Pick), SendError> {
        let Shared { config, route, client, destinations, .. } = &*self.0;
        let pick = destinations.pick(config.timeouts.connect).await;
        let pick = pick.ok_or_else(|| SendError::Unresolved(route.host().to_owned()))?;
        let mut request = signed.request(route, pick.authority())?;
        let sending = Sending::watch(signed.admitted(), &mut request);
        match client.request(request).await {
            Ok(response) => {
                pick.answered();
                if framed(&response) { Ok((response, pick)) } else { Err(SendError::Unframed) }
            }
            Err(error) if error.is_connect() => {
                sending.unsent();
                pick.unreachable(Instant::now());
                Err(SendError::Connect(error))
            }
            Err(error) => {
                pick.broke(Instant::now());
                Err(SendError::Broken(error))
            }
        }
    }
}

impl Retries {
    fn new(metrics: &Metrics) -> Self {
        let counter = |result| metrics.upstream_retries.with_label_values(&[result]);
        Self { allowed: counter("allowed"), denied: counter("denied") }
    }
}

fn answer(
    response: Response<Incoming>,
    pick: Pick,
    timeouts: Timeouts,
    admitted: Admitted,
) -> Answer {
    let (head, body) = response.into_parts();
    let body = Relay::new(body, pick, timeouts);
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
