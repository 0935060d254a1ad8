//! Any collector of logs that speaks OTLP/HTTP, in its JSON encoding.
//! Source: OpenTelemetry, "OTLP Specification 1.x", §OTLP/HTTP.
//!
//! The body of a log record is the event's line, byte for byte, so that its fingerprint can
//! be checked wherever it lies; `log.record.uid` is what duplicates are known by.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Request, StatusCode, Uri};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::{SendError, Sink};
use crate::audit::Instance;
use crate::ship::batch::{Fate, Glance, Limits, Parcel};
use crate::ship::config;
use crate::ship::http::{Client, unexpected};
use crate::ship::shipping::Identity;
use crate::telemetry::clock::{Clock, unix_millis};

#[derive(Debug)]
pub(in crate::ship) struct Otlp {
    client: Client,
    url: Uri,
    /// The secret ones are marked sensitive, and print as such.
    headers: HeaderMap,
    instance: Instance,
}

impl Otlp {
    pub(in crate::ship) fn new(config: &config::Otlp, identity: &Identity) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let unusable = || format!("the header `{name}` is none");
            let mut secret =
                HeaderValue::from_str(value.expose_secret()).map_err(|_| unusable())?;
            secret.set_sensitive(true);
            headers.insert(name.parse::<HeaderName>().map_err(|_| unusable())?, secret);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self {
            client: Client::new(config.ca.as_deref())?,
            url: config.url.parse().map_err(|_| format!("`{}` is no URL", config.url))?,
            headers,
            instance: identity.instance.clone(),
        })
    }
}

impl Sink for Otlp {
    const NAME: &'static str = "otlp";

    /// Half of the 4 MiB that collectors take by default, for the events grow as texts in JSON.
    fn limits(&self) -> Limits {
        Limits {
            events: 1000,
            bytes: 2 << 20,
            overhead: 300,
            event: usize::MAX,
            linger: Duration::from_secs(1),
        }
    }

    async fn send(&mut self, parcel: Parcel<'_>) -> Result<Vec<Fate>, SendError> {
        let now = unix_millis(Clock::System.now());
        let body = serde_json::to_vec(&logs(parcel.events, &self.instance, now))
            .map_err(|error| SendError::failed(error.to_string()))?;
        let mut request = Request::post(self.url.clone())
            .body(body)
            .map_err(|error| SendError::failed(error.to_string()))?;
        request.headers_mut().extend(self.headers.clone());
        let answer = self.client.send(request).await?;
        if answer.status() != StatusCode::OK {
            let text = String::from_utf8_lossy(answer.body());
            return Err(unexpected(answer.status(), answer.headers(), &text));
        }
        Ok(vec![fate(answer.body(), parcel.events.len()); parcel.events.len()])
    }
}

/// A collector that rejects some does not say which, and none may be sent again, so all of
/// them are set aside.
fn fate(answer: &[u8], events: usize) -> Fate {
    // Some collectors answer with nothing, or in protobuf.
    let answer: Answer = serde_json::from_slice(answer).unwrap_or_default();
    let partial = answer.partial_success.unwrap_or_default();
    match partial.rejected_log_records.count() {
        0 => {
            if !partial.error_message.is_empty() {
                tracing::warn!(sink = Otlp::NAME, said = partial.error_message, "a warning");
            }
            Fate::Accepted
        }
        count => Fate::Rejected(format!("{count} of these {events}: {}", partial.error_message)),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    partial_success: Option<Partial>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Partial {
    rejected_log_records: Int64,
    error_message: String,
}

/// Protobuf's JSON writes 64-bit numbers as texts, and reads both.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Int64 {
    Number(i64),
    Text(String),
}

impl Default for Int64 {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl Int64 {
    fn count(&self) -> i64 {
        match self {
            Self::Number(count) => *count,
            // Whatever it is, it is not zero.
            Self::Text(text) => text.parse().unwrap_or(1),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Logs<'a> {
    resource_logs: [ResourceLogs<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    resource: Resource<'a>,
    scope_logs: [ScopeLogs<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: [Attribute<'a>; 3],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    scope: Scope<'a>,
    log_records: Vec<LogRecord<'a>>,
}

#[derive(Serialize)]
struct Scope<'a> {
    name: &'static str,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogRecord<'a> {
    time_unix_nano: String,
    observed_time_unix_nano: String,
    severity_number: u8,
    severity_text: &'a str,
    body: Text<'a>,
    attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'static str,
    value: Text<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Text<'a> {
    string_value: Cow<'a, str>,
}

fn attribute<'a>(key: &'static str, value: &'a str) -> Attribute<'a> {
    Attribute { key, value: Text { string_value: value.into() } }
}

fn logs<'a>(events: &[&'a [u8]], instance: &'a Instance, now_millis: u64) -> Logs<'a> {
    Logs {
        resource_logs: [ResourceLogs {
            resource: Resource {
                attributes: [
                    attribute("service.name", "sagegate"),
                    attribute("service.version", &instance.version),
                    attribute("service.instance.id", &instance.uid),
                ],
            },
            scope_logs: [ScopeLogs {
                scope: Scope { name: "sagegate.audit", version: &instance.version },
                log_records: events.iter().map(|event| record(event, now_millis)).collect(),
            }],
        }],
    }
}

fn record(event: &[u8], now_millis: u64) -> LogRecord<'_> {
    let glance = Glance::of(event);
    let nanos = |millis: u64| format!("{millis}000000");
    let uid = glance.metadata.uid.map(|uid| attribute("log.record.uid", uid));
    LogRecord {
        time_unix_nano: nanos(glance.time.unwrap_or(now_millis)),
        observed_time_unix_nano: nanos(now_millis),
        severity_number: severity(glance.severity_id),
        severity_text: glance.severity.unwrap_or_default(),
        body: Text { string_value: String::from_utf8_lossy(event) },
        attributes: uid.into_iter().collect(),
    }
}

/// OCSF's severity as OpenTelemetry's number: a denied call, Low, is still information.
fn severity(ocsf: u8) -> u8 {
    match ocsf {
        1 => 9,
        2 => 10,
        3 => 13,
        4 => 17,
        5 | 6 => 21,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_log_record_is_the_events_line_and_says_when_and_how_bad_and_which() {
        let line = br#"{"metadata":{"uid":"u-1"},"severity_id":3,"severity":"Medium","time":5}"#;
        let instance = Instance { uid: "gw-1".into(), version: "1.2.3".into() };
        let logs = serde_json::to_value(logs(&[line], &instance, 7)).unwrap();
        let resource = &logs["resourceLogs"][0];
        let id = json!({"key": "service.instance.id", "value": {"stringValue": "gw-1"}});
        assert_eq!(resource["resource"]["attributes"][2], id);
        let record = &resource["scopeLogs"][0]["logRecords"][0];
        assert_eq!(record["body"]["stringValue"], String::from_utf8_lossy(line).as_ref());
        assert_eq!(
            (&record["timeUnixNano"], &record["severityNumber"]),
            (&json!("5000000"), &json!(13))
        );
        let uid = json!([{"key": "log.record.uid", "value": {"stringValue": "u-1"}}]);
        assert_eq!(record["attributes"], uid);
        assert_eq!(severity(0), 0, "unspecified");
    }

    #[test]
    fn a_partial_success_sets_aside_and_a_warning_does_not() {
        let fate = |answer: Value| fate(answer.to_string().as_bytes(), 9);
        assert_eq!(fate(json!({})), Fate::Accepted);
        assert_eq!(fate(json!({"partialSuccess": {}})), Fate::Accepted);
        assert_eq!(fate(json!({"partialSuccess": {"errorMessage": "old client"}})), Fate::Accepted);
        let rejected = Fate::Rejected("2 of these 9: too old".into());
        for count in [json!(2), json!("2")] {
            let partial = json!({"rejectedLogRecords": count, "errorMessage": "too old"});
            assert_eq!(fate(json!({ "partialSuccess": partial })), rejected);
        }
        assert_eq!(super::fate(b"", 9), Fate::Accepted);
    }
}
