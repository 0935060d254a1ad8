//! The record asked by the built binary: who called what, when, and how it ended.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{Ask, Setup, Stand};

/// `sagegate audit query` over a journal.
fn query(journal: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sagegate"))
        .args(["audit", "query"])
        .arg(journal)
        .args(arguments)
        .output()
        .unwrap()
}

fn told(journal: &Path, arguments: &[&str]) -> String {
    let output = query(journal, arguments);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn rows(journal: &Path, arguments: &[&str]) -> Vec<Value> {
    told(journal, arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Alice calls twice, once denied; somebody calls with a token that is none; and a user whose
/// name is a formula.
async fn called() -> Stand {
    let stand = Stand::answering(Setup::default().limited(&json!({"concurrency": 9}))).await;
    let alice = stand.token();
    stand.ask(&Ask::invoke(&alice), 200).await;
    let secret = Ask::post("/endpoints/secret-1/invocations").bearer(&alice);
    stand.ask(&secret, 403).await;
    stand.ask(&Ask::invoke("none"), 401).await;
    let formula =
        stand.token_with(|claims| drop(claims.insert("sub".into(), json!("=1+1\u{202e}x"))));
    stand.ask(&Ask::invoke(&formula), 200).await;
    stand
}

#[tokio::test]
async fn the_record_answers_who_called_what_and_how_it_ended() {
    let stand = called().await;
    let journal = stand.journal();
    let ends = |arguments: &[&str]| -> Vec<String> {
        let end = |row: &Value| format!("{} {}", row["decision"].as_str().unwrap(), row["status"]);
        rows(&journal, arguments).iter().map(end).collect()
    };
    assert_eq!(ends(&[]), ["allowed 200", "denied 403", "unauthenticated 401", "allowed 200"]);
    assert_eq!(ends(&["--user", "corp/alice"]), ["allowed 200", "denied 403"]);
    assert_eq!(ends(&["--user", "corp/a*", "--endpoint", "SECRET-*"]), ["denied 403"]);
    assert_eq!(ends(&["--decision", "denied", "--decision", "unauthenticated"]).len(), 2);
    assert_eq!(ends(&["--team", "fraud", "--operation", "InvokeEndpoint"]).len(), 3);
    assert_eq!(ends(&["--since", "1h"]).len(), 4);
    assert!(ends(&["--until", "1h"]).is_empty());

    let first = rows(&journal, &["--user", "corp/alice"]).remove(0);
    for (key, value) in [
        ("team", json!("fraud")),
        ("endpoint", json!("fraud-v1")),
        ("bytes_in", json!(8)),
        ("bytes_out", json!(10)),
        ("ending", json!("complete")),
        ("source", json!("127.0.0.1")),
        ("gateway", json!("gw-test")),
    ] {
        assert_eq!(first[key], value, "{key} of {first}");
    }
    stand.stop().await;
}

#[tokio::test]
async fn a_summary_counts_calls_by_user_endpoint_and_operation() {
    let stand = called().await;
    let summary = rows(&stand.journal(), &["--summary", "--user", "corp/alice"]);
    let counts: Vec<_> = summary
        .iter()
        .map(|row| json!([row["endpoint"], row["calls"], row["denied"], row["bytes_out"]]))
        .collect();
    let refusal = summary[1]["bytes_out"].clone();
    assert_eq!(counts, [json!(["fraud-v1", 1, 0, 10]), json!(["secret-1", 1, 1, refusal])]);
    assert!(summary[0]["p99_ms"].is_u64() && summary[1]["p99_ms"].is_null());
    stand.stop().await;
}

#[tokio::test]
async fn no_name_on_record_is_a_formula_or_speaks_to_the_terminal() {
    let stand = called().await;
    let table = told(&stand.journal(), &["--format", "table"]);
    let head = table.lines().next().unwrap();
    assert!(head.starts_with("TIME ") && head.ends_with("DETAIL"), "{head}");
    assert_eq!(table.lines().count(), 5);
    assert!(table.contains("corp/=1+1\\u{202e}x") && !table.contains('\u{202e}'), "{table}");

    // A name that begins with its issuer is no formula; one that stands alone would be.
    let line = fs::read_to_string(journal_file(&stand.journal())).unwrap();
    let forged = line.replace("corp/=1+1", "=1+1");
    fs::write(stand.directory().join("forged.jsonl"), forged).unwrap();
    let csv = told(&stand.directory().join("forged.jsonl"), &["--format", "csv"]);
    assert_eq!(csv.lines().next().unwrap().split(',').next(), Some("time"));
    assert!(csv.contains(",'=1+1\u{202e}x,") && !csv.contains(",=1"), "{csv}");
    stand.stop().await;
}

#[tokio::test]
async fn a_torn_line_is_noted_and_wrong_usage_is_said() {
    let stand = called().await;
    let file = journal_file(&stand.journal());
    let mut text = fs::read_to_string(&file).unwrap();
    let half = text.get(..text.len() / 8).unwrap().to_owned();
    write!(text, "nonsense\n{half}").unwrap();
    let torn = stand.directory().join("torn.jsonl");
    fs::write(&torn, text).unwrap();
    let output = query(&torn, &[]);
    let note = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 4);
    assert!(note.contains("1 line(s) are no records") && note.contains("has no end"), "{note}");

    for (arguments, code) in
        [(["--since", "yesterday"], 2), (["--decision", "maybe"], 2), (["--team", "x"], 0)]
    {
        assert_eq!(query(&torn, &arguments).status.code(), Some(code), "{arguments:?}");
    }
    assert_eq!(query(Path::new("/none"), &[]).status.code(), Some(1));
    stand.stop().await;
}

fn journal_file(journal: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "jsonl")).max().unwrap()
}
