//! A tree against its file's schema: every fault of shape, in words, at its place.
//!
//! What is faulty is taken out on the way, so that the rest can still be read and its meaning
//! checked in the same run. Whatever lost something is marked as damaged: that it now lacks
//! a key is no fault of the user's.
//!
//! Only the keywords that the two schemas use are known here, which a test holds; another
//! holds this walk to what a complete validator accepts. Such a validator in the binary would
//! cost every gateway megabytes for its start alone, and would know no lines.

use std::path::Path;

use serde_json::Value as Json;

use super::fault::{Fault, Faults};
use super::nearest;
use super::yaml::{Entry, Node, Value, child_path};

mod words;

/// Reports what does not fit the schema and returns what does. `None` when nothing is left
/// to read.
pub(super) fn check(
    file: &Path,
    mut root: Node,
    schema: &Json,
    faults: &mut Faults,
) -> Option<Node> {
    let left = Walk { file, root: schema, faults }.node(&mut root, schema);
    (left != Left::Nothing).then_some(root)
}

struct Walk<'a> {
    file: &'a Path,
    /// The whole schema, for its references.
    root: &'a Json,
    faults: &'a mut Faults,
}

/// How much of a value fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Whole,
    /// Something in it was taken out.
    Less,
    /// The value itself must go.
    Nothing,
}

impl<'a> Walk<'a> {
    fn node(&mut self, node: &mut Node, schema: &'a Json) -> Left {
        let schema = self.resolved(schema);
        if let Some((message, hint)) = words::unfit(node, schema) {
            if !node.unknown() {
                let fault = Fault::at(self.file, node.at, &node.path, message);
                self.faults.push(Fault { hint, ..fault });
            }
            return Left::Nothing;
        }
        self.require(node, schema);
        let lost = node.lost.len();
        let less = match &mut node.value {
            Value::List(items) => self.items(items, schema, &mut node.lost),
            Value::Map(entries) => self.entries(entries, schema, &mut node.lost),
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {
                false
            }
        };
        node.damaged |= less;
        if node.lost.len() > lost && words::unfit(node, schema).is_some() {
            return Left::Nothing;
        }
        if less { Left::Less } else { Left::Whole }
    }

    /// What a required key is needed for can be read without it: its type has an empty
    /// default, which the mark of damage keeps from being judged.
    fn require(&mut self, node: &mut Node, schema: &Json) {
        if !matches!(node.value, Value::Map(_)) {
            return;
        }
        for key in texts(schema, "required") {
            if node.get(key).is_none() {
                let path = child_path(&node.path, key);
                self.faults.push(Fault::at(self.file, node.at, path, "this key is required"));
                node.damaged = true;
                node.lost.push(key.to_owned());
            }
        }
    }

    /// Whether anything went, as for [`entries`](Self::entries).
    fn items(&mut self, items: &mut Vec<Node>, schema: &'a Json, lost: &mut Vec<String>) -> bool {
        let Some(schema) = schema.get("items") else { return false };
        let (mut less, mut index) = (false, 0..);
        items.retain_mut(|item| {
            let index: usize = index.next().unwrap_or_default();
            let left = self.node(item, schema);
            if left == Left::Nothing {
                lost.push(index.to_string());
            }
            less |= left != Left::Whole;
            left != Left::Nothing
        });
        less
    }

    fn entries(
        &mut self,
        entries: &mut Vec<Entry>,
        schema: &'a Json,
        lost: &mut Vec<String>,
    ) -> bool {
        let known = schema.get("properties").and_then(Json::as_object);
        let others = schema.get("additionalProperties");
        let mut less = false;
        entries.retain_mut(|entry| {
            let left = match known.and_then(|known| known.get(&entry.key)).or(others) {
                Some(Json::Bool(false)) => {
                    let known = known.into_iter().flat_map(|known| known.keys());
                    let hint = nearest::hint(&entry.key, known.map(String::as_str));
                    let path = &entry.node.path;
                    let fault = Fault::at(self.file, entry.key_at, path, "unknown key");
                    self.faults.push(Fault { hint, ..fault });
                    Left::Nothing
                }
                Some(schema) => self.node(&mut entry.node, schema),
                None => Left::Whole,
            };
            if left == Left::Nothing {
                lost.push(entry.key.clone());
            }
            less |= left != Left::Whole;
            left != Left::Nothing
        });
        less
    }

    fn resolved(&self, schema: &'a Json) -> &'a Json {
        let target = schema.get("$ref").and_then(Json::as_str);
        let pointer = target.and_then(|target| target.strip_prefix('#'));
        pointer.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(schema)
    }
}

/// The texts of a keyword that is a text or a list of them.
fn texts<'s>(schema: &'s Json, keyword: &str) -> Vec<&'s str> {
    match schema.get(keyword) {
        Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
        Some(Json::String(one)) => vec![one],
        _ => Vec::new(),
    }
}
