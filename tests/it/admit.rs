//! Teams over their limits: told when to come back, on record, and never sent on; and what
//! a call held is free again however the call ended.

use serde_json::json;

use crate::cli::sagegate;
use crate::support::{Ask, Caller, OK, Setup, Stand, until};

/// With its end announced, so that no connection is kept for the next call.
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\
    connection: close\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn a_team_over_its_rate_is_told_when_to_come_back() {
    let stand = Stand::answering(Setup::default().limited(&json!({"requests": "2/h"}))).await;
    let token = stand.token();
    for left in ["1", "0"] {
        let allowed = stand.ask(&Ask::invoke(&token), 200).await;
        assert_eq!(allowed.get("ratelimit-policy"), Some(r#""requests-2/h";q=2;w=3600"#));
        let standing = allowed.get("ratelimit").unwrap();
        assert!(standing.starts_with(&format!(r#""requests-2/h";r={left};t="#)), "{standing}");
    }
    let refused = stand.ask(&Ask::invoke(&token), 429).await;
    assert_eq!(refused.code(), "ThrottlingException");
    let wait: u64 = refused.get("retry-after").unwrap().parse().unwrap();
    assert!((1790..=1800).contains(&wait), "{wait}");
    let standing = refused.get("ratelimit").unwrap();
    assert_eq!(standing, format!(r#""requests-2/h";r=0;t={wait}"#));
    let event = stand.event(&refused);
    assert_eq!(event["disposition"], "Rejected");
    assert_eq!(event["unmapped"]["team"], "fraud");

    assert_eq!(stand.sagemaker.seen().len(), 2, "only what was within the limit went on");
    assert_eq!(stand.events().len(), 3);
    stand.stop().await;
}

#[tokio::test]
async fn a_call_that_came_to_nothing_does_not_count() {
    let setup = Setup::default().limited(&json!({"requests": "1/h"}));
    let stand = Stand::answering(setup.with("server", "max_body", json!("16B"))).await;
    let token = stand.token();
    stand.ask(&Ask::invoke(&token).body(vec![b'x'; 17]), 413).await;
    stand.ask(&Ask::invoke(&token), 200).await;
    stand.ask(&Ask::invoke(&token), 429).await;
    stand.stop().await;
}

#[tokio::test]
async fn concurrency_is_free_again_when_a_stream_has_ended() {
    let mut stand = Stand::with(Setup::default().limited(&json!({"concurrency": 1}))).await;
    let ask = Ask::stream(&stand.token());
    let mut caller = stand.caller().await;
    caller.write(ask.bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(CHUNKED).await;
    sagemaker.write("1\r\na\r\n").await;
    let head = caller.head().await;
    assert_eq!(caller.chunk().await.unwrap(), b"a");

    let refused = stand.ask(&ask, 429).await;
    assert_eq!(refused.code(), "ThrottlingException");
    assert_eq!(refused.get("retry-after"), Some("1"));

    sagemaker.write("1\r\nb\r\n0\r\n\r\n").await;
    assert_eq!(caller.body(&head).await.0, b"b");
    assert_let_in(&mut stand, &ask).await;
    stand.stop().await;
}

#[tokio::test]
async fn concurrency_is_free_again_when_a_caller_has_left() {
    let mut stand = Stand::with(Setup::default().limited(&json!({"concurrency": 1}))).await;
    let ask = Ask::stream(&stand.token());

    // In the middle of an answer.
    let mut caller = stand.caller().await;
    caller.write(ask.bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write(CHUNKED).await;
    sagemaker.write("1\r\na\r\n").await;
    caller.head().await;
    stand.ask(&ask, 429).await;
    drop(caller);
    sagemaker.closed().await;
    assert_let_in(&mut stand, &ask).await;

    // Before any answer.
    let mut caller = stand.caller().await;
    caller.write(ask.bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    stand.ask(&ask, 429).await;
    drop(caller);
    sagemaker.closed().await;
    assert_let_in(&mut stand, &ask).await;
    stand.stop().await;
}

#[tokio::test]
async fn a_caller_of_several_teams_says_which_one_is_charged() {
    let mut setup = Setup::default();
    let team = |limit: u32| json!({"groups": ["corp/callers"], "limits": [{"requests": format!("{limit}/h")}]});
    setup.access["teams"] =
        json!({"fraud": team(1), "risk": team(2), "others": {"users": ["corp/bob"]}});
    let stand = Stand::answering(setup).await;
    let ask = Ask::invoke(&stand.token());
    let naming = |team: &str| ask.clone().header("x-sagegate-team", team);

    let first = stand.ask(&ask, 200).await;
    assert_eq!(first.get("ratelimit-policy"), Some(r#""requests-1/h";q=1;w=3600"#));
    assert_eq!(stand.event(&first)["unmapped"]["team"], "fraud");
    for _ in 0..2 {
        let named = stand.ask(&naming("risk"), 200).await;
        assert_eq!(named.get("ratelimit-policy"), Some(r#""requests-2/h";q=2;w=3600"#));
        assert_eq!(stand.event(&named)["unmapped"]["team"], "risk");
    }
    for named in ["fraud", "risk"] {
        stand.ask(&naming(named), 429).await;
    }
    let refused =
        stand.metrics.limit_decisions.with_label_values(&["risk", "requests-2/h", "refused"]);
    assert_eq!(refused.get(), 1);

    for foreign in ["others", "Fraud", "", "corp/callers"] {
        let denied = stand.ask(&naming(foreign), 403).await;
        assert_eq!(denied.code(), "AccessDeniedException");
        let event = stand.event(&denied);
        assert!(event["unmapped"]["team"].is_null(), "{event:#}");
        assert_eq!(event["status_detail"], "the team named is none of the caller's");
    }
    stand.ask(&naming("fraud").header("x-sagegate-team", "fraud"), 400).await;
    for seen in stand.sagemaker.seen() {
        assert!(!seen.names().contains(&"x-sagegate-team"), "it is for the gateway alone");
    }
    stand.stop().await;
}

#[tokio::test]
async fn everybodys_limits_add_up_and_users_and_callers_of_no_team_have_their_own() {
    let mut setup = Setup::default();
    setup.access["teams"] = json!({"fraud": {"users": ["corp/alice", "corp/bob"], "limits": [{"requests": "1/h", "per": "user"}]}});
    setup.access["limits"] =
        json!([{"requests": "4/h", "per": "endpoint", "endpoints": ["fraud-*"]}]);
    setup.access["default_team"] = json!({"limits": [{"requests": "1/day"}]});
    let stand = Stand::answering(setup).await;
    let of = |user: &str| {
        let subject = json!(user);
        Ask::invoke(&stand.token_with(|claims| _ = claims.insert("sub".into(), subject)))
    };
    stand.ask(&of("alice"), 200).await;
    stand.ask(&of("bob"), 200).await;
    let over = stand.ask(&of("bob"), 429).await;
    assert!(over.get("ratelimit").unwrap().starts_with(r#""requests-1/h-per-user";r=0;t="#));
    let stranger = stand.ask(&of("carol"), 200).await;
    let policy = r#""all-requests-4/h-per-endpoint";q=4;w=3600, "requests-1/day";q=1;w=86400"#;
    assert_eq!(stranger.get("ratelimit-policy"), Some(policy));
    let over = stand.ask(&of("dave"), 429).await;
    assert!(over.get("ratelimit").unwrap().starts_with(r#""requests-1/day";r=0;t="#));
    assert!(stand.event(&over)["unmapped"]["team"].is_null());
    stand.stop().await;
}

#[tokio::test]
async fn bodies_are_charged_by_their_length_declared_or_not() {
    let setup = Setup::default().limited(&json!({"body_bytes": "20B/day"}));
    let stand = Stand::answering(setup.with("server", "max_body", json!("20B"))).await;
    let token = stand.token();
    let of = |length: usize| Ask::invoke(&token).body(vec![b'x'; length]);
    let chunked = |length: usize| {
        let body = format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length));
        Ask::invoke(&token).header("transfer-encoding", "chunked").body(body)
    };
    let left = |answer: &crate::support::Response| {
        let text = answer.get("ratelimit").unwrap().to_owned();
        text.split(';').nth(1).unwrap().to_owned()
    };
    assert_eq!(left(&stand.ask(&of(8), 200).await), "r=12");
    assert_eq!(left(&stand.ask(&chunked(7), 200).await), "r=5");
    for over in [of(6), chunked(6)] {
        let refused = stand.ask(&over, 429).await;
        assert_eq!(refused.code(), "ThrottlingException");
    }
    assert_eq!(left(&stand.ask(&chunked(5), 200).await), "r=0");
    stand.ask(&chunked(1), 429).await;
    stand.ask(&of(1), 429).await;
    stand.ask(&of(0), 200).await;
    assert_eq!(stand.sagemaker.seen().len(), 4);
    stand.stop().await;
}

#[tokio::test]
async fn the_time_that_a_call_took_is_charged_when_it_ends() {
    let setup = Setup::default().limited(&json!({"inference_seconds": "60/day"}));
    let stand = Stand::answering(setup).await;
    let ask = Ask::invoke(&stand.token());
    let standing =
        |answer: &crate::support::Response| answer.get("ratelimit").unwrap()[..36].to_owned();
    let first = stand.ask(&ask, 200).await;
    assert_eq!(
        standing(&first),
        r#""inference-seconds-60/day";r=60;t=XX"#
            .replace("XX", &first.get("ratelimit").unwrap()[34..36])
    );
    let second = stand.ask(&ask, 200).await;
    assert!(second.get("ratelimit").unwrap().contains(";r=59;"), "{:?}", second.get("ratelimit"));
    stand.stop().await;
}

#[tokio::test]
async fn a_caller_who_leaves_before_anything_was_sent_has_used_nothing() {
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    // A TLS handshake that is never answered, so there is no connection to send on.
    let url = format!("https://{}", tcp.local_addr().unwrap());
    let setup = Setup::default().limited(&json!({"requests": "1/day"}));
    let stand = Stand::with(setup.with("aws", "runtime_url", json!(url))).await;
    let ask = Ask::invoke(&stand.token());
    let gone = || until("the call's end", || stand.metrics.in_flight.get() == 0);

    // In the middle of its body.
    let mut caller = stand.caller().await;
    caller.write(format!("{}content-length: 9\r\n\r\nhalf", ask.head())).await;
    until("the call", || stand.metrics.in_flight.get() == 1).await;
    drop(caller);
    gone().await;

    // While the connection is being made: twice, so the first did not count.
    for _ in 0..2 {
        let mut caller = stand.caller().await;
        caller.write(ask.bytes()).await;
        let _connecting = tcp.accept().await.unwrap();
        stand.ask(&ask, 429).await;
        drop(caller);
        gone().await;
    }
    stand.stop().await;
}

#[tokio::test]
async fn a_caller_who_leaves_once_the_call_was_sent_has_used_it() {
    let mut stand = Stand::with(Setup::default().limited(&json!({"requests": "1/day"}))).await;
    let ask = Ask::invoke(&stand.token());
    let mut caller = stand.caller().await;
    caller.write(ask.bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    drop(caller);
    sagemaker.closed().await;
    until("the call's end", || stand.metrics.in_flight.get() == 0).await;
    stand.ask(&ask, 429).await;
    stand.stop().await;
}

#[tokio::test]
async fn a_reload_does_not_give_a_team_its_quota_again() {
    let limited = |limit: &str| Setup::default().limited(&json!({"requests": limit}));
    let mut stand = Stand::answering(limited("1/day")).await;
    let ask = Ask::invoke(&stand.token());
    let sagemaker = stand.sagemaker.address;
    stand.ask(&ask, 200).await;
    stand.reload(limited("1/day"), sagemaker).await;
    stand.ask(&ask, 429).await;
    stand.reload(limited("3/day"), sagemaker).await;
    for _ in 0..2 {
        stand.ask(&ask, 200).await;
    }
    stand.ask(&ask, 429).await;
    stand.stop().await;
}

#[test]
fn the_limits_command_lists_each_limit_with_its_line() {
    let access = include_str!("../../config/access.yaml");
    let line = |text: &str| 1 + access.lines().position(|line| line.contains(text)).unwrap();
    let (code, all, _) = sagegate(&["limits"]);
    assert_eq!((code, all.lines().count()), (Some(0), 12), "{all}");
    let daily = all.lines().find(|line| line.contains("requests-1000000/day")).unwrap();
    assert!(daily.starts_with("fraud "), "{daily}");
    assert!(daily.contains("1000000 requests a day (Europe/Berlin)"), "{daily}");
    assert!(daily.ends_with(&format!("access.yaml:{}", line("1000000/day"))), "{daily}");
    assert!(all.contains("llm-*: InvokeEndpointWithResponseStream"), "{all}");

    let (code, research, _) = sagegate(&["limits", "--team", "research"]);
    assert_eq!((code, research.lines().count()), (Some(0), 6), "{research}");
    assert!(research.contains("all-concurrency-512") && !research.contains("fraud"), "{research}");
    let (code, _, told) = sagegate(&["limits", "--team", "resaerch"]);
    assert_eq!((code, &*told), (Some(2), "error: no team `resaerch`; there is fraud, research\n"));
}

#[test]
fn explain_names_the_limits_that_a_call_is_held_to() {
    let asked = ["explain", "--issuer", "corp", "--user", "u", "--group", "ds"];
    let call = ["--action", "InvokeEndpoint", "--endpoint", "summarizer"];
    let (code, text, _) = sagegate(&[&asked[..], &call].concat());
    assert_eq!(code, Some(0), "{text}");
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&told["decision"], &told["team"]), (&json!("permit"), &json!("research")));
    let names: Vec<_> = told["limits"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["all-concurrency-512", "requests-600/min", "inference-seconds-3600/h"]);
    assert!(told["limits"][1]["from"].as_str().unwrap().starts_with("access.yaml:"), "{told}");

    let (code, text, _) = sagegate(&[&asked[..], &call, &["--team", "fraud"]].concat());
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &told["reason"], &told["limits"]),
        (Some(3), &json!("not_in_team"), &json!([]))
    );
}

/// The slot is freed by the gateway's own task, so it may take a moment.
async fn assert_let_in(stand: &mut Stand, ask: &Ask) {
    until("the slot's release", || stand.metrics.in_flight.get() == 0).await;
    let mut caller = Caller::connect(stand.app.address()).await;
    caller.write(ask.bytes()).await;
    let mut sagemaker = stand.sagemaker.accept().await;
    sagemaker.request().await;
    sagemaker.write([&OK[..15], b"\r\nconnection: close", &OK[15..]].concat()).await;
    caller.response(200).await;
}
