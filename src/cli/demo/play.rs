//! `--once`: makes every call of the table over real HTTP and compares the answers.

use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http_body_util::Full;
use hyper::body::Bytes;
use secrecy::ExposeSecret;

use super::client::{Client, Reply};
use super::personas::{CALLS, Call, Tokens};

/// What every call sends.
const BODY: &str = r#"{"text": "hi"}"#;

/// A call and what came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub call: &'static Call,
    /// `403 AccessDeniedException`, or why there was no answer.
    pub answer: String,
    pub as_expected: bool,
}

/// Makes all calls, one after the other, at the gateway of this URL.
pub(super) async fn all(gateway: &str, tokens: &Tokens) -> Vec<Outcome> {
    let client = Client::new();
    let mut outcomes = Vec::with_capacity(CALLS.len());
    for call in &CALLS {
        outcomes.push(one(&client, gateway, tokens, call).await);
    }
    outcomes
}

async fn one(client: &Client, gateway: &str, tokens: &Tokens, call: &'static Call) -> Outcome {
    let reply = match request(gateway, tokens, call) {
        Ok(request) => client.call(request).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match reply {
        Ok(reply) => Outcome { call, answer: shown(&reply), as_expected: expected(call, &reply) },
        Err(answer) => Outcome { call, answer, as_expected: false },
    }
}

fn request(gateway: &str, tokens: &Tokens, call: &Call) -> http::Result<Request<Full<Bytes>>> {
    let mut request =
        Request::post(format!("{gateway}{}", call.path())).header(CONTENT_TYPE, "application/json");
    if call.path().ends_with("/async-invocations") {
        request = request.header("x-amzn-sagemaker-content-type", "application/json");
    }
    if let Some(variant) = call.variant {
        request = request.header("x-amzn-sagemaker-target-variant", variant);
    }
    if let Some(token) = tokens.of(call.by) {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
    }
    request.body(Full::from(BODY))
}

fn expected(call: &Call, reply: &Reply) -> bool {
    let body = String::from_utf8_lossy(&reply.body);
    reply.status == call.expected.status()
        && code(reply) == call.expected.code()
        && body.contains(call.expected.carries())
}

fn shown(reply: &Reply) -> String {
    match code(reply) {
        Some(code) => format!("{} {code}", reply.status.as_u16()),
        None => reply.status.as_u16().to_string(),
    }
}

fn code(reply: &Reply) -> Option<&str> {
    reply.headers.get("x-amzn-errortype")?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::super::personas::Expected;
    use super::*;

    fn reply(status: u16, code: Option<&'static str>, body: &'static str) -> Reply {
        let mut headers = HeaderMap::new();
        if let Some(code) = code {
            headers.insert("x-amzn-errortype", code.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        Reply { status, headers, body: Bytes::from_static(body.as_bytes()) }
    }

    fn call(kind: Expected) -> &'static Call {
        CALLS.iter().find(|call| call.expected == kind).unwrap()
    }

    #[test]
    fn status_code_and_body_must_all_be_right() {
        let denied = call(Expected::Denied);
        let name = "AccessDeniedException";
        assert!(expected(denied, &reply(403, Some(name), r#"{"__type":"AccessDeniedException"}"#)));
        assert!(!expected(denied, &reply(401, Some(name), name)));
        assert!(!expected(denied, &reply(403, Some("ThrottlingException"), name)));
        assert!(!expected(denied, &reply(403, None, name)));
        assert!(!expected(denied, &reply(403, Some(name), "{}")));
    }

    #[test]
    fn a_stream_that_breaks_off_before_its_last_token_is_not_as_expected() {
        let stream = call(Expected::Stream);
        assert!(expected(stream, &reply(200, None, r#"{"token":"This"} {"token":"."}"#)));
        assert!(!expected(stream, &reply(200, None, r#"{"token":"This"}"#)));
    }
}
