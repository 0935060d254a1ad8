//! Records of the gateway itself rather than of a request: heads, gaps, what retention
//! removed, what changed. They are API Activity as the requests are, so that one schema and
//! one table hold the whole journal; their `api.operation` says what they are.

use std::time::SystemTime;

use uuid::Uuid;

use super::json::Json;
use super::render::Renderer;
use crate::telemetry::clock::unix_millis;

/// What happened, in OCSF's terms. Names are the gateway's own and never a caller's.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    pub time: SystemTime,
    /// `api.operation`: `RecordHead`
    pub operation: &'a str,
    pub activity: Activity,
    pub severity: Severity,
    /// Why it did not happen after all.
    pub failure: Option<&'a str>,
    /// One line for people.
    pub message: &'a str,
    /// The members of `unmapped`, as JSON without its braces; at least one.
    pub members: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    Create,
    Update,
    Delete,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Informational,
    Low,
    Medium,
}

impl Renderer {
    /// As [`render`](Self::render) does an event.
    pub(super) fn note(&self, note: &Note<'_>) -> Vec<u8> {
        let mut line = Vec::with_capacity(1024);
        let mut json = Json(&mut line);
        json.raw(r#","version":"1.8.0","uid":"#).plain(Uuid::now_v7());
        json.raw(r#","log_name":"gateway""#).raw(self.constant());
        json.raw(activity(note.activity)).raw(severity(note.severity));
        json.raw(r#","time":"#).number(unix_millis(note.time));
        json.raw(match note.failure {
            None => r#","status_id":1,"status":"Success""#,
            Some(_) => r#","status_id":2,"status":"Failure""#,
        });
        json.maybe(r#","status_detail":"#, note.failure);
        json.raw(r#","message":"#).string(note.message);
        json.raw(
            r#","cloud":{"provider":"AWS"},"actor":{"app_name":"sagegate"},"api":{"operation":"#,
        );
        json.string(note.operation).raw(r#"},"src_endpoint":{"hostname":"#);
        json.string(self.instance()).raw(r#"},"unmapped":{"#);
        line.extend_from_slice(note.members);
        line
    }
}

fn activity(activity: Activity) -> &'static str {
    match activity {
        Activity::Create => {
            r#","activity_id":1,"activity_name":"Create","type_uid":600301,"type_name":"API Activity: Create""#
        }
        Activity::Update => {
            r#","activity_id":3,"activity_name":"Update","type_uid":600303,"type_name":"API Activity: Update""#
        }
        Activity::Delete => {
            r#","activity_id":4,"activity_name":"Delete","type_uid":600304,"type_name":"API Activity: Delete""#
        }
        Activity::Other => {
            r#","activity_id":99,"activity_name":"Other","type_uid":600399,"type_name":"API Activity: Other""#
        }
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Informational => r#","severity_id":1,"severity":"Informational""#,
        Severity::Low => r#","severity_id":2,"severity":"Low""#,
        Severity::Medium => r#","severity_id":3,"severity":"Medium""#,
    }
}
