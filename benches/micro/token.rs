//! Tokens: known, new, and what of a new one is the RSA verification alone.

use std::sync::atomic::{AtomicU64, Ordering};

use divan::Bencher;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};

use crate::caller::{DESK, at_once};
use crate::issuer::GROUP;

#[divan::bench]
fn token_hit(bencher: Bencher<'_, '_>) {
    let headers = DESK.head("token-hit");
    at_once(DESK.authenticator.authenticate(&headers)).unwrap();
    bencher.bench(|| at_once(DESK.authenticator.authenticate(&headers)).unwrap());
}

/// DESIGN §13: [`rsa_verification`] plus at most 3 µs.
#[divan::bench(sample_count = 500, sample_size = 1)]
fn token_miss(bencher: Bencher<'_, '_>) {
    let next = AtomicU64::new(0);
    bencher
        .with_inputs(|| DESK.head(&format!("miss-{}", next.fetch_add(1, Ordering::Relaxed))))
        .bench_values(|headers| at_once(DESK.authenticator.authenticate(&headers)).unwrap());
}

/// Measured as [`token_miss`] is, a new token each time, so that the two may be compared.
/// Unpacking the signature is in both, once.
#[divan::bench(sample_count = 500, sample_size = 1)]
fn rsa_verification(bencher: Bencher<'_, '_>) {
    let keys: JwkSet = serde_json::from_str(&DESK.issuer.jwks()).unwrap();
    let key = DecodingKey::from_jwk(keys.keys.first().unwrap()).unwrap();
    let next = AtomicU64::new(0);
    bencher
        .with_inputs(|| {
            let user = format!("rsa-{}", next.fetch_add(1, Ordering::Relaxed));
            DESK.issuer.token(&user, GROUP).unwrap()
        })
        .bench_refs(|token| {
            let (signed, signature) = token.rsplit_once('.').unwrap();
            crypto::verify(signature, signed.as_bytes(), &key, Algorithm::RS256).unwrap()
        });
}
