//! One request, one whole answer: what AWS's services and collectors are reached with.

use std::io::BufReader;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::sinks::SendError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Below the minute after which load balancers commonly close an idle connection.
const POOL_IDLE: Duration = Duration::from_secs(50);
/// Answers name at most the failed ones of 500 records, in some hundred bytes each.
const MAX_ANSWER: usize = 1024 * 1024;
/// What of an unexpected answer's text goes into the log.
const MAX_REASON: usize = 300;

#[derive(Clone, Debug)]
pub(super) struct Client(
    hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
);

impl Client {
    /// Trusts `ca` (PEM), or what the system does. Whether plain http is allowed was decided
    /// with the configuration.
    pub(super) fn new(ca: Option<&[u8]>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots(ca)?)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(1)
            .build(https);
        Ok(Self(client))
    }

    /// Cancel-safe but for what may have arrived.
    pub(super) async fn send(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Bytes>, SendError> {
        let request = request.map(|body| Full::new(Bytes::from(body)));
        let sent = self.0.request(request).await;
        let answer = sent.map_err(|error| SendError::failed(causes(&error)))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| SendError::failed(causes(error.as_ref())))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

/// What an answer means that is none of those hoped for.
pub(super) fn unexpected(status: StatusCode, headers: &HeaderMap, reason: &str) -> SendError {
    let reason: String = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
    let reason = format!("answered {status}: {reason}");
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return SendError::TooLarge(reason);
    }
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    SendError::Failed { reason, retry_after: seconds.map(Duration::from_secs) }
}

fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(pem) => {
            for certificate in CertificateDer::pem_reader_iter(&mut BufReader::new(pem)) {
                let certificate = certificate.map_err(|error| error.to_string())?;
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
        }
        // A system without any still reaches what needs none, over http.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

/// The client's own text is only "client error"; what happened is in its sources.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
