//! Whoever changes one byte of a token has no token.

use proptest::prelude::*;
use serde_json::json;

use super::support::{ED, World};
use crate::identity::keys::KeySet;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A header can carry these; the rest never gets past HTTP.
fn is_header_byte(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

#[test]
fn every_single_byte_counts() {
    let runtime = runtime();
    let world = runtime.block_on(World::new());
    let token = ED.sign(&json!({ "alg": "EdDSA", "kid": "ed" }), &world.claims(json!({})));
    let check = |token: &[u8]| {
        let mut headers = http::HeaderMap::new();
        let value = [b"Bearer ", token].concat();
        headers.insert("authorization", http::HeaderValue::from_bytes(&value).unwrap());
        runtime.block_on(world.authenticator.authenticate(&headers))
    };
    assert!(check(token.as_bytes()).is_ok());
    let strategy = (0..token.len(), any::<u8>().prop_filter("header byte", |b| is_header_byte(*b)));
    proptest!(|((place, byte) in strategy)| {
        let mut mutant = token.clone().into_bytes();
        mutant[place] = byte;
        let same = mutant == token.as_bytes();
        prop_assert_eq!(check(&mutant).is_ok(), same, "{} at {}", byte, place);
    });
    proptest!(|(cut in 0..token.len())| {
        prop_assert!(check(&token.as_bytes()[..cut]).is_err());
    });
}

proptest! {
    #[test]
    fn any_document_is_a_key_set_or_is_not(bytes: Vec<u8>, n: String, alg: String, kid: String) {
        let _ = KeySet::parse(&bytes);
        let entry = json!({ "keys": [{ "kty": "RSA", "n": n, "e": "AQAB", "alg": alg, "kid": kid }] });
        let _ = KeySet::parse(entry.to_string().as_bytes());
    }
}
