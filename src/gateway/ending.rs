//! How a request ended, in the words of the record, the log and the metrics.

use http::StatusCode;

use super::refusal::Refusal;
use crate::audit::{Disposition, Ending};

/// nginx's status for a caller who hung up before an answer.
const CALLER_GONE: u16 = 499;

/// How an exchange ends.
#[derive(Clone, Copy)]
pub(super) enum End<'a> {
    Refused(&'a Refusal),
    /// SageMaker's answer, with the bytes of it that went to the caller.
    Relayed {
        bytes: u64,
        ending: Ending,
    },
    /// Before any answer.
    CallerGone,
}

/// An end with everything that is told of it.
pub(super) struct Closing {
    pub status: u16,
    pub outcome: &'static str,
    pub disposition: Disposition,
    pub ending: Ending,
    pub error: Option<&'static str>,
    pub detail: Option<String>,
    pub bytes: u64,
}

impl Closing {
    /// `answered` is SageMaker's status, if there was one.
    pub(super) fn new(end: End<'_>, answered: Option<StatusCode>) -> Self {
        match end {
            End::Refused(refusal) => Self::refused(refusal),
            End::Relayed { bytes, ending } => {
                let status = answered.map_or(CALLER_GONE, |status| status.as_u16());
                Self {
                    status,
                    outcome: relayed(status, ending),
                    disposition: Disposition::Allowed,
                    ending,
                    error: None,
                    detail: None,
                    bytes,
                }
            }
            End::CallerGone => Self {
                status: CALLER_GONE,
                outcome: "aborted",
                disposition: Disposition::Error,
                ending: Ending::CallerGone,
                error: None,
                detail: Some("the caller left before the answer".to_owned()),
                bytes: 0,
            },
        }
    }

    fn refused(refusal: &Refusal) -> Self {
        let row = refusal.row();
        Self {
            status: row.status.as_u16(),
            outcome: row.outcome,
            disposition: row.disposition,
            ending: Ending::Complete,
            error: Some(row.code),
            detail: Some(refusal.operator()),
            bytes: 0,
        }
    }
}

fn relayed(status: u16, ending: Ending) -> &'static str {
    match (ending, status) {
        (Ending::CallerGone, _) => "aborted",
        (Ending::UpstreamBroke, _) => "broken",
        (Ending::Complete, 500..) => "upstream_5xx",
        (Ending::Complete, 400..) => "upstream_4xx",
        (Ending::Complete, _) => "ok",
    }
}
