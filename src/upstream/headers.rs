//! Both directions' headers: rebuilt on the way up, allow-listed on the way down.

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};

use super::Route;
use crate::names::RequestId;
use crate::sagemaker::Call;

const INFERENCE_ID: HeaderName = HeaderName::from_static("x-amzn-sagemaker-inference-id");
pub(super) const REQUEST_ID: &str = "x-amzn-requestid";
pub(super) const INVOKED_VARIANT: &str = "x-amzn-invoked-production-variant";

pub(super) type Headers = Vec<(HeaderName, HeaderValue)>;

/// The headers to sign: the call's own, the configured host, and an inference id. When the
/// caller gave none, the request's id stands in, so that SageMaker's captured data and the
/// record name the call alike.
pub(super) fn to_sign(call: &Call, route: &Route, id: RequestId) -> Headers {
    let mut headers = Headers::with_capacity(call.headers().len() + 5);
    headers.push((HOST, route.host_value().clone()));
    headers.extend_from_slice(call.headers());
    if call.inference_id().is_none()
        && let Ok(value) = HeaderValue::from_str(&id.to_string())
    {
        headers.push((INFERENCE_ID, value));
    }
    headers
}

/// What of SageMaker's answer the caller gets to see. Everything else stays behind:
/// hop-by-hop headers, cookies, server names. `Content-Length` is set anew from the body.
const PASSED: [&str; 12] = [
    "content-type",
    "date",
    "retry-after",
    REQUEST_ID,
    "x-amzn-errortype",
    INVOKED_VARIANT,
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-new-session-id",
    "x-amzn-sagemaker-closed-session-id",
    "x-amzn-sagemaker-content-type",
    "x-amzn-sagemaker-outputlocation",
    "x-amzn-sagemaker-failurelocation",
];

/// Keeps the allowed headers of an answer.
pub(super) fn passed(mut headers: HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(8);
    let mut last = None;
    for (name, value) in headers.drain() {
        // A repeated header yields its name only once.
        last = name.or(last);
        if let Some(name) = last.as_ref().filter(|name| PASSED.contains(&name.as_str())) {
            kept.append(name.clone(), value);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_headers_come_back() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/csv"),
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
            ("server", "x"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("x-amzn-requestid", "r"),
            ("x-amzn-invoked-production-variant", "blue"),
            ("authorization", "AWS4"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut names: Vec<_> = passed(headers).keys().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(
            names,
            ["content-type", "x-amzn-invoked-production-variant", "x-amzn-requestid"]
        );
    }
}
