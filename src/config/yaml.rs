//! Text → a tree in which every key and value knows its line and column.
//!
//! Typed deserialization stops at the first error and forgets places, so the text becomes
//! this tree first; all later steps read it and point into it. It refuses what YAML leaves
//! open: a doubled key, a merge key, a tag, more than one document. Budgets bound depth,
//! size and aliases, so that a file can never cost more than a file should.

use std::fmt;
use std::path::Path;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::fault::{Fault, Faults, Position};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub at: Position,
    /// The way to it from the top, as a reader would spell it: `roles.a.permit[0]`. It stays
    /// true when a faulty neighbour is taken out of the tree.
    pub path: String,
    /// Something in it was faulty, and has a fault already: what follows is no new one.
    pub damaged: bool,
    /// The keys that should be here, and were taken out or are missing.
    pub lost: Vec<String>,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One `key: value` of a map, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_at: Position,
    pub node: Node,
}

impl Node {
    fn new(at: Position, value: Value) -> Self {
        Self { at, path: String::new(), damaged: false, lost: Vec::new(), value }
    }

    /// A text that could not be expanded: what it should have been is not known.
    pub(super) fn unknown(&self) -> bool {
        self.damaged && matches!(self.value, Value::Text(_))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub(super) fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    pub(super) fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// The same value without its places.
    #[cfg(test)]
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Integer(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect()
            }
        }
    }
}

/// Reads one document. Doubled keys are reported together and the first of each is kept, so
/// that the checks behind this one still run.
///
/// # Errors
/// The one fault at which the text stops being YAML.
pub(super) fn parse(file: &Path, text: &str, faults: &mut Faults) -> Result<Node, Fault> {
    let parsed = serde_saphyr::from_str_with_options::<Option<Node>>(text, options());
    let mut root = parsed.map_err(|error| syntax(file, text, &error))?.unwrap_or_else(empty);
    name_paths(&mut root, String::new());
    drop_doubles(file, &mut root, faults);
    Ok(root)
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        // A file of ten thousand roles has some 200,000 nodes.
        budget: serde_saphyr::budget! { max_nodes: 2_000_000, max_events: 4_000_000, max_depth: 32 },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        // `no` is a text and `0644` no octal number: YAML 1.2, not 1.1.
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn empty() -> Node {
    let at = Position { line: 1, column: 1 };
    Node::new(at, Value::Map(Vec::new()))
}

fn syntax(file: &Path, text: &str, error: &serde_saphyr::Error) -> Fault {
    let at = error.location().map(position).unwrap_or_default();
    let error = error.without_snippet();
    if matches!(error, serde_saphyr::Error::MultipleDocuments { .. }) {
        return Fault::at(file, at, "", "a second document: a file is one");
    }
    if matches!(error, serde_saphyr::Error::NullIntoString { .. }) {
        return Fault::at(file, at, "", "a key without a name");
    }
    let message = error.to_string();
    // The place is told before the message.
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
    let line = text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
    let hint =
        line.contains("${").then(|| "inside `{}` and `[]`, quote it: `\"${NAME}\"`".to_owned());
    Fault { hint, ..Fault::at(file, at, "", message) }
}

fn position(location: Location) -> Position {
    let small = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Position { line: small(location.line()), column: small(location.column()) }
}

fn name_paths(node: &mut Node, path: String) {
    match &mut node.value {
        Value::List(items) => {
            for (n, item) in items.iter_mut().enumerate() {
                name_paths(item, format!("{path}[{n}]"));
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                name_paths(&mut entry.node, child_path(&path, &entry.key));
            }
        }
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {}
    }
    node.path = path;
}

pub(super) fn child_path(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

fn drop_doubles(file: &Path, node: &mut Node, faults: &mut Faults) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| drop_doubles(file, item, faults)),
        Value::Map(entries) => {
            let mut seen = std::collections::HashMap::new();
            entries.retain(|entry| match seen.insert(entry.key.clone(), entry.key_at) {
                None => true,
                Some(first) => {
                    faults.push(doubled(file, entry, first));
                    seen.insert(entry.key.clone(), first);
                    false
                }
            });
            entries.iter_mut().for_each(|entry| drop_doubles(file, &mut entry.node, faults));
        }
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {}
    }
}

fn doubled(file: &Path, entry: &Entry, first: Position) -> Fault {
    Fault::at(file, entry.key_at, &entry.node.path, "the same key a second time")
        .hint(format!("the first is on line {}", first.line))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self::new(position(referenced), value))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

/// Takes whatever YAML's core schema makes of a node.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Integer).map_err(|_| E::custom("this number is too large"))
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Value, E> {
        Err(E::custom("this number is too large"))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Value, E> {
        Err(E::custom("this number is too large"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = map.next_entry::<Spanned<String>, Node>()? {
            let key_at = position(key.referenced);
            entries.push(Entry { key: key.value, key_at, node });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Result<Node, Fault>, Faults) {
        let mut faults = Faults::default();
        (parse(Path::new("f.yaml"), text, &mut faults), faults)
    }

    fn fault(text: &str) -> String {
        let (node, faults) = read(text);
        node.err().map_or(faults, Faults::from).to_string()
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let (root, faults) =
            read("# a comment\nserver:\n  tls: { key: k }\n  list:\n    - 1\n    - x\n");
        let (root, server) = {
            let r = root.unwrap();
            (r.clone(), r.get("server").unwrap().clone())
        };
        assert!(faults.is_empty());
        assert_eq!(root.entries()[0].key_at, Position { line: 2, column: 1 });
        let key = server.get("tls").unwrap().get("key").unwrap();
        assert_eq!(
            (key.at, key.path.as_str()),
            (Position { line: 3, column: 15 }, "server.tls.key")
        );
        let item = &server.get("list").unwrap().items()[1];
        assert_eq!(
            (item.at, item.path.as_str()),
            (Position { line: 6, column: 7 }, "server.list[1]")
        );
    }

    #[test]
    fn scalars_are_yaml_1_2() {
        let (root, _) = read("[yes, true, 1, 1.5, ~, 0.0.0.0:8443, 25MiB, \"1\", 12:30:45]");
        let json = root.unwrap().to_json();
        let want = serde_json::json!([
            "yes",
            true,
            1,
            1.5,
            null,
            "0.0.0.0:8443",
            "25MiB",
            "1",
            "12:30:45"
        ]);
        assert_eq!(json, want);
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        for text in ["", "# nothing\n", "---\n"] {
            assert_eq!(read(text).0.unwrap().to_json(), serde_json::json!({}), "{text:?}");
        }
    }

    #[test]
    fn doubled_keys_are_all_reported() {
        let got = fault("a: 1\nb: { c: 1, c: 2 }\na: 2\n");
        assert_eq!(
            got,
            "f.yaml:2:12: b.c: the same key a second time\n  hint: the first is on line 2\n\
             f.yaml:3:1: a: the same key a second time\n  hint: the first is on line 1"
        );
    }

    #[test]
    fn what_is_no_plain_document_is_refused_with_its_place() {
        for (text, line) in [
            ("a: [1, 2\nb: 3\n", 2),
            ("a: 1\n\tb: 2\n", 1),
            ("a: &x { b: 1 }\nc: { <<: *x }\n", 2),
            ("a: !thing 1\n", 1),
            ("a: 1\n---\nb: 2\n", 3),
            ("a: 18446744073709551615\n", 1),
        ] {
            let got = fault(text);
            assert!(got.starts_with(&format!("f.yaml:{line}:")), "{text:?}: {got}");
        }
        assert!(read("a: &x { b: 1 }\nc: *x\n").0.is_ok());
    }

    #[test]
    fn a_key_of_nothing_is_told_in_the_users_words() {
        for text in [": 1", "~: 1", "null: 1"] {
            assert_eq!(fault(text), "f.yaml:1:1: a key without a name", "{text:?}");
        }
        assert_eq!(fault("\"\": 1\n'null': 2"), "");
    }

    #[test]
    fn an_unquoted_variable_in_braces_gets_a_hint() {
        let hint = "\n  hint: inside `{}` and `[]`, quote it: `\"${NAME}\"`";
        assert!(fault("a: { b: ${B} }").ends_with(hint));
        assert!(!fault("a: { b: B} }").ends_with(hint));
        assert_eq!(fault("a: { b: \"${B}\" }"), "");
    }

    #[test]
    fn depth_is_bounded() {
        assert!(!fault(&"[".repeat(100)).is_empty());
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        assert!(!fault(&deep).is_empty());
        let fine = format!("{}{}", "[".repeat(20), "]".repeat(20));
        assert!(fault(&fine).is_empty());
    }
}
