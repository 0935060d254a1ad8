//! TLS from files, and its renewal without a dropped connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// The files that TLS is configured by, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    pub private_key: PathBuf,
    /// Ask for client certificates and accept only those that these authorities issued.
    pub client_ca: Option<PathBuf>,
    /// TLS 1.3 alone.
    pub modern: bool,
}

/// Files that do not make a TLS configuration. Names the file, never a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {source}", path.display())]
    Pem { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("{}: holds no certificate", .0.display())]
    NoCertificate(PathBuf),
    #[error("{}: {source}", path.display())]
    ClientCa { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the certificate and the key cannot be used together: {0}")]
    Pair(#[from] rustls::Error),
}

/// The current TLS configuration. Cloning shares it; a [`reload`](Self::reload) applies to
/// every handshake that starts after it.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ArcSwap<ServerConfig>>);

impl Tls {
    /// # Errors
    /// When a file cannot be read or the files do not fit together.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(server_config(files)?))))
    }

    /// Reads the files anew. On an error the old configuration stays.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn reload(&self, files: &TlsFiles) -> Result<(), TlsError> {
        self.0.store(Arc::new(server_config(files)?));
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load_full())
    }
}

/// TLS 1.2 and 1.3 with rustls' suites, which are all of Mozilla's intermediate set that have
/// forward secrecy and an AEAD, or TLS 1.3 alone, its modern one. X25519MLKEM768 is preferred.
fn server_config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.private_key)
        .map_err(|source| TlsError::Pem { path: files.private_key.clone(), source })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = if files.modern { &[&TLS13][..] } else { &[&TLS13, &TLS12] };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(roots(path)?.into(), provider)
                .build()
                .map_err(|error| client_ca(path, error))?,
        ),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |source| TlsError::Pem { path: path.to_owned(), source };
    let chain = CertificateDer::pem_file_iter(path).map_err(pem)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(pem)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(chain)
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| client_ca(path, error))?;
    }
    Ok(roots)
}

fn client_ca(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> TlsError {
    TlsError::ClientCa { path: path.to_owned(), source: Box::new(error) }
}
