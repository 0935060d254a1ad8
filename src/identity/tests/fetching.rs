//! Keys over a real socket: what a broken, lying or silent identity provider can do, and
//! what it cannot.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::support::{
    Answer, DISCOVERY, ED, KEYS, NOW, OTHER_RSA, RSA, World, all_keys, answer, at,
};
use crate::identity::{AuthError, Authenticator, Reason};
use crate::names::Issuer;

const DAY: u64 = 24 * 3600;

fn unknown() -> Option<AuthError> {
    Some(Reason::UnknownKey { issuer: Issuer::new("corp") }.into())
}

/// A good token whose key the issuer has not published yet.
fn newcomer(world: &World) -> String {
    OTHER_RSA.sign(&json!({ "alg": "RS256", "kid": "new" }), &world.claims(json!({})))
}

fn with_newcomer() -> serde_json::Value {
    let mut keys = all_keys();
    keys.as_array_mut().unwrap().push(OTHER_RSA.jwk_with(json!({ "kid": "new" })));
    keys
}

#[tokio::test]
async fn before_the_first_keys_nobody_is_let_in_and_the_gateway_is_not_ready() {
    let world = World::cold(|_| {}).await;
    let token = world.token(json!({}));
    assert_eq!(world.check(&token).await.err(), Some(AuthError::KeysUnavailable));
    assert_eq!(world.authenticator.ready(), Err("corp".to_owned()));
    assert!(world.authenticator.refresh().await);
    assert!(world.check(&token).await.is_ok());
    assert_eq!(world.authenticator.ready(), Ok(()));
    assert_eq!((world.count("keys_unavailable", "miss"), world.count("ok", "miss")), (1, 1));
}

/// What goes wrong, where, and how.
fn faults(world: &World) -> Vec<(&'static str, &'static str, Answer)> {
    let keys_at = |uri: &str| Answer::Json(json!({ "issuer": world.config.url, "jwks_uri": uri }));
    let ok = |body: &str| answer("200 OK", "", body);
    let good = json!({ "keys": all_keys() }).to_string();
    let large = format!("{good}{}", " ".repeat(1024 * 1024));
    let redirect = format!("location: {}{KEYS}\r\n", world.config.url);
    let encryption = json!({ "keys": [RSA.jwk_with(json!({ "use": "enc", "kid": "rsa" }))] });
    vec![
        ("silence", KEYS, Answer::Nothing),
        ("a server error", KEYS, answer("500 Internal Server Error", "", &good)),
        ("a redirect", KEYS, answer("302 Found", &redirect, "")),
        ("another success", KEYS, answer("203 Non-Authoritative", "", &good)),
        ("a page", KEYS, ok("<html>login</html>")),
        ("an empty set", KEYS, ok(r#"{"keys":[]}"#)),
        ("no set", KEYS, ok("{}")),
        ("no usable key", KEYS, Answer::Json(encryption)),
        ("a doubled member", KEYS, ok(&good.replacen('{', r#"{"keys":[],"#, 1))),
        ("too large a body", KEYS, ok(&large)),
        (
            "a body broken off",
            KEYS,
            Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{".to_vec()),
        ),
        ("no HTTP", KEYS, Answer::Raw(b"SSH-2.0-x\r\n".to_vec())),
        ("no discovery", DISCOVERY, answer("404 Not Found", "", "")),
        ("discovery is a page", DISCOVERY, ok("<html>")),
        ("discovery without keys", DISCOVERY, Answer::Json(json!({ "issuer": world.config.url }))),
        ("keys at a file", DISCOVERY, keys_at("file:///etc/passwd")),
        ("keys at no url", DISCOVERY, keys_at("/keys")),
        (
            "keys over http on another host",
            DISCOVERY,
            keys_at(&format!("{}{KEYS}", world.config.url.replace("127.0.0.1", "localhost"))),
        ),
        ("keys at a closed port", DISCOVERY, keys_at("http://127.0.0.1:1/keys")),
        (
            "another issuer's discovery",
            DISCOVERY,
            Answer::Json(json!({
                "issuer": "https://evil.example", "jwks_uri": format!("{}{KEYS}", world.config.url),
            })),
        ),
    ]
}

#[tokio::test]
async fn a_failed_fetch_keeps_good_keys_and_never_makes_up_any() {
    let (warm, cold) = (World::new().await, World::cold(|_| {}).await);
    for (number, (name, path, _)) in faults(&warm).iter().enumerate() {
        for world in [&warm, &cold] {
            let (_, _, fault) = faults(world).swap_remove(number);
            let good = Answer::Json(json!({ "keys": all_keys() }));
            let keys_uri = format!("{}{KEYS}", world.config.url);
            world.idp.set(KEYS, good);
            let discovery = json!({ "issuer": world.config.url, "jwks_uri": keys_uri });
            world.idp.set(DISCOVERY, Answer::Json(discovery));
            world.idp.set(path, fault);
            assert!(!world.authenticator.refresh().await, "{name}");
        }
        let token = |world: &World| world.token(json!({ "jti": format!("j{number}") }));
        assert!(warm.check(&token(&warm)).await.is_ok(), "{name}");
        let refused = cold.check(&token(&cold)).await.err();
        assert_eq!(refused, Some(AuthError::KeysUnavailable), "{name}");
    }
    cold.idp.set(
        DISCOVERY,
        Answer::Json(json!({
            "issuer": cold.config.url, "jwks_uri": format!("{}{KEYS}", cold.config.url),
        })),
    );
    cold.idp.publish(all_keys());
    assert!(cold.authenticator.refresh().await, "and a good answer ends it");
    assert!(cold.check(&cold.token(json!({}))).await.is_ok());
}

#[tokio::test]
async fn a_key_that_left_the_set_stops_working_for_cached_tokens_too() {
    let world = World::new().await;
    let (leaving, staying) = (
        world.token(json!({})),
        ED.sign(&json!({ "alg": "EdDSA", "kid": "ed" }), &world.claims(json!({}))),
    );
    for _ in 0..2 {
        assert!(world.check(&leaving).await.is_ok());
        assert!(world.check(&staying).await.is_ok());
    }
    assert_eq!((world.count("ok", "miss"), world.count("ok", "hit")), (2, 2));
    world.idp.publish(json!([
        ED.jwk_with(json!({ "kid": "ed" })),
        OTHER_RSA.jwk_with(json!({ "kid": "rsa2" }))
    ]));
    assert!(world.authenticator.refresh().await);
    assert_eq!(world.check(&leaving).await.err(), unknown());
    assert!(world.check(&staying).await.is_ok());
    assert_eq!(world.count("ok", "hit"), 3, "what stayed in the set is not verified again");
}

#[tokio::test]
async fn a_key_replaced_under_the_same_id_is_another_key() {
    let world = World::new().await;
    let token = world.token(json!({}));
    assert!(world.check(&token).await.is_ok());
    world.idp.publish(json!([OTHER_RSA.jwk_with(json!({ "kid": "rsa" }))]));
    assert!(world.authenticator.refresh().await);
    let error = world.check(&token).await.unwrap_err();
    assert!(matches!(error, AuthError::Invalid(Reason::Signature { .. })), "{error:?}");
}

#[tokio::test]
async fn after_the_longest_staleness_cached_and_new_tokens_wait_for_keys() {
    let world = World::with_config(|config| config.max_token_age = Duration::MAX).await;
    let token = |id: &str| world.token(json!({ "exp": NOW + 30 * DAY, "jti": id }));
    assert!(world.check(&token("cached")).await.is_ok());
    world.idp.set(KEYS, answer("503 Service Unavailable", "", ""));
    world.clock.set(at(NOW + DAY));
    assert!(!world.authenticator.refresh().await);
    assert!(world.check(&token("cached")).await.is_ok());
    assert!(world.check(&token("new")).await.is_ok());
    assert_eq!(world.metrics.jwks_age.with_label_values(&["corp"]).get(), 86_400.0);

    world.clock.set(at(NOW + DAY + 1));
    let unavailable = Some(AuthError::KeysUnavailable);
    assert_eq!(world.check(&token("cached")).await.err(), unavailable);
    assert_eq!(world.check(&token("newer")).await.err(), unavailable);
    assert_eq!(world.authenticator.ready(), Err("corp".to_owned()));
    assert_eq!(world.count("keys_unavailable", "hit"), 1);

    world.idp.publish(all_keys());
    assert!(world.authenticator.refresh().await);
    assert!(world.check(&token("cached")).await.is_ok());
}

#[tokio::test]
async fn an_unknown_key_is_fetched_within_the_request() {
    let world = World::new().await;
    world.idp.publish(with_newcomer());
    assert!(world.check(&newcomer(&world)).await.is_ok());
    assert_eq!(world.idp.asked(KEYS), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_makes_one_fetch_in_thirty_seconds() {
    let world = Arc::new(World::new().await);
    world.idp.hold_answers(true);
    let flood: Vec<_> = (0..50)
        .map(|n| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let header = json!({ "alg": "RS256", "kid": format!("made-up-{n}") });
                world.check(&RSA.sign(&header, &world.claims(json!({})))).await.err()
            })
        })
        .collect();
    world.idp.until_asked(DISCOVERY, 2).await;
    // While it is under way, a known key is served at once.
    assert!(world.check(&world.token(json!({}))).await.is_ok());
    world.idp.hold_answers(false);
    for request in flood {
        assert_eq!(request.await.unwrap(), unknown());
    }
    assert_eq!(world.idp.asked(KEYS), 2, "the first fetch and one for the flood");

    world.idp.publish(with_newcomer());
    world.clock.set(at(NOW + 29));
    assert_eq!(world.check(&newcomer(&world)).await.err(), unknown());
    assert_eq!(world.idp.asked(KEYS), 2);
    world.clock.set(at(NOW + 30));
    assert!(world.check(&newcomer(&world)).await.is_ok());
    assert_eq!(world.idp.asked(KEYS), 3);
}

#[tokio::test]
async fn an_unknown_key_of_a_request_that_went_away_is_fetched_all_the_same() {
    let world = World::new().await;
    world.idp.publish(with_newcomer());
    world.idp.hold_answers(true);
    let token = newcomer(&world);
    tokio::select! {
        result = world.check(&token) => panic!("{result:?}"),
        () = world.idp.until_asked(DISCOVERY, 2) => {}
    }
    world.idp.hold_answers(false);
    assert!(world.check(&token).await.is_ok());
    assert_eq!(world.idp.asked(KEYS), 2);
}

#[tokio::test]
async fn a_started_authenticator_keeps_fetching() {
    let world = World::cold(|config| config.jwks_refresh = Duration::from_millis(5)).await;
    world.authenticator.start();
    world.authenticator.start();
    world.idp.until_asked(KEYS, 3).await;
    assert!(world.check(&world.token(json!({}))).await.is_ok());
}

#[tokio::test]
async fn a_clock_that_was_set_forward_makes_the_keys_be_fetched_anew_within_seconds() {
    let world = World::cold(|config| config.jwks_max_stale = Duration::from_mins(30)).await;
    world.authenticator.start();
    world.idp.until_asked(KEYS, 1).await;
    while world.authenticator.ready().is_err() {
        tokio::task::yield_now().await;
    }
    world.clock.set(at(NOW + 3600));
    assert!(world.authenticator.ready().is_err(), "for all that can be said they are stale");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    world.idp.until_asked(KEYS, 2).await;
}

#[tokio::test]
async fn keys_come_from_the_configured_url_without_discovery() {
    let world = World::cold(|config| {
        config.jwks_url = Some(format!("{}/keys", config.url));
        config.url = "https://idp.example/realms/x".into();
        // Never used: the keys are fetched over http.
        config.ca = Some(rcgen::generate_simple_self_signed(vec![]).unwrap().cert.pem().into());
    })
    .await;
    assert!(world.authenticator.refresh().await);
    assert!(world.check(&world.token(json!({}))).await.is_ok());
    assert_eq!((world.idp.asked(DISCOVERY), world.idp.asked(KEYS)), (0, 1));
}

#[tokio::test]
async fn an_issuers_closing_slash_is_not_doubled_for_discovery() {
    let world = World::cold(|config| config.url.push('/')).await;
    let keys_uri = format!("{}keys", world.config.url);
    world
        .idp
        .set(DISCOVERY, Answer::Json(json!({ "issuer": world.config.url, "jwks_uri": keys_uri })));
    assert!(world.authenticator.refresh().await);
    assert!(world.check(&world.token(json!({}))).await.is_ok());
}

#[tokio::test]
async fn only_successes_are_cached_and_they_expire_on_time() {
    let world = World::new().await;
    let token = world.token(json!({ "exp": NOW + 60 }));
    let bad = world.token(json!({ "aud": "x" }));
    for _ in 0..2 {
        assert!(world.check(&token).await.is_ok());
        assert!(world.check(&bad).await.is_err());
    }
    assert!(world.authenticator.authenticate(&http::HeaderMap::new()).await.is_err());
    assert_eq!(world.authenticator.cached(), 1);
    assert_eq!((world.count("ok", "miss"), world.count("ok", "hit")), (1, 1));
    assert_eq!((world.count("invalid", "miss"), world.count("missing", "none")), (2, 1));

    world.clock.set(at(NOW + 89));
    assert!(world.check(&token).await.is_ok());
    world.clock.set(at(NOW + 90));
    assert!(matches!(world.check(&token).await, Err(AuthError::Expired { .. })));
    assert!(matches!(world.check(&token).await, Err(AuthError::Expired { .. })));
    assert_eq!((world.count("expired", "hit"), world.count("expired", "miss")), (1, 1));
    assert_eq!(world.authenticator.cached(), 0);
}

#[tokio::test]
async fn a_reload_keeps_keys_and_drops_what_was_held_to_other_rules() {
    let world = World::new().await;
    let token = world.token(json!({}));
    assert!(world.check(&token).await.is_ok());
    let reload = |world: &World, config| {
        let (clock, previous) = (world.clock.clone(), &world.authenticator);
        Authenticator::new(vec![config], Some(previous), clock, &world.metrics).unwrap()
    };
    let same = reload(&world, world.config.clone());
    let world = World { authenticator: same, ..world };
    assert!(world.check(&token).await.is_ok());
    assert_eq!((world.count("ok", "miss"), world.count("ok", "hit")), (1, 1));

    let mut stricter = world.config.clone();
    stricter.audiences = vec!["another".into()];
    let world = World { authenticator: reload(&world, stricter), ..world };
    let error = world.check(&token).await.unwrap_err();
    assert!(matches!(error, AuthError::Invalid(Reason::Audience { .. })), "{error:?}");
    assert_eq!(world.idp.asked(KEYS), 1, "the keys came along");

    let mut elsewhere = world.config.clone();
    elsewhere.jwks_url = Some(format!("{}/other", world.config.url));
    let world = World { authenticator: reload(&world, elsewhere), ..world };
    assert_eq!(world.check(&token).await.err(), Some(AuthError::KeysUnavailable));
}

#[tokio::test]
async fn an_issuer_that_is_gone_leaves_no_age_behind() {
    let world = World::new().await;
    let series = |world: &World| world.metrics.render().unwrap().contains(r#"issuer="corp""#);
    assert!(series(&world));
    let World { authenticator, metrics, clock, idp, config } = world;
    let none = Authenticator::new(vec![], Some(&authenticator), clock.clone(), &metrics).unwrap();
    drop(authenticator);
    assert!(!series(&World { authenticator: none, metrics, clock, idp, config }));
}

#[tokio::test]
async fn authenticating_can_be_spawned() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let world = World::new().await;
    assert!(send(world.authenticator.authenticate(&http::HeaderMap::new())).await.is_err());
}
