//! A request's head → a [`Call`].

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};

use super::CallError;
use super::target::{PREFIX, Targets, row};
use crate::names::{Action, Endpoint};

/// The most bytes InvokeEndpointAsync takes inline (botocore's model).
pub const MAX_ASYNC_INLINE_BODY: usize = 128_000;

const INFERENCE_ID: &str = "x-amzn-sagemaker-inference-id";

/// One SageMaker operation that a request asks for. Only [`Call::parse`] makes one.
/// Cloning shares it.
#[derive(Clone, Debug)]
pub struct Call(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    action: Action,
    endpoint: Endpoint,
    targets: Targets,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Call {
    /// Reads a request's head. The path is matched as raw bytes: never decoded, never
    /// normalised, so that no second spelling of an endpoint exists.
    ///
    /// # Errors
    /// Every way in which the head is not one of the three operations; see [`CallError`].
    pub fn parse(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Self, CallError> {
        let (action, endpoint) = operation(uri.path()).ok_or(CallError::UnknownPath)?;
        if method != Method::POST {
            return Err(CallError::Method { allow: "POST" });
        }
        if uri.query().is_some() {
            return Err(CallError::Query);
        }
        let (targets, headers) = read_headers(action, headers)?;
        Ok(Self(Arc::new(Parts { action, endpoint, targets, headers })))
    }

    pub fn action(&self) -> Action {
        self.0.action
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    pub fn targets(&self) -> &Targets {
        &self.0.targets
    }

    /// The headers that go on to SageMaker: checked, single, and no others.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }

    /// The caller's `X-Amzn-SageMaker-Inference-Id`, if it gave one.
    pub fn inference_id(&self) -> Option<&str> {
        let (_, value) = self.0.headers.iter().find(|(name, _)| name == INFERENCE_ID)?;
        value.to_str().ok()
    }

    /// The path to ask SageMaker for: rebuilt from the call, with the endpoint as given.
    pub fn path(&self) -> String {
        format!("{PATH_START}{}{}", self.0.endpoint.given(), suffix(self.0.action))
    }

    /// Whether a body of `length` bytes fits the operation. Only InvokeEndpointAsync cares:
    /// it takes exactly one of an inline body and an input location.
    ///
    /// # Errors
    /// [`CallError::BodyOrLocation`] or [`CallError::InlineBodyTooLarge`].
    pub fn check_body(&self, length: usize) -> Result<(), CallError> {
        if self.0.action != Action::InvokeEndpointAsync {
            return Ok(());
        }
        match (length, &self.0.targets.input_location) {
            (0, Some(_)) => Ok(()),
            (0, None) | (1.., Some(_)) => Err(CallError::BodyOrLocation),
            (1..=MAX_ASYNC_INLINE_BODY, None) => Ok(()),
            (_, None) => Err(CallError::InlineBodyTooLarge),
        }
    }
}

const PATH_START: &str = "/endpoints/";

const fn suffix(action: Action) -> &'static str {
    match action {
        Action::InvokeEndpoint => "/invocations",
        Action::InvokeEndpointWithResponseStream => "/invocations-response-stream",
        Action::InvokeEndpointAsync => "/async-invocations",
        Action::GetAsyncResult | Action::DescribeEndpoint | Action::ListEndpoints => "",
    }
}

fn operation(path: &str) -> Option<(Action, Endpoint)> {
    let (name, rest) = path.strip_prefix(PATH_START)?.split_once('/')?;
    let action = match rest {
        "invocations" => Action::InvokeEndpoint,
        "invocations-response-stream" => Action::InvokeEndpointWithResponseStream,
        "async-invocations" => Action::InvokeEndpointAsync,
        _ => return None,
    };
    Some((action, Endpoint::parse(name)?))
}

type Forwarded = Vec<(HeaderName, HeaderValue)>;

/// Keeps the headers of the operation's table. A header of SageMaker's own that the
/// operation does not take is refused, not dropped: a caller who names a target must never
/// reach another one because the name was ignored.
fn read_headers(action: Action, headers: &HeaderMap) -> Result<(Targets, Forwarded), CallError> {
    let mut targets = Targets::default();
    let mut kept = Forwarded::with_capacity(headers.len().min(8));
    for (name, value) in headers {
        let Some(row) = row(name.as_str(), action) else {
            if name.as_str().starts_with(PREFIX) {
                let (operation, header) = (action.as_str(), shown(name));
                return Err(CallError::NotTaken { operation, header });
            }
            continue;
        };
        if kept.iter().any(|(seen, _)| seen == name) {
            return Err(CallError::Doubled(row.name));
        }
        row.read(value, &mut targets)?;
        kept.push((name.clone(), value.clone()));
    }
    Ok((targets, kept))
}

/// A header's name, short enough for an error message.
fn shown(name: &HeaderName) -> String {
    name.as_str().chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(path: &str, headers: &[(&str, &str)]) -> Result<Call, CallError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        Call::parse(&Method::POST, &path.parse().unwrap(), &map)
    }

    const INVOKE: &str = "/endpoints/fraud-v1/invocations";
    const STREAM: &str = "/endpoints/fraud-v1/invocations-response-stream";
    const ASYNC: &str = "/endpoints/fraud-v1/async-invocations";

    #[test]
    fn the_three_shapes_are_calls() {
        for (path, action) in [
            (INVOKE, Action::InvokeEndpoint),
            (STREAM, Action::InvokeEndpointWithResponseStream),
            (ASYNC, Action::InvokeEndpointAsync),
        ] {
            let call = parse(path, &[]).unwrap();
            assert_eq!((call.action(), call.path().as_str()), (action, path));
        }
    }

    #[test]
    fn every_other_path_is_unknown() {
        for path in [
            "/",
            "/endpoints",
            "/endpoints/",
            "/endpoints/a",
            "/endpoints//invocations",
            "/endpoints/a/invocations/",
            "//endpoints/a/invocations",
            "/endpoints/a//invocations",
            "/Endpoints/a/invocations",
            "/endpoints/a/Invocations",
            "/endpoints/a/b/invocations",
            "/endpoints/%61/invocations",
            "/endpoints/a%2Finvocations",
            "/endpoints/a/invocation%73",
            "/endpoints/../endpoints/a/invocations",
            "/endpoints/a/./invocations",
            "/endpoints/-a/invocations",
            "/endpoints/a-/invocations",
            "/endpoints/a_b/invocations",
            "/endpoints/a;x=1/invocations",
            "/endpoints/a/invocations;x",
            "/endpoints/a/openai/v1/chat/completions",
            "/endpoints/a/invocations-bidirectional-stream",
        ] {
            assert_eq!(parse(path, &[]).unwrap_err(), CallError::UnknownPath, "{path}");
        }
    }

    #[test]
    fn a_query_or_another_method_is_refused() {
        assert_eq!(parse(&format!("{INVOKE}?access_token=x"), &[]).unwrap_err(), CallError::Query);
        assert_eq!(parse(&format!("{INVOKE}?"), &[]).unwrap_err(), CallError::Query);
        let got = Call::parse(&Method::GET, &INVOKE.parse().unwrap(), &HeaderMap::new());
        assert_eq!(got.unwrap_err(), CallError::Method { allow: "POST" });
    }

    #[test]
    fn a_path_keeps_the_case_it_came_with() {
        let call = parse("/endpoints/Fraud-V1/invocations", &[]).unwrap();
        assert_eq!(call.path(), "/endpoints/Fraud-V1/invocations");
        assert_eq!(&**call.endpoint().folded(), "fraud-v1");
    }

    #[test]
    fn each_header_is_held_to_its_pattern() {
        let long = "x".repeat(1025);
        // (path, header without its prefix, a good value, bad values)
        let table: &[(&str, &str, &str, &[&str])] = &[
            (INVOKE, "content-type", "application/json", &[&long, "tab\there"]),
            (INVOKE, "accept", "*/*", &[&long]),
            (ASYNC, "P-content-type", "text/csv", &[&long]),
            (STREAM, "P-accept", "text/csv", &[&long]),
            (INVOKE, "P-custom-attributes", "trace=1", &[&long]),
            (INVOKE, "P-target-model", "models/a.tar.gz", &["", &long]),
            (STREAM, "P-target-variant", "Blue-1", &["", "-a", "a_b", "a b"]),
            (INVOKE, "P-target-container-hostname", "c1", &["", "c-", "c.d"]),
            (ASYNC, "P-inference-id", "a b", &["", &"x".repeat(65)]),
            (INVOKE, "P-enable-explanations", "`true`", &["", &"x".repeat(65)]),
            (STREAM, "P-inference-component", "ic-1", &["", "ic-", "a/b"]),
            (INVOKE, "P-session-id", "NEW_SESSION", &["", "NEW_SESSIONS", "a-", &"x".repeat(257)]),
            (STREAM, "P-session-id", "abc", &["NEW_SESSION"]),
            (INVOKE, "P-prefix-aware-id", "p", &["", &"x".repeat(65)]),
            (
                ASYNC,
                "P-inputlocation",
                "s3://b/k",
                &[
                    "",
                    "s3://",
                    "http://b/k",
                    "file:///x",
                    "s3:///k",
                    "s3://b/a/../k",
                    "https://b/%2e%2E/k",
                ],
            ),
            (
                ASYNC,
                "P-s3outputpathextension",
                "team/a",
                &["", "a b", "s3:x", "a/../b", &"x".repeat(513)],
            ),
            (ASYNC, "P-filename", "out.json", &["", "a.b.c", ".a", "-a", &"x".repeat(33)]),
            (ASYNC, "P-requestttlseconds", "60", &["", "59", "21601", "+60", "6e1", "99999999999"]),
            (ASYNC, "P-invocationtimeoutseconds", "3600", &["0", "3601", "-1"]),
        ];
        for (path, header, good, bad) in table {
            let header = header.replace("P-", PREFIX);
            let call = parse(path, &[(&header, good)]).unwrap();
            assert_eq!(call.headers()[0].1, *good, "{header}");
            for bad in *bad {
                let got = parse(path, &[(&header, bad)]);
                assert!(matches!(got, Err(CallError::Header { .. })), "{header}: {bad:?}");
            }
            let got = parse(path, &[(&header, good), (&header, good)]);
            assert!(matches!(got, Err(CallError::Doubled(_))), "{header} twice");
        }
    }

    /// A forbid or a permitted prefix compares texts: one place must have one spelling.
    #[test]
    fn a_location_or_a_model_has_no_second_spelling() {
        const LOCATION: &str = "x-amzn-sagemaker-inputlocation";
        const MODEL: &str = "x-amzn-sagemaker-target-model";
        for good in [
            "https://bucket.s3.amazonaws.com/Dir/a%20b?versionId=1",
            "s3://bucket/Dir/a@b:c",
            "s3://arn:aws:s3:us-west-2:111122223333:accesspoint/x/k",
        ] {
            assert!(parse(ASYNC, &[(LOCATION, good)]).is_ok(), "{good}");
        }
        for bad in [
            "https://BUCKET.s3.amazonaws.com/k",
            "https://bucket.s3.amazonaws.com:443/k",
            "https://bucket.s3.amazonaws.com./k",
            "https://allowed.example.com@other/k",
            "https://bucket%2es3.amazonaws.com/k",
            "https://bucket.s3.amazonaws.com\\@other/k",
            "https://bucket/a/..\\b",
            "https:///k",
            "https://?k",
        ] {
            let got = parse(ASYNC, &[(LOCATION, bad)]);
            assert!(matches!(got, Err(CallError::Header { .. })), "{bad}");
        }
        assert!(parse(INVOKE, &[(MODEL, "/team-a/..b/model.tar.gz")]).is_ok());
        for bad in ["team-a/../team-b/m", "./m", "team-a/.", "a/%2E%2e/m", "a\\..\\m"] {
            let got = parse(INVOKE, &[(MODEL, bad)]);
            assert!(matches!(got, Err(CallError::Header { .. })), "{bad}");
        }
    }

    /// HTTP/1 trims a value's ends and HTTP/2 does not (RFC 9113 §8.2.1): what policy compares
    /// must be what SageMaker, which is spoken to over HTTP/1, will read.
    #[test]
    fn a_value_that_http_1_would_trim_is_refused() {
        for (path, header, good) in [
            (INVOKE, "x-amzn-sagemaker-target-model", "secret.tar.gz"),
            (ASYNC, "x-amzn-sagemaker-inputlocation", "s3://bucket/secret"),
            (INVOKE, "x-amzn-sagemaker-custom-attributes", "a b"),
            (INVOKE, "content-type", "text/csv"),
        ] {
            assert!(parse(path, &[(header, good)]).is_ok(), "{header}");
            for bad in [format!("{good} "), format!(" {good}"), " ".to_owned()] {
                let got = parse(path, &[(header, &bad)]);
                assert!(matches!(got, Err(CallError::Header { .. })), "{header}: {bad:?}");
            }
        }
    }

    #[test]
    fn a_header_of_another_operation_is_refused_and_not_ignored() {
        for (path, header) in [
            (STREAM, "target-model"),
            (ASYNC, "target-variant"),
            (ASYNC, "target-model"),
            (INVOKE, "inputlocation"),
            (INVOKE, "accept"),
            (STREAM, "enable-explanations"),
            (ASYNC, "session-id"),
            (INVOKE, "content-type"),
            (INVOKE, "made-up"),
        ] {
            let got = parse(path, &[(&format!("{PREFIX}{header}"), "x")]);
            assert!(matches!(got, Err(CallError::NotTaken { .. })), "{path} {header}");
        }
    }

    #[test]
    fn headers_of_nobody_are_left_behind() {
        let call = parse(
            INVOKE,
            &[
                ("authorization", "Bearer x"),
                ("x-amz-date", "x"),
                ("x-amz-security-token", "x"),
                ("cookie", "a=b"),
                ("forwarded", "for=x"),
                ("x-forwarded-for", "x"),
                ("connection", "accept"),
                ("accept", "text/csv"),
                ("user-agent", "x"),
                ("transfer-encoding", "chunked"),
            ],
        )
        .unwrap();
        let names: Vec<_> = call.headers().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["accept"]);
    }

    #[test]
    fn an_async_call_takes_a_body_or_a_location() {
        let inline = parse(ASYNC, &[]).unwrap();
        let located = parse(ASYNC, &[("x-amzn-sagemaker-inputlocation", "s3://b/k")]).unwrap();
        assert_eq!(inline.check_body(0), Err(CallError::BodyOrLocation));
        assert_eq!(inline.check_body(128_000), Ok(()));
        assert_eq!(inline.check_body(128_001), Err(CallError::InlineBodyTooLarge));
        assert_eq!(located.check_body(0), Ok(()));
        assert_eq!(located.check_body(1), Err(CallError::BodyOrLocation));
    }

    proptest! {
        #[test]
        fn parse_accepts_exactly_the_three_shapes(path in "(/{0,2}(endpoints|Endpoints|e|\\.\\.|[a-zA-Z0-9_%-]{0,4}|invocations|invocations-response-stream|async-invocations)){1,5}/?") {
            let shape = regex_shape(&path);
            prop_assume!(path.parse::<Uri>().is_ok());
            let got = Call::parse(&Method::POST, &path.parse().unwrap(), &HeaderMap::new());
            prop_assert_eq!(got.is_ok(), shape);
        }

        #[test]
        fn every_good_name_passes(name in "[a-zA-Z0-9](-{0,2}[a-zA-Z0-9]){0,20}") {
            let call = parse(&format!("/endpoints/{name}/invocations"), &[]).unwrap();
            prop_assert_eq!(call.endpoint().given(), name);
        }
    }

    /// The same rule said a second way: split into exactly four parts.
    fn regex_shape(path: &str) -> bool {
        let parts: Vec<_> = path.split('/').collect();
        let [first, endpoints, name, operation] = parts.as_slice() else { return false };
        first.is_empty()
            && *endpoints == "endpoints"
            && crate::names::is_endpoint_name(name)
            && ["invocations", "invocations-response-stream", "async-invocations"]
                .contains(operation)
    }
}
