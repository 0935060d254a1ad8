//! From an [`Event`] to a line of OCSF 1.8: class API Activity (6003) with the profiles
//! cloud, security_control and ai_operation.
//!
//! What OCSF has no attribute for goes to `unmapped`. The schema is closed, so an attribute
//! in the wrong place fails validation: `tests/vectors/ocsf-1.8.0-api-activity.schema.json`
//! is the authority, and every kind of event is checked against it.

use std::time::Duration;

use memchr::memmem;

use super::event::{
    Caller, Cloud, Decision, Disposition, Ending, Event, Http, Outcome, Upstream, Verdict,
};
use super::journal::Instance;
use super::json::{Json, clip};
use super::privacy::{Privacy, Veil};
use crate::names::{Action, Endpoint};
use crate::telemetry::clock::unix_millis;

const PATH_LIMIT: usize = 512;
const AGENT_LIMIT: usize = 256;
const DETAIL_LIMIT: usize = 1024;
/// SageMaker's longest header values are of 1,024 characters (FACTS: request headers).
const VALUE_LIMIT: usize = 1024;

/// Renders events; holds the text that never changes for one instance.
#[derive(Debug)]
pub(super) struct Renderer {
    constant: String,
    instance: String,
    privacy: Privacy,
}

impl Renderer {
    pub(super) fn new(instance: &Instance, privacy: Privacy) -> Self {
        let mut product = Vec::new();
        Json(&mut product)
            .raw(r#","profiles":["cloud","security_control","ai_operation"],"product":{"name":"sagegate","vendor_name":"sagegate","version":"#)
            .string(&instance.version)
            .raw(r#","uid":"#)
            .string(&instance.uid)
            .raw(r#"}},"category_uid":6,"category_name":"Application Activity","class_uid":6003,"class_name":"API Activity","is_alert":false"#);
        let constant = String::from_utf8_lossy(&product).into_owned();
        Self { constant, instance: instance.uid.clone(), privacy }
    }

    pub(super) fn privacy(&self) -> &Privacy {
        &self.privacy
    }

    /// `metadata` from behind its `log_name`, and what else never changes.
    pub(super) fn constant(&self) -> &str {
        &self.constant
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// What stands in the line between its kind and its attestation; see
    /// [`line`](super::line).
    pub(super) fn render(&self, event: &Event<'_>) -> Vec<u8> {
        if self.privacy.is_open() {
            return self.told(event, None);
        }
        let veil = Veil::of(&self.privacy, event);
        self.told(&veil.over(event), Some(&veil))
    }

    fn told(&self, event: &Event<'_>, veil: Option<&Veil<'_>>) -> Vec<u8> {
        let mut line = Vec::with_capacity(3072);
        let mut json = Json(&mut line);
        match event.outcome {
            Some(_) => json.raw(VERSION_AND_UID).plain(event.request_id),
            None => json.raw(VERSION_AND_UID).raw("\"").display(event.request_id).raw(INTENT_UID),
        };
        json.maybe(r#","correlation_uid":"#, event.correlation.map(|id| clip(id, 64)));
        json.raw(r#","log_name":"invocations""#).raw(&self.constant);
        what_happened(&mut json, event);
        cloud(&mut json, event.cloud);
        actor(&mut json, event.caller.as_ref());
        authorizations(&mut json, event.decision.as_ref());
        api(&mut json, event);
        resources(&mut json, event);
        peers(&mut json, event, veil.and_then(Veil::source));
        http_request(&mut json, event.http);
        if let Some(outcome) = event.outcome {
            http_response(&mut json, outcome, event.upstream);
        }
        unmapped(&mut json, event);
        json.maybe(r#","pseudonym_key":"#, self.privacy.key());
        line
    }
}

const VERSION_AND_UID: &str = r#","version":"1.8.0","uid":"#;

/// The texts that only an intent has. Each holds a bare quotation mark, which no string of a
/// caller's can, so that [`outcome_unknown`] finds the place and no other.
const INTENT_UID: &str = r#":intent""#;
const INTENT_STATUS: &str =
    r#","status_id":0,"status":"Unknown","status_detail":"about to go to SageMaker""#;
const INTENT_MESSAGE: &str = r#": intended""#;
const INTENT_ENDING: &str = r#","unmapped":{"ending":"pending""#;

/// The record of an intent whose outcome nobody wrote: as the intent says it, under the id
/// that the outcome would have had.
pub(super) fn outcome_unknown(intent: &[u8]) -> Vec<u8> {
    [
        (INTENT_UID, "\""),
        (
            INTENT_STATUS,
            r#","status_id":0,"status":"Unknown","status_detail":"the gateway ended before the outcome was on record""#,
        ),
        (INTENT_MESSAGE, r#": outcome unknown""#),
        (INTENT_ENDING, r#","unmapped":{"ending":"unknown""#),
    ]
    .into_iter()
    .fold(intent.to_vec(), |text, (from, to)| match memmem::find(&text, from.as_bytes()) {
        Some(at) => {
            let (before, rest) = text.split_at(at);
            let after = rest.strip_prefix(from.as_bytes()).unwrap_or_default();
            [before, to.as_bytes(), after].concat()
        }
        None => text,
    })
}

fn what_happened(json: &mut Json<'_>, event: &Event<'_>) {
    json.raw(activity(event.call.map(|call| call.operation)));
    json.raw(r#","time":"#).number(unix_millis(event.time));
    json.raw(severity(event));
    match event.outcome {
        Some(outcome) => ended(json, outcome),
        None => {
            json.raw(INTENT_STATUS);
        }
    }
    message(json, event);
    // An intent is of a call that was let through so far.
    let disposition = event.outcome.map_or(Disposition::Allowed, |outcome| outcome.disposition);
    json.raw(action(event)).raw(self::disposition(disposition));
}

fn ended(json: &mut Json<'_>, outcome: Outcome<'_>) {
    json.raw(r#","duration":"#).number(millis(outcome.duration)).raw(status(outcome));
    json.raw(r#","status_code":""#).number(outcome.status.into()).raw("\"");
    json.maybe(r#","status_detail":"#, detail(outcome));
}

fn activity(operation: Option<Action>) -> &'static str {
    match operation {
        Some(
            Action::InvokeEndpoint
            | Action::InvokeEndpointWithResponseStream
            | Action::InvokeEndpointAsync,
        ) => {
            r#","activity_id":99,"activity_name":"Invoke","type_uid":600399,"type_name":"API Activity: Other""#
        }
        Some(Action::GetAsyncResult | Action::DescribeEndpoint | Action::ListEndpoints) => {
            r#","activity_id":2,"activity_name":"Read","type_uid":600302,"type_name":"API Activity: Read""#
        }
        None => {
            r#","activity_id":0,"activity_name":"Unknown","type_uid":600300,"type_name":"API Activity: Unknown""#
        }
    }
}

/// Medium is what an operator should look at: our own faults and policies that broke.
fn severity(event: &Event<'_>) -> &'static str {
    let broken_policy = event.decision.is_some_and(|decision| !decision.errors.is_empty());
    let Some(outcome) = event.outcome else {
        return r#","severity_id":1,"severity":"Informational""#;
    };
    match outcome.disposition {
        _ if broken_policy => r#","severity_id":3,"severity":"Medium""#,
        Disposition::Error => r#","severity_id":3,"severity":"Medium""#,
        Disposition::Blocked | Disposition::Unauthorized | Disposition::Rejected => {
            r#","severity_id":2,"severity":"Low""#
        }
        Disposition::Allowed if succeeded(outcome) => {
            r#","severity_id":1,"severity":"Informational""#
        }
        Disposition::Allowed => r#","severity_id":2,"severity":"Low""#,
    }
}

fn status(outcome: Outcome<'_>) -> &'static str {
    if succeeded(outcome) {
        r#","status_id":1,"status":"Success""#
    } else {
        r#","status_id":2,"status":"Failure""#
    }
}

fn succeeded(outcome: Outcome<'_>) -> bool {
    outcome.disposition == Disposition::Allowed
        && outcome.ending == Ending::Complete
        && outcome.status < 400
}

fn detail(outcome: Outcome<'_>) -> Option<&str> {
    let ending = match outcome.ending {
        Ending::Complete => None,
        Ending::CallerGone => Some("the caller went away"),
        Ending::UpstreamBroke => Some("the upstream answer broke off"),
    };
    outcome.detail.map(|detail| clip(detail, DETAIL_LIMIT)).or(ending)
}

/// One line for people: `corp/alice InvokeEndpoint fraud-v1: denied`.
fn message(json: &mut Json<'_>, event: &Event<'_>) {
    json.raw(r#","message":""#);
    json.part(event.caller.map_or("unauthenticated", |caller| caller.user.as_str()));
    json.raw(" ").raw(operation(event));
    if let Some(endpoint) = endpoint(event) {
        json.raw(" ").part(endpoint.given());
    }
    let Some(outcome) = event.outcome else {
        json.raw(INTENT_MESSAGE);
        return;
    };
    json.raw(match (outcome.disposition, outcome.ending) {
        (Disposition::Allowed, Ending::Complete) => ": allowed\"",
        (_, Ending::CallerGone) => ": aborted by the caller\"",
        (_, Ending::UpstreamBroke) => ": broken off by SageMaker\"",
        (Disposition::Blocked, _) => ": denied\"",
        (Disposition::Unauthorized, _) => ": not authenticated\"",
        (Disposition::Rejected, _) => ": rejected\"",
        (Disposition::Error, _) => ": failed\"",
    });
}

/// Allowed is what the gateway let through to SageMaker, also when that then failed.
fn action(event: &Event<'_>) -> &'static str {
    let passed = event.outcome.is_none_or(|o| o.disposition == Disposition::Allowed);
    if passed || event.upstream.is_some() {
        r#","action_id":1,"action":"Allowed""#
    } else {
        r#","action_id":2,"action":"Denied""#
    }
}

fn disposition(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Allowed => r#","disposition_id":1,"disposition":"Allowed""#,
        Disposition::Blocked => r#","disposition_id":2,"disposition":"Blocked""#,
        Disposition::Rejected => r#","disposition_id":25,"disposition":"Rejected""#,
        Disposition::Unauthorized => r#","disposition_id":26,"disposition":"Unauthorized""#,
        Disposition::Error => r#","disposition_id":27,"disposition":"Error""#,
    }
}

fn cloud(json: &mut Json<'_>, cloud: Cloud<'_>) {
    json.raw(r#","cloud":{"provider":"AWS","region":"#).string(cloud.region);
    if let Some(account) = cloud.account {
        json.raw(r#","account":{"uid":"#).string(account);
        json.raw(r#","type_id":10,"type":"AWS Account"}"#);
    }
    json.raw("}");
}

fn actor(json: &mut Json<'_>, caller: Option<&Caller<'_>>) {
    let Some(caller) = caller else {
        // A real user's name is `issuer/subject`, so none can be taken for this one.
        json.raw(r#","actor":{"user":{"name":"unauthenticated","type_id":0,"type":"Unknown"}}"#);
        return;
    };
    user(json, caller);
    session(json, caller);
    json.raw(r#","idp":{"name":"#).string(caller.issuer.as_str());
    json.raw(r#","uid":"#).string(caller.issuer_url).raw("}");
    json.maybe(r#","app_uid":"#, caller.client).raw("}");
}

/// `uid` is the subject as its issuer calls it, `name` what policy compares.
fn user(json: &mut Json<'_>, caller: &Caller<'_>) {
    let subject = subject(caller);
    json.raw(r#","actor":{"user":{"uid":"#).string(subject);
    json.raw(r#","name":"#).string(caller.user.as_str());
    json.raw(if subject.starts_with("system:serviceaccount:") {
        r#","type_id":4,"type":"Service""#
    } else {
        r#","type_id":1,"type":"User""#
    });
    for (index, group) in caller.groups.iter().enumerate() {
        json.raw(if index == 0 { r#","groups":[{"name":"# } else { r#"},{"name":"# });
        json.string(group.as_str());
    }
    json.raw(if caller.groups.is_empty() { "" } else { "}]" });
    json.raw(r#","domain":"#).string(caller.issuer_url).raw("}");
}

fn subject<'a>(caller: &Caller<'a>) -> &'a str {
    let name = caller.user.as_str();
    name.strip_prefix(caller.issuer.as_str()).and_then(|n| n.strip_prefix('/')).unwrap_or(name)
}

fn session(json: &mut Json<'_>, caller: &Caller<'_>) {
    json.raw(r#","session":{"issuer":"#).string(caller.issuer_url);
    json.maybe(r#","uid":"#, caller.token_id);
    if let Some(issued) = caller.issued_at {
        json.raw(r#","created_time":"#).number(unix_millis(issued));
    }
    json.raw(r#","expiration_time":"#).number(unix_millis(caller.expires_at)).raw("}");
}

fn authorizations(json: &mut Json<'_>, decision: Option<&Decision<'_>>) {
    let Some(decision) = decision else { return };
    json.raw(r#","authorizations":["#);
    for (index, policy) in decision.policies.iter().enumerate() {
        json.raw(if index == 0 { "" } else { "," });
        authorization(json, decision, policy);
    }
    if decision.policies.is_empty() {
        let policy = if decision.errors.is_empty() { "default-deny" } else { "policy-error" };
        authorization(json, decision, policy);
    }
    json.raw("]");
}

fn authorization(json: &mut Json<'_>, decision: &Decision<'_>, policy: &str) {
    json.raw(match decision.verdict {
        Verdict::Permit => r#"{"decision":"allowed","policy":{"uid":"#,
        Verdict::Deny => r#"{"decision":"denied","policy":{"uid":"#,
    });
    json.string(policy).raw(r#","version":"#).string(decision.policy_version);
    json.raw(r#","is_applied":true}}"#);
}

fn api(json: &mut Json<'_>, event: &Event<'_>) {
    json.raw(r#","api":{"operation":""#).raw(operation(event));
    json.raw(r#"","version":"2017-05-13","service":{"name":"sagemaker.amazonaws.com"},"request":{"uid":"#);
    json.plain(event.request_id);
    let Some(outcome) = event.outcome else {
        json.raw("}}");
        return;
    };
    json.raw(r#"},"response":{"code":"#).number(outcome.status.into());
    json.maybe(r#","error":"#, outcome.error);
    json.maybe(r#","error_message":"#, detail(outcome)).raw("}}");
}

fn operation(event: &Event<'_>) -> &'static str {
    event.call.map_or("Unknown", |call| call.operation.as_str())
}

fn endpoint<'a>(event: &Event<'a>) -> Option<&'a Endpoint> {
    event.call.and_then(|call| call.endpoint)
}

fn resources(json: &mut Json<'_>, event: &Event<'_>) {
    let Some(endpoint) = endpoint(event) else { return };
    json.raw(r#","resources":[{"name":"#).string(endpoint.given());
    if let Some(account) = event.cloud.account {
        // AWS prints the name in an ARN in lower case, and so do we: ARNs are joined on.
        json.raw(r#","uid":"arn:"#).part(event.cloud.partition).raw(":sagemaker:");
        json.part(event.cloud.region).raw(":").part(account).raw(":endpoint/");
        json.part(endpoint.folded()).raw("\"");
    }
    json.raw(r#","type":"AWS::SageMaker::Endpoint","role_id":1,"region":"#);
    json.string(event.cloud.region).raw(r#","cloud_partition":"#);
    json.string(event.cloud.partition).raw(r#"}],"ai_model":{"name":"#);
    json.string(endpoint.given()).raw(r#","ai_provider":"Amazon SageMaker"}"#);
}

fn peers(json: &mut Json<'_>, event: &Event<'_>, pseudonym: Option<&str>) {
    match pseudonym {
        Some(pseudonym) => json.raw(r#","src_endpoint":{"uid":"#).string(pseudonym).raw("}"),
        None => json
            .raw(r#","src_endpoint":{"ip":"#)
            .plain(event.source.ip().to_canonical())
            .raw(r#","port":"#)
            .number(event.source.port().into())
            .raw("}"),
    };
    if let Some(upstream) = event.upstream {
        json.raw(r#","dst_endpoint":{"hostname":"#).string(upstream.host).raw("}");
    }
}

fn http_request(json: &mut Json<'_>, http: Http<'_>) {
    json.raw(r#","http_request":{"version":"#).string(clip(http.version, 8));
    json.maybe(r#","http_method":"#, known_method(http.method));
    if let Some(path) = http.path {
        json.raw(r#","url":{"path":"#).string(clip(without_query(path), PATH_LIMIT)).raw("}");
    }
    json.maybe(r#","user_agent":"#, http.user_agent.map(|agent| clip(agent, AGENT_LIMIT)));
    json.raw(r#","body_length":"#).number(http.body_length).raw("}");
}

/// OCSF enumerates the methods; any other goes to `unmapped`.
fn known_method(method: &str) -> Option<&str> {
    const METHODS: [&str; 9] =
        ["POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT"];
    METHODS.contains(&method).then_some(method)
}

/// The latency is SageMaker's where it was asked, else how long the gateway took.
fn http_response(json: &mut Json<'_>, outcome: Outcome<'_>, upstream: Option<Upstream<'_>>) {
    let latency = upstream.map_or(outcome.duration, |upstream| upstream.latency);
    json.raw(r#","http_response":{"code":"#).number(outcome.status.into());
    json.raw(r#","body_length":"#).number(outcome.bytes_out);
    json.raw(r#","latency":"#).number(millis(latency)).raw("}");
}

fn unmapped(json: &mut Json<'_>, event: &Event<'_>) {
    json.raw(match event.outcome.map(|outcome| outcome.ending) {
        None => INTENT_ENDING,
        Some(Ending::Complete) => r#","unmapped":{"ending":"complete""#,
        Some(Ending::CallerGone) => r#","unmapped":{"ending":"caller_gone""#,
        Some(Ending::UpstreamBroke) => r#","unmapped":{"ending":"upstream_broke""#,
    });
    json.maybe(r#","team":"#, event.caller.and_then(|c| c.team).map(|team| team.as_str()));
    if known_method(event.http.method).is_none() {
        json.raw(r#","http_method":"#).string(clip(event.http.method, 32));
    }
    if let Some(decision) = event.decision {
        json.list(r#","roles":"#, decision.roles.iter().map(|role| role.as_str()));
        json.list(
            r#","policy_errors":"#,
            decision.errors.iter().map(|error| clip(error, DETAIL_LIMIT)),
        );
    }
    targets(json, event);
    if let Some(upstream) = event.upstream {
        json.raw(r#","upstream_latency_ms":"#).number(millis(upstream.latency));
        value(json, r#","sagemaker_request_id":"#, upstream.request_id);
        value(json, r#","invoked_production_variant":"#, upstream.invoked_variant);
    }
}

fn targets(json: &mut Json<'_>, event: &Event<'_>) {
    let Some(call) = event.call else { return };
    let targets = call.targets;
    value(json, r#","target_variant":"#, targets.variant);
    value(json, r#","target_model":"#, targets.model);
    value(json, r#","inference_component":"#, targets.inference_component);
    value(json, r#","target_container_hostname":"#, targets.container_hostname);
    value(json, r#","input_location":"#, targets.input_location.map(unsigned));
    value(json, r#","output_extension":"#, targets.output_extension);
    value(json, r#","inference_id":"#, call.inference_id);
}

/// A presigned `https:` location carries its signature in the query; in an `s3:` one a
/// question mark is part of the key.
fn unsigned(location: &str) -> &str {
    if location.starts_with("s3://") { location } else { without_query(location) }
}

fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn value(json: &mut Json<'_>, lead: &str, text: Option<&str>) {
    json.maybe(lead, text.map(|text| clip(text, VALUE_LIMIT)));
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;
