//! Names and patterns mean themselves, whatever characters they hold.

use proptest::prelude::*;

use super::super::{Binding, Grounds};
use super::{Access, Asking, When, compile, patterns, role, rule};
use crate::names::{Group, Role};

/// Quotes, escapes, Cedar's own syntax, other scripts, controls. Bidirectional marks are refused
/// at load; see `faults`.
fn text() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "\"",
        "\\",
        "\\\"",
        "\\*",
        "\\u{2a}",
        "*",
        "?",
        "\n",
        "\r\n",
        "\0",
        "//",
        "/*",
        "é",
        "日本",
        "\u{301}",
        "\u{1f600}",
        "); permit (principal, action, resource);",
        "a",
        "B",
        "|",
        "&&",
        "${x}",
        "'",
    ]);
    prop::collection::vec(
        prop_oneof![nasty.prop_map(str::to_owned), any::<char>().prop_map(String::from)],
        0..6,
    )
    .prop_map(|parts| parts.concat().replace(is_bidirectional, ""))
}

fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One role that permits target models matching `pattern`.
fn access(name: &str, pattern: &str) -> Access {
    let when = When { target_models: Some(patterns(&[pattern])), ..When::default() };
    Access {
        roles: vec![role(name, vec![rule(&[], &[], when)], vec![])],
        bindings: vec![Binding {
            groups: vec![Group::new("corp/g")],
            users: vec![],
            roles: vec![Role::new(name)],
        }],
        ..Access::default()
    }
}

fn ask(access: &Access, model: &str) -> Option<Grounds> {
    let asking = Asking {
        user: "corp/u".into(),
        groups: vec!["corp/g".into()],
        endpoint: "e".into(),
        targets: [("target-model".to_owned(), model.to_owned())].into(),
        ..Asking::default()
    };
    let verdict = asking.with(|query| compile(access, &[]).decide(query));
    verdict.is_permit().then_some(verdict.grounds)
}

/// `*` stands for any run of characters: the rule, said the slow way.
fn matches(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=text.len()).any(|n| matches(rest, &text[n..])),
        ([p, ps @ ..], [t, ts @ ..]) => p == t && matches(ps, ts),
        _ => false,
    }
}

#[test]
fn long_lists_of_exact_patterns_match_as_short_ones_do() {
    for length in [1, 2, 7, 8, 9, 300] {
        let names: Vec<_> = (0..length).map(|n| format!("m{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).chain(["x*"]).collect();
        let mut access = access("r", "");
        access.roles[0].permit[0].when.target_models = Some(patterns(&names));
        let last = format!("m{}", length - 1);
        let asked = ["m0", &last, "xyz", "m", "m301"].map(|model| ask(&access, model).is_some());
        assert_eq!(asked, [true, true, true, false, false], "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_pattern_without_a_star_matches_exactly_itself(pattern in text(), other in text()) {
        let pattern = pattern.replace('*', "");
        let access = access("r", &pattern);
        prop_assert!(ask(&access, &pattern).is_some());
        prop_assert_eq!(ask(&access, &other).is_some(), other == pattern);
    }

    #[test]
    fn a_star_matches_any_run_and_nothing_else_is_special(pattern in text(), fill in text(), other in text()) {
        let access = access("r", &pattern);
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        for text in [pattern.replace('*', &fill), pattern.clone(), other] {
            let expected = matches(&chars(&pattern), &chars(&text));
            prop_assert_eq!(ask(&access, &text).is_some(), expected, "{:?} on {:?}", pattern, text);
        }
    }

    #[test]
    fn a_role_of_any_name_and_description_is_only_that_role(name in text(), description in text()) {
        let mut access = access(&name, "*");
        access.roles[0].description = description;
        let policy = compile(&access, &[]);
        let printed = super::PolicyFile { name: "printed".into(), text: policy.cedar() };
        let grounds = ask(&access, "m").unwrap();
        prop_assert_eq!(grounds.policies.len(), 1);
        prop_assert_eq!(&*grounds.policies[0], format!("role:{name}:permit:0"));
        access.roles[0].permit.clear();
        prop_assert!(ask(&access, "m").is_none());
        let again = super::Policy::compile(access, &[printed], &super::Metrics::new().unwrap());
        prop_assert!(again.is_ok(), "{:?}", again.err());
    }
}
