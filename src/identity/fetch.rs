//! Getting an issuer's keys: OpenID Connect Discovery 1.0 §4, then the key set it points to.
//!
//! The answer is believed only if it came from where the configuration points, over TLS with
//! a certificate we trust, without a redirect, small, in time, and, for discovery, if the
//! document names the very issuer that was asked for (§4.3).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::error::IdentityError;
use super::issuer::IssuerConfig;
use super::json::{Json, Object};
use super::keys::{KeySet, KeySetError};

/// Real documents are a few KiB.
const MAX_DOCUMENT: usize = 1024 * 1024;
/// For one document, from the name's resolution to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Knows one issuer's addresses and whom to trust for them.
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    source: Source,
}

enum Source {
    Discovery { issuer: String, document: Uri },
    Keys(Uri),
}

/// Why no keys came. For the operator's log.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{uri}: no answer within {} s", TIMEOUT.as_secs())]
    TimedOut { uri: Uri },
    #[error("{uri}: {problem}")]
    Connection { uri: Uri, problem: String },
    #[error("{uri}: answered {status}; only 200 is accepted, and redirects are not followed")]
    Status { uri: Uri, status: StatusCode },
    #[error("{uri}: the document is broken off or larger than {MAX_DOCUMENT} bytes: {problem}")]
    Body { uri: Uri, problem: String },
    #[error("{uri}: the discovery document is not a JSON object with `issuer` and `jwks_uri`")]
    Document { uri: Uri },
    #[error("{uri}: the discovery document is of another issuer than the configured one")]
    OtherIssuer { uri: Uri },
    #[error("{uri}: its `jwks_uri` is not an https url, nor http on the same host")]
    KeysUrl { uri: Uri },
    #[error("{uri}: {problem}")]
    Keys { uri: Uri, problem: KeySetError },
}

impl Fetcher {
    /// `system_roots` are those of [`roots_for`]; an issuer with its own `ca` ignores them.
    pub(super) fn new(
        config: &IssuerConfig,
        system_roots: &Arc<RootCertStore>,
    ) -> Result<Self, IdentityError> {
        let roots = match &config.ca {
            Some(pem) => own_roots(config, pem)?,
            None => Arc::clone(system_roots),
        };
        Ok(Self { client: client(roots)?, source: source(config)? })
    }

    /// Cancel-safe: nothing is kept of a fetch that is dropped.
    pub(super) async fn keys(&self) -> Result<KeySet, FetchError> {
        let keys = match &self.source {
            Source::Keys(uri) => uri.clone(),
            Source::Discovery { issuer, document } => {
                keys_url(&self.load(document).await?, issuer, document)?
            }
        };
        let document = self.load(&keys).await?;
        KeySet::parse(&document).map_err(|problem| FetchError::Keys { uri: keys, problem })
    }

    async fn load(&self, uri: &Uri) -> Result<Bytes, FetchError> {
        tokio::time::timeout(TIMEOUT, self.exchange(uri))
            .await
            .unwrap_or_else(|_| Err(FetchError::TimedOut { uri: uri.clone() }))
    }

    async fn exchange(&self, uri: &Uri) -> Result<Bytes, FetchError> {
        let connection = |problem: String| FetchError::Connection { uri: uri.clone(), problem };
        let request = Request::get(uri)
            .header(ACCEPT, "application/json, application/jwk-set+json")
            .header(USER_AGENT, concat!("sagegate/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| connection(error.to_string()))?;
        let response =
            self.client.request(request).await.map_err(|error| connection(causes(&error)))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status { uri: uri.clone(), status: response.status() });
        }
        let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await;
        let broken = |problem: Box<dyn std::error::Error + Send + Sync>| problem.to_string();
        body.map(|body| body.to_bytes())
            .map_err(|error| FetchError::Body { uri: uri.clone(), problem: broken(error) })
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

/// This system's certificate authorities, read once for all issuers; none if no issuer
/// needs them.
pub(super) fn roots_for(issuers: &[IssuerConfig]) -> Result<Arc<RootCertStore>, IdentityError> {
    let mut roots = RootCertStore::empty();
    if issuers.iter().any(needs_system_roots) {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(IdentityError::NoSystemRoots);
        }
    }
    Ok(Arc::new(roots))
}

fn needs_system_roots(config: &IssuerConfig) -> bool {
    let plain = |url: &str| url.starts_with("http://");
    let all_plain = plain(&config.url) && config.jwks_url.as_deref().is_none_or(plain);
    config.ca.is_none() && !all_plain
}

fn own_roots(config: &IssuerConfig, pem: &[u8]) -> Result<Arc<RootCertStore>, IdentityError> {
    let unusable = || IdentityError::Certificates { issuer: config.name.clone() };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|_| unusable())?).map_err(|_| unusable())?;
    }
    if roots.is_empty() { Err(unusable()) } else { Ok(Arc::new(roots)) }
}

fn client(
    roots: Arc<RootCertStore>,
) -> Result<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>, IdentityError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    // Minutes lie between fetches: an idle connection would only be found dead.
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https))
}

fn source(config: &IssuerConfig) -> Result<Source, IdentityError> {
    let uri = |url: &str| {
        let wrong = || IdentityError::Url { issuer: config.name.clone(), url: url.to_owned() };
        url.parse::<Uri>().ok().filter(is_fetchable).ok_or_else(wrong)
    };
    if let Some(url) = &config.jwks_url {
        return Ok(Source::Keys(uri(url)?));
    }
    let issuer = config.url.clone();
    uri(&issuer)?;
    // Core §2: an issuer has no query and no fragment; behind one, the path would get lost.
    if issuer.contains(['?', '#']) {
        return Err(IdentityError::Url { issuer: config.name.clone(), url: issuer });
    }
    // Discovery §4.1: a slash at the issuer's end is removed before appending.
    let base = issuer.strip_suffix('/').unwrap_or(&issuer);
    let document = uri(&format!("{base}/.well-known/openid-configuration"))?;
    Ok(Source::Discovery { issuer, document })
}

fn is_fetchable(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), Some("https" | "http")) && uri.host().is_some()
}

/// Where the discovery document says that the keys are. Pure.
fn keys_url(document: &[u8], issuer: &str, from: &Uri) -> Result<Uri, FetchError> {
    let broken = || FetchError::Document { uri: from.clone() };
    let document = Object::parse(document).ok_or_else(broken)?;
    let text = |name| document.member(name).and_then(Json::text).ok_or_else(broken);
    if text("issuer")? != issuer {
        return Err(FetchError::OtherIssuer { uri: from.clone() });
    }
    let keys = text("jwks_uri")?.parse::<Uri>().ok().filter(is_fetchable);
    // Plain http only to the host for which the operator already accepted it.
    let same = |keys: &Uri| (keys.scheme(), keys.host()) == (from.scheme(), from.host());
    let safe = |keys: &Uri| keys.scheme_str() == Some("https") || same(keys);
    keys.filter(safe).ok_or_else(|| FetchError::KeysUrl { uri: from.clone() })
}

/// The client's own text is only "client error"; what happened is in its sources.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
