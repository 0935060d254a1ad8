//! Callers without a good token: refused as RFC 6750 and AWS SDKs expect it, on record
//! without a word of the token, and never sent on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use crate::support::request::INVOKE;
use crate::support::{Ask, Setup, Stand};

const MISSING: &str = "MissingAuthenticationTokenException";
const INVALID: &str = "UnrecognizedClientException";
const EXPIRED: &str = "ExpiredTokenException";
const SDK: &str = "x-amz-security-token";

struct Case {
    what: &'static str,
    ask: Ask,
    code: &'static str,
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Every case is the control's request with one thing wrong.
fn cases(stand: &Stand) -> Vec<Case> {
    let now = SystemTime::now();
    let (token, other) = (stand.token(), stand.token());
    let call = || Ask::post(INVOKE).body("{}");
    let header = |what, header: &[(&str, &str)], code| Case {
        what,
        ask: header.iter().fold(call(), |ask, (name, value)| ask.header(name, value)),
        code,
    };
    let claim = |what, name: &str, value: Value, code| {
        let token = stand.token_with(|claims| drop(claims.insert(name.to_owned(), value)));
        Case { what, ask: call().bearer(&token), code }
    };
    let without = |what, name: &str| {
        let token = stand.token_with(|claims| drop(claims.remove(name)));
        Case { what, ask: call().bearer(&token), code: INVALID }
    };
    let member = |what, name: &str, value: Value| {
        let (header, claims) = (Map::from_iter([(name.to_owned(), value)]), good_claims(stand));
        let token = stand.issuer.mint_with(&header, &claims).unwrap();
        Case { what, ask: call().bearer(token.expose_secret()), code: INVALID }
    };
    let bearer = |token: &str| format!("Bearer {token}");
    let (head, rest) = token.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let (_, stolen) = other.rsplit_once('.').unwrap();
    vec![
        header("no token", &[], MISSING),
        header("two tokens", &[("authorization", &bearer(&token)), (SDK, &other)], INVALID),
        header(
            "the header twice",
            &[("authorization", &bearer(&token)), ("authorization", &bearer(&token))],
            INVALID,
        ),
        header("the SDK's header twice", &[(SDK, &token), (SDK, &token)], INVALID),
        header("another scheme", &[("authorization", "Basic YWxpY2U6cHc=")], INVALID),
        header("a token without a scheme", &[("authorization", &token)], INVALID),
        header("a scheme without a token", &[("authorization", "Bearer ")], INVALID),
        header("garbage", &[("authorization", "Bearer garbage")], INVALID),
        header(
            "an SDK's signature alone",
            &[("authorization", "AWS4-HMAC-SHA256 Credential=a/b")],
            INVALID,
        ),
        header("two parts", &[("authorization", &bearer(&format!("{head}.{payload}")))], INVALID),
        header(
            "no signature",
            &[("authorization", &bearer(&format!("{head}.{payload}.")))],
            INVALID,
        ),
        header(
            "another token's signature",
            &[("authorization", &bearer(&format!("{head}.{payload}.{stolen}")))],
            INVALID,
        ),
        header(
            "padding",
            &[("authorization", &bearer(&format!("{head}.{payload}.{signature}=")))],
            INVALID,
        ),
        header("17 KiB of token", &[("authorization", &bearer(&"a".repeat(17 << 10)))], INVALID),
        claim("an expired token", "exp", json!(seconds(now - Duration::from_mins(5))), EXPIRED),
        claim("a token for later", "nbf", json!(seconds(now + Duration::from_mins(5))), INVALID),
        claim(
            "a token from the future",
            "iat",
            json!(seconds(now + Duration::from_mins(5))),
            INVALID,
        ),
        claim("a token for ever", "exp", json!(seconds(now + Duration::from_hours(9000))), INVALID),
        claim("an expiry that is a text", "exp", json!("tomorrow"), INVALID),
        claim("another audience", "aud", json!("someone-else"), INVALID),
        claim("an audience that is a number", "aud", json!(7), INVALID),
        claim("another issuer", "iss", json!("https://evil.example"), INVALID),
        claim("an issuer that is a list", "iss", json!([stand.issuer.url()]), INVALID),
        claim("an empty subject", "sub", json!(""), INVALID),
        without("no expiry", "exp"),
        without("no audience", "aud"),
        without("no subject", "sub"),
        member("a key nobody published", "kid", json!("made-up")),
        member("an algorithm of the wrong kind", "alg", json!("RS256")),
        member("no algorithm", "alg", json!("none")),
        member("a symmetric algorithm", "alg", json!("HS256")),
        member("an extension to be understood", "crit", json!(["exp"])),
        member("a key set of the caller's", "jku", json!("https://evil.example/jwks")),
        member("another type", "typ", json!("dpop+jwt")),
    ]
}

fn good_claims(stand: &Stand) -> Map<String, Value> {
    stand.issuer.claims("alice", &["callers"], SystemTime::now())
}

#[tokio::test]
async fn a_caller_without_a_good_token_is_refused_recorded_and_never_sent_on() {
    let stand = Stand::answering(Setup::default()).await;
    let cases = cases(&stand);
    for Case { what, ask, code } in &cases {
        let refused = stand.ask(ask, 401).await;
        assert_eq!(refused.code(), *code, "{what}: {}", refused.text());
        let challenge = refused.get("www-authenticate").unwrap();
        if *code == MISSING {
            assert_eq!(challenge, "Bearer", "{what}");
        } else {
            let lead = r#"Bearer error="invalid_token", error_description=""#;
            assert!(challenge.starts_with(lead), "{what}: {challenge}");
        }
        let event = stand.event(&refused);
        assert_eq!(event["disposition"], "Unauthorized", "{what}");
        assert_eq!(event["api"]["response"]["error"], *code, "{what}");
        assert!(event["actor"]["user"]["uid"].is_null(), "{what}");
    }

    let token = stand.token();
    let allowed = stand.ask(&Ask::invoke(&token), 200).await;
    assert_eq!(stand.event(&allowed)["actor"]["user"]["name"], "corp/alice");
    assert_eq!(stand.sagemaker.seen().len(), 1, "only the control went on");
    assert_eq!(stand.events().len(), cases.len() + 1);
    stand.stop().await;
}

#[tokio::test]
async fn a_token_in_the_query_is_refused_and_not_on_record() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let path = format!("{INVOKE}?access_token={token}");
    for ask in [Ask::post(&path), Ask::post(&path).bearer(&token)] {
        let refused = stand.ask(&ask, 400).await;
        assert_eq!(refused.code(), "ValidationError");
        assert_eq!(stand.event(&refused)["http_request"]["url"]["path"], INVOKE);
    }
    stand.ask(&Ask::invoke(&token), 200).await;
    let journal = stand.events().iter().map(Value::to_string).collect::<String>();
    assert!(!journal.contains(&token) && !journal.contains("access_token"));
    assert_eq!(stand.sagemaker.seen().len(), 1);
    stand.stop().await;
}

#[tokio::test]
async fn an_sdks_session_token_is_as_good_as_a_bearer_token() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let signature = "AWS4-HMAC-SHA256 Credential=AKID/20261123/us-east-1/sagemaker/aws4_request, \
                     SignedHeaders=host, Signature=00";
    for ask in [
        Ask::post(INVOKE).header(SDK, &token),
        Ask::post(INVOKE).header("authorization", signature).header(SDK, &token),
        Ask::post(INVOKE).bearer(&token).header(SDK, &token),
        Ask::post(INVOKE).header("authorization", &format!("bearer {token}")),
    ] {
        let allowed = stand.ask(&ask.body("{}"), 200).await;
        assert_eq!(stand.event(&allowed)["actor"]["user"]["name"], "corp/alice");
    }
    assert_eq!(stand.sagemaker.seen().len(), 4);
    stand.stop().await;
}

#[tokio::test]
async fn an_expired_token_is_told_when_and_a_wrong_audience_which() {
    let stand = Stand::answering(Setup::default()).await;
    let expired =
        stand.token_with(|claims| drop(claims.insert("exp".into(), json!(1_795_000_000))));
    let refused = stand.ask(&Ask::invoke(&expired), 401).await;
    assert!(refused.text().contains("expired at 2026-"), "{}", refused.text());

    let elsewhere =
        stand.token_with(|claims| drop(claims.insert("aud".into(), json!("their-app"))));
    let refused = stand.ask(&Ask::invoke(&elsewhere), 401).await;
    assert!(refused.text().contains("sagegate"), "what was expected: {}", refused.text());
    assert!(!refused.text().contains("their-app"), "not what was sent");
    stand.stop().await;
}
