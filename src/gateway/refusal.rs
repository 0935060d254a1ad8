//! The one table from cause to refusal.
//!
//! Each cause has a status, a code that AWS SDKs know, a message for the caller that says
//! what to do and never what exists, and another for the operator. No arm is a catch-all: a
//! new cause does not compile until it has its row.

use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};

use crate::audit::{Disposition, Unavailable};
use crate::identity::AuthError;
use crate::limits::OverLimit;
use crate::names::RequestId;
use crate::policy::{Denial, DenialReason};
use crate::sagemaker::CallError;
use crate::server::Malformed;
use crate::upstream::{PayloadError, SendError, SignError};

/// Why a request goes no further, by the stage that said so.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The bytes were no request; hyper has answered.
    Malformed(Malformed),
    /// As many requests as may be are in flight.
    Busy,
    /// HTTP/1.0.
    Version,
    Call(CallError),
    Auth(AuthError),
    Denied(Box<Denial>),
    OverLimit(Box<OverLimit>),
    Payload(PayloadError),
    Record(Unavailable),
    Sign(SignError),
    Send(SendError),
    /// A stage panicked.
    Panic,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub status: StatusCode,
    /// `__type` in the body and `x-amzn-errortype` in the head.
    pub code: &'static str,
    /// The `outcome` label of the metrics.
    pub outcome: &'static str,
    pub disposition: Disposition,
    /// Seconds until it is worth trying again.
    retry_after: Option<u32>,
}

impl Refusal {
    #[rustfmt::skip]
    pub(super) fn row(&self) -> Row {
        use Disposition::{Blocked, Error, Rejected, Unauthorized};
        match self {
            Self::Malformed(Malformed::Syntax | Malformed::Refused | Malformed::Flood) => row(400, "ValidationError", "invalid", Rejected),
            Self::Malformed(Malformed::TooLarge) => row(431, "ValidationError", "invalid", Rejected),
            Self::Malformed(Malformed::Timeout) => row(408, "RequestTimeoutException", "invalid", Rejected),
            Self::Busy => row(503, "ServiceUnavailable", "shed", Rejected).retry(1),
            Self::Version => row(505, "ValidationError", "invalid", Rejected),

            Self::Call(CallError::UnknownPath) => row(404, "UnknownOperationException", "invalid", Rejected),
            Self::Call(CallError::Method { .. }) => row(405, "UnknownOperationException", "invalid", Rejected),
            Self::Call(CallError::InlineBodyTooLarge) => row(413, "RequestEntityTooLarge", "invalid", Rejected),
            Self::Call(
                CallError::Query | CallError::Doubled(_) | CallError::Header { .. }
                | CallError::NotTaken { .. } | CallError::BodyOrLocation,
            ) => row(400, "ValidationError", "invalid", Rejected),

            Self::Auth(AuthError::Missing) => row(401, "MissingAuthenticationTokenException", "unauthenticated", Unauthorized),
            Self::Auth(AuthError::Invalid(_)) => row(401, "UnrecognizedClientException", "unauthenticated", Unauthorized),
            Self::Auth(AuthError::Expired { .. }) => row(401, "ExpiredTokenException", "unauthenticated", Unauthorized),
            Self::Auth(AuthError::KeysUnavailable) => row(503, "ServiceUnavailable", "keys_unavailable", Rejected).retry(5),

            Self::Denied(_) => row(403, "AccessDeniedException", "denied", Blocked),
            Self::OverLimit(over) if over.is_cut() => row(503, "ServiceUnavailable", "shed", Rejected).retry(1),
            // Its headers say when to come back.
            Self::OverLimit(_) => row(429, "ThrottlingException", "limited", Rejected),

            Self::Payload(PayloadError::TooLarge { .. }) => row(413, "RequestEntityTooLarge", "invalid", Rejected),
            Self::Payload(PayloadError::NoMemory) => row(503, "ServiceUnavailable", "shed", Rejected).retry(1),
            Self::Payload(PayloadError::TooSlow(_)) => row(408, "RequestTimeoutException", "invalid", Rejected),
            Self::Payload(PayloadError::Broken) => row(400, "ValidationError", "invalid", Rejected),

            Self::Record(Unavailable::Full) => row(503, "ServiceUnavailable", "shed", Rejected).retry(1),
            Self::Record(Unavailable::Failing | Unavailable::Closed | Unavailable::SpoolFull) => row(503, "ServiceUnavailable", "unrecordable", Rejected).retry(5),

            Self::Sign(SignError::NoCredentials) => row(503, "ServiceUnavailable", "no_credentials", Error).retry(5),
            Self::Sign(SignError::Signing(_) | SignError::Uri(_)) => row(500, "InternalFailure", "error", Error),
            Self::Send(SendError::Uri(_)) => row(500, "InternalFailure", "error", Error),
            Self::Send(SendError::Unresolved(_) | SendError::Connect(_) | SendError::Broken(_) | SendError::Unframed) => row(502, "ServiceUnavailable", "unreachable", Error),
            Self::Send(SendError::TooSlow(_)) => row(504, "ServiceUnavailable", "timeout", Error),
            Self::Panic => row(500, "InternalFailure", "error", Error),
        }
    }

    /// What the caller reads: what to do.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Malformed(_) => "the bytes sent are not an HTTP request".to_owned(),
            Self::Busy => "the gateway is at its bound of requests; try again".to_owned(),
            Self::Version => "use HTTP/1.1 or HTTP/2".to_owned(),
            Self::Call(error) => error.to_string(),
            Self::Auth(error) => error.to_string(),
            Self::Denied(denial) => denied(denial),
            Self::OverLimit(over) if over.is_cut() => {
                "the gateway cannot tell what is left of your limits now; try again".to_owned()
            }
            Self::OverLimit(over) => format!("{over}; wait as Retry-After says"),
            Self::Payload(error) => error.to_string(),
            Self::Record(_) => "the gateway cannot take the call now; try again".to_owned(),
            Self::Sign(SignError::NoCredentials) => {
                "the gateway has no AWS credentials now; try again".to_owned()
            }
            Self::Send(SendError::TooSlow(_)) => "SageMaker took too long to answer".to_owned(),
            Self::Send(SendError::Unresolved(_) | SendError::Connect(_)) => {
                "SageMaker cannot be reached; try again".to_owned()
            }
            Self::Send(SendError::Broken(_) | SendError::Unframed) => {
                "SageMaker broke off its answer; whether the call had an effect is unknown"
                    .to_owned()
            }
            Self::Sign(SignError::Signing(_) | SignError::Uri(_))
            | Self::Send(SendError::Uri(_))
            | Self::Panic => "the gateway failed; tell its operators the request id".to_owned(),
        }
    }

    /// What the record and the log say: what happened.
    pub(super) fn operator(&self) -> String {
        match self {
            Self::Malformed(fault) => malformed(*fault).to_owned(),
            Self::Busy => "as many requests in flight as `server.bounds.requests`".to_owned(),
            Self::Version => "a request over HTTP/1.0".to_owned(),
            Self::Call(error) => error.to_string(),
            Self::Auth(error) => error.operator(),
            Self::Denied(denial) => reason(denial).to_owned(),
            Self::OverLimit(over) if over.is_cut() => {
                format!("the limit store cannot be asked for `{}`", over.limit().name)
            }
            Self::OverLimit(over) => format!("over limit `{}`", over.limit().name),
            Self::Payload(error) => error.to_string(),
            Self::Record(error) => error.to_string(),
            Self::Sign(error) => error.to_string(),
            Self::Send(error) => sources(error),
            Self::Panic => "a stage panicked".to_owned(),
        }
    }

    /// The headers of the answer.
    pub(super) fn headers(&self, id: RequestId) -> HeaderMap {
        let row = self.row();
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR_TYPE, HeaderValue::from_static(row.code));
        if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
            headers.insert(AMZN_REQUEST_ID, id);
        }
        if let Some(seconds) = row.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        match self {
            Self::Call(CallError::Method { allow }) => {
                headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            Self::OverLimit(over) if !over.is_cut() => headers.extend(over.headers()),
            Self::Auth(_) | Self::Denied(_) => {
                if let Some(challenge) = self.challenge() {
                    headers.insert(WWW_AUTHENTICATE, challenge);
                }
            }
            Self::Malformed(_)
            | Self::Busy
            | Self::Version
            | Self::Call(_)
            | Self::OverLimit(_)
            | Self::Payload(_)
            | Self::Record(_)
            | Self::Sign(_)
            | Self::Send(_)
            | Self::Panic => {}
        }
        headers
    }

    /// RFC 6750 §3. A request without a token is told the scheme and nothing else (§3.1).
    fn challenge(&self) -> Option<HeaderValue> {
        match self {
            Self::Auth(AuthError::Missing) => Some(HeaderValue::from_static("Bearer")),
            Self::Auth(error @ (AuthError::Invalid(_) | AuthError::Expired { .. })) => {
                let challenge =
                    format!(r#"Bearer error="invalid_token", error_description="{error}""#);
                HeaderValue::from_str(&challenge).ok()
            }
            Self::Denied(_) => {
                Some(HeaderValue::from_static(r#"Bearer error="insufficient_scope""#))
            }
            _ => None,
        }
    }

    /// The body that AWS SDKs read: `__type`, `message`, and the id to quote.
    pub(super) fn body(&self, id: RequestId) -> String {
        serde_json::json!({
            "__type": self.row().code,
            "message": self.message(),
            "requestId": id.to_string(),
        })
        .to_string()
    }
}

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const AMZN_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

const fn row(
    status: u16,
    code: &'static str,
    outcome: &'static str,
    disposition: Disposition,
) -> Row {
    let status = match StatusCode::from_u16(status) {
        Ok(status) => status,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Row { status, code, outcome, disposition, retry_after: None }
}

impl Row {
    const fn retry(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

fn denied(denial: &Denial) -> String {
    match denial.reason() {
        DenialReason::Revoked => {
            "this user or token was revoked; ask your platform team".to_owned()
        }
        DenialReason::NotInTeam => {
            "name a team of yours in X-Sagegate-Team, or none to be charged to the first".to_owned()
        }
        DenialReason::NoPermit | DenialReason::Forbidden | DenialReason::PolicyError => {
            // Not whether the endpoint exists, nor what would be permitted.
            let action = denial.call().action();
            format!("you may not call {action} here; ask your platform team, with the request id")
        }
    }
}

fn reason(denial: &Denial) -> &'static str {
    match denial.reason() {
        DenialReason::Revoked => "the user or the token is revoked",
        DenialReason::NoPermit => "no policy permits it",
        DenialReason::Forbidden => "a policy forbids it",
        DenialReason::PolicyError => "a policy failed to evaluate, and an error denies",
        DenialReason::NotInTeam => "the team named is none of the caller's",
    }
}

fn malformed(fault: Malformed) -> &'static str {
    match fault {
        Malformed::Syntax => "not an HTTP request, or one that contradicts itself",
        Malformed::TooLarge => "a head larger than `server.bounds`",
        Malformed::Timeout => "a head that took longer than `server.timeouts.head`",
        Malformed::Refused => "an HTTP/2 head that is malformed, too large, or a stream too many",
        Malformed::Flood => "HTTP/2 frames without end that ask nothing",
    }
}

/// An error and what caused it, down to the operating system's word for it.
fn sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

macro_rules! from {
    ($($error:ty => $variant:ident),*) => {
        $(impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::$variant(error.into())
            }
        })*
    };
}

from!(
    CallError => Call, AuthError => Auth, Denial => Denied, OverLimit => OverLimit,
    PayloadError => Payload, Unavailable => Record, SignError => Sign, SendError => Send
);
