//! The policy room as its users see it: a table for reviewers, faults, and laws that hold
//! for every policy. `world` makes small random worlds, `reference` decides without slices,
//! footprints or caches.

mod faults;
mod laws;
mod patterns;
mod reference;
mod table;
mod world;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Method};

use super::{Access, Pattern, Policy, PolicyFile, Query, RoleRules, Rule, TargetNames, When};
use crate::identity::Principal;
use crate::names::{Action, Endpoint, Group, Role, User};
use crate::sagemaker::Call;
use crate::telemetry::metrics::Metrics;

/// A request as a test writes it.
#[derive(Clone, Debug, Default)]
struct Asking {
    user: String,
    groups: Vec<String>,
    action: Option<Action>,
    endpoint: String,
    /// By header name without `x-amzn-sagemaker-`.
    targets: BTreeMap<String, String>,
    source: Option<IpAddr>,
    token: String,
    /// The team to be charged.
    team: Option<String>,
    hour: u64,
}

const HEADERS: [&str; 6] = [
    "target-variant",
    "target-model",
    "inference-component",
    "target-container-hostname",
    "inputlocation",
    "s3outputpathextension",
];

impl Asking {
    fn action(&self) -> Action {
        self.action.unwrap_or(Action::InvokeEndpoint)
    }

    fn source(&self) -> IpAddr {
        self.source.unwrap_or(IpAddr::from([10, 0, 0, 1]))
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_392_000 + self.hour * 3600)
    }

    fn with<T>(&self, ask: impl FnOnce(&Query<'_>) -> T) -> T {
        let target = |name: &str| self.targets.get(name).map(String::as_str);
        let [variant, model, component, container, input, output] = HEADERS.map(target);
        let groups: Vec<_> = self.groups.iter().map(|g| Group::new(g.as_str())).collect();
        ask(&Query {
            user: &User::new(self.user.as_str()),
            groups: &groups,
            action: self.action(),
            endpoint: &Endpoint::parse(&self.endpoint).unwrap(),
            targets: TargetNames {
                variant,
                model,
                inference_component: component,
                container_hostname: container,
                input_location: input,
                output_extension: output,
            },
            source: self.source(),
            team: self.team.as_deref(),
            token_id: Some(&self.token),
            tags: None,
            now: self.now(),
        })
    }

    /// The same request as it comes through the door; `None` for the gateway's own actions.
    fn call(&self) -> Option<Call> {
        let suffix = match self.action() {
            Action::InvokeEndpoint => "invocations",
            Action::InvokeEndpointWithResponseStream => "invocations-response-stream",
            Action::InvokeEndpointAsync => "async-invocations",
            _ => return None,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &self.targets {
            let name: HeaderName = format!("x-amzn-sagemaker-{name}").parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        let uri = format!("/endpoints/{}/{suffix}", self.endpoint).parse().unwrap();
        Some(Call::parse(&Method::POST, &uri, &headers).unwrap())
    }

    /// Tests have one token id, `jti-1`, so a call is by [`Principal::for_tests`].
    fn principal(&self) -> Arc<Principal> {
        let local = |name: &String| name.strip_prefix("corp/").unwrap().to_owned();
        let groups: Vec<_> = self.groups.iter().map(local).collect();
        let groups: Vec<_> = groups.iter().map(String::as_str).collect();
        Principal::for_tests("corp", &local(&self.user), &groups)
    }
}

fn compile(access: &Access, files: &[PolicyFile]) -> Policy {
    Policy::compile(access.clone(), files, &Metrics::new().unwrap()).unwrap()
}

fn file(text: &str) -> PolicyFile {
    PolicyFile { name: "policies/test.cedar".to_owned(), text: text.to_owned() }
}

fn patterns(all: &[&str]) -> Vec<Pattern> {
    all.iter().map(|pattern| Pattern::new(pattern)).collect()
}

fn rule(actions: &[Action], endpoints: &[&str], when: When) -> Rule {
    Rule { actions: actions.to_vec(), endpoints: patterns(endpoints), when }
}

fn role(name: &str, permit: Vec<Rule>, forbid: Vec<Rule>) -> RoleRules {
    let description = format!("What {name} does.");
    RoleRules { name: Role::new(name), description, permit, forbid }
}
