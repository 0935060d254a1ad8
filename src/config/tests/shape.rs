//! The walk against the schemas themselves and against a complete validator.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::typed;
use crate::config::file::UNITS;
use crate::config::{Faults, schema, shape, yaml};

/// What the walk judges by, and what says nothing of a value's shape.
const KNOWN: [&str; 17] = [
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "properties",
    "required",
    "title",
];

/// Every subschema, the root first.
fn subschemas<'s>(schema: &'s Json, found: &mut Vec<&'s Json>) {
    found.push(schema);
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        match keyword.as_str() {
            "properties" | "$defs" => {
                value.as_object().unwrap().values().for_each(|one| subschemas(one, found));
            }
            "items" | "additionalProperties" if value.is_object() => subschemas(value, found),
            _ => {}
        }
    }
}

#[test]
fn the_schemas_use_no_keyword_that_is_not_judged() {
    for schema in [&*schema::GATEWAY, &*schema::ACCESS] {
        let mut all = Vec::new();
        subschemas(schema, &mut all);
        for one in all {
            let unit = one.get("format").and_then(Json::as_str).unwrap_or_default();
            let unit = UNITS.iter().any(|known| known.format == unit);
            for keyword in one.as_object().unwrap().keys().map(String::as_str) {
                let fits =
                    KNOWN.contains(&keyword) || keyword == "type" || (keyword == "pattern" && unit);
                assert!(fits, "teach `config/shape.rs` the keyword `{keyword}` of {one}");
            }
            assert!(one.get("$ref").is_none() || one.get("type").is_none(), "{one}");
        }
    }
}

/// A complete validator that knows our units.
fn oracle(schema: &Json) -> jsonschema::Validator {
    let options = jsonschema::options().should_validate_formats(true);
    let options = UNITS.iter().fold(options, |all, unit| all.with_format(unit.format, unit.valid));
    options.build(schema).unwrap()
}

/// What a slip of the hand may leave in a place.
fn slip() -> impl Strategy<Value = Json> {
    prop::sample::select(vec![
        Json::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(70_000),
        json!(1.5),
        json!(""),
        json!("5/s"),
        json!("30s"),
        json!("25MiB"),
        json!("127.0.0.1:1"),
        json!("InvokeEndpoint"),
        json!([]),
        json!(["a"]),
        json!({}),
        json!({ "a": "b" }),
    ])
}

/// Puts `slip` in one place of `json`, removes it, or adds a key beside it.
fn spoil(json: &mut Json, mut place: usize, slip: &Json, how: u8) {
    match json {
        Json::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(place % map.len()).unwrap().clone();
            place /= map.len();
            match how {
                0 if place == 0 => drop(map.remove(&key)),
                1 if place == 0 => drop(map.insert(format!("{key}x"), slip.clone())),
                _ => spoil(&mut map[&key], place, slip, how),
            }
        }
        Json::Array(items) if !items.is_empty() => {
            let index = place % items.len();
            spoil(&mut items[index], place / 2, slip, how);
        }
        _ => *json = slip.clone(),
    }
}

fn agree(file: &Json, schema: &Json) -> Result<(), TestCaseError> {
    let text = file.to_string();
    let (path, mut faults) = (Path::new("f.yaml"), Faults::default());
    let node = yaml::parse(path, &text, &mut faults).unwrap();
    let rest = shape::check(path, node, schema, &mut faults);
    let oracle = oracle(schema);
    prop_assert_eq!(faults.is_empty(), oracle.is_valid(file), "{}\n{}", faults, text);
    // What is left fits, but for keys that were missing or went.
    let Some(rest) = rest else { return Ok(()) };
    let left: BTreeSet<_> = oracle
        .iter_errors(&rest.to_json())
        .filter(|error| !error.schema_path().as_str().ends_with("/required"))
        .map(|error| error.to_string())
        .collect();
    prop_assert!(left.is_empty(), "{:?}\n{}", left, text);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_slip_in_an_access_file_is_found_as_by_a_complete_validator(
        file in typed::access(), place in any::<usize>(), slip in slip(), how in 0..3_u8,
    ) {
        let mut file = serde_json::to_value(&file).unwrap();
        spoil(&mut file, place, &slip, how);
        agree(&file, &schema::ACCESS)?;
    }

    #[test]
    fn a_slip_in_a_gateway_file_is_found_as_by_a_complete_validator(
        file in typed::gateway(), place in any::<usize>(), slip in slip(), how in 0..3_u8,
    ) {
        let mut file = serde_json::to_value(&file).unwrap();
        spoil(&mut file, place, &slip, how);
        agree(&file, &schema::GATEWAY)?;
    }
}
