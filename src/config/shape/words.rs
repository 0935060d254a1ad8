//! What is wrong with a value by itself, said to a person.

use serde_json::Value as Json;

use super::texts;
use crate::config::file::{UNITS, Unit};
use crate::config::nearest;
use crate::config::yaml::{Node, Value};

/// A message and a hint.
type Words = (String, Option<String>);

/// Why `node` does not fit `schema`, whatever is in it. `None` when it does.
pub(super) fn unfit(node: &Node, schema: &Json) -> Option<Words> {
    let types = texts(schema, "type");
    if !types.is_empty() && !types.iter().any(|name| is(node, name)) {
        return Some(wrong_type(node, &types, schema));
    }
    match &node.value {
        Value::Text(text) => wrong_text(text, schema),
        Value::Integer(_) | Value::Float(_) => wrong_number(node, schema),
        Value::List(items) => too_few(items.len(), schema, "minItems"),
        Value::Map(entries) => too_few(entries.len(), schema, "minProperties"),
        Value::Null | Value::Bool(_) => None,
    }
}

fn is(node: &Node, json_type: &str) -> bool {
    match &node.value {
        Value::Null => json_type == "null",
        Value::Bool(_) => json_type == "boolean",
        Value::Integer(_) => matches!(json_type, "integer" | "number"),
        Value::Float(_) => json_type == "number",
        Value::Text(_) => json_type == "string",
        Value::List(_) => json_type == "array",
        Value::Map(_) => json_type == "object",
    }
}

fn wrong_type(node: &Node, types: &[&str], schema: &Json) -> Words {
    // Nobody means to write `null`.
    let types: Vec<_> = types.iter().copied().filter(|name| *name != "null").collect();
    let options = texts(schema, "enum");
    let (expected, hint) = match unit(schema) {
        Some(unit) => (unit.words.to_owned(), None),
        None if !options.is_empty() => (format!("one of {}", options.join(", ")), None),
        None => {
            let names: Vec<_> = types.iter().map(|name| with_article(name)).collect();
            (names.join(" or "), retype(node, &types))
        }
    };
    (format!("expected {expected}, found {}", shown(node)), hint)
}

fn unit(schema: &Json) -> Option<&'static Unit> {
    let format = schema.get("format").and_then(Json::as_str)?;
    UNITS.iter().find(|unit| unit.format == format)
}

fn with_article(json_type: &str) -> &'static str {
    match json_type {
        "array" => "a list",
        "object" => "a map",
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        _ => "nothing",
    }
}

fn shown(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Integer(value) => format!("the number {value}"),
        Value::Float(value) => format!("the number {value}"),
        Value::Text(text) => format!("`{}`", brief(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}

/// How to write what was probably meant.
fn retype(node: &Node, types: &[&str]) -> Option<String> {
    let wants = |name: &str| types.contains(&name);
    match &node.value {
        Value::Null => Some("give it a value, or leave the key out".to_owned()),
        Value::Text(text) if wants("array") => Some(format!("write `[{}]`", brief(text))),
        Value::Bool(value) if wants("string") => Some(format!("write `\"{value}\"`")),
        Value::Integer(value) if wants("string") => Some(format!("write `\"{value}\"`")),
        Value::Float(_) if wants("string") => Some("put it in quotes".to_owned()),
        _ => None,
    }
}

fn brief(text: &str) -> String {
    // A URL with a user in it may hold a password as well: it is not repeated.
    if text.contains("://") && text.contains('@') {
        return "…".to_owned();
    }
    text.chars().take(80).collect()
}

fn wrong_text(text: &str, schema: &Json) -> Option<Words> {
    let options = texts(schema, "enum");
    if !options.is_empty() && !options.contains(&text) {
        return Some(wrong_word(text, &options));
    }
    // A `pattern` stands only beside the format of a unit, and is never stricter.
    if let Some(unit) = unit(schema).filter(|unit| !(unit.valid)(text)) {
        return Some((format!("expected {}, found `{}`", unit.words, brief(text)), None));
    }
    let least = schema.get("minLength").and_then(Json::as_u64);
    least
        .is_some_and(|least| (text.chars().count() as u64) < least)
        .then(|| ("must not be an empty text".to_owned(), None))
}

fn wrong_word(text: &str, options: &[&str]) -> Words {
    let message = format!("`{}` is not one of {}", brief(text), options.join(", "));
    let guess = nearest::nearest(text, options.iter().copied());
    let guess = guess.map(|name| format!("did you mean `{name}`?"));
    (message, secret_key_signature(text, options).or(required(text, options)).or(guess))
}

/// Who wants a field out of the record means to hide it.
fn required(text: &str, options: &[&str]) -> Option<String> {
    (options.contains(&"user_agent") && matches!(text, "user" | "src_endpoint"))
        .then(|| format!("OCSF requires it; write `pseudonymize: [{text}]`"))
}

/// `HS256` looks like a slip of `RS256` and is a hole.
fn secret_key_signature(text: &str, options: &[&str]) -> Option<String> {
    let upper = text.to_ascii_uppercase();
    (options.contains(&"RS256") && (upper.starts_with("HS") || upper == "NONE"))
        .then(|| "tokens without an asymmetric signature are never accepted".to_owned())
}

fn wrong_number(node: &Node, schema: &Json) -> Option<Words> {
    #[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
    let value = match node.value {
        Value::Integer(value) => value as f64,
        Value::Float(value) => value,
        _ => return None,
    };
    let bound = |keyword| schema.get(keyword).map(|bound| (bound, bound.as_f64()));
    let message = match (bound("minimum"), bound("maximum")) {
        (Some((least, Some(limit))), _) if value < limit => format!("must be at least {least}"),
        (_, Some((most, Some(limit)))) if value > limit => format!("must be at most {most}"),
        _ => return None,
    };
    Some((message, None))
}

fn too_few(count: usize, schema: &Json, keyword: &str) -> Option<Words> {
    let least = schema.get(keyword).and_then(Json::as_u64)?;
    ((count as u64) < least).then(|| ("must not be empty".to_owned(), None))
}
