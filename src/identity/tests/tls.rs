//! Keys over TLS: the certificate decides whether they are believed.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::support::{World, all_keys, config};
use crate::identity::{Authenticator, IdentityError, IssuerConfig};
use crate::telemetry::clock::Clock;
use crate::telemetry::metrics::Metrics;

/// Serves the keys for every path, with a certificate for `name`. Returns its PEM and URL.
async fn server(name: &str) -> (Vec<u8>, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let body = json!({ "keys": all_keys() }).to_string();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (cert.pem().into_bytes(), url)
}

async fn fetched(url: &str, ca: &[u8]) -> bool {
    let mut config = config(url);
    config.jwks_url = Some(format!("{url}/keys"));
    config.ca = Some(ca.to_vec());
    let metrics = Metrics::new().unwrap();
    Authenticator::new(vec![config], None, Clock::System, &metrics).unwrap().refresh().await
}

#[tokio::test]
async fn keys_are_believed_only_from_a_server_with_a_trusted_certificate_for_its_name() {
    let (ca, url) = server("localhost").await;
    assert!(fetched(&url, &ca).await);
    let (other_ca, other_url) = server("other.example").await;
    assert!(!fetched(&url, &other_ca).await, "a certificate that we do not trust");
    assert!(!fetched(&other_url, &other_ca).await, "a certificate for another name");
}

#[tokio::test]
async fn a_ca_without_certificates_is_refused_at_the_start() {
    let world = World::cold(|_| {}).await;
    for pem in ["", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let mut config = world.config.clone();
        config.ca = Some(pem.into());
        let result = Authenticator::new(vec![config], None, Clock::System, &world.metrics);
        assert!(matches!(result, Err(IdentityError::Certificates { .. })), "{pem}");
    }
}

#[tokio::test]
async fn configurations_that_would_empty_a_rule_are_refused() {
    let world = World::cold(|_| {}).await;
    let new = |configs| Authenticator::new(configs, None, Clock::System, &world.metrics).err();
    let good = || world.config.clone();
    assert!(new(vec![good()]).is_none());
    let mut bad = Vec::new();
    let changes: [fn(&mut IssuerConfig); 7] = [
        |config| config.audiences.clear(),
        |config| config.audiences.push(String::new()),
        |config| config.audience_claim.clear(),
        |config| config.algorithms.clear(),
        |config| config.token_types.clear(),
        |config| config.groups_claim.clear(),
        |config| config.user_claim.clear(),
    ];
    for change in changes {
        let mut config = good();
        change(&mut config);
        bad.push(config);
    }
    for config in bad {
        assert!(matches!(new(vec![config]), Some(IdentityError::Empty { .. })));
    }
    let mut other_name = good();
    other_name.name = crate::names::Issuer::new("other");
    let mut other_url = good();
    other_url.url = "http://127.0.0.1:1".into();
    assert!(matches!(new(vec![good(), other_name]), Some(IdentityError::Doubled(_))));
    assert!(matches!(new(vec![good(), other_url]), Some(IdentityError::Doubled(_))));
    for url in
        ["", "idp.example", "ftp://idp.example", "https://", "/x", "https://x?y", "https://x/#y"]
    {
        let mut config = good();
        config.url = url.into();
        // Its own certificates, so that no system's are looked for.
        config.ca = Some(generate_simple_self_signed(vec![]).unwrap().cert.pem().into());
        assert!(matches!(new(vec![config]), Some(IdentityError::Url { .. })), "{url}");
    }
}
