//! Holds `docs/audit.md` to the record: every field that an event can have stands in its
//! table, with an example out of a rendered event, and no field that none has.
//!
//! The meanings are written by hand; `UPDATE=1` renews the examples.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::audit::samples::Samples;
use crate::audit::{Activity, Instance, Note, Omit, Privacy, PseudonymKey, Pseudonyms, Severity};

use super::Renderer;

const BEGIN: &str = "<!-- examples: from here to the end mark by a test -->";
const END: &str = "<!-- end of examples -->";

type Fields = BTreeMap<String, Value>;

/// What `unmapped` holds in records that are not of calls, one of each kind.
fn notes() -> Vec<Value> {
    let file = json!({"file": "access.yaml", "before": "3f1c…", "after": "a87d…"});
    let named = json!({"kind": "role", "name": "fraud-caller", "change": "changed"});
    vec![
        json!({"start": {"policy_version": "sha256:ab12…", "dangers": ["public_admin"], "changes": [file]}, "part": {"number": 1, "of": 1}}),
        json!({"stop": {"drain": "clean"}}),
        json!({"reload": {"policy_version": "sha256:ab12…", "changes": [file]}, "part": {"number": 1, "of": 1}}),
        json!({"reload": {"policy_version": "sha256:ab12…", "changes": [named]}, "part": {"number": 1, "of": 1}}),
        json!({"reload": {"refused": true}}),
        json!({"keys": {"issuer": "corp", "url": "https://idp.example.com", "added": ["2026-11"], "removed": ["2026-05"]}}),
        json!({"credentials": {"access_key_id": "ASIAIOSFODNN7EXAMPLE", "expires": 1_795_438_500_000_u64}}),
        json!({"signature": null}),
        json!({"limit_store": {"mode": "shared"}}),
        json!({"gap": {"file": "sagegate-20261123T120000.123Z-9f2c41d07ab35e18.jsonl", "offset": 81_920, "bytes": 411, "reason": "torn"}}),
        json!({"retired": {"file": "sagegate-20261023T120000.123Z-9f2c41d07ab35e18.jsonl", "count": 1_250_000}}),
        json!({
            "head": {
                "chain_uid": "9f2c41d07ab35e18", "number": 17, "time": 1_795_435_200_123_u64,
                "count": 43, "fingerprint": "5f70…", "reason": "minute", "open_from": 44,
                "file": "sagegate-20261123T120000.123Z-9f2c41d07ab35e18.jsonl", "previous": "c0de…",
            },
            "signature": {"algorithm": "Ed25519", "key_id": "91b2…", "value": "m3Zk…"},
        }),
    ]
}

/// What the writer adds to every record.
fn sealed() -> Value {
    let fingerprint = json!({"algorithm_id": 3, "value": "5f70…"});
    json!({
        "metadata": {"event_code": "request"},
        "unmapped": {"attestation_list": [{
            "chain_uid": "9f2c41d07ab35e18",
            "prev_event": {"fingerprint": fingerprint},
            "fingerprint": fingerprint,
        }]},
    })
}

/// Every field of every kind of record, with the first example of it.
fn fields() -> Fields {
    let samples = Samples::new();
    let instance = Instance { uid: "gw-7c9f5d6b8-abcde".into(), version: "0.1.0".into() };
    let open = Renderer::new(&instance, Privacy::default());
    let key = PseudonymKey::new("2026-11", &[7; 32]).unwrap();
    let pseudonyms = Some(Pseudonyms { key, user: true, source: true });
    let veiled = Renderer::new(&instance, Privacy { pseudonyms, omit: vec![Omit::Path] });
    let mut fields = Fields::new();
    let broken = ["policy0: missing attribute `tags`".into()];
    let mut denied = samples.denied();
    denied.decision = denied.decision.map(|d| crate::audit::Decision { errors: &broken, ..d });
    let mut odd = samples.malformed();
    odd.http.method = "BREW";
    for event in [samples.allowed(), denied, samples.malformed(), odd] {
        let rest = String::from_utf8(open.render(&event)).unwrap();
        note_fields(
            &parsed(&rest.replace(&samples.id(), "01936f5e-8c4b-7a10-9d3e-2f6b8c1d4e5a")),
            "",
            &mut fields,
        );
    }
    let rest = String::from_utf8(veiled.render(&samples.allowed())).unwrap();
    note_fields(&parsed(&rest), "", &mut fields);
    for members in notes() {
        let members = members.to_string();
        let note = Note {
            time: std::time::UNIX_EPOCH,
            operation: "Reload",
            activity: Activity::Update,
            severity: Severity::Informational,
            failure: None,
            message: "a new configuration is in force",
            members: inner(&members).as_bytes(),
        };
        let rest = String::from_utf8(open.note(&note)).unwrap();
        note_fields(&parsed(&rest), "", &mut fields);
    }
    note_fields(&sealed(), "", &mut fields);
    fields
}

/// An object's members without its braces.
fn inner(object: &str) -> &str {
    object.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap()
}

/// A rendered record with the frame that the writer gives it.
fn parsed(rest: &str) -> Value {
    serde_json::from_str(&format!(r#"{{"metadata":{{"sequence":43{rest}}}}}"#)).unwrap()
}

fn note_fields(value: &Value, path: &str, fields: &mut Fields) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            let dot = if path.is_empty() { "" } else { "." };
            note_fields(value, &format!("{path}{dot}{key}"), fields);
        }),
        Value::Array(items) => {
            items.iter().for_each(|item| note_fields(item, &format!("{path}[]"), fields));
        }
        _ => {
            fields.entry(path.to_owned()).or_insert_with(|| value.clone());
        }
    }
}

/// The rows of the document's table: field → meaning.
fn meanings(table: &str) -> BTreeMap<String, String> {
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        (cells[0].trim_matches('`').to_owned(), cells[2].to_owned())
    })
    .collect()
}

#[test]
fn every_field_on_record_is_documented_with_its_example() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let meanings = meanings(table);
    let mut renewed = "\n\n| field | example | what it says |\n|---|---|---|\n".to_owned();
    let fields = fields();
    let mut missing = Vec::new();
    for (field, example) in &fields {
        match meanings.get(field) {
            Some(meaning) => renewed += &format!("| `{field}` | `{example}` | {meaning} |\n"),
            None => missing.push(field),
        }
    }
    assert!(missing.is_empty(), "say in docs/audit.md what these mean: {missing:#?}");
    let gone: Vec<_> = meanings.keys().filter(|field| !fields.contains_key(*field)).collect();
    assert!(gone.is_empty(), "no record has these any more: {gone:#?}");
    let renewed = format!("{before}{BEGIN}{renewed}\n{END}{after}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &renewed).unwrap();
    }
    assert!(
        renewed == text || std::env::var_os("UPDATE").is_some(),
        "renew the examples with `UPDATE=1 cargo test --lib audit::render::docs`"
    );
}
