//! A certificate of the moment, for the gateway's TLS and for the callers who trust it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::Outcome;

pub(crate) const NAME: &str = "localhost";

pub(crate) struct Certificate {
    der: CertificateDer<'static>,
    certificate: PathBuf,
    private_key: PathBuf,
}

impl Certificate {
    /// Makes one and writes it and its key to `directory`.
    pub(crate) fn make(directory: &Path) -> Outcome<Self> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let certificate = directory.join("tls.crt");
        let private_key = directory.join("tls.key");
        fs::write(&certificate, made.cert.pem())?;
        fs::write(&private_key, made.signing_key.serialize_pem())?;
        Ok(Self { der: made.cert.der().clone(), certificate, private_key })
    }

    /// `server.tls`, behind the other keys of `server`.
    pub(crate) fn as_key(&self) -> String {
        let (certificate, private_key) = (self.certificate.display(), self.private_key.display());
        format!(", tls: {{ certificate: \"{certificate}\", private_key: \"{private_key}\" }}")
    }

    /// Connects callers with HTTP/1.1 to who has it.
    pub(crate) fn connector(&self) -> Outcome<TlsConnector> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
