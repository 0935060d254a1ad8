//! The header table: which headers each operation takes, and the pattern of each value.
//!
//! One row a header, as botocore's service model has them. A row may fill a [`Targets`]
//! slot, which makes the value part of the decision.

use http::header::HeaderValue;

use super::CallError;
use crate::names::{Action, is_endpoint_name};

/// Every header that belongs to SageMaker alone begins so.
pub(super) const PREFIX: &str = "x-amzn-sagemaker-";

/// What a call is aimed at below its endpoint, as the caller wrote it.
/// `None` means that the request did not name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    pub variant: Option<HeaderText>,
    pub model: Option<HeaderText>,
    pub inference_component: Option<HeaderText>,
    pub container_hostname: Option<HeaderText>,
    /// Where SageMaker should read an asynchronous call's input.
    pub input_location: Option<HeaderText>,
    /// What SageMaker should append to the endpoint's S3 output path.
    pub output_extension: Option<HeaderText>,
}

/// A header's value that was checked to be printable ASCII. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderText(HeaderValue);

impl HeaderText {
    /// `None` unless `value` is printable ASCII.
    pub fn new(value: &HeaderValue) -> Option<Self> {
        value.to_str().is_ok().then(|| Self(value.clone()))
    }

    pub fn as_str(&self) -> &str {
        // Checked when made.
        self.0.to_str().unwrap_or_default()
    }
}

type Slot = fn(&mut Targets) -> &mut Option<HeaderText>;

/// One header of the table.
pub(super) struct Row {
    pub name: &'static str,
    operations: u8,
    accepts: fn(&str) -> bool,
    rule: &'static str,
    slot: Option<Slot>,
}

const INVOKE: u8 = 1;
const STREAM: u8 = 2;
const ASYNC: u8 = 4;

impl Row {
    pub(super) fn taken_by(&self, action: Action) -> bool {
        let bit = match action {
            Action::InvokeEndpoint => INVOKE,
            Action::InvokeEndpointWithResponseStream => STREAM,
            Action::InvokeEndpointAsync => ASYNC,
            Action::GetAsyncResult | Action::DescribeEndpoint | Action::ListEndpoints => 0,
        };
        self.operations & bit != 0
    }

    /// Checks `value` against the row's pattern and files it under its target, if it has one.
    pub(super) fn read(&self, value: &HeaderValue, targets: &mut Targets) -> Result<(), CallError> {
        let fault = CallError::Header { header: self.name, rule: self.rule };
        let text = HeaderText::new(value).ok_or(fault.clone())?;
        if !is_trimmed(text.as_str()) || !(self.accepts)(text.as_str()) {
            return Err(fault);
        }
        if let Some(slot) = self.slot {
            *slot(targets) = Some(text);
        }
        Ok(())
    }
}

/// The row for a header of this name in this operation's table. Names are in lower case, as
/// `http::HeaderName` holds them.
pub(super) fn row(name: &str, action: Action) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name && row.taken_by(action))
}

macro_rules! rows {
    ($($name:literal, $operations:expr, $accepts:expr, $rule:literal $(, $slot:ident)?;)*) => {
        [$(Row {
            name: $name,
            operations: $operations,
            accepts: $accepts,
            rule: $rule,
            slot: rows!(@slot $($slot)?),
        }),*]
    };
    (@slot $slot:ident) => { Some(|targets| &mut targets.$slot) };
    (@slot) => { None };
}

#[rustfmt::skip]
static TABLE: [Row; 19] = rows![
    "content-type", INVOKE | STREAM, ascii_1024, "at most 1024 printable ASCII characters";
    "accept", INVOKE, ascii_1024, "at most 1024 printable ASCII characters";
    "x-amzn-sagemaker-content-type", ASYNC, ascii_1024, "at most 1024 printable ASCII characters";
    "x-amzn-sagemaker-accept", STREAM | ASYNC, ascii_1024, "at most 1024 printable ASCII characters";
    "x-amzn-sagemaker-custom-attributes", INVOKE | STREAM | ASYNC, ascii_1024, "at most 1024 printable ASCII characters";
    "x-amzn-sagemaker-target-model", INVOKE, target_model, "1 to 1024 printable ASCII characters, without `.` or `..` segments", model;
    "x-amzn-sagemaker-target-variant", INVOKE | STREAM, is_endpoint_name, "a variant name: at most 63 letters, digits and inner hyphens", variant;
    "x-amzn-sagemaker-target-container-hostname", INVOKE | STREAM, is_endpoint_name, "a host name: at most 63 letters, digits and inner hyphens", container_hostname;
    "x-amzn-sagemaker-inference-id", INVOKE | STREAM | ASYNC, is_inference_id, "1 to 64 printable ASCII characters, the first no space";
    "x-amzn-sagemaker-enable-explanations", INVOKE, ascii_64, "1 to 64 printable ASCII characters";
    "x-amzn-sagemaker-inference-component", INVOKE | STREAM, is_endpoint_name, "a component name: at most 63 letters, digits and inner hyphens", inference_component;
    "x-amzn-sagemaker-session-id", INVOKE, session_id_or_new, "NEW_SESSION, or at most 256 letters, digits and inner hyphens";
    "x-amzn-sagemaker-session-id", STREAM, session_id, "at most 256 letters, digits and inner hyphens";
    "x-amzn-sagemaker-prefix-aware-id", INVOKE | STREAM, ascii_64, "1 to 64 printable ASCII characters";
    "x-amzn-sagemaker-inputlocation", ASYNC, input_location, "an s3:// location, or an https:// one with a plain host in lower case, of at most 1024 characters, without `.` or `..` segments", input_location;
    "x-amzn-sagemaker-s3outputpathextension", ASYNC, output_extension, "1 to 512 characters of letters, digits and !_.*'()/-, without `.` or `..` segments", output_extension;
    "x-amzn-sagemaker-filename", ASYNC, filename, "1 to 32 letters, digits, - and _, with at most one dot, the first a letter or digit";
    "x-amzn-sagemaker-requestttlseconds", ASYNC, |text| seconds(text, 60, 21_600), "a number of seconds from 60 to 21600";
    "x-amzn-sagemaker-invocationtimeoutseconds", ASYNC, |text| seconds(text, 1, 3_600), "a number of seconds from 1 to 3600";
];

/// HTTP/1 takes spaces off a value's ends, HTTP/2 does not (RFC 9113 §8.2.1 forbids them).
/// Let through, `model ` would be another name than `model` to policy and the same name to
/// SageMaker.
fn is_trimmed(text: &str) -> bool {
    !text.starts_with(' ') && !text.ends_with(' ')
}

fn printable(text: &str) -> bool {
    text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

fn ascii_1024(text: &str) -> bool {
    text.len() <= 1024 && printable(text)
}

fn ascii_64(text: &str) -> bool {
    (1..=64).contains(&text.len()) && printable(text)
}

/// `\A\S[\p{Print}]*\z`, 1 to 64.
pub(super) fn is_inference_id(text: &str) -> bool {
    ascii_64(text) && !text.starts_with(' ')
}

/// `\A\S[\p{Print}]*\z`, and stricter: the model is a path below the endpoint's own prefix.
fn target_model(text: &str) -> bool {
    !text.is_empty() && ascii_1024(text) && no_dot_segment(text)
}

const NEW_SESSION: &str = "NEW_SESSION";

fn session_id(text: &str) -> bool {
    let edge = |b: Option<char>| b.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 256
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn session_id_or_new(text: &str) -> bool {
    text == NEW_SESSION || session_id(text)
}

/// `^(https|s3)://([^/]+)/?(.*)$`, and stricter: a `.` or `..` segment would let a location
/// match a permitted prefix as text and mean another place once it is resolved.
fn input_location(text: &str) -> bool {
    let placed = match text.split_once("://") {
        Some(("s3", rest)) => !rest.is_empty() && !rest.starts_with('/'),
        Some(("https", rest)) => is_plain_host(rest.split(['/', '?', '#']).next()),
        _ => false,
    };
    text.len() <= 1024 && printable(text) && placed && no_dot_segment(text)
}

/// A host in the one spelling that all readers share: not in upper case, without a user, a
/// port, a final dot or an escape, any of which would lead past a forbid on the host.
fn is_plain_host(host: Option<&str>) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    host.is_some_and(|host| !host.is_empty() && !host.ends_with('.') && host.bytes().all(plain))
}

fn output_extension(text: &str) -> bool {
    (1..=512).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!_.*'()/-".contains(&b))
        && no_dot_segment(text)
}

/// Percent-encoded dots count as dots, and `\` as `/`, as URL parsers of browsers' kind read
/// it (WHATWG URL §4.4).
fn no_dot_segment(path: &str) -> bool {
    path.split(['/', '\\']).all(|segment| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        plain != "." && plain != ".."
    })
}

/// `^(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9-_\.]*$`, 1 to 32.
fn filename(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && text.bytes().filter(|b| *b == b'.').count() <= 1
}

fn seconds(text: &str, least: u32, most: u32) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.parse().is_ok_and(|n: u32| (least..=most).contains(&n))
}
