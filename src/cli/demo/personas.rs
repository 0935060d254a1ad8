//! Who calls in the demo, what each may do, and what each is expected to be answered.
//!
//! One table, [`CALLS`]: the lines to paste, `--once` and its verdict all come from it. It is
//! written against the roles and endpoints of `config/access.yaml`: `summarizer` is a test
//! environment there and `fraud-v1` is production. If those change, this must.

use std::io;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::issuer::Issuer;
use crate::names::Action;
use crate::telemetry::clock::unix_seconds;

/// The issuer's short name in `config/sagegate.yaml`.
pub(super) const ISSUER: &str = "corp";

/// Somebody with a token.
#[derive(Debug)]
pub(super) struct Persona {
    pub name: &'static str,
    pub title: &'static str,
    /// As the token has them; the gateway puts the issuer's name before each.
    pub groups: &'static [&'static str],
    pub role: Option<&'static str>,
    pub may: &'static str,
}

pub(super) const PERSONAS: [Persona; 3] = [
    Persona {
        name: "dana",
        title: "data scientist",
        groups: &["ds"],
        role: Some("data-scientist"),
        may: "any model outside production",
    },
    Persona {
        name: "amir",
        title: "analyst",
        groups: &["fraud"],
        role: Some("fraud-caller"),
        may: "fraud-*, on blue and green",
    },
    Persona { name: "sam", title: "stranger", groups: &[], role: None, may: "nothing" },
];

/// What a call is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bearer {
    /// The token of the persona of this name.
    Own(&'static str),
    /// Dana's, with one character of its signature changed.
    Altered,
    /// Dana's, of two hours ago.
    Expired,
    Nothing,
}

impl Bearer {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Own(name) => name,
            Self::Altered => "an altered token",
            Self::Expired => "an expired token",
            Self::Nothing => "no token",
        }
    }
}

/// One call and the answer that it should get.
#[derive(Debug)]
pub(super) struct Call {
    pub by: Bearer,
    /// `None` asks for something that is no operation of SageMaker's.
    pub action: Option<Action>,
    pub endpoint: &'static str,
    pub variant: Option<&'static str>,
    pub expected: Expected,
}

/// What tells an answer from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// A prediction, whole.
    Score,
    /// Every token of a stream, up to the last.
    Stream,
    /// Accepted, with where the result will be.
    Later,
    /// Not permitted.
    Denied,
    MissingToken,
    BadToken,
    ExpiredToken,
    UnknownPath,
}

impl Expected {
    pub(super) fn status(self) -> u16 {
        match self {
            Self::Score | Self::Stream => 200,
            Self::Later => 202,
            Self::MissingToken | Self::BadToken | Self::ExpiredToken => 401,
            Self::Denied => 403,
            Self::UnknownPath => 404,
        }
    }

    /// The error's code; `None` for an answer of SageMaker's.
    pub(super) fn code(self) -> Option<&'static str> {
        match self {
            Self::Score | Self::Stream | Self::Later => None,
            Self::Denied => Some("AccessDeniedException"),
            Self::MissingToken => Some("MissingAuthenticationTokenException"),
            Self::BadToken => Some("UnrecognizedClientException"),
            Self::ExpiredToken => Some("ExpiredTokenException"),
            Self::UnknownPath => Some("UnknownOperationException"),
        }
    }

    /// What the body must hold.
    pub(super) fn carries(self) -> &'static str {
        match self {
            Self::Score => "\"score\"",
            Self::Stream => "{\"token\":\".\"}",
            Self::Later => "\"InferenceId\"",
            _ => self.code().unwrap_or_default(),
        }
    }
}

const fn call(
    by: Bearer,
    action: Option<Action>,
    endpoint: &'static str,
    variant: Option<&'static str>,
    expected: Expected,
) -> Call {
    Call { by, action, endpoint, variant, expected }
}

const INVOKE: Option<Action> = Some(Action::InvokeEndpoint);
const STREAM: Option<Action> = Some(Action::InvokeEndpointWithResponseStream);
const ASYNC: Option<Action> = Some(Action::InvokeEndpointAsync);
const DANA: Bearer = Bearer::Own("dana");
const AMIR: Bearer = Bearer::Own("amir");
const SAM: Bearer = Bearer::Own("sam");

#[rustfmt::skip]
pub(super) const CALLS: [Call; 15] = [
    call(DANA, INVOKE, "summarizer", None, Expected::Score),
    call(DANA, STREAM, "summarizer", None, Expected::Stream),
    call(DANA, ASYNC, "summarizer", None, Expected::Later),
    call(DANA, INVOKE, "fraud-v1", Some("blue"), Expected::Denied),
    call(AMIR, INVOKE, "fraud-v1", Some("blue"), Expected::Score),
    call(AMIR, INVOKE, "fraud-v1", Some("canary"), Expected::Denied),
    // A condition on a variant holds only for a call that names one.
    call(AMIR, INVOKE, "fraud-v1", None, Expected::Denied),
    call(AMIR, STREAM, "fraud-v1", Some("blue"), Expected::Denied),
    call(AMIR, INVOKE, "fraud-internal-v1", Some("blue"), Expected::Denied),
    call(SAM, INVOKE, "summarizer", None, Expected::Denied),
    call(SAM, INVOKE, "fraud-v1", Some("blue"), Expected::Denied),
    call(Bearer::Nothing, INVOKE, "summarizer", None, Expected::MissingToken),
    call(Bearer::Altered, INVOKE, "summarizer", None, Expected::BadToken),
    call(Bearer::Expired, INVOKE, "summarizer", None, Expected::ExpiredToken),
    call(DANA, None, "summarizer", None, Expected::UnknownPath),
];

impl Call {
    pub(super) fn path(&self) -> String {
        format!("/endpoints/{}/{}", self.endpoint, operation(self.action))
    }

    /// `InvokeEndpoint fraud-v1 (blue)`, or the path where there is no operation.
    pub(super) fn label(&self) -> String {
        let Some(action) = self.action else { return format!("POST {}", self.path()) };
        let variant = self.variant.map(|name| format!(" ({name})")).unwrap_or_default();
        format!("{action} {}{variant}", self.endpoint)
    }
}

fn operation(action: Option<Action>) -> &'static str {
    match action {
        Some(Action::InvokeEndpoint) => "invocations",
        Some(Action::InvokeEndpointWithResponseStream) => "invocations-response-stream",
        Some(Action::InvokeEndpointAsync) => "async-invocations",
        // The gateway's own actions have no path at SageMaker either.
        Some(Action::GetAsyncResult | Action::DescribeEndpoint | Action::ListEndpoints) | None => {
            "weights"
        }
    }
}

/// The tokens of one demo.
#[derive(Debug)]
pub(super) struct Tokens {
    own: Vec<(&'static str, SecretString)>,
    altered: SecretString,
    expired: SecretString,
}

impl Tokens {
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn mint(issuer: &Issuer, now: SystemTime) -> io::Result<Self> {
        let own = PERSONAS
            .iter()
            .map(|who| Ok((who.name, issuer.mint(&issuer.claims(who.name, who.groups, now))?)))
            .collect::<io::Result<Vec<_>>>()?;
        let earlier = now - Duration::from_secs(2 * 3600);
        let mut claims = issuer.claims("dana", &["ds"], earlier);
        claims.insert("exp".to_owned(), json!(unix_seconds(earlier) + 3600));
        let valid = issuer.mint(&issuer.claims("dana", &["ds"], now))?;
        Ok(Self { own, altered: altered(&valid), expired: issuer.mint(&claims)? })
    }

    pub(super) fn of(&self, bearer: Bearer) -> Option<&SecretString> {
        match bearer {
            Bearer::Own(name) => self.own.iter().find(|(n, _)| *n == name).map(|(_, token)| token),
            Bearer::Altered => Some(&self.altered),
            Bearer::Expired => Some(&self.expired),
            Bearer::Nothing => None,
        }
    }

    /// Each with the name it is kept under.
    pub(super) fn named(&self) -> impl Iterator<Item = (&'static str, &SecretString)> {
        let own = self.own.iter().map(|(name, token)| (*name, token));
        own.chain([("altered", &self.altered), ("expired", &self.expired)])
    }
}

/// The same token with the first character of its signature exchanged for another.
fn altered(token: &SecretString) -> SecretString {
    let token = token.expose_secret();
    let Some((signed, signature)) = token.rsplit_once('.') else { return token.into() };
    let mut rest = signature.chars();
    let first = if rest.next() == Some('A') { 'B' } else { 'A' };
    format!("{signed}.{first}{}", rest.as_str()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_but_the_unknown_path_is_one_that_the_gateway_understands() {
        for call in &CALLS {
            let request = http::Request::post(call.path());
            let request = match call.variant {
                Some(variant) => request.header("x-amzn-sagemaker-target-variant", variant),
                None => request,
            };
            let (head, ()) = request.body(()).unwrap().into_parts();
            let got = crate::sagemaker::Call::parse(&head.method, &head.uri, &head.headers);
            match call.expected {
                Expected::UnknownPath => assert!(got.is_err(), "{}", call.label()),
                _ => assert_eq!(got.ok().map(|c| c.action()), call.action, "{}", call.label()),
            }
        }
    }

    #[test]
    fn the_calls_name_known_people_and_expect_every_kind_of_answer() {
        for call in &CALLS {
            if let Bearer::Own(name) = call.by {
                assert!(PERSONAS.iter().any(|who| who.name == name));
            }
        }
        let mut kinds: Vec<_> = CALLS.iter().map(|call| call.expected.status()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds, [200, 202, 401, 403, 404]);
    }

    #[tokio::test]
    async fn an_altered_token_differs_in_its_signature_alone() {
        let issuer = Issuer::start().await.unwrap();
        let token = issuer.mint(&issuer.claims("dana", &["ds"], SystemTime::now())).unwrap();
        let changed = altered(&token);
        let (token, changed) = (token.expose_secret(), changed.expose_secret());
        let differing = token.bytes().zip(changed.bytes()).filter(|(a, b)| a != b).count();
        assert_eq!((token.len(), differing), (changed.len(), 1));
        assert_eq!(token.rsplit_once('.').unwrap().0, changed.rsplit_once('.').unwrap().0);
    }
}
