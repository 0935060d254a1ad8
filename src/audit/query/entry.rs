//! One line of the record, as far as a query looks at it.
//!
//! Parsed with borrowed strings and without what nobody asks for. Members it does not know
//! are passed over, so that records of other versions can be read.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One call and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry<'a> {
    /// Milliseconds since the epoch, when the request arrived.
    pub time: u64,
    pub request_id: Cow<'a, str>,
    /// `corp/alice`, its pseudonym, or `unauthenticated`.
    pub user: Cow<'a, str>,
    pub team: Option<Cow<'a, str>>,
    pub operation: Cow<'a, str>,
    pub endpoint: Option<Cow<'a, str>>,
    pub decision: Decision,
    /// `None` while nobody knows.
    pub status: Option<u16>,
    /// `complete`, `caller_gone`, `upstream_broke`
    pub ending: Option<Cow<'a, str>>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// From the request's head to the end of the answer, in milliseconds.
    pub duration: Option<u64>,
    /// The caller's address, or its pseudonym.
    pub source: Option<Cow<'a, str>>,
    pub detail: Option<Cow<'a, str>>,
    /// Which gateway it was.
    pub gateway: Option<Cow<'a, str>>,
}

/// What the gateway made of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It went to SageMaker and was answered.
    Allowed,
    /// Policy denied it.
    Denied,
    Unauthenticated,
    /// Malformed, over a limit, shed.
    Rejected,
    /// The gateway's fault or SageMaker's.
    Failed,
    /// It may have gone to SageMaker; the gateway ended before it could say.
    Unknown,
}

impl Decision {
    pub const ALL: [Self; 6] = [
        Self::Allowed,
        Self::Denied,
        Self::Unauthenticated,
        Self::Rejected,
        Self::Failed,
        Self::Unknown,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Unauthenticated => "unauthenticated",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// What OCSF calls the disposition, in the words that [`render`](crate::audit) writes.
    pub(super) const fn caption(self) -> Option<&'static str> {
        match self {
            Self::Allowed => Some("Allowed"),
            Self::Denied => Some("Blocked"),
            Self::Unauthenticated => Some("Unauthorized"),
            Self::Rejected => Some("Rejected"),
            Self::Failed => Some("Error"),
            Self::Unknown => None,
        }
    }

    const fn of(disposition: Option<u16>) -> Self {
        match disposition {
            Some(1) => Self::Allowed,
            Some(2) => Self::Denied,
            Some(25) => Self::Rejected,
            Some(26) => Self::Unauthenticated,
            Some(27) => Self::Failed,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a line is to a query.
#[derive(Debug)]
pub(super) enum Record<'a> {
    /// How a call ended.
    Ended(Entry<'a>),
    /// A call that was about to go to SageMaker.
    Intended(Entry<'a>),
    /// About the gateway or the record, not about a call.
    Other,
}

impl<'a> Record<'a> {
    /// `None` for what is no record.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let line: Line<'a> = serde_json::from_slice(line).ok()?;
        Some(match line.metadata.event_code.as_deref() {
            // Before there were kinds, every record was a request's.
            None | Some("request") => Self::Ended(line.entry()),
            // Both say that the call was let through so far, and not what became of it.
            Some("outcome_unknown") => Self::Ended(unknown(line)),
            Some("intent") => Self::Intended(unknown(line)),
            Some(_) => Self::Other,
        })
    }
}

fn unknown(line: Line<'_>) -> Entry<'_> {
    Entry { decision: Decision::Unknown, ..line.entry() }
}

type Text<'a> = Option<Cow<'a, str>>;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    time: u64,
    duration: Option<u64>,
    disposition_id: Option<u16>,
    #[serde(borrow)]
    status_detail: Text<'a>,
    #[serde(borrow, default)]
    actor: Actor<'a>,
    #[serde(borrow, default)]
    api: Api<'a>,
    #[serde(borrow, default)]
    resources: Vec<Named<'a>>,
    #[serde(borrow, default)]
    src_endpoint: Source<'a>,
    #[serde(default)]
    http_request: Http,
    #[serde(default)]
    http_response: Http,
    #[serde(borrow, default)]
    unmapped: Unmapped<'a>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    event_code: Text<'a>,
    #[serde(borrow, default)]
    product: Product<'a>,
}

#[derive(Default, Deserialize)]
struct Product<'a> {
    #[serde(borrow)]
    uid: Text<'a>,
}

#[derive(Default, Deserialize)]
struct Actor<'a> {
    #[serde(borrow, default)]
    user: Named<'a>,
}

#[derive(Default, Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Default, Deserialize)]
struct Api<'a> {
    #[serde(borrow)]
    operation: Text<'a>,
    #[serde(borrow, default)]
    request: Product<'a>,
}

#[derive(Default, Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    ip: Text<'a>,
    #[serde(borrow)]
    uid: Text<'a>,
}

#[derive(Default, Deserialize)]
struct Http {
    code: Option<u16>,
    body_length: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Unmapped<'a> {
    #[serde(borrow)]
    team: Text<'a>,
    #[serde(borrow)]
    ending: Text<'a>,
}

impl<'a> Line<'a> {
    fn entry(self) -> Entry<'a> {
        Entry {
            time: self.time,
            request_id: self.api.request.uid.unwrap_or(self.metadata.uid),
            user: self.actor.user.name.unwrap_or_default(),
            team: self.unmapped.team,
            operation: self.api.operation.unwrap_or_default(),
            endpoint: self.resources.into_iter().next().and_then(|resource| resource.name),
            decision: Decision::of(self.disposition_id),
            status: self.http_response.code,
            ending: self.unmapped.ending,
            bytes_in: self.http_request.body_length.unwrap_or_default(),
            bytes_out: self.http_response.body_length.unwrap_or_default(),
            duration: self.duration,
            source: self.src_endpoint.ip.or(self.src_endpoint.uid),
            detail: self.status_detail,
            gateway: self.metadata.product.uid,
        }
    }
}

impl Entry<'_> {
    pub(super) fn into_owned(self) -> Entry<'static> {
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Entry {
            request_id: Cow::Owned(self.request_id.into_owned()),
            user: Cow::Owned(self.user.into_owned()),
            operation: Cow::Owned(self.operation.into_owned()),
            team: own(self.team),
            endpoint: own(self.endpoint),
            ending: own(self.ending),
            source: own(self.source),
            detail: own(self.detail),
            gateway: own(self.gateway),
            ..self
        }
    }
}
