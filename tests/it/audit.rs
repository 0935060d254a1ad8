//! The record asked by the built binary: who called what, when, and how it ended.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sagegate::app::Drained;
use serde_json::{Value, json};

use crate::support::{Ask, Setup, Stand, records, until};

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
async fn a_pseudonymised_record_names_nobody_and_answers_whoever_holds_the_key() {
    let directory = tempfile::TempDir::new().unwrap();
    let key = directory.path().join("pseudonym.key");
    fs::write(&key, "a secret that is made for this test\n").unwrap();
    let setup = Setup::default()
        .with("audit", "pseudonymize", json!(["user", "src_endpoint"]))
        .with("audit", "pseudonym_key", json!({"name": "2026-11", "file": "pseudonym.key"}))
        .with("audit", "omit", json!(["user_agent", "token_id"]));
    let mut stand = Stand::within(directory, setup).await;
    stand.sagemaker.answer_all(crate::support::OK);
    stand.ask(&Ask::invoke(&stand.token()).header("user-agent", "curl/8"), 200).await;
    let bob = stand.token_with(|claims| drop(claims.insert("sub".into(), json!("bob"))));
    stand.ask(&Ask::invoke(&bob), 200).await;

    let record = fs::read_to_string(journal_file(&stand.journal())).unwrap();
    for value in ["alice", "bob", "127.0.0.1\"", "curl/8"] {
        assert!(!record.contains(value), "{value} in {record}");
    }
    let (journal, key) = (stand.journal(), key.to_str().unwrap());
    let all = rows(&journal, &[]);
    let found = rows(&journal, &["--user", "corp/alice", "--pseudonym-key", key]);
    assert_eq!((found.len(), &found[0]), (1, &all[0]));
    let user = found[0]["user"].as_str().unwrap();
    assert!(user.starts_with("corp/pseudonym:2026-11:"), "{user}");
    assert_eq!(rows(&journal, &["--user", user]).len(), 1, "a pseudonym is a name too");
    assert!(rows(&journal, &["--user", "corp/alice"]).is_empty());
    let pattern = query(&journal, &["--user", "corp/*", "--pseudonym-key", key]);
    assert_eq!(pattern.status.code(), Some(2), "{pattern:?}");
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

/// Every field of every record, as docs/audit.md spells it.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            let dot = if path.is_empty() { "" } else { "." };
            fields(value, &format!("{path}{dot}{key}"), found);
        }),
        Value::Array(items) => {
            items.iter().for_each(|item| fields(item, &format!("{path}[]"), found));
        }
        _ => drop(found.insert(path.to_owned())),
    }
}

fn records_of<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["metadata"]["event_code"] == kind).collect()
}

#[tokio::test]
async fn changes_are_on_record_before_the_calls_they_bear_on_and_every_field_is_documented() {
    let mut stand = Stand::answering(Setup::default()).await;
    let (journal, sagemaker) = (stand.journal(), stand.sagemaker.address);
    let ask = Ask::invoke(&stand.token());
    stand.ask(&ask, 200).await;
    let credentials = || !records_of(&records(&journal), "credentials").is_empty();
    until("keys and credentials on record", || {
        credentials() && !records_of(&records(&journal), "keys").is_empty()
    })
    .await;

    let mut setup = Setup::default();
    setup.access["roles"]["reader"] = json!({"permit": [{"endpoints": ["fraud-*"]}]});
    setup.access["revoked"]["users"] = json!(["corp/alice"]);
    stand.reload(setup, sagemaker).await;
    stand.ask(&ask, 403).await;
    stand.app.refuse_reload("sagegate.yaml:1:1: server.tls: expected a map");
    let (app, held) = stand.apart();
    assert_eq!(app.drain().await, Drained::Clean);

    let records = records(&journal);
    let at = |kind| records.iter().position(|record| record["metadata"]["event_code"] == kind);
    let denied = records.iter().position(|record| record["status_code"] == "403");
    assert!(at("start") < at("request") && at("reload") < denied && denied < at("stop"));
    assert_eq!(records_of(&records, "stop")[0]["unmapped"]["stop"]["drain"], "clean");
    assert_eq!(
        records_of(&records, "start")[0]["unmapped"]["start"]["changes"].as_array().unwrap().len(),
        2
    );
    let key = &records_of(&records, "credentials")[0]["unmapped"]["credentials"]["access_key_id"];
    assert_eq!(key, "AKIDTEST");
    let keys = &records_of(&records, "keys")[0]["unmapped"]["keys"];
    assert_eq!((&keys["issuer"], keys["added"].as_array().unwrap().len()), (&json!("corp"), 1));

    let reloads = records_of(&records, "reload");
    assert_eq!(reloads.len(), 2);
    let changes = reloads[0]["unmapped"]["reload"]["changes"].as_array().unwrap();
    let named: Vec<_> = changes.iter().filter(|change| change["kind"].is_string()).collect();
    assert_eq!(
        named,
        [
            &json!({"kind": "role", "name": "reader", "change": "added"}),
            &json!({"kind": "revoked_user", "name": "corp/alice", "change": "added"}),
            &json!({"kind": "revoked_user", "name": "corp/mallory", "change": "removed"}),
        ]
    );
    assert_ne!(changes[0]["before"], changes[0]["after"], "the file's hash: {}", changes[0]);
    assert_eq!((&reloads[1]["status_id"], &reloads[1]["severity_id"]), (&json!(2), &json!(3)));
    assert!(reloads[1]["status_detail"].as_str().unwrap().contains("server.tls"), "{}", reloads[1]);

    let schema = include_str!("../vectors/ocsf-1.8.0-api-activity.schema.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let document = include_str!("../../docs/audit.md");
    let mut found = BTreeSet::new();
    for record in &records {
        let faults: Vec<_> = schema.iter_errors(record).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{faults:?} in {record:#}");
        fields(record, "", &mut found);
    }
    let undocumented: Vec<_> =
        found.iter().filter(|field| !document.contains(&format!("| `{field}` |"))).collect();
    assert!(undocumented.is_empty(), "{undocumented:#?}");
    drop(held);
}

fn journal_file(journal: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "jsonl")).max().unwrap()
}
