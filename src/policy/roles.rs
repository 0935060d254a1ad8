//! Roles → Cedar text.
//!
//! Each rule becomes one policy scoped to `principal in Role::"…"`, which is what makes
//! slicing by role possible. Invariant: every name and pattern goes through [`quoted`] or
//! [`like`], so that it can only ever be a string in the policy, and nothing else of the
//! user's (a description, say) gets into the text.

use super::access::{Pattern, RoleRules, Rule, When};

/// A rule as Cedar, under the id that decisions name it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RolePolicy {
    pub(super) id: String,
    pub(super) text: String,
}

/// The policies of one role: `role:NAME:permit:N` and `role:NAME:forbid:N`, N from 0 in file
/// order.
pub(super) fn compile(role: &RoleRules) -> Vec<RolePolicy> {
    let rules = |effect: &'static str, rules: &[Rule]| -> Vec<_> {
        let text = |rule| policy(effect, role.name.as_str(), rule);
        let id = |n| format!("role:{}:{effect}:{n}", role.name);
        rules.iter().enumerate().map(|(n, r)| RolePolicy { id: id(n), text: text(r) }).collect()
    };
    [rules("permit", &role.permit), rules("forbid", &role.forbid)].concat()
}

fn policy(effect: &str, role: &str, rule: &Rule) -> String {
    let (resource, named) = endpoints(&rule.endpoints);
    let conditions: Vec<_> = named.into_iter().chain(conditions(&rule.when)).collect();
    let when = match conditions.as_slice() {
        [] => String::new(),
        all => format!("\nwhen {{\n    {}\n}}", all.join(" &&\n    ")),
    };
    let (role, actions) = (quoted(role), actions(rule));
    format!(
        "{effect} (\n    principal in Role::{role},\n    {actions},\n    {resource}\n){when};\n"
    )
}

fn actions(rule: &Rule) -> String {
    let all: Vec<_> =
        rule.actions.iter().map(|a| format!("Action::{}", quoted(a.as_str()))).collect();
    match all.as_slice() {
        [] => "action".to_owned(),
        [one] => format!("action == {one}"),
        all => format!("action in [{}]", all.join(", ")),
    }
}

/// The scope's resource, and the condition on its name where the scope cannot say it.
fn endpoints(patterns: &[Pattern]) -> (String, Option<String>) {
    let patterns: Vec<_> = patterns.iter().map(Pattern::folded).collect();
    match patterns.as_slice() {
        [] => ("resource".to_owned(), None),
        all if all.iter().any(|pattern| pattern.as_str() == "*") => ("resource".to_owned(), None),
        [one] if !one.as_str().contains('*') => {
            (format!("resource == Endpoint::{}", quoted(one.as_str())), None)
        }
        all => ("resource".to_owned(), Some(any_of("resource.name", all))),
    }
}

fn conditions(when: &When) -> Vec<String> {
    let tags = when.tags.iter().map(|(tag, values)| {
        let tag = quoted(tag);
        let matches = any_of(&format!("resource.getTag({tag})"), values);
        format!("resource.hasTag({tag}) &&\n    {matches}")
    });
    let folded = |patterns: &Option<Vec<Pattern>>| -> Option<Vec<_>> {
        patterns.as_ref().map(|all| all.iter().map(Pattern::folded).collect())
    };
    let targets = [
        ("target_variant", folded(&when.target_variants)),
        ("target_model", when.target_models.clone()),
        ("inference_component", folded(&when.inference_components)),
        ("container_hostname", folded(&when.container_hostnames)),
        ("input_location", when.input_locations.clone()),
        ("output_extension", when.output_extensions.clone()),
    ];
    let targets = targets.into_iter().filter_map(|(name, patterns)| {
        let matches = any_of(&format!("context.{name}"), &patterns?);
        Some(format!("context has {name} &&\n    {matches}"))
    });
    tags.chain(targets).chain(source(when)).collect()
}

fn source(when: &When) -> Option<String> {
    let range = |net: &ipnet::IpNet| {
        format!("context.source_ip.isInRange(ip({}))", quoted(&net.trunc().to_string()))
    };
    let ranges: Vec<_> = when.source_ips.as_ref()?.iter().map(range).collect();
    Some(either(&ranges))
}

/// From this many exact patterns on they become one set: a longer chain of `||` would nest
/// too deep, a shorter one is evaluated faster than a set is built.
const SET: usize = 8;

/// `value` matches one of `patterns`.
fn any_of(value: &str, patterns: &[Pattern]) -> String {
    let (wild, exact): (Vec<_>, Vec<_>) = patterns.iter().partition(|p| p.as_str().contains('*'));
    let exact: Vec<_> = exact.into_iter().map(|p| quoted(p.as_str())).collect();
    let exact = if exact.len() < SET {
        exact.iter().map(|text| format!("{value} == {text}")).collect()
    } else {
        vec![format!("[{}].contains({value})", exact.join(", "))]
    };
    let wild = wild.into_iter().map(|p| format!("{value} like {}", like(p)));
    either(&exact.into_iter().chain(wild).collect::<Vec<_>>())
}

/// No alternative holds when there is none.
fn either(alternatives: &[String]) -> String {
    match alternatives {
        [] => "false".to_owned(),
        [one] => one.clone(),
        all => format!("({})", all.join(" || ")),
    }
}

/// A Cedar string that means exactly `text`.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' ' => out.push(c),
            // Whatever could deceive a reader (control, invisible, bidirectional) is spelled.
            c if c.is_ascii_graphic() || c.is_alphanumeric() => out.push(c),
            c => out.extend(c.escape_unicode()),
        }
    }
    out.push('"');
    out
}

/// A Cedar pattern in which only the pattern's own `*` is a wildcard: the only characters
/// that differ from a string's would be an escaped `\*`, which a [`Pattern`] cannot hold.
fn like(pattern: &Pattern) -> String {
    quoted(pattern.as_str())
}
