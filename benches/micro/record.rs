//! The record of one request: what the request's own thread pays for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use divan::Bencher;
use sagegate::audit::{
    Call, Caller, Cloud, Decision, Disposition, Durability, Ending, Event, Http, Instance, Intent,
    Journal, JournalConfig, Outcome, Privacy, Targets, Upstream, Verdict,
};
use sagegate::identity::Principal;
use sagegate::names::{RequestId, Role, Team};

use crate::PATH;
use crate::caller::{DESK, METRICS};

/// Filling a place that was reserved; the writing is another thread's.
#[divan::bench]
fn audit_event(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().unwrap();
    let config = JournalConfig {
        directory: Some(directory.path().to_owned()),
        durability: Durability::Write,
        rotate_size: 1 << 40,
        rotate_age: Duration::from_secs(3600),
        signing_key: None,
        queue: 16_384,
        privacy: Privacy::default(),
    };
    let instance = Instance { uid: "gateway-0".to_owned(), version: "0.1.0".to_owned() };
    let journal = Journal::open(config, instance, &METRICS).unwrap();
    let (principal, call) = (DESK.principal("recorded"), crate::call());
    let (policies, roles) = ([Arc::from("role/ds/permit/0")], [Role::new("ds")]);
    let team = Team::new("fraud");
    let event = Event {
        caller: Some(caller(&principal, &team)),
        decision: Some(decision(&policies, &roles)),
        ..event(&call)
    };
    bencher.with_inputs(|| reserved(&journal)).bench_values(|intent| intent.commit(&event));
}

/// A place, when there is one: the bench commits faster than a disk writes.
fn reserved(journal: &Journal) -> Intent {
    loop {
        match journal.reserve() {
            Ok(intent) => return intent,
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn event(call: &sagegate::sagemaker::Call) -> Event<'_> {
    Event {
        request_id: RequestId::generate(),
        time: SystemTime::now(),
        correlation: None,
        source: SocketAddr::from((Ipv4Addr::LOCALHOST, 51_514)),
        http: Http {
            method: "POST",
            path: Some(PATH),
            version: "1.1",
            user_agent: Some("python-httpx/0.28"),
            body_length: 1024,
        },
        call: Some(Call {
            operation: call.action(),
            endpoint: Some(call.endpoint()),
            targets: Targets { variant: Some("blue"), ..Targets::default() },
            inference_id: call.inference_id(),
        }),
        caller: None,
        decision: None,
        cloud: Cloud { partition: "aws", region: "us-west-2", account: None },
        upstream: Some(Upstream {
            host: "runtime.sagemaker.us-west-2.amazonaws.com",
            latency: Duration::from_millis(12),
            request_id: Some("5f1c2a9e-3b7d-4c11-9a52-0d6e8f1b2c3d"),
            invoked_variant: Some("blue"),
        }),
        outcome: Some(Outcome {
            disposition: Disposition::Allowed,
            ending: Ending::Complete,
            status: 200,
            error: None,
            detail: None,
            bytes_out: 1024,
            duration: Duration::from_millis(13),
        }),
    }
}

fn caller<'a>(principal: &'a Principal, team: &'a Team) -> Caller<'a> {
    Caller {
        issuer: principal.issuer(),
        issuer_url: principal.issuer_url(),
        user: principal.user(),
        groups: principal.groups(),
        team: Some(team),
        token_id: principal.token_id(),
        client: principal.client(),
        issued_at: principal.issued_at(),
        expires_at: principal.expires_at(),
    }
}

fn decision<'a>(policies: &'a [Arc<str>], roles: &'a [Role]) -> Decision<'a> {
    Decision {
        verdict: Verdict::Permit,
        policies,
        errors: &[],
        roles,
        policy_version: "sha256:5f1c",
    }
}
