//! Each kind of event, whole and against the OCSF schema; and no text that breaks the JSON.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::audit::digest::{ChainUid, Fingerprint};
use crate::audit::line::{Kind, Link, seal, unsealed};
use crate::audit::samples::{Samples, faults, schema};
use crate::names::{Group, Issuer, Role, User};

/// The line as it stands in the file.
fn line(event: &Event<'_>) -> String {
    line_with(Privacy::default(), event)
}

fn line_with(privacy: Privacy, event: &Event<'_>) -> String {
    let instance = Instance { uid: "gw-7c9f5d6b8-abcde".into(), version: "0.1.0".into() };
    let kind = if event.outcome.is_some() { Kind::Request } else { Kind::Intent };
    sealed(kind, &Renderer::new(&instance, privacy).render(event))
}

fn sealed(kind: Kind, rendered: &[u8]) -> String {
    let (chain, mut line) = (ChainUid::parse(b"9f2c41d07ab35e18").unwrap(), Vec::new());
    let last = Link { sequence: 42, fingerprint: Fingerprint::of(b"42") };
    seal(chain, last, &unsealed(kind, rendered).concat(), &mut line);
    String::from_utf8(line).unwrap()
}

fn parsed(event: &Event<'_>) -> Value {
    serde_json::from_str(&line(event)).unwrap()
}

fn outcome<'e, 'a>(event: &'e mut Event<'a>) -> &'e mut Outcome<'a> {
    event.outcome.as_mut().unwrap()
}

fn assert_valid(event: &Event<'_>) {
    assert_eq!(faults(&schema(), &parsed(event)), Vec::<String>::new());
}

/// The event's JSON with the one value that differs in every run made constant.
fn snapshot(samples: &Samples, event: &Event<'_>) -> Value {
    let mut json = parsed(event);
    // Made of the id too.
    json["unmapped"]["attestation_list"][0]["fingerprint"]["value"] = "SHA-256".into();
    serde_json::from_str(&json.to_string().replace(&samples.id(), "REQUEST-ID")).unwrap()
}

#[test]
fn the_schema_refuses_what_ocsf_does_not_know() {
    let samples = Samples::new();
    let good = parsed(&samples.allowed());
    let schema = schema();
    assert!(faults(&schema, &good).is_empty());
    for (at, wrong) in [
        ("/class_uid", Value::from("6003")),
        ("/disposition_id", Value::from(1003)),
        ("/actor/user/email", Value::from("a@example.com")),
        ("/http_request/http_method", Value::from("BREW")),
    ] {
        let mut bad = good.clone();
        let (parent, key) = at.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[key] = wrong;
        assert!(!faults(&schema, &bad).is_empty(), "{at}");
    }
    for required in ["actor", "api", "cloud", "src_endpoint", "metadata", "time"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(required);
        assert!(!faults(&schema, &bad).is_empty(), "{required}");
    }
}

#[test]
fn each_kind_of_event_is_valid_ocsf_and_stays_as_it_is() {
    let samples = Samples::new();
    for (name, event) in [
        ("allowed", samples.allowed()),
        ("denied", samples.denied()),
        ("unauthenticated", samples.unauthenticated()),
        ("malformed", samples.malformed()),
        ("aborted", samples.aborted()),
        ("broken", samples.broken()),
        ("bare", samples.bare()),
        ("intended", samples.intended()),
    ] {
        assert_valid(&event);
        insta::assert_json_snapshot!(name, snapshot(&samples, &event));
    }
}

#[test]
fn every_operation_and_disposition_is_valid() {
    let samples = Samples::new();
    for operation in Action::ALL {
        for disposition in [
            Disposition::Allowed,
            Disposition::Blocked,
            Disposition::Unauthorized,
            Disposition::Rejected,
            Disposition::Error,
        ] {
            let mut event = samples.allowed();
            event.call = event.call.map(|call| crate::audit::Call { operation, ..call });
            outcome(&mut event).disposition = disposition;
            assert_valid(&event);
        }
    }
}

#[test]
fn an_answer_of_sagemakers_own_refusal_is_allowed_but_no_success() {
    let samples = Samples::new();
    let mut event = samples.allowed();
    assert_eq!(parsed(&event)["status_id"], 1);
    outcome(&mut event).status = 424;
    let json = parsed(&event);
    assert_eq!((&json["action_id"], &json["status_id"]), (&1.into(), &2.into()));
    assert_eq!(json["disposition"], "Allowed");
}

#[test]
fn a_call_that_sagemaker_never_saw_is_denied_even_when_policy_permits() {
    let samples = Samples::new();
    let mut event = samples.allowed();
    assert_eq!(parsed(&event)["action"], "Allowed");
    event.upstream = None;
    outcome(&mut event).disposition = Disposition::Rejected;
    outcome(&mut event).status = 429;
    let json = parsed(&event);
    assert_eq!((&json["action"], &json["disposition"]), (&"Denied".into(), &"Rejected".into()));
    assert_eq!(json["authorizations"][0]["decision"], "allowed");
    assert_valid(&event);
}

#[test]
fn a_broken_policy_is_named_and_raises_the_severity() {
    let samples = Samples::new();
    let mut event = samples.denied();
    assert_eq!(parsed(&event)["severity"], "Low");
    let errors = ["policy0: missing attribute `tags`".into()];
    event.decision = event.decision.map(|decision| Decision { errors: &errors, ..decision });
    let json = parsed(&event);
    assert_eq!(json["severity"], "Medium");
    assert_eq!(json["unmapped"]["policy_errors"][0], *errors[0]);
    assert_eq!(json["authorizations"][0]["policy"]["uid"], "policy-error");
    assert_valid(&event);
}

#[test]
fn an_intent_without_an_outcome_becomes_a_record_that_says_so() {
    let samples = Samples::new();
    let instance = Instance { uid: "gw-1".into(), version: "0.1.0".into() };
    let intent = Renderer::new(&instance, Privacy::default()).render(&samples.intended());
    let json: Value =
        serde_json::from_str(&sealed(Kind::OutcomeUnknown, &outcome_unknown(&intent))).unwrap();
    assert_eq!(faults(&schema(), &json), Vec::<String>::new());
    assert_eq!(json["metadata"]["uid"], samples.id());
    assert_eq!(json["api"]["request"]["uid"], samples.id());
    assert_eq!(json["status_detail"], "the gateway ended before the outcome was on record");
    assert_eq!(json["message"], "corp/alice InvokeEndpoint Fraud-v1: outcome unknown");
    assert_eq!(json["unmapped"]["ending"], "unknown");
    let intent = parsed(&samples.intended());
    assert_eq!(intent["metadata"]["uid"], format!("{}:intent", samples.id()));
    assert_eq!(intent["actor"], json["actor"]);
}

#[test]
fn a_service_account_is_a_service() {
    let samples = Samples::new();
    let mut event = samples.allowed();
    let user = User::new("corp/system:serviceaccount:payments:scorer");
    event.caller = event.caller.map(|caller| Caller { user: &user, ..caller });
    let json = parsed(&event);
    assert_eq!(json["actor"]["user"]["type"], "Service");
    assert_eq!(json["actor"]["user"]["uid"], "system:serviceaccount:payments:scorer");
    assert_valid(&event);
}

#[test]
fn what_a_stranger_sends_is_cut_and_its_query_left_out() {
    let samples = Samples::new();
    let mut event = samples.malformed();
    let (long, agent) = ("/é".repeat(4000), "a".repeat(4000));
    event.http.path = Some("/x?token=eyJhbGciOi");
    assert_eq!(parsed(&event)["http_request"]["url"]["path"], "/x");
    (event.http.path, event.http.user_agent) = (Some(long.as_str()), Some(agent.as_str()));
    event.http.method = "BREW";
    let json = parsed(&event);
    assert!(json["http_request"]["url"]["path"].as_str().unwrap().len() <= PATH_LIMIT);
    assert_eq!(json["http_request"]["user_agent"].as_str().unwrap().len(), AGENT_LIMIT);
    assert_eq!(json["unmapped"]["http_method"], "BREW");
    assert_valid(&event);
}

#[test]
fn a_presigned_location_is_recorded_without_its_signature() {
    let samples = Samples::new();
    for (given, recorded) in [
        ("https://b.s3.amazonaws.com/in?X-Amz-Signature=ab12", "https://b.s3.amazonaws.com/in"),
        ("s3://bucket/what?.json", "s3://bucket/what?.json"),
    ] {
        let mut event = samples.allowed();
        let targets = crate::audit::Targets { input_location: Some(given), ..Default::default() };
        event.call = event.call.map(|call| crate::audit::Call { targets, ..call });
        assert_eq!(parsed(&event)["unmapped"]["input_location"], recorded);
    }
}

#[test]
fn an_address_mapped_into_ipv6_is_recorded_as_the_one_it_is() {
    let samples = Samples::new();
    let mut event = samples.allowed();
    event.source = "[::ffff:192.0.2.7]:80".parse().unwrap();
    assert_eq!(parsed(&event)["src_endpoint"]["ip"], "192.0.2.7");
}

proptest! {
    /// Whatever the texts hold, an event is one line, valid, and says what it was given.
    #[test]
    fn no_text_breaks_out_of_its_place(text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
        let samples = Samples::new();
        let (issuer, user) = (Issuer::new(&*text), User::new(format!("{text}/{text}")));
        let (groups, roles) = ([Group::new(&*text), Group::new("x")], [Role::new(&*text)]);
        let (policies, errors) = ([text.as_str().into()], [text.as_str().into()]);
        let mut event = samples.allowed();
        event.http.user_agent = Some(&text);
        event.http.path = Some(&text);
        outcome(&mut event).detail = Some(&text);
        event.caller = event.caller.map(|caller| Caller {
            issuer: &issuer, user: &user, groups: &groups, token_id: Some(&text), ..caller
        });
        event.decision = event.decision.map(|decision| Decision {
            policies: &policies, errors: &errors, roles: &roles, ..decision
        });
        let line = line(&event);
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        let json: Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(&json["http_request"]["user_agent"], &text);
        prop_assert_eq!(&json["actor"]["user"]["groups"][0]["name"], &text);
        prop_assert_eq!(&json["actor"]["user"]["uid"], &text);
        prop_assert_eq!(&json["authorizations"][0]["policy"]["uid"], &text);
        prop_assert_eq!(&json["unmapped"]["policy_errors"][0], &text);
    }
}
