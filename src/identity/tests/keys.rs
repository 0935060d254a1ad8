//! Which published keys are used, and which key a token gets.

use serde_json::{Value, json};

use super::support::{EC, ED, OTHER_RSA, RSA, encode, with};
use crate::identity::Algorithm;
use crate::identity::keys::{KeySet, KeySetError, NoKey};

fn parse(keys: Value) -> Result<KeySet, KeySetError> {
    let document: Value = [("keys", keys)].into_iter().collect();
    KeySet::parse(document.to_string().as_bytes())
}

#[test]
fn keys_that_must_not_verify_are_left_out() {
    let rsa = |more: Value| RSA.jwk_with(more);
    let number = |bytes: usize, first: u8| {
        let mut number = vec![first; bytes];
        number[bytes - 1] = 1;
        encode(number)
    };
    for good in [
        rsa(json!({})),
        rsa(json!({ "use": "sig", "key_ops": ["verify"], "alg": "RS512", "x5c": ["AA=="] })),
        rsa(json!({ "n": number(256, 0x80) })),
        rsa(json!({ "n": number(1024, 0xff), "e": "Aw" })),
        EC.jwk_with(json!({ "alg": "ES256" })),
        ED.jwk_with(json!({ "alg": "EdDSA" })),
    ] {
        assert_eq!(parse(json!([good.clone()])).map(|set| set.len()), Ok(1), "{good}");
    }
    for bad in [
        rsa(json!({ "use": "enc" })),
        rsa(json!({ "use": ["sig"] })),
        rsa(json!({ "key_ops": ["sign"] })),
        rsa(json!({ "key_ops": "verify" })),
        rsa(json!({ "key_ops": [] })),
        rsa(json!({ "alg": "RSA-OAEP" })),
        rsa(json!({ "alg": "ES256" })),
        rsa(json!({ "alg": "HS256" })),
        rsa(json!({ "alg": 7 })),
        rsa(json!({ "kid": 7 })),
        rsa(json!({ "d": "AQAB" })),
        rsa(json!({ "crv": "P-256" })),
        rsa(json!({ "kty": "rsa" })),
        rsa(json!({ "n": null })),
        rsa(json!({ "n": "" })),
        rsa(json!({ "n": "*" })),
        rsa(json!({ "n": number(256, 0x7f) })),
        rsa(json!({ "n": number(128, 0xff) })),
        rsa(json!({ "n": number(257, 0) })),
        rsa(json!({ "n": number(1025, 1) })),
        rsa(json!({ "n": encode([0xfe; 256]) })),
        rsa(json!({ "e": "AQ" })),
        rsa(json!({ "e": "AAE" })),
        rsa(json!({ "e": "AQAA" })),
        EC.jwk_with(json!({ "crv": "P-384" })),
        EC.jwk_with(json!({ "crv": "secp256k1" })),
        EC.jwk_with(json!({ "x": "AAAA" })),
        EC.jwk_with(json!({ "alg": "ES384" })),
        ED.jwk_with(json!({ "crv": "X25519" })),
        ED.jwk_with(json!({ "x": encode([7; 31]) })),
        json!({ "kty": "oct", "k": encode([7; 32]), "alg": "HS256" }),
        json!({ "kty": "oct", "k": encode([7; 32]) }),
        json!({}),
        json!("RSA"),
    ] {
        assert_eq!(parse(json!([bad.clone()])).err(), Some(KeySetError::NoneUsable), "{bad}");
        let beside = parse(json!([bad.clone(), ED.jwk()]));
        assert_eq!(beside.map(|set| set.len()), Ok(1), "{bad} beside a good one");
    }
}

#[test]
fn an_id_that_occurs_twice_belongs_to_no_key() {
    let named = |key: Value| with(key, json!({ "kid": "k" }));
    let encrypting = with(named(OTHER_RSA.jwk()), json!({ "use": "enc" }));
    for keys in [
        json!([named(RSA.jwk()), named(OTHER_RSA.jwk()), ED.jwk()]),
        json!([named(RSA.jwk()), named(RSA.jwk()), named(RSA.jwk()), ED.jwk()]),
        json!([encrypting, named(RSA.jwk()), ED.jwk()]),
        json!([named(RSA.jwk()), encrypting, ED.jwk()]),
    ] {
        let set = parse(keys).unwrap();
        assert_eq!(set.len(), 1);
        assert_eq!(set.find(Algorithm::Rs256, Some("k")).err(), Some(NoKey::Unfit));
        assert!(set.find(Algorithm::EdDsa, None).is_ok());
    }
    let set = parse(json!([named(RSA.jwk()), ED.jwk()])).unwrap();
    assert!(set.find(Algorithm::Rs256, Some("k")).is_ok());
}

#[test]
fn a_token_without_an_id_gets_a_key_only_if_there_is_no_choice() {
    let one = parse(json!([RSA.jwk_with(json!({ "kid": "a" })), EC.jwk()])).unwrap();
    assert!(one.find(Algorithm::Rs256, None).is_ok());
    assert!(one.find(Algorithm::Es256, None).is_ok());
    assert_eq!(one.find(Algorithm::EdDsa, None).err(), Some(NoKey::Unknown));
    let two = parse(json!([
        RSA.jwk_with(json!({ "kid": "a" })),
        OTHER_RSA.jwk_with(json!({ "kid": "b", "alg": "RS256" })),
    ]))
    .unwrap();
    assert_eq!(two.find(Algorithm::Rs256, None).err(), Some(NoKey::Ambiguous));
    // Only `a` is for PS256.
    assert_eq!(two.find(Algorithm::Ps256, None).unwrap().kid(), Some("a"));
}

#[test]
fn an_id_is_compared_whole_and_with_case() {
    let set = parse(json!([RSA.jwk_with(json!({ "kid": "Key" })), ED.jwk()])).unwrap();
    assert!(set.find(Algorithm::Rs256, Some("Key")).is_ok());
    for other in ["key", "Ke", "Key ", ""] {
        assert_eq!(set.find(Algorithm::Rs256, Some(other)).err(), Some(NoKey::Unknown), "{other}");
    }
}

#[test]
fn a_set_is_an_object_with_a_bounded_array() {
    let good = json!({ "keys": [ED.jwk()], "extra": 1 }).to_string();
    assert!(KeySet::parse(good.as_bytes()).is_ok());
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, "<html>"] {
        assert_eq!(KeySet::parse(bad.as_bytes()).err(), Some(KeySetError::Document), "{bad}");
    }
    let many = |n: usize| parse(Value::Array(vec![ED.jwk(); n])).map(|set| set.len());
    assert_eq!((many(256), many(257)), (Ok(256), Err(KeySetError::TooMany)));
}

#[test]
fn keys_that_stayed_the_same_are_carried_over_and_no_others() {
    let first = parse(json!([
        RSA.jwk_with(json!({ "kid": "a" })),
        EC.jwk_with(json!({ "kid": "b" })),
        ED.jwk_with(json!({ "kid": "c" })),
    ]))
    .unwrap();
    let key = |alg, kid| first.find(alg, Some(kid)).unwrap();
    let (rsa, ec, ed) =
        (key(Algorithm::Rs256, "a"), key(Algorithm::Es256, "b"), key(Algorithm::EdDsa, "c"));
    let second = parse(json!([
        EC.jwk_with(json!({ "kid": "b" })),
        ED.jwk_with(json!({ "kid": "renamed" })),
        RSA.jwk_with(json!({ "kid": "a", "alg": "RS256" })),
    ]))
    .unwrap()
    .carry_over(&first);
    assert!(second.holds(ec));
    assert!(!second.holds(ed), "another id");
    assert!(!second.holds(rsa), "now for one algorithm only");
}
