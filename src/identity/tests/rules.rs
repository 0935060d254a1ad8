//! One table per rule: what breaks it, and beside it what keeps it.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{EC, ED, NOW, OTHER_RSA, RSA, Signer, World, at, encode, with};
use crate::identity::error::Part;
use crate::identity::{Algorithm, AuthError, Reason};
use crate::names::Issuer;

fn corp() -> Issuer {
    Issuer::new("corp")
}

fn form(claim: &str) -> impl Fn(&AuthError) -> bool {
    move |error| matches!(error, AuthError::Invalid(Reason::ClaimForm { claim: c, .. }) if **c == *claim)
}

/// Every change to the claims in `bad` is refused with `expected`, every one in `good` passes.
async fn table(
    world: &World,
    good: &[Value],
    bad: &[Value],
    expected: impl Fn(&AuthError) -> bool,
) {
    for change in good {
        let result = world.check(&world.token(change.clone())).await;
        assert!(result.is_ok(), "{change}: {result:?}");
    }
    for change in bad {
        let error = world.check(&world.token(change.clone())).await.err();
        assert!(error.as_ref().is_some_and(&expected), "{change}: {error:?}");
    }
}

fn is(reason: Reason) -> impl Fn(&AuthError) -> bool {
    move |error| *error == AuthError::Invalid(reason.clone())
}

#[tokio::test]
async fn a_good_token_becomes_its_principal() {
    let world = World::new().await;
    let change = json!({ "groups": ["fraud", "ds", "ds"], "azp": "app-1" });
    let principal = world.check(&world.token(change)).await.unwrap();
    assert_eq!(principal.issuer().as_str(), "corp");
    assert_eq!(principal.issuer_url(), world.config.url);
    assert_eq!(principal.user().as_str(), "corp/alice");
    let groups: Vec<_> = principal.groups().iter().map(|group| group.as_str()).collect();
    assert_eq!(groups, ["corp/ds", "corp/fraud"]);
    assert_eq!((principal.token_id(), principal.client()), (Some("t-1"), Some("app-1")));
    assert_eq!(principal.issued_at(), Some(at(NOW - 60)));
    assert_eq!(principal.expires_at(), at(NOW + 3600));
}

#[tokio::test]
async fn each_family_of_algorithms_verifies_and_only_with_its_own_key() {
    let world = World::new().await;
    let sign = |signer: &Signer, alg: &str, kid: &str| {
        signer.sign(&json!({ "alg": alg, "kid": kid }), &world.claims(json!({})))
    };
    for (signer, alg, kid) in [
        (&*RSA, "RS256", "rsa"),
        (&RSA, "PS256", "pss"),
        (&EC, "ES256", "ec"),
        (&ED, "EdDSA", "ed"),
    ] {
        let result = world.check(&sign(signer, alg, kid)).await;
        assert!(result.is_ok(), "{alg}: {result:?}");
    }
    let unfit = AuthError::Invalid(Reason::UnfitKey { issuer: corp() });
    for (signer, alg, kid) in [
        // The JWK says RS256, or PS256, and the token the other.
        (&*RSA, "PS256", "rsa"),
        (&RSA, "RS256", "pss"),
        (&EC, "RS256", "ec"),
        (&RSA, "ES256", "rsa"),
        (&ED, "ES256", "ed"),
    ] {
        assert_eq!(world.check(&sign(signer, alg, kid)).await.err(), Some(unfit.clone()), "{alg}");
    }
}

#[tokio::test]
async fn a_signature_of_another_key_or_over_other_bytes_is_refused() {
    let world = World::new().await;
    let refused =
        |kid: &str| Some(Reason::Signature { issuer: corp(), kid: Some(kid.into()) }.into());
    let header = json!({ "alg": "RS256", "kid": "rsa" });
    let forged = OTHER_RSA.sign(&header, &world.claims(json!({})));
    assert_eq!(world.check(&forged).await.err(), refused("rsa"));

    let good = world.token(json!({}));
    let parts: Vec<_> = good.split('.').collect();
    let other_claims = encode(world.claims(json!({ "sub": "root" })).to_string());
    let moved = format!("{}.{other_claims}.{}", parts[0], parts[2]);
    assert_eq!(world.check(&moved).await.err(), refused("rsa"));
    let other_header = encode(r#"{ "alg": "RS256", "kid": "rsa" }"#);
    let moved = format!("{other_header}.{}.{}", parts[1], parts[2]);
    assert_eq!(world.check(&moved).await.err(), refused("rsa"));
    let short = format!("{}.{}.{}", parts[0], parts[1], encode("short"));
    assert_eq!(world.check(&short).await.err(), refused("rsa"));
    assert!(world.check(&good).await.is_ok());
}

#[tokio::test]
async fn algorithms_outside_the_issuers_list_are_refused_before_any_key_is_used() {
    let world = World::with_config(|config| config.algorithms = vec![Algorithm::Rs256]).await;
    let expected: std::sync::Arc<[_]> = vec![Algorithm::Rs256].into();
    let refused = Some(AuthError::Invalid(Reason::Algorithm { expected }));
    let claims = world.claims(json!({}));
    for (signer, alg, kid) in [
        (&*EC, "ES256", "ec"),
        (&RSA, "none", "rsa"),
        (&RSA, "HS256", "rsa"),
        (&RSA, "rs256", "rsa"),
    ] {
        let token = signer.sign(&json!({ "alg": alg, "kid": kid }), &claims);
        assert_eq!(world.check(&token).await.err(), refused, "{alg}");
    }
    let unsigned = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(claims.to_string()));
    assert_eq!(world.check(&unsigned).await.err(), Some(Reason::Parts.into()));
    assert!(world.check(&world.token(json!({}))).await.is_ok());
}

#[tokio::test]
async fn the_type_is_compared_without_case_and_a_missing_one_is_jwt() {
    let world = World::new().await;
    let sign = |typ: Value| {
        let header = with(json!({ "alg": "RS256", "kid": "rsa" }), json!({ "typ": typ }));
        RSA.sign(&header, &world.claims(json!({})))
    };
    for good in
        [json!(null), json!("JWT"), json!("jwt"), json!("at+JWT"), json!("application/at+jwt")]
    {
        assert!(world.check(&sign(good.clone())).await.is_ok(), "{good}");
    }
    let expected: std::sync::Arc<[_]> = vec!["jwt".to_owned(), "at+jwt".to_owned()].into();
    let refused = AuthError::from(Reason::TokenType { expected });
    for bad in ["logout+jwt", "dpop+jwt", "", "application/x/jwt", "JOSE"] {
        assert_eq!(world.check(&sign(json!(bad))).await.err(), Some(refused.clone()), "{bad}");
    }
    let only_access = World::with_config(|config| config.token_types = vec!["at+jwt".into()]).await;
    let token = only_access.token(json!({}));
    assert!(matches!(
        only_access.check(&token).await,
        Err(AuthError::Invalid(Reason::TokenType { .. }))
    ));
}

#[tokio::test]
async fn the_issuer_is_compared_byte_for_byte() {
    let world = World::new().await;
    let url = world.config.url.clone();
    let bad = [
        json!({ "iss": null }),
        json!({ "iss": format!("{url}/") }),
        json!({ "iss": url.to_uppercase() }),
        json!({ "iss": [url] }),
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": 7 }),
    ];
    table(&world, &[json!({})], &bad, is(Reason::UnknownIssuer)).await;
}

#[tokio::test]
async fn the_payload_is_an_object_without_doubled_claims() {
    let world = World::new().await;
    let header = r#"{"alg":"RS256","kid":"rsa"}"#;
    let good = world.claims(json!({})).to_string();
    let open = good.strip_suffix('}').unwrap();
    assert!(world.check(&RSA.sign_text(header, &good)).await.is_ok());
    for bad in [
        format!(r#"{open},"sub":"root"}}"#),
        format!(r#"{open},"realm_access":{{"roles":[],"roles":["admin"]}}}}"#),
        format!("[{good}]"),
        format!("{good}x"),
        "null".into(),
        String::from("{"),
    ] {
        let error = world.check(&RSA.sign_text(header, &bad)).await.err();
        assert_eq!(error, Some(Reason::Json(Part::Payload).into()), "{bad}");
    }
}

#[tokio::test]
async fn the_audience_is_a_text_or_an_array_of_texts_with_one_of_ours() {
    let world = World::new().await;
    let good = [
        json!({ "aud": "sagegate" }),
        json!({ "aud": ["x", "sagegate-2"] }),
        json!({ "aud": ["sagegate"] }),
    ];
    let expected = world.config.audiences.clone().into();
    let other = is(Reason::Audience { claim: "aud".into(), expected });
    let others = [json!({ "aud": "x" }), json!({ "aud": ["x", "Sagegate"] }), json!({ "aud": "" })];
    table(&world, &good, &others, other).await;
    let wrong = [
        json!({ "aud": 7 }),
        json!({ "aud": [] }),
        json!({ "aud": ["sagegate", 7] }),
        json!({ "aud": { "sagegate": 1 } }),
        json!({ "aud": true }),
    ];
    table(&world, &[], &wrong, form("aud")).await;
    table(&world, &[], &[json!({ "aud": null })], is(Reason::MissingClaim("aud".into()))).await;
    // `null` in the claims, not a missing claim.
    let header = r#"{"alg":"RS256","kid":"rsa"}"#;
    let claims = world.claims(json!({ "aud": "MARK" })).to_string().replace(r#""MARK""#, "null");
    assert!(form("aud")(&world.check(&RSA.sign_text(header, &claims)).await.unwrap_err()));
}

#[tokio::test]
async fn an_expired_token_is_told_when_once_its_signature_is_good() {
    let world = World::new().await;
    let good =
        [json!({ "exp": NOW + 1 }), json!({ "exp": NOW - 29 }), json!({ "exp": NOW as f64 + 0.5 })];
    let expired = |error: &AuthError| matches!(error, AuthError::Expired { .. });
    let bad = [json!({ "exp": NOW - 30 }), json!({ "exp": NOW - 31 })];
    table(&world, &good, &bad, expired).await;

    let error = world.check(&world.token(json!({ "exp": NOW - 40 }))).await.unwrap_err();
    assert_eq!(error, AuthError::Expired { issuer: corp(), at: at(NOW - 40) });
    let claims = world.claims(json!({ "exp": NOW - 40 }));
    let forged = OTHER_RSA.sign(&json!({ "alg": "RS256", "kid": "rsa" }), &claims);
    let error = world.check(&forged).await.unwrap_err();
    assert!(matches!(error, AuthError::Invalid(Reason::Signature { .. })), "{error:?}");
}

#[tokio::test]
async fn dates_are_sane_numbers() {
    let world = World::with_config(|config| config.max_token_age = Duration::MAX).await;
    for claim in ["exp", "nbf", "iat"] {
        let wrong = [
            json!({ claim: (NOW + 60).to_string() }),
            json!({ claim: -1 }),
            json!({ claim: u64::MAX }),
            json!({ claim: 253_402_300_800_u64 }),
            json!({ claim: 1e300 }),
            json!({ claim: [NOW] }),
            json!({ claim: true }),
        ];
        table(&world, &[], &wrong, form(claim)).await;
    }
    let good = [json!({ "exp": 253_402_300_799_u64 }), json!({ "nbf": 0, "iat": 0.5 })];
    table(&world, &good, &[json!({ "exp": null })], is(Reason::MissingClaim("exp".into()))).await;
    table(&world, &[], &[json!({ "iat": NOW + 20, "exp": NOW + 10 })], form("exp")).await;
}

#[tokio::test]
async fn a_token_from_the_future_is_refused_beyond_the_leeway() {
    let world = World::new().await;
    let early =
        |error: &AuthError| *error == AuthError::Invalid(Reason::NotYetValid { at: at(NOW + 31) });
    table(&world, &[json!({ "nbf": NOW + 30 })], &[json!({ "nbf": NOW + 31 })], early).await;
    let future = is(Reason::IssuedInFuture { at: at(NOW + 31) });
    table(&world, &[json!({ "iat": NOW + 30 })], &[json!({ "iat": NOW + 31 })], future).await;
}

#[tokio::test]
async fn a_tokens_whole_life_is_bounded() {
    let world = World::with_config(|c| c.max_token_age = Duration::from_secs(3600)).await;
    let life = |seconds: u64| json!({ "iat": NOW - 60, "exp": NOW - 60 + seconds });
    let long = is(Reason::TooLongLived { max_seconds: 3600 });
    table(&world, &[life(3600)], &[life(3601)], long).await;
    table(&world, &[], &[json!({ "iat": null })], is(Reason::MissingClaim("iat".into()))).await;
    let unbounded = World::with_config(|config| config.max_token_age = Duration::MAX).await;
    table(&unbounded, &[life(1 << 32), json!({ "iat": null })], &[], |_| false).await;
}

#[tokio::test]
async fn the_subject_and_the_user_are_texts_that_say_something() {
    let world = World::new().await;
    table(&world, &[], &[json!({ "sub": null })], is(Reason::MissingClaim("sub".into()))).await;
    let long = "x".repeat(257);
    let bad = [
        json!({ "sub": "" }),
        json!({ "sub": 7 }),
        json!({ "sub": ["alice"] }),
        json!({ "sub": "a\nb" }),
        json!({ "sub": "a\u{0}" }),
        json!({ "sub": "a\u{85}" }),
        json!({ "sub": long }),
    ];
    let good = [json!({ "sub": "x".repeat(256) }), json!({ "sub": "é".repeat(256) })];
    table(&world, &good, &bad, form("sub")).await;

    let by_path = World::with_config(|c| c.user_claim = vec!["act".into(), "mail".into()]).await;
    let good = [json!({ "act": { "mail": "a@x" } })];
    let missing = [json!({}), json!({ "act": {} })];
    table(&by_path, &good, &missing, is(Reason::MissingClaim("act.mail".into()))).await;
    table(&by_path, &[], &[json!({ "act": "a@x" })], form("act")).await;
    let no_subject = [json!({ "act": { "mail": "a@x" }, "sub": null })];
    table(&by_path, &[], &no_subject, is(Reason::MissingClaim("sub".into()))).await;
    let principal = by_path.check(&by_path.token(good[0].clone())).await.unwrap();
    assert_eq!(principal.user().as_str(), "corp/a@x");
}

#[tokio::test]
async fn groups_are_texts_or_nobody_gets_in() {
    let world = World::new().await;
    let many = |n: usize| json!({ "groups": (0..n).map(|i| i.to_string()).collect::<Vec<_>>() });
    let good =
        [json!({ "groups": null }), json!({ "groups": [] }), json!({ "groups": "ds" }), many(1000)];
    let bad = [
        json!({ "groups": 7 }),
        json!({ "groups": ["ds", 7] }),
        json!({ "groups": { "ds": true } }),
        json!({ "groups": [""] }),
        json!({ "groups": ["a\u{0}b"] }),
        many(1001),
    ];
    table(&world, &good, &bad, form("groups")).await;
    let none = world.check(&world.token(json!({ "groups": null }))).await.unwrap();
    assert!(none.groups().is_empty());
    let one = world.check(&world.token(json!({ "groups": "ds" }))).await.unwrap();
    assert_eq!(one.groups()[0].as_str(), "corp/ds");
}

#[tokio::test]
async fn required_claims_are_compared_as_json_writes_them() {
    let required = [("token_use", "access"), ("email_verified", "true"), ("level", "2")];
    let world = World::with_config(|config| {
        config.required_claims =
            required.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    })
    .await;
    let full = json!({ "token_use": "access", "email_verified": true, "level": 2 });
    let but = |more: Value| with(full.clone(), more);
    let lacks =
        |error: &AuthError| matches!(error, AuthError::Invalid(Reason::RequiredClaim { .. }));
    let bad = [
        but(json!({ "token_use": "id" })),
        but(json!({ "token_use": null })),
        but(json!({ "token_use": ["access"] })),
        but(json!({ "email_verified": false })),
        but(json!({ "level": 2.5 })),
    ];
    let good = [full.clone(), but(json!({ "level": "2", "email_verified": "true" }))];
    table(&world, &good, &bad, lacks).await;
    let error = world.check(&world.token(bad[0].clone())).await.unwrap_err();
    assert_eq!(error.to_string(), "the token's claim `token_use` must be `access`");
}

#[tokio::test]
async fn a_token_id_that_could_slip_past_the_revoked_ones_is_refused() {
    let world = World::new().await;
    let bad = [json!({ "jti": 7 }), json!({ "jti": ["t-1"] }), json!({ "jti": "" })];
    table(&world, &[json!({ "jti": null }), json!({ "jti": "t" })], &bad, form("jti")).await;
}

#[tokio::test]
async fn one_issuers_key_never_vouches_for_another() {
    let (one, two) = (World::cold(|_| {}).await, World::cold(|_| {}).await);
    two.idp.publish(json!([OTHER_RSA.jwk_with(json!({ "kid": "rsa" }))]));
    let mut second = two.config.clone();
    second.name = Issuer::new("partner");
    let both = crate::identity::Authenticator::new(
        vec![one.config.clone(), second],
        None,
        one.clock.clone(),
        &one.metrics,
    )
    .unwrap();
    assert!(both.refresh().await);
    let world = World { authenticator: both, ..one };
    let header = json!({ "alg": "RS256", "kid": "rsa" });
    let of_two = world.claims(json!({ "iss": two.config.url }));
    let principal = world.check(&OTHER_RSA.sign(&header, &of_two)).await.unwrap();
    assert_eq!(principal.user().as_str(), "partner/alice");
    assert!(world.check(&world.token(json!({}))).await.is_ok());
    let forged = world.check(&RSA.sign(&header, &of_two)).await.unwrap_err();
    assert!(matches!(forged, AuthError::Invalid(Reason::Signature { .. })), "{forged:?}");
}

#[tokio::test]
async fn no_message_repeats_what_the_token_said() {
    let world = World::with_config(|config| config.max_token_age = Duration::from_secs(60)).await;
    let marks =
        json!({ "sub": "MARK\n", "aud": "MARK", "groups": "MARK\u{1}", "jti": "MARK\u{2}" });
    for (name, mark) in marks.as_object().unwrap() {
        let token = world.token(json!({ name: mark, "exp": NOW - 10, "iat": NOW - 20 }));
        let error = world.check(&token).await.unwrap_err();
        let said = format!("{error} {} {error:?}", error.operator());
        assert!(!said.contains("MARK"), "{said}");
    }
    for header in [
        json!({ "alg": "MARK", "kid": "rsa" }),
        json!({ "alg": "RS256", "kid": "MARK" }),
        json!({ "alg": "RS256", "kid": "rsa", "typ": "MARK" }),
    ] {
        let error = world.check(&RSA.sign(&header, &world.claims(json!({})))).await.unwrap_err();
        let said = format!("{error} {} {error:?}", error.operator());
        assert!(!said.to_lowercase().contains("mark"), "{said}");
    }
    let debug = format!("{:?}", world.authenticator);
    assert!(!debug.contains("eyJ"), "{debug}");
}
