//! What the schema's validator found, said to a person.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value as Json;

use crate::config::file::UNITS;
use crate::config::nearest;
use crate::config::schema::Schema;
use crate::config::yaml::{Node, Value};

type Words = (String, Option<String>);

/// Message and hint for a value that does not fit. `None` where another fault says it better.
pub(super) fn of_value(node: &Node, schema: &Schema, error: &ValidationError<'_>) -> Option<Words> {
    let plain = |message: &str| Some((message.to_owned(), None));
    match error.kind() {
        Kind::Type { kind } => Some(wrong_type(node, kind, &parent(schema, error))),
        // Stands beside a `format` always, which has the words.
        Kind::Pattern { .. } => None,
        Kind::Format { format } => {
            Some((format!("expected {}, found {}", unit(format)?, shown(node)), None))
        }
        Kind::Enum { options } => wrong_word(node, options),
        Kind::MinItems { .. } | Kind::MinProperties { .. } => plain("must not be empty"),
        Kind::MinLength { .. } => plain("must not be an empty text"),
        Kind::Minimum { limit } => Some((format!("must be at least {limit}"), None)),
        Kind::Maximum { limit } => Some((format!("must be at most {limit}"), None)),
        _ => Some((error.to_string(), None)),
    }
}

/// The keys that the schema knows where `error` found an unknown one.
pub(super) fn known_keys(schema: &Schema, error: &ValidationError<'_>) -> Vec<String> {
    let properties = parent(schema, error).get("properties").and_then(Json::as_object).cloned();
    properties.map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

/// The subschema whose keyword failed.
fn parent(schema: &Schema, error: &ValidationError<'_>) -> Json {
    let keyword = error.schema_path().as_str();
    let subschema = keyword.rsplit_once('/').map_or("", |(subschema, _)| subschema);
    schema.json.pointer(subschema).cloned().unwrap_or_default()
}

fn unit(format: &str) -> Option<&'static str> {
    UNITS.iter().find(|unit| unit.format == format).map(|unit| unit.words)
}

fn wrong_type(node: &Node, kind: &TypeKind, subschema: &Json) -> Words {
    let unit = subschema.get("format").and_then(Json::as_str).and_then(unit);
    let options = subschema.get("enum").and_then(Json::as_array);
    let (types, options_text) = (types(kind), options.map(|options| list(options)));
    let expected = match (unit, &options_text) {
        (Some(words), _) => words.to_owned(),
        (None, Some(options)) => format!("one of {options}"),
        (None, None) => {
            types.iter().map(|name| with_article(name)).collect::<Vec<_>>().join(" or ")
        }
    };
    let free = unit.is_none() && options_text.is_none();
    let hint = free.then(|| retype(node, &types)).flatten();
    (format!("expected {expected}, found {}", shown(node)), hint)
}

/// The types' names in JSON Schema, less `null`, which nobody means to write.
fn types(kind: &TypeKind) -> Vec<String> {
    let names: Vec<_> = match kind {
        TypeKind::Single(one) => vec![one.to_string()],
        TypeKind::Multiple(several) => several.iter().map(|one| one.to_string()).collect(),
    };
    names.into_iter().filter(|name| name != "null").collect()
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
        Value::Text(text) => format!("`{}`", text.chars().take(80).collect::<String>()),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}

/// How to write what was probably meant.
fn retype(node: &Node, types: &[String]) -> Option<String> {
    let wants = |name: &str| types.iter().any(|one| one == name);
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
    text.chars().take(80).collect()
}

fn list(options: &[Json]) -> String {
    let names: Vec<_> = options.iter().filter_map(Json::as_str).collect();
    names.join(", ")
}

/// `None` when the value is no text: then its type is the fault.
fn wrong_word(node: &Node, options: &Json) -> Option<Words> {
    let Value::Text(text) = &node.value else { return None };
    let options = options.as_array()?;
    let message = format!("`{}` is not one of {}", brief(text), list(options));
    let names = options.iter().filter_map(Json::as_str);
    let guess = nearest::nearest(text, names).map(|name| format!("did you mean `{name}`?"));
    Some((message, secret_key_signature(text, options).or(guess)))
}

/// `HS256` looks like a slip of `RS256` and is a hole.
fn secret_key_signature(text: &str, options: &[Json]) -> Option<String> {
    let upper = text.to_ascii_uppercase();
    let algorithms = options.iter().any(|option| option == "RS256");
    (algorithms && (upper.starts_with("HS") || upper == "NONE"))
        .then(|| "tokens without an asymmetric signature are never accepted".to_owned())
}
