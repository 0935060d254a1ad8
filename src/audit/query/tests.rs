//! Whole scans over files as the journal leaves them, and as it should not.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::*;

const NOON: u64 = 1_795_435_200_000;

/// A line of a kind, as far as a query looks at it.
fn line(kind: &str, id: &str, user: &str, time: u64, disposition: u16) -> String {
    let caption = ["", "Allowed", "Blocked"].get(usize::from(disposition)).unwrap_or(&"Error");
    let line = json!({
        "metadata": {"sequence": 1, "event_code": kind, "uid": format!("{kind}-{id}")},
        "time": time,
        "duration": 39,
        "disposition_id": disposition,
        "disposition": caption,
        "actor": {"user": {"name": user}},
        "api": {"operation": "InvokeEndpoint", "request": {"uid": id}},
        "resources": [{"name": "Fraud-v1"}],
        "unmapped": {"team": "fraud", "ending": "complete"},
    });
    format!("{line}\n")
}

fn ended(user: &str, disposition: u16) -> String {
    line("request", user, user, NOON, disposition)
}

fn names(pattern: &str, ignore_case: bool) -> Option<Names> {
    Some(Names::new(&[pattern.to_owned()], ignore_case).unwrap())
}

/// What a scan finds, as `user decision`.
fn ask(directory: &Path, filter: &Filter) -> (Vec<String>, Seen) {
    let mut found = Vec::new();
    let mut reader = |step: Step<'_>| {
        match step {
            Step::Call(entry) => found.push(format!("{} {}", entry.user, entry.decision)),
            Step::Read(progress) => assert!(progress.read <= progress.of),
        }
        Ok(())
    };
    let seen = Scan::new(&[directory.to_owned()]).unwrap().run(filter, &mut reader).unwrap();
    assert_eq!(seen.matched, found.len() as u64);
    (found, seen)
}

fn in_files(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

#[test]
fn each_part_that_is_asked_for_must_hold() {
    let text = ended("corp/alice", 1) + &ended("corp/alice", 2) + &ended("corp/bob", 1);
    let directory = in_files(&[("a.jsonl", &text)]);
    let asked = |filter: Filter| ask(directory.path(), &filter).0;
    let all = asked(Filter::default());
    assert_eq!(all, ["corp/alice allowed", "corp/alice denied", "corp/bob allowed"]);
    let alice = || Filter { users: names("corp/alice", false), ..Filter::default() };
    assert_eq!(asked(alice()), &all[..2]);
    assert_eq!(asked(Filter { decisions: vec![Decision::Denied], ..alice() }), &all[1..2]);
    for (filter, count) in [
        (Filter { endpoints: names("fraud-V*", true), ..alice() }, 2),
        (Filter { endpoints: names("other", true), ..alice() }, 0),
        (Filter { teams: names("fraud", false), ..alice() }, 2),
        (Filter { teams: names("risk", false), ..alice() }, 0),
        (Filter { operations: vec![crate::names::Action::InvokeEndpoint], ..alice() }, 2),
        (Filter { operations: vec![crate::names::Action::ListEndpoints], ..alice() }, 0),
        (Filter { since: Some(NOON), until: Some(NOON + 1), ..alice() }, 2),
        (Filter { since: Some(NOON + 1), ..alice() }, 0),
        (Filter { until: Some(NOON), ..alice() }, 0),
    ] {
        assert_eq!(asked(filter.clone()).len(), count, "{filter:?}");
    }
}

#[test]
fn an_intent_is_told_only_when_nothing_says_how_it_ended() {
    let intents: String = ["a", "b", "c"].map(|id| line("intent", id, "corp/x", NOON, 1)).concat();
    let ends =
        line("request", "a", "corp/x", NOON, 1) + &line("outcome_unknown", "b", "corp/x", NOON, 1);
    let directory = in_files(&[("1.jsonl", &intents), ("2.jsonl", &ends)]);
    let asked = |filter: &Filter| ask(directory.path(), filter).0;
    let unknown = "corp/x unknown";
    assert_eq!(asked(&Filter::default()), ["corp/x allowed", unknown, unknown]);
    let only = |decisions| Filter { decisions, ..Filter::default() };
    assert_eq!(asked(&only(vec![Decision::Unknown])), [unknown; 2]);
    assert_eq!(asked(&only(vec![Decision::Allowed])), ["corp/x allowed"]);
}

#[test]
fn what_is_about_the_gateway_is_no_call() {
    let text = line("head", "1", "gateway", NOON, 0) + &line("reload", "2", "gateway", NOON, 0);
    let directory = in_files(&[("a.jsonl", &text)]);
    assert_eq!(ask(directory.path(), &Filter::default()), (vec![], Seen::default()));
}

#[test]
fn what_is_no_record_is_counted_and_the_rest_is_told() {
    let good = ended("corp/alice", 1);
    let text = format!("{good}nonsense\n\n{{\"a\":1}}\n{good}{}", good.get(..50).unwrap());
    let whole_without_end = good.trim_end();
    let directory =
        in_files(&[("a.jsonl", &text), ("b.jsonl", whole_without_end), ("c.torn", "x")]);
    let (found, seen) = ask(directory.path(), &Filter::default());
    assert_eq!(found.len(), 3);
    assert_eq!((seen.unreadable, seen.torn), (2, 1));
    let first = (directory.path().join("a.jsonl"), good.len() as u64);
    assert_eq!(seen.first_unreadable, Some(first));
}

#[test]
fn lines_across_chunks_and_lines_without_end_are_read_as_they_are() {
    let good = ended("corp/alice", 1);
    let many = good.repeat((3 << 20) / good.len());
    let endless = "x".repeat(9 << 20);
    let directory = in_files(&[("a.jsonl", &format!("{many}{endless}\n{many}"))]);
    for filter in
        [Filter::default(), Filter { users: names("corp/alice", false), ..Filter::default() }]
    {
        let (found, seen) = ask(directory.path(), &filter);
        assert_eq!(found.len(), 2 * many.len() / good.len());
        assert_eq!(seen.unreadable, 1);
        assert_eq!(seen.first_unreadable.unwrap().1, many.len() as u64);
    }
}

#[test]
fn a_file_far_from_the_asked_time_is_not_read() {
    let day = 24 * 3_600_000;
    let old = line("request", "1", "corp/old", NOON - 3 * day, 1);
    // Read, it would be told as unreadable.
    let unread = format!("{old}nonsense\n{old}");
    let near = line("request", "2", "corp/near", NOON - day, 1);
    let new = line("request", "3", "corp/new", NOON, 1);
    let directory =
        in_files(&[("1.jsonl", &unread), ("2.jsonl", &format!("{near}{new}")), ("3.jsonl", "")]);
    let since = |since| Filter { since: Some(since), ..Filter::default() };
    let (found, seen) = ask(directory.path(), &since(NOON));
    assert_eq!((found, seen.unreadable), (vec!["corp/new allowed".to_owned()], 0));
    assert_eq!(ask(directory.path(), &since(NOON - 3 * day)).1.unreadable, 1);
    let until = Filter { until: Some(NOON - 2 * day), ..Filter::default() };
    assert_eq!(ask(directory.path(), &until).0, ["corp/old allowed"; 2]);
}

#[test]
fn a_place_without_a_journal_is_an_error() {
    let directory = in_files(&[("notes.txt", "")]);
    let told = |path: &Path| Scan::new(&[path.to_owned()]).unwrap_err().to_string();
    assert!(told(directory.path()).ends_with("holds no `*.jsonl` file"));
    assert!(told(&directory.path().join("none")).starts_with("cannot read"));
}

#[test]
fn a_summary_counts_by_user_endpoint_and_operation() {
    let text = ended("corp/alice", 1).repeat(3) + &ended("corp/alice", 2) + &ended("corp/bob", 27);
    let directory = in_files(&[("a.jsonl", &text)]);
    let mut summary = Summary::default();
    let mut add = |step: Step<'_>| {
        if let Step::Call(entry) = step {
            summary.add(entry);
        }
        Ok(())
    };
    let scan = Scan::new(&[directory.path().to_owned()]).unwrap();
    scan.run(&Filter::default(), &mut add).unwrap();
    let told: Vec<_> = summary
        .groups()
        .into_iter()
        .map(|(key, group)| {
            (key.user.clone(), group.calls, group.denied, group.refused, group.latency(0.99))
        })
        .collect();
    assert_eq!(
        told,
        [("corp/alice".into(), 4, 1, 0, Some(39)), ("corp/bob".into(), 1, 0, 1, None)]
    );
}
