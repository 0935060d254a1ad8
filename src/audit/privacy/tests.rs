//! What a record of a person may hold, and that it holds nothing else.

use serde_json::{Value, json};

use super::*;
use crate::audit::journal::Instance;
use crate::audit::render::Renderer;
use crate::audit::samples::Samples;

const SECRET: &[u8] = b"an audit secret of 32 bytes or more\n";

fn key(name: &str) -> PseudonymKey {
    PseudonymKey::new(name, SECRET).unwrap()
}

fn both() -> Privacy {
    let pseudonyms = Pseudonyms { key: key("2026-11"), user: true, source: true };
    Privacy { pseudonyms: Some(pseudonyms), omit: Vec::new() }
}

fn line(privacy: &Privacy, event: &Event<'_>) -> String {
    let instance = Instance { uid: "gw-1".into(), version: "0.1.0".into() };
    let rest = Renderer::new(&instance, privacy.clone()).render(event);
    format!("{{\"metadata\":{{\"sequence\":1{}}}}}", String::from_utf8(rest).unwrap())
}

fn told(privacy: &Privacy, event: &Event<'_>) -> Value {
    let event = serde_json::from_str(&line(privacy, event)).unwrap();
    let schema = include_str!("../../../tests/vectors/ocsf-1.8.0-api-activity.schema.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let faults: Vec<_> = schema.iter_errors(&event).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}");
    event
}

#[test]
fn one_person_is_one_pseudonym_under_one_key() {
    let user = |key: &PseudonymKey, name: &str| key.user(&User::new(name)).as_str().to_owned();
    let (old, new) = (key("2026-11"), PseudonymKey::new("2026-12", &[7; 32]).unwrap());
    let alice = user(&old, "corp/alice");
    assert_eq!(alice, user(&key("2026-11"), "corp/alice"));
    assert!(alice.starts_with("corp/pseudonym:2026-11:") && alice.len() == 23 + 32, "{alice}");
    for other in [user(&old, "corp/alicf"), user(&old, "ext/alice"), user(&new, "corp/alice")] {
        assert_ne!(other.rsplit(':').next(), alice.rsplit(':').next(), "{other}");
    }
    let service = user(&old, "k8s/system:serviceaccount:pay:scorer");
    assert!(service.starts_with("k8s/system:serviceaccount:pseudonym:2026-11:"), "{service}");
    assert!(!service.contains("scorer"));
}

/// RFC 2104 with a tool that is not ours: `printf 'user\0corp/alice' | openssl dgst -sha256
/// -hmac 'an audit secret of 32 bytes or more'`, its first 32 digits.
#[test]
fn a_pseudonym_can_be_made_again_with_any_hmac() {
    let alice = key("2026-11").user(&User::new("corp/alice"));
    assert_eq!(alice.as_str(), "corp/pseudonym:2026-11:5e4285bda898d0f1757bb40cc8cf7933");
}

#[test]
fn a_key_that_could_be_guessed_or_not_be_named_is_none() {
    assert!(PseudonymKey::new("k", &[1; 32]).is_ok());
    for (name, secret, bad) in [
        ("k", &[1; 31][..], BadKey::Short),
        ("k", b"a secret and many empty lines\n\n\n\n\n\n\n\n\n\n\n", BadKey::Short),
        ("", &[1; 32], BadKey::Name),
        ("a:b", &[1; 32], BadKey::Name),
        (&"k".repeat(33), &[1; 32], BadKey::Name),
    ] {
        assert_eq!(PseudonymKey::new(name, secret).unwrap_err(), bad, "{name}");
    }
    assert!(!format!("{:?}", key("k")).contains("secret"));
}

#[test]
fn a_name_is_hidden_as_cedar_escapes_it_too() {
    let samples = Samples::new();
    let user = User::new(r#"corp/al"7z'\o"#);
    let errors = [format!(r#"`User::"{}"` has no attribute"#, user.as_str().escape_debug()).into()];
    let mut event = samples.allowed();
    event.caller = event.caller.map(|caller| Caller { user: &user, ..caller });
    event.decision = event.decision.map(|decision| Decision { errors: &errors, ..decision });
    let open = line(&Privacy::default(), &event);
    assert!(open.contains("has no attribute") && open.matches("7z").count() > 2, "{open}");
    let closed = line(&both(), &event);
    assert!(closed.contains("has no attribute") && !closed.contains("7z"), "{closed}");
}

#[test]
fn where_a_pseudonym_stands_the_value_stands_nowhere() {
    let samples = Samples::new();
    let (groups, errors) =
        ([Group::new("corp/alice"), Group::new("corp/ds")], ["corp/alice?".into()]);
    let mut event = samples.allowed();
    event.http.user_agent = Some("app/1 (alice; 10.0.12.34)");
    event.http.path = Some("/users/alice/x");
    let detail = Some("user `corp/alice` from 10.0.12.34 is malicealike");
    event.outcome = event.outcome.map(|outcome| Outcome { detail, ..outcome });
    event.caller = event.caller.map(|caller| Caller {
        groups: &groups,
        client: Some("alice"),
        token_id: Some("alice-1"),
        ..caller
    });
    event.call = event.call.map(|call| Call {
        inference_id: Some("alice:7"),
        targets: Targets { input_location: Some("s3://b/alice/in"), ..call.targets },
        ..call
    });
    event.decision = event.decision.map(|decision| Decision { errors: &errors, ..decision });

    let open = line(&Privacy::default(), &event);
    assert!(open.matches("alice").count() > 10 && open.contains("10.0.12.34"));
    let closed = line(&both(), &event).replace("malicealike", "");
    assert!(!closed.contains("alice") && !closed.contains("10.0.12.34"), "{closed}");

    let told = told(&both(), &event);
    let alice = key("2026-11").user(&User::new("corp/alice"));
    let subject = alice.as_str().strip_prefix("corp/").unwrap();
    for (pointer, value) in [
        ("/actor/user/name", json!(alice.as_str())),
        ("/actor/user/uid", json!(subject)),
        ("/actor/user/groups/0/name", json!(alice.as_str())),
        ("/actor/user/groups/1/name", json!("corp/ds")),
        ("/actor/app_uid", json!(subject)),
        ("/message", json!(format!("{alice} InvokeEndpoint Fraud-v1: allowed"))),
        ("/src_endpoint/uid", json!(key("2026-11").source("10.0.12.34".parse().unwrap()))),
        ("/unmapped/pseudonym_key", json!("2026-11")),
        ("/unmapped/team", json!("fraud")),
    ] {
        assert_eq!(told.pointer(pointer), Some(&value), "{pointer}");
    }
    assert_eq!(told["src_endpoint"].as_object().unwrap().len(), 1, "no port beside it");
    assert!(told["status_detail"].as_str().unwrap().ends_with("is malicealike"));
}

#[test]
fn each_part_is_hidden_by_itself() {
    let samples = Samples::new();
    let told = |user, source| {
        let pseudonyms = Some(Pseudonyms { key: key("k"), user, source });
        told(&Privacy { pseudonyms, omit: Vec::new() }, &samples.allowed())
    };
    let (user, source) = (told(true, false), told(false, true));
    assert_eq!(user["src_endpoint"]["ip"], "10.0.12.34");
    assert_ne!(user["actor"]["user"]["name"], "corp/alice");
    assert_eq!(source["actor"]["user"]["name"], "corp/alice");
    assert!(source["src_endpoint"]["ip"].is_null());
}

#[test]
fn what_is_omitted_is_gone_and_the_event_is_valid() {
    let samples = Samples::new();
    let fields = [
        (Omit::UserAgent, "/http_request/user_agent"),
        (Omit::Path, "/http_request/url"),
        (Omit::Groups, "/actor/user/groups"),
        (Omit::TokenId, "/actor/session/uid"),
        (Omit::Client, "/actor/app_uid"),
        (Omit::InferenceId, "/unmapped/inference_id"),
        (Omit::InputLocation, "/unmapped/input_location"),
    ];
    let open = told(&Privacy::default(), &samples.allowed());
    for (omit, pointer) in fields {
        assert!(open.pointer(pointer).is_some(), "{pointer}");
        let closed = told(&Privacy { pseudonyms: None, omit: vec![omit] }, &samples.allowed());
        assert!(closed.pointer(pointer).is_none(), "{pointer}");
    }
    let omit = fields.map(|(omit, _)| omit).to_vec();
    let all = Privacy { omit, ..both() };
    for event in [samples.allowed(), samples.denied(), samples.malformed(), samples.bare()] {
        told(&all, &event);
    }
}

#[test]
fn whoever_holds_the_secret_can_search_for_a_name() {
    for name in ["corp/alice", "k8s/system:serviceaccount:pay:scorer"] {
        let (before, tag) = key("2026-11").search(name).split_once('*').map(own).unwrap();
        let made = key("whatever").user(&User::new(name)).as_str().to_owned();
        assert!(made.starts_with(&before) && made.ends_with(&tag), "{made}");
    }
}

fn own((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}
