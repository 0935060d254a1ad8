//! What a request is answered with, once its signature is believed or not.

use std::time::Duration;

use aws_lc_rs::digest;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::frames::{Paced, payload_part};
use super::sigv4::Fault;
use crate::cli::demo::loopback::Answer;

/// Between two tokens of a stream: long enough to be seen, short enough to wait for.
const PAUSE: Duration = Duration::from_millis(60);

/// As AWS refuses: 403, whatever is wrong with the signature.
pub(super) fn unbelieved(fault: Fault) -> Answer {
    let (code, message) = match fault {
        Fault::Missing => ("MissingAuthenticationTokenException", "Missing Authentication Token"),
        Fault::Incomplete => {
            ("IncompleteSignatureException", "the signature leaves out what it must cover")
        }
        Fault::Unknown => {
            ("UnrecognizedClientException", "the security token in the request is invalid")
        }
        Fault::Scope => {
            ("InvalidSignatureException", "the credential is scoped to another day or service")
        }
        Fault::Expired => ("InvalidSignatureException", "the signature has expired"),
        Fault::Mismatch => {
            ("InvalidSignatureException", "the request's signature is not the one calculated here")
        }
    };
    refusal(StatusCode::FORBIDDEN, code, message)
}

/// What a believed request asks for.
pub(super) fn perform(head: &Parts, body: &Bytes) -> Answer {
    let Some((endpoint, operation)) = head
        .uri
        .path()
        .strip_prefix("/endpoints/")
        .and_then(|rest| rest.split_once('/'))
        .filter(|_| head.method == Method::POST)
    else {
        return refusal(StatusCode::NOT_FOUND, "UnknownOperationException", "unknown operation");
    };
    let variant = text(&head.headers, "x-amzn-sagemaker-target-variant").unwrap_or("AllTraffic");
    match operation {
        "invocations" => invoke(endpoint, variant, head, body),
        "invocations-response-stream" => stream(variant),
        "async-invocations" => invoke_async(head, body),
        _ => refusal(StatusCode::NOT_FOUND, "UnknownOperationException", "unknown operation"),
    }
}

/// A score that depends on the input and on nothing else, so that equal calls get equal
/// answers, and the input's digest, so that a caller can tell that it arrived whole.
fn invoke(endpoint: &str, variant: &str, head: &Parts, body: &Bytes) -> Answer {
    let digest = digest::digest(&digest::SHA256, body);
    let first = digest.as_ref().first().copied().unwrap_or_default();
    let score = f64::from(u32::from(first) * 100 / 256) / 100.0;
    let mut answer = json_answer(
        StatusCode::OK,
        &json!({
            "score": score,
            "endpoint": endpoint,
            "variant": variant,
            "input_bytes": body.len(),
            "input_sha256": hex::encode(digest),
        }),
    );
    set(&mut answer, "x-amzn-invoked-production-variant", variant);
    if let Some(custom) = text(&head.headers, "x-amzn-sagemaker-custom-attributes") {
        set(&mut answer, "x-amzn-sagemaker-custom-attributes", custom);
    }
    answer
}

/// One line of JSON a token, so that a line-wise reader shows them as they come.
fn stream(variant: &str) -> Answer {
    let words = ["A", " short", " greeting", ",", " nothing", " more", "."];
    let frames =
        words.map(|word| payload_part(format!("{}\n", json!({ "token": word })).as_bytes()));
    let mut answer = Response::new(Paced::new(frames, PAUSE).boxed());
    set(&mut answer, CONTENT_TYPE.as_str(), "application/vnd.amazon.eventstream");
    set(&mut answer, "x-amzn-sagemaker-content-type", "application/jsonlines");
    set(&mut answer, "x-amzn-invoked-production-variant", variant);
    with_request_id(answer)
}

fn invoke_async(head: &Parts, body: &Bytes) -> Answer {
    let located = head.headers.contains_key("x-amzn-sagemaker-inputlocation");
    if located != body.is_empty() {
        let message = "exactly one of body and InputLocation";
        return refusal(StatusCode::BAD_REQUEST, "ValidationError", message);
    }
    let made = uuid::Uuid::now_v7().to_string();
    let id = text(&head.headers, "x-amzn-sagemaker-inference-id").unwrap_or(&made);
    let mut answer = json_answer(StatusCode::ACCEPTED, &json!({ "InferenceId": id }));
    let place = |folder| format!("s3://sagegate-demo/{folder}/{made}.out");
    set(&mut answer, "x-amzn-sagemaker-outputlocation", &place("results"));
    set(&mut answer, "x-amzn-sagemaker-failurelocation", &place("failures"));
    answer
}

pub(super) fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
    let mut answer = json_answer(status, &json!({ "message": message }));
    set(&mut answer, "x-amzn-errortype", code);
    answer
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::from(body.to_string()).boxed());
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE.as_str(), "application/json");
    with_request_id(answer)
}

fn with_request_id(mut answer: Answer) -> Answer {
    set(&mut answer, "x-amzn-requestid", &uuid::Uuid::new_v4().to_string());
    answer
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What came in as a header's value goes out as one; anything else is left out.
fn set(answer: &mut Answer, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(HeaderName::from_static(name), value);
    }
}
