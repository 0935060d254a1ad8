//! What is refused at load, where, and with which hint; each beside what is accepted.

use super::super::{Policy, PolicyFault, PolicyFile, TeamMembers};
use super::{Access, file, patterns, role, rule};
use super::{Rule, When};
use crate::names::Team;
use crate::telemetry::metrics::Metrics;

fn access() -> Access {
    let teams = vec![TeamMembers { name: Team::new("fraud"), groups: vec![], users: vec![] }];
    Access { roles: vec![role("reader", vec![], vec![])], teams, ..Access::default() }
}

fn faults(files: &[PolicyFile]) -> Vec<PolicyFault> {
    Policy::compile(access(), files, &Metrics::new().unwrap()).err().unwrap_or_default()
}

/// `line:column: message (hint)` of each fault.
fn lines(text: &str) -> Vec<String> {
    let faults = faults(&[file(text)]);
    faults.iter().map(|fault| fault.to_string().replace("policies/test.cedar:", "")).collect()
}

#[test]
fn a_good_file_has_no_fault() {
    let text = r#"
        @id("a") permit (principal in Role::"reader", action, resource == Endpoint::"fraud-v1");
        permit (principal in Team::"fraud", action, resource)
        unless { principal in Group::"corp/x" || principal == User::"corp/y" };
    "#;
    assert_eq!(faults(&[file(text)]), []);
}

#[test]
fn each_fault_says_where_it_is_and_what_to_do() {
    for (text, start, says) in [
        ("permit (principal, action resource);", "1:27: ", "unexpected token `resource`"),
        ("permit (principal, action, resource)\nwhen { context.nope == 1 };", "2:8: ", "`nope`"),
        (
            "permit (principal, action, resource)\nwhen { context.target_variant == \"blue\" };",
            "2:8: ",
            "try testing for the attribute's presence",
        ),
        (
            "permit (principal, action, resource)\nwhen { resource.getTag(\"t\") == \"x\" };",
            "2:8: ",
            "tag",
        ),
        (
            "permit (principal, action == Action::\"InvokeEndpiont\", resource);",
            "1:30: ",
            "did you mean `Action::\"InvokeEndpoint\"`",
        ),
        (
            "permit (principal in Rolle::\"reader\", action, resource);",
            "1:22: ",
            "did you mean `Role`",
        ),
        (
            "permit (principal in Role::\"raeder\", action, resource);",
            "1:22: ",
            "did you mean `reader`?",
        ),
        (
            "\n permit (principal, action, resource)\n when { principal in Team::\"frauds\" };",
            "3:22: ",
            "did you mean `fraud`?",
        ),
        ("permit (principal in Group::\"ds\", action, resource);", "1:22: ", "write `issuer/name`"),
        (
            "permit (principal == User::\"é\", action, resource);",
            "1:22: ",
            "does not say its issuer",
        ),
        ("permit (principal, action, resource == Endpoint::\"Fraud-V1\");", "1:40: ", "`fraud-v1`"),
        (
            "permit (principal == ?principal, action, resource);",
            "1:1: ",
            "templates are not supported",
        ),
        (
            "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource) when { false || context.now > context.now };",
            "2:1: ",
            "has the id `a`",
        ),
        ("@id permit (principal, action, resource);", "1:1: ", "`@id` needs a name"),
        ("forbid (principal, action, resource) when { principal is Team };", "1:", "impossible"),
        ("forbid (principal == Role::\"reader\", action, resource);", "1:1: ", "impossible"),
    ] {
        let lines = lines(text);
        let found = lines.iter().any(|line| line.starts_with(start) && line.contains(says));
        assert!(found && lines.len() <= 2, "{text}\n→ {lines:#?}");
    }
}

#[test]
fn upper_case_where_it_never_matches_is_a_fault() {
    let text = |condition: &str| {
        format!(
            "forbid (principal, action, resource) when {{ context has target_variant && context has target_model && {condition} }};"
        )
    };
    for (condition, faulty) in [
        ("context.target_variant == \"blue\"", false),
        ("context.target_variant == \"Blue\"", true),
        ("context.target_variant like \"Bl*\"", true),
        ("[\"green\", \"Blue\"].contains(context.target_variant)", true),
        ("!(\"Blue\" != context.target_variant)", true),
        ("resource.name like \"Fraud-*\"", true),
        ("context.target_model == \"Models/A\"", false),
    ] {
        let lines = lines(&text(condition));
        assert_eq!(lines.len(), usize::from(faulty), "{condition}: {lines:?}");
        assert!(lines.iter().all(|line| line.contains("in lower case (write `")), "{lines:?}");
    }
}

#[test]
fn columns_count_characters_and_all_faults_come_at_once() {
    let other = PolicyFile {
        name: "policies/a.cedar".to_owned(),
        text: "permit (principal in Role::\"é\", action, resource) when { context[\"é\"] == 1 };"
            .to_owned(),
    };
    let faults = faults(&[file("nonsense"), other]);
    let places: Vec<_> = faults.iter().map(|f| (f.file.as_str(), f.line, f.column)).collect();
    assert_eq!(places.last().map(|p| p.0), Some("policies/test.cedar"), "{faults:#?}");
    assert!(places.contains(&("policies/a.cedar", 1, 22)), "{faults:#?}");
    assert!(faults.len() >= 3, "{faults:#?}");
}

#[test]
fn a_rule_that_can_never_apply_is_a_fault_of_its_role() {
    let with = |variants: Option<Vec<_>>| {
        let when = When { target_variants: variants, ..When::default() };
        let mut access = access();
        let forbid: Vec<Rule> = vec![rule(&[], &[], when)];
        access.roles = vec![role("reader", vec![], forbid)];
        Policy::compile(access, &[], &Metrics::new().unwrap()).err().unwrap_or_default()
    };
    assert_eq!(with(Some(patterns(&["blue"]))), []);
    let faults = with(Some(vec![]));
    assert_eq!(faults.len(), 1);
    assert_eq!((faults[0].file.as_str(), faults[0].line), ("access", 0));
    assert!(faults[0].message.contains("role:reader:forbid:0"), "{faults:?}");
}

#[test]
fn a_name_that_reads_differently_from_what_it_says_is_a_fault() {
    for (name, faulty) in [("日本é", false), ("\u{202e}nimda", true)] {
        let mut access = access();
        access.roles = vec![role(name, vec![rule(&[], &[], When::default())], vec![])];
        let faults = Policy::compile(access, &[], &Metrics::new().unwrap()).err();
        assert_eq!(faults.is_some(), faulty, "{name:?}: {faults:?}");
    }
}

#[test]
fn two_roles_of_one_name_are_a_fault() {
    let mut access = access();
    let all = || role("twice", vec![rule(&[], &[], When::default())], vec![]);
    access.roles = vec![all(), all()];
    let faults = Policy::compile(access, &[], &Metrics::new().unwrap()).err().unwrap();
    assert!(faults[0].message.contains("role:twice:permit:0"), "{faults:?}");
}
