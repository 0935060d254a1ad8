//! One event of each kind, and the schema that all must keep, for the tests of this room
//! and of those that write records through it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::files::{self, RECORDS};
use super::line::{Kind, Line};
use super::{
    Call, Caller, Cloud, Decision, Disposition, Ending, Event, Http, Outcome, Targets, Upstream,
    Verdict,
};
use crate::names::{Action, Endpoint, Group, Issuer, RequestId, Role, Team, User};

/// Owns what the events borrow.
pub(crate) struct Samples {
    id: RequestId,
    issuer: Issuer,
    user: User,
    groups: Vec<Group>,
    team: Team,
    endpoint: Endpoint,
    policies: Vec<Arc<str>>,
    roles: Vec<Role>,
}

impl Samples {
    pub(crate) fn new() -> Self {
        let issuer = Issuer::new("corp");
        Self {
            id: RequestId::generate(),
            user: User::of(&issuer, "alice"),
            groups: vec![Group::of(&issuer, "ds"), Group::of(&issuer, "fraud")],
            issuer,
            team: Team::new("fraud"),
            endpoint: Endpoint::parse("Fraud-v1").unwrap(),
            policies: vec!["role/fraud-caller/permit/0".into()],
            roles: vec![Role::new("fraud-caller")],
        }
    }

    pub(crate) fn id(&self) -> String {
        self.id.to_string()
    }

    pub(crate) fn allowed(&self) -> Event<'_> {
        Event {
            call: Some(self.call()),
            caller: Some(self.caller()),
            decision: Some(self.decision(Verdict::Permit, &self.policies)),
            upstream: Some(upstream()),
            outcome: Some(outcome(Disposition::Allowed, 200, None, None)),
            ..self.malformed()
        }
    }

    pub(super) fn denied(&self) -> Event<'_> {
        let (error, detail) = ("AccessDeniedException", "no policy permits it");
        Event {
            decision: Some(self.decision(Verdict::Deny, &[])),
            upstream: None,
            outcome: Some(outcome(Disposition::Blocked, 403, Some(error), Some(detail))),
            ..self.allowed()
        }
    }

    pub(super) fn unauthenticated(&self) -> Event<'_> {
        let (error, detail) = ("ExpiredTokenException", "the token expired 5 min ago");
        Event {
            call: Some(self.call()),
            outcome: Some(outcome(Disposition::Unauthorized, 401, Some(error), Some(detail))),
            ..self.malformed()
        }
    }

    pub(super) fn malformed(&self) -> Event<'_> {
        let error = "UnknownOperationException";
        Event {
            request_id: self.id,
            time: at(1_795_435_200_123),
            correlation: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
            source: SocketAddr::from(([10, 0, 12, 34], 51514)),
            http: http(),
            call: None,
            caller: None,
            decision: None,
            cloud: Cloud { partition: "aws", region: "us-west-2", account: Some("111122223333") },
            upstream: None,
            outcome: Some(outcome(
                Disposition::Rejected,
                404,
                Some(error),
                Some("no such operation"),
            )),
        }
    }

    pub(super) fn aborted(&self) -> Event<'_> {
        let mut event = self.allowed();
        event.outcome = event.outcome.map(|o| Outcome { ending: Ending::CallerGone, ..o });
        event
    }

    pub(crate) fn intended(&self) -> Event<'_> {
        Event { outcome: None, upstream: None, ..self.allowed() }
    }

    pub(super) fn broken(&self) -> Event<'_> {
        let mut event = self.allowed();
        let (ending, disposition) = (Ending::UpstreamBroke, Disposition::Error);
        event.outcome = event.outcome.map(|o| Outcome { ending, disposition, ..o });
        event
    }

    /// Every optional field absent.
    pub(super) fn bare(&self) -> Event<'_> {
        let mut event = self.malformed();
        event.correlation = None;
        event.http.user_agent = None;
        event.cloud.account = None;
        event.outcome = event.outcome.map(|o| Outcome { error: None, detail: None, ..o });
        event
    }

    fn call(&self) -> Call<'_> {
        Call {
            operation: Action::InvokeEndpoint,
            endpoint: Some(&self.endpoint),
            targets: Targets { variant: Some("blue"), model: Some("m.tar.gz"), ..targets() },
            inference_id: Some("order-17"),
        }
    }

    fn caller(&self) -> Caller<'_> {
        Caller {
            issuer: &self.issuer,
            issuer_url: "https://idp.example.com",
            user: &self.user,
            groups: &self.groups,
            team: Some(&self.team),
            token_id: Some("jti-5f1c"),
            client: Some("0oa-client-id"),
            issued_at: Some(at(1_795_434_900_000)),
            expires_at: at(1_795_438_500_000),
        }
    }

    fn decision<'a>(&'a self, verdict: Verdict, policies: &'a [Arc<str>]) -> Decision<'a> {
        let policy_version = "sha256:ab12";
        Decision { verdict, policies, errors: &[], roles: &self.roles, policy_version }
    }
}

fn http() -> Http<'static> {
    Http {
        method: "POST",
        path: Some("/endpoints/Fraud-v1/invocations"),
        version: "1.1",
        user_agent: Some("python-httpx/0.28"),
        body_length: 1532,
    }
}

fn targets() -> Targets<'static> {
    Targets {
        inference_component: Some("ic-1"),
        container_hostname: Some("first"),
        input_location: Some("s3://bucket/in.json"),
        output_extension: Some("team-a"),
        ..Targets::default()
    }
}

fn upstream() -> Upstream<'static> {
    Upstream {
        host: "runtime.sagemaker.us-west-2.amazonaws.com",
        latency: Duration::from_millis(37),
        request_id: Some("3c2f1a6e-0000-4000-8000-000000000001"),
        invoked_variant: Some("blue"),
    }
}

fn outcome<'a>(
    disposition: Disposition,
    status: u16,
    error: Option<&'a str>,
    detail: Option<&'a str>,
) -> Outcome<'a> {
    let (bytes_out, duration) = (211, Duration::from_millis(39));
    Outcome { disposition, ending: Ending::Complete, status, error, detail, bytes_out, duration }
}

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

/// OCSF 1.8's class API Activity with the profiles in use.
pub(crate) fn schema() -> jsonschema::Validator {
    let text = include_str!("../../tests/vectors/ocsf-1.8.0-api-activity.schema.json");
    jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap()
}

/// What the schema says against a record.
pub(crate) fn faults(schema: &jsonschema::Validator, record: &Value) -> Vec<String> {
    schema.iter_errors(record).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

/// The kinds of the records that lie in `directory`, in their order, each held to the schema.
pub(crate) fn valid_kinds(directory: &Path) -> Vec<Kind> {
    let schema = schema();
    let mut kinds = Vec::new();
    for path in files::ending(directory, RECORDS).unwrap() {
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let record = serde_json::from_str(line).unwrap();
            assert_eq!(faults(&schema, &record), Vec::<String>::new(), "{line}");
            kinds.push(Line::parse(line.as_bytes()).unwrap().kind);
        }
    }
    kinds
}
