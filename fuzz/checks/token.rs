//! Any bytes → `token::parse` and the claims rules: what they let through, another reader of
//! JSON must find to be in order.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sagegate::identity::{Algorithm, IssuerConfig, review, token};
use sagegate::names::Issuer;
use serde_json::Value;

/// 2026-11-23T12:00:00Z; the seeds are good at this time.
const NOW: u64 = 1_795_435_200;
const URL: &str = "https://idp.example.com";

/// Whether only the signature is left to check.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let Ok(token) = token::parse(bytes) else { return false };
    let text = str::from_utf8(bytes).expect("a token is text");
    let (header, payload) = has_one_spelling(text);
    assert_eq!(header["alg"], token.alg());
    assert_eq!(header.get("kid").and_then(Value::as_str), token.kid());
    for member in ["crit", "jku", "x5u", "jwk", "x5c"] {
        assert!(header.get(member).is_none(), "`{member}` is let through");
    }
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let passes = review(&issuer(), &token, now).is_ok();
    if passes {
        let claims = serde_json::from_slice(&payload).expect("claims are JSON");
        is_in_order(&claims, now);
        assert!(["RS256", "ES256"].contains(&token.alg()), "{}", token.alg());
        assert!(["jwt", "at+jwt"].contains(&token.typ()), "{}", token.typ());
    }
    passes
}

/// Its three parts, encoded again, are the same text.
fn has_one_spelling(text: &str) -> (Value, Vec<u8>) {
    let parts = text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url"));
    let parts: Vec<_> = parts.collect();
    let again: Vec<_> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
    assert_eq!(again.join("."), text);
    let [header, payload, _] = parts.try_into().expect("three parts");
    (serde_json::from_slice(&header).expect("a header is JSON"), payload)
}

fn is_in_order(claims: &Value, now: SystemTime) {
    assert_eq!(claims["iss"], URL);
    let audience = &claims["aud"];
    let ours = |value: &Value| value == "sagegate";
    assert!(ours(audience) || audience.as_array().is_some_and(|all| all.iter().any(ours)));
    assert!(claims["sub"].as_str().is_some_and(|user| !user.is_empty()));
    let now = now.duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let date = |name: &str| claims.get(name).map(|date| date.as_f64().expect("a number"));
    let (expires, issued) = (date("exp").expect("exp"), date("iat").expect("iat"));
    assert!(expires > now && issued <= now && date("nbf").is_none_or(|from| from <= now));
    assert!(expires - issued <= 86_400.0);
}

fn issuer() -> IssuerConfig {
    IssuerConfig {
        name: Issuer::new("corp"),
        url: URL.to_owned(),
        audiences: vec!["sagegate".to_owned()],
        audience_claim: "aud".to_owned(),
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        token_types: vec!["jwt".to_owned(), "at+jwt".to_owned()],
        groups_claim: vec!["groups".to_owned()],
        user_claim: vec!["sub".to_owned()],
        required_claims: BTreeMap::new(),
        leeway: Duration::ZERO,
        max_token_age: Duration::from_secs(86_400),
        jwks_url: None,
        jwks_refresh: Duration::from_secs(300),
        jwks_max_stale: Duration::from_secs(86_400),
        ca: None,
    }
}
