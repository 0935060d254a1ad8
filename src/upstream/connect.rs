//! One connection to SageMaker: TCP, and TLS in the name that was configured, in time.

use std::io::{self, BufReader};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use super::{Config, Route, UpstreamError};

const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Makes connections to the address that a URI names, for the host of the route.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector>,
    /// For TCP and TLS together.
    within: Duration,
}

type Tls = HttpsConnector<HttpConnector>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Connector {
    pub(super) fn new(config: &Config, route: &Route) -> Result<Self, UpstreamError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        let name = ServerName::try_from(route.name().to_owned());
        let inner = HttpsConnectorBuilder::new()
            .with_tls_config(tls(config)?)
            .https_or_http()
            // The URI has the address; the certificate has the name.
            .with_server_name_resolver(FixedServerNameResolver::new(name?))
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self { inner, within: config.timeouts.connect })
    }
}

impl Service<Uri> for Connector {
    type Response = <Tls as Service<Uri>>::Response;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (connecting, within) = (self.inner.call(to), self.within);
        Box::pin(async move {
            let late = |_| format!("no connection within {} ms", within.as_millis());
            let late = |elapsed| io::Error::new(io::ErrorKind::TimedOut, late(elapsed));
            tokio::time::timeout(within, connecting).await.map_err(late)?
        })
    }
}

fn tls(config: &Config) -> Result<ClientConfig, UpstreamError> {
    let mut roots = RootCertStore::empty();
    match &config.ca {
        Some(pem) => {
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
