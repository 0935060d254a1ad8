//! What goes on to SageMaker, byte for byte, and what of its answer comes back.

use serde_json::json;

use crate::support::request::{ASYNC, INVOKE, STREAM};
use crate::support::sagemaker::Seen;
use crate::support::{Ask, Setup, Stand};

/// What every call carries, in the order of the alphabet, and nothing else does.
const ALWAYS: [&str; 6] = [
    "authorization",
    "content-length",
    "host",
    "x-amz-date",
    "x-amz-security-token",
    "x-amzn-sagemaker-inference-id",
];

fn names(more: &[&'static str]) -> Vec<&'static str> {
    let mut names = [&ALWAYS, more].concat();
    names.sort_unstable();
    names
}

async fn seen(stand: &Stand, ask: &Ask) -> Seen {
    stand.ask(ask, 200).await;
    stand.sagemaker.seen().pop().unwrap()
}

#[tokio::test]
async fn a_head_is_rebuilt_from_the_call_and_nothing_else_of_it_goes_on() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let smuggled = [
        ("accept", "text/csv"),
        ("content-type", "application/json"),
        ("connection", "x-amzn-sagemaker-target-variant, keep-alive, x-hop"),
        ("cookie", "session=secret"),
        ("expect-ct", "x"),
        ("forwarded", "for=10.0.0.1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic c2VjcmV0"),
        ("te", "trailers"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("user-agent", "python"),
        ("via", "1.1 proxy"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("x-amz-date", "20200101T000000Z"),
        ("x-amz-target", "SageMaker.DeleteEndpoint"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "evil.example"),
        ("x-hop", "x"),
        ("x-http-method-override", "DELETE"),
        ("x-sagegate-request-id", "made-up"),
    ];
    let ask =
        smuggled.iter().fold(Ask::invoke(&token), |ask, (name, value)| ask.header(name, value));
    let seen = seen(&stand, &ask).await;
    assert_eq!(seen.line, format!("POST {INVOKE} HTTP/1.1"));
    assert_eq!(seen.names(), names(&["accept", "content-type"]));
    assert_eq!(seen.body, b"{\"x\": 1}");
    assert_eq!(seen.get("content-length"), Some("8"));
    assert_eq!(seen.get("host"), Some(stand.sagemaker.address.to_string().as_str()));

    let signature = seen.get("authorization").unwrap();
    assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIDTEST/"), "{signature}");
    assert!(signature.contains("/us-east-1/sagemaker/aws4_request"), "{signature}");
    for name in ["accept", "content-type", "host", "x-amz-date", "x-amz-security-token"] {
        assert!(signature.contains(name), "{name} is signed: {signature}");
    }
    assert_eq!(seen.get("x-amz-security-token"), Some("session"), "ours, not the caller's");
    assert_ne!(seen.get("x-amz-date"), Some("20200101T000000Z"));
    let all = format!("{seen:?}");
    assert!(!all.contains(&token) && !all.contains("secret"), "{all}");
    stand.stop().await;
}

#[tokio::test]
async fn a_token_in_the_sdks_header_does_not_go_on_either() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let ask = Ask::post(STREAM).header("x-amz-security-token", &token).body("{}");
    let seen = seen(&stand, &ask).await;
    assert_eq!(seen.names(), names(&[]));
    assert_eq!(seen.get("x-amz-security-token"), Some("session"));
    stand.stop().await;
}

#[tokio::test]
async fn an_empty_body_has_a_length_too() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let location = ("x-amzn-sagemaker-inputlocation", "s3://bucket/key");
    let located = Ask::post(ASYNC).bearer(&token).header(location.0, location.1);
    for (ask, more) in [(Ask::post(INVOKE).bearer(&token), None), (located, Some(location.0))] {
        let seen = seen(&stand, &ask).await;
        assert_eq!(seen.get("content-length"), Some("0"));
        assert_eq!(seen.names(), names(more.as_slice()));
    }
    stand.stop().await;
}

#[tokio::test]
async fn a_chunked_body_goes_on_whole_with_its_length() {
    let stand = Stand::answering(Setup::default()).await;
    let ask = Ask::post(INVOKE).bearer(&stand.token()).header("transfer-encoding", "chunked");
    let seen =
        seen(&stand, &ask.body("3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\ntrailer: x\r\n\r\n")).await;
    assert_eq!((seen.body.as_slice(), seen.get("content-length")), (&b"abcdefg"[..], Some("7")));
    assert_eq!(seen.names(), names(&[]));
    stand.stop().await;
}

#[tokio::test]
async fn an_endpoints_name_goes_on_as_it_was_given() {
    let stand = Stand::answering(Setup::default()).await;
    let path = "/endpoints/Fraud-V1/invocations";
    let seen = seen(&stand, &Ask::post(path).bearer(&stand.token()).body("{}")).await;
    assert_eq!(seen.line, format!("POST {path} HTTP/1.1"));
    stand.stop().await;
}

#[tokio::test]
async fn the_host_is_the_configured_one_whatever_the_caller_names() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let authority = stand.sagemaker.address.to_string();
    let absolute = Ask::line(&format!("POST http://evil.example{INVOKE} HTTP/1.1"));
    for ask in [absolute.bearer(&token).body("{}"), Ask::invoke(&token)] {
        let seen = seen(&stand, &ask).await;
        assert_eq!(seen.get("host"), Some(authority.as_str()));
        assert_eq!(seen.line, format!("POST {INVOKE} HTTP/1.1"));
    }
    stand.stop().await;
}

#[tokio::test]
async fn an_inference_id_is_made_where_none_was_given_and_both_are_on_record() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let made = stand.ask(&Ask::invoke(&token), 200).await;
    let header = "x-amzn-sagemaker-inference-id";
    let given = stand.ask(&Ask::invoke(&token).header(header, "order-17"), 200).await;
    let seen = stand.sagemaker.seen();
    assert_eq!(seen[0].get(header), Some(made.id()), "the request's own id");
    assert_eq!(seen[1].get(header), Some("order-17"));
    assert_eq!(stand.event(&given)["unmapped"]["inference_id"], "order-17");
    assert_eq!(stand.event(&made)["unmapped"]["inference_id"], made.id());
    stand.stop().await;
}

#[tokio::test]
async fn of_an_answers_head_only_listed_headers_come_back() {
    let mut stand = Stand::start().await;
    stand.sagemaker.answer_all(
        b"HTTP/1.1 200 Whatever\r\n\
          content-type: text/csv\r\n\
          date: Mon, 23 Nov 2026 12:00:00 GMT\r\n\
          x-amzn-requestid: sm-7\r\n\
          x-Amzn-Invoked-Production-Variant: blue\r\n\
          X-Amzn-SageMaker-Custom-Attributes: trace=1\r\n\
          X-Amzn-SageMaker-New-Session-Id: s-1; Expires=2026-11-24T00:00:00Z\r\n\
          server: model/1.0\r\n\
          set-cookie: a=b\r\n\
          connection: keep-alive, x-hop\r\n\
          keep-alive: timeout=5\r\n\
          x-hop: 1\r\n\
          access-control-allow-origin: *\r\n\
          location: http://169.254.169.254/\r\n\
          strict-transport-security: max-age=1\r\n\
          x-sagegate-request-id: forged\r\n\
          content-length: 3\r\n\r\n1,2",
    );
    let answer = stand.ask(&Ask::invoke(&stand.token()), 200).await;
    assert_eq!(
        answer.names(),
        [
            "content-length",
            "content-type",
            "date",
            "x-amzn-invoked-production-variant",
            "x-amzn-requestid",
            "x-amzn-sagemaker-custom-attributes",
            "x-amzn-sagemaker-new-session-id",
            "x-sagegate-request-id",
        ]
    );
    assert_eq!(answer.body, b"1,2");
    assert_eq!(answer.get("x-amzn-requestid"), Some("sm-7"));
    assert_ne!(answer.id(), "forged");
    let event = stand.event(&answer);
    assert_eq!(event["unmapped"]["sagemaker_request_id"], "sm-7");
    assert_eq!(event["unmapped"]["invoked_production_variant"], "blue");
    assert_eq!(event["http_response"]["body_length"], 3);
    assert_eq!(event["http_request"]["body_length"], 8);
    stand.stop().await;
}

#[tokio::test]
async fn sagemakers_own_refusal_passes_through_as_it_is() {
    let mut stand = Stand::start().await;
    stand.sagemaker.answer_all(
        b"HTTP/1.1 424 Failed Dependency\r\ncontent-type: application/json\r\n\
          x-amzn-errortype: ModelError\r\nx-amzn-requestid: sm-9\r\ncontent-length: 24\r\n\r\n\
          {\"OriginalStatusCode\":5}",
    );
    let answer = stand.ask(&Ask::invoke(&stand.token()), 424).await;
    assert_eq!(answer.get("x-amzn-errortype"), Some("ModelError"));
    assert_eq!(answer.text(), "{\"OriginalStatusCode\":5}");
    let event = stand.event(&answer);
    assert_eq!((&event["action"], &event["status"]), (&json!("Allowed"), &json!("Failure")));
    stand.stop().await;
}

#[tokio::test]
async fn an_answer_without_a_body_is_whole_and_on_record() {
    let mut stand = Stand::start().await;
    stand
        .sagemaker
        .answer_all(b"HTTP/1.1 200 OK\r\nx-amzn-requestid: a\r\ncontent-length: 0\r\n\r\n");
    let answer = stand.ask(&Ask::invoke(&stand.token()), 200).await;
    assert!(answer.body.is_empty());
    assert_eq!(stand.event(&answer)["status"], "Success");
    stand.stop().await;
}
