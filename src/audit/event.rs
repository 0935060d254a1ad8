//! What one event says, in the gateway's own words; [`render`](super::render) turns it
//! into OCSF.
//!
//! Every field is borrowed and plain, so that the gateway can fill an event from whatever
//! stage the request reached. Invariant: there is no field for a token, a header's value
//! beyond the few named here, a signature or a body, so none can get into the record.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::names::{Action, Endpoint, Group, Issuer, RequestId, Role, Team, User};

/// One request, from its arrival to its end, allowed or refused.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    pub request_id: RequestId,
    /// When the request arrived.
    pub time: SystemTime,
    /// The trace id, where the caller sent a well-formed one.
    pub correlation: Option<&'a str>,
    pub source: SocketAddr,
    pub http: Http<'a>,
    /// `None` for a request that no stage understood.
    pub call: Option<Call<'a>>,
    /// `None` for a caller who was not authenticated.
    pub caller: Option<Caller<'a>>,
    /// `None` for a request that never came to a decision.
    pub decision: Option<Decision<'a>>,
    pub cloud: Cloud<'a>,
    /// `None` unless the request went to SageMaker.
    pub upstream: Option<Upstream<'a>>,
    /// `None` for an intent: a call that is about to go to SageMaker.
    pub outcome: Option<Outcome<'a>>,
}

/// The request as HTTP saw it.
#[derive(Clone, Copy, Debug)]
pub struct Http<'a> {
    pub method: &'a str,
    /// Recorded up to its query and at most 512 bytes of it.
    pub path: Option<&'a str>,
    /// `1.1`, `2`
    pub version: &'a str,
    /// Recorded up to 256 bytes.
    pub user_agent: Option<&'a str>,
    /// Bytes of body read from the caller.
    pub body_length: u64,
}

/// The SageMaker call that the request stood for.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub operation: Action,
    pub endpoint: Option<&'a Endpoint>,
    pub targets: Targets<'a>,
    pub inference_id: Option<&'a str>,
}

/// What a call names beside its endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Targets<'a> {
    pub variant: Option<&'a str>,
    pub model: Option<&'a str>,
    pub inference_component: Option<&'a str>,
    pub container_hostname: Option<&'a str>,
    /// Recorded without its query, in which an `https:` location may carry a signature.
    pub input_location: Option<&'a str>,
    pub output_extension: Option<&'a str>,
}

/// Who called, as the verified token says.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    pub issuer: &'a Issuer,
    /// The token's `iss`.
    pub issuer_url: &'a str,
    pub user: &'a User,
    pub groups: &'a [Group],
    pub team: Option<&'a Team>,
    /// The token's `jti`.
    pub token_id: Option<&'a str>,
    /// The application that the token was issued to.
    pub client: Option<&'a str>,
    pub issued_at: Option<SystemTime>,
    pub expires_at: SystemTime,
}

/// What policy said, and why.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    pub verdict: Verdict,
    /// Ids of the policies that decided; empty is the default deny.
    pub policies: &'a [Arc<str>],
    /// Policies that failed to evaluate.
    pub errors: &'a [Arc<str>],
    pub roles: &'a [Role],
    pub policy_version: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Permit,
    Deny,
}

/// Where in AWS the endpoint is.
#[derive(Clone, Copy, Debug)]
pub struct Cloud<'a> {
    /// `aws`, `aws-cn`, `aws-us-gov`
    pub partition: &'a str,
    pub region: &'a str,
    /// The account's 12 digits, where known; without it the record holds no ARN.
    pub account: Option<&'a str>,
}

/// What SageMaker answered.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    pub host: &'a str,
    /// From sending to the end of the answer, or to where it broke.
    pub latency: Duration,
    /// `x-amzn-requestid`
    pub request_id: Option<&'a str>,
    /// `x-Amzn-Invoked-Production-Variant`
    pub invoked_variant: Option<&'a str>,
}

/// How it ended for the caller.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    pub disposition: Disposition,
    pub ending: Ending,
    /// The status that the caller saw, or would have seen.
    pub status: u16,
    /// The error code of the answer: `AccessDeniedException`.
    pub error: Option<&'a str>,
    /// The operator's reason. Never the caller's words beyond what the other fields hold.
    pub detail: Option<&'a str>,
    /// Body bytes sent to the caller.
    pub bytes_out: u64,
    /// From the request's head to the end of the answer.
    pub duration: Duration,
}

/// What the gateway did with the request, in OCSF's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It went to SageMaker and an answer came back, whatever its status.
    Allowed,
    /// Policy denied it: 403.
    Blocked,
    /// The caller was not authenticated: 401.
    Unauthorized,
    /// Malformed, unknown, too large, over a limit, shed: 400, 404, 405, 413, 429, 503.
    Rejected,
    /// Our fault or the upstream's: 500, 502, 504.
    Error,
}

/// Whether the caller got the whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Complete,
    /// The caller went away before the end.
    CallerGone,
    /// SageMaker's answer broke off, and the caller saw it break.
    UpstreamBroke,
}
