//! Heads that are no SageMaker call: refused, on record, and never sent on.

use crate::support::request::{ASYNC, INVOKE, STREAM};
use crate::support::{Ask, Setup, Stand};

const P: &str = "x-amzn-sagemaker-";

struct Case {
    what: &'static str,
    ask: Ask,
    status: u16,
    code: &'static str,
}

fn cases(token: &str) -> Vec<Case> {
    let post = |path: &str| Ask::post(path).bearer(token).body("{}");
    let line = |line: String| Ask::line(&line).bearer(token);
    let with =
        |path: &str, name: &str, value: &str| post(path).header(&format!("{P}{name}"), value);
    let unknown = |what, path: &str| Case {
        what,
        ask: post(path),
        status: 404,
        code: "UnknownOperationException",
    };
    let method = |what, method: &str| Case {
        what,
        ask: line(format!("{method} {INVOKE} HTTP/1.1")),
        status: 405,
        code: "UnknownOperationException",
    };
    let bad = |what, ask: Ask| Case { what, ask, status: 400, code: "ValidationError" };
    vec![
        unknown("the root", "/"),
        unknown("no operation", "/endpoints/fraud-v1"),
        unknown("a slash too many", "/endpoints/fraud-v1/invocations/"),
        unknown("a doubled slash", "//endpoints/fraud-v1/invocations"),
        unknown("no name", "/endpoints//invocations"),
        unknown("another case", "/Endpoints/fraud-v1/invocations"),
        unknown("an escaped letter", "/endpoints/%66raud-v1/invocations"),
        unknown("an escaped slash", "/endpoints/fraud-v1%2Finvocations"),
        unknown("dots", "/endpoints/../endpoints/fraud-v1/invocations"),
        unknown("a name that is none", "/endpoints/-fraud/invocations"),
        unknown("a name of 64", &format!("/endpoints/{}/invocations", "a".repeat(64))),
        unknown("a path parameter", "/endpoints/fraud-v1;v=1/invocations"),
        unknown("an operation to come", "/endpoints/fraud-v1/invocations-bidirectional-stream"),
        unknown("the control plane", "/inference-routers/r/invocations"),
        method("GET", "GET"),
        method("PUT", "PUT"),
        method("an invented method", "INVOKE"),
        bad("a query", post(&format!("{INVOKE}?a=b"))),
        bad("an empty query", post(&format!("{INVOKE}?"))),
        bad(
            "a doubled header",
            with(INVOKE, "target-variant", "blue").header(&format!("{P}target-variant"), "blue"),
        ),
        bad("a doubled content type", post(INVOKE).header("accept", "a").header("accept", "b")),
        bad("an oversized header", with(INVOKE, "custom-attributes", &"x".repeat(1025))),
        bad("a variant that is no name", with(INVOKE, "target-variant", "blue green")),
        bad("an empty component", with(STREAM, "inference-component", "")),
        bad("a number that is none", with(ASYNC, "requestttlseconds", "soon")),
        bad("a number out of range", with(ASYNC, "requestttlseconds", "59")),
        bad("a location of another kind", with(ASYNC, "inputlocation", "file:///etc/passwd")),
        bad("a location with dots", with(ASYNC, "inputlocation", "s3://b/a/../k")),
        bad("a header of another operation", with(STREAM, "target-model", "m")),
        bad("a header of no operation", with(INVOKE, "made-up", "x")),
        bad("a value beyond ASCII", with(INVOKE, "custom-attributes", "caf\u{e9}")),
    ]
}

#[tokio::test]
async fn a_head_that_is_no_call_is_refused_recorded_and_never_sent_on() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let cases = cases(&token);
    for Case { what, ask, status, code } in &cases {
        let refused = stand.ask(ask, *status).await;
        assert_eq!(refused.code(), *code, "{what}");
        assert_eq!(refused.get("allow"), (*status == 405).then_some("POST"), "{what}");
        let event = stand.event(&refused);
        assert_eq!(event["action"], "Denied", "{what}");
        assert_eq!(event["disposition"], "Rejected", "{what}");
        assert_eq!(event["status_code"], status.to_string(), "{what}");
        // Nobody was authenticated, and what was asked is not believed.
        assert!(event["actor"]["user"]["uid"].is_null(), "{what}: {event}");
        assert_eq!(event["api"]["operation"], "Unknown", "{what}");
    }

    let allowed = stand.ask(&Ask::invoke(&token), 200).await;
    assert_eq!(stand.event(&allowed)["action"], "Allowed");
    assert_eq!(stand.sagemaker.seen().len(), 1, "only the control went on");
    assert_eq!(stand.events().len(), cases.len() + 1);
    stand.stop().await;
}

#[tokio::test]
async fn each_operation_is_let_through_with_every_header_it_takes() {
    let stand = Stand::answering(Setup::default()).await;
    let token = stand.token();
    let both = [
        ("target-variant", "Blue-1"),
        ("target-container-hostname", "c1"),
        ("inference-component", "ic-1"),
        ("prefix-aware-id", "p"),
        ("custom-attributes", "trace=1"),
        ("inference-id", "order 17"),
    ];
    let cases = [
        (
            INVOKE,
            vec![
                ("target-model", "m.tar.gz"),
                ("enable-explanations", "`true`"),
                ("session-id", "NEW_SESSION"),
            ],
            true,
        ),
        (STREAM, vec![("accept", "text/csv"), ("session-id", "abc")], true),
        (
            ASYNC,
            vec![
                ("content-type", "text/csv"),
                ("accept", "text/csv"),
                ("custom-attributes", "trace=1"),
                ("inference-id", "order 17"),
                ("s3outputpathextension", "team/a"),
                ("filename", "out.json"),
                ("requestttlseconds", "60"),
                ("invocationtimeoutseconds", "3600"),
            ],
            false,
        ),
    ];
    for (path, own, targets) in cases {
        let headers: Vec<_> = own.into_iter().chain(both.into_iter().filter(|_| targets)).collect();
        let ask =
            headers.iter().fold(Ask::post(path).bearer(&token).body("{}"), |ask, (name, value)| {
                ask.header(&format!("{P}{name}"), value)
            });
        let allowed = stand.ask(&ask, 200).await;
        let seen = stand.sagemaker.seen().pop().unwrap();
        assert_eq!(seen.line, format!("POST {path} HTTP/1.1"));
        for (name, value) in headers {
            assert_eq!(seen.get(&format!("{P}{name}")), Some(value), "{path}");
        }
        assert_eq!(stand.event(&allowed)["unmapped"]["inference_id"], "order 17");
    }
    stand.stop().await;
}
