//! A tree against its file's schema: every fault of shape, in words, at its place.
//!
//! What is faulty is then taken out, so that the rest can still be read and its meaning
//! checked in the same run. Whatever lost something is marked as damaged: that it now lacks
//! a key is no fault of the user's.

use std::collections::HashSet;
use std::path::Path;

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::{ValidationError, Validator};

use super::fault::{Fault, Faults};
use super::nearest;
use super::schema::Schema;
use super::yaml::{Node, Value, child_path};

mod words;

/// Rounds of taking out; each can only make a parent incomplete, so depth bounds it.
const ROUNDS: usize = 40;

/// Reports what does not fit the schema and returns what does. `None` when nothing is left
/// to read.
pub(super) fn check(
    file: &Path,
    mut root: Node,
    schema: &Schema,
    faults: &mut Faults,
) -> Option<Node> {
    let validator = schema.validator.as_ref()?;
    report(file, &mut root, schema, validator, faults);
    for _ in 0..ROUNDS {
        let doomed = doomed(validator, &root);
        if doomed.is_empty() {
            return Some(root);
        }
        if doomed.contains("") {
            return None;
        }
        take_out(&mut root, "", &doomed);
    }
    None
}

fn report(
    file: &Path,
    root: &mut Node,
    schema: &Schema,
    validator: &Validator,
    faults: &mut Faults,
) {
    let json = root.to_json();
    for error in validator.iter_errors(&json) {
        for error in innermost(&error) {
            let Some(node) = find(root, error.instance_path().as_str()) else { continue };
            faults.extend(describe(file, node, schema, error));
            let Kind::Required { property } = error.kind() else { continue };
            if let Some(node) = find_mut(root, error.instance_path().as_str()) {
                node.damaged = true;
                node.lost.extend(property.as_str().map(str::to_owned));
            }
        }
    }
}

/// An optional section is "this or null"; what counts is what is wrong with "this".
fn innermost<'e>(error: &'e ValidationError<'_>) -> Vec<&'e ValidationError<'e>> {
    let Kind::AnyOf { context } = error.kind() else { return vec![error] };
    let wrong_type = |inner: &ValidationError<'_>| {
        matches!(inner.kind(), Kind::Type { .. }) && inner.instance_path() == error.instance_path()
    };
    let fitting = context.iter().find(|branch| !branch.iter().any(wrong_type));
    let branch = fitting.or(context.first());
    branch.into_iter().flatten().flat_map(innermost).collect()
}

fn describe(file: &Path, node: &Node, schema: &Schema, error: &ValidationError<'_>) -> Vec<Fault> {
    if node.unknown() {
        return Vec::new();
    }
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            let known = words::known_keys(schema, error);
            let entries = node.entries().iter().filter(|entry| unexpected.contains(&entry.key));
            let fault = |entry: &super::yaml::Entry| {
                let fault = Fault::at(file, entry.key_at, &entry.node.path, "unknown key");
                let hint = nearest::hint(&entry.key, known.iter().map(String::as_str));
                Fault { hint, ..fault }
            };
            entries.map(fault).collect()
        }
        Kind::Required { property } => {
            let key = child_path(&node.path, property.as_str().unwrap_or_default());
            vec![Fault::at(file, node.at, key, "this key is required")]
        }
        _ => words::of_value(node, schema, error)
            .map(|(message, hint)| Fault { hint, ..Fault::at(file, node.at, &node.path, message) })
            .into_iter()
            .collect(),
    }
}

/// The JSON pointers of what must go for the rest to be valid.
fn doomed(validator: &Validator, root: &Node) -> HashSet<String> {
    let json = root.to_json();
    let mut doomed = HashSet::new();
    for error in validator.iter_errors(&json) {
        for error in innermost(&error) {
            let at = error.instance_path().as_str();
            match error.kind() {
                Kind::AdditionalProperties { unexpected } => {
                    doomed.extend(unexpected.iter().map(|key| pointer(at, key)));
                }
                // What a required key is needed for can be read without it: its type has an
                // empty default, which the mark of damage keeps from being judged.
                Kind::Required { .. } => {}
                _ => {
                    doomed.insert(at.to_owned());
                }
            }
        }
    }
    doomed
}

/// Removes the doomed below `node`; returns whether anything went.
fn take_out(node: &mut Node, at: &str, doomed: &HashSet<String>) -> bool {
    let (mut damaged, mut lost) = (false, Vec::new());
    let mut stays = |child: &mut Node, step: &str| {
        let at = pointer(at, step);
        let goes = doomed.contains(&at);
        damaged |= goes || take_out(child, &at, doomed);
        if goes {
            lost.push(step.to_owned());
        }
        !goes
    };
    match &mut node.value {
        Value::List(items) => {
            let mut index = 0..;
            items.retain_mut(|item| {
                let step = index.next().unwrap_or_default();
                stays(item, &step.to_string())
            });
        }
        Value::Map(entries) => entries.retain_mut(|entry| stays(&mut entry.node, &entry.key)),
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {}
    }
    node.damaged |= damaged;
    node.lost.append(&mut lost);
    damaged
}

/// RFC 6901 §3.
fn pointer(parent: &str, step: &str) -> String {
    format!("{parent}/{}", step.replace('~', "~0").replace('/', "~1"))
}

fn find<'n>(root: &'n Node, pointer: &str) -> Option<&'n Node> {
    pointer.split('/').skip(1).try_fold(root, |node, step| {
        let step = step.replace("~1", "/").replace("~0", "~");
        match &node.value {
            Value::List(items) => items.get(step.parse::<usize>().ok()?),
            _ => node.get(&step),
        }
    })
}

fn find_mut<'n>(root: &'n mut Node, pointer: &str) -> Option<&'n mut Node> {
    pointer.split('/').skip(1).try_fold(root, |node, step| {
        let step = step.replace("~1", "/").replace("~0", "~");
        match &mut node.value {
            Value::List(items) => items.get_mut(step.parse::<usize>().ok()?),
            Value::Map(entries) => {
                entries.iter_mut().find(|entry| entry.key == step).map(|entry| &mut entry.node)
            }
            _ => None,
        }
    })
}
