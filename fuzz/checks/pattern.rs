//! Any pattern and text → the compiled policy: it permits exactly what the pattern matches,
//! whatever of Cedar's own syntax either holds.
//!
//! The input is the pattern, a NUL, and the text.

use std::net::{IpAddr, Ipv4Addr};
use std::time::UNIX_EPOCH;

use sagegate::names::{Action, Endpoint, Group, Issuer, Role, User};
use sagegate::policy::{
    Access, Binding, Pattern, Policy, Query, RoleRules, Rule, TargetNames, When,
};
use sagegate::telemetry::metrics::Metrics;

/// Longer texts find nothing that shorter ones do not.
const MAX: usize = 64;

/// Whether the text is permitted.
pub(crate) fn check(input: &[u8]) -> bool {
    let Some((pattern, text)) = str::from_utf8(input).ok().and_then(|text| text.split_once('\0'))
    else {
        return false;
    };
    if pattern.len() > MAX || text.len() > MAX {
        return false;
    }
    let metrics = Metrics::new().expect("metrics are well-formed");
    // Bidirectional marks are refused.
    let Ok(policy) = Policy::compile(access(pattern), &[], &metrics) else { return false };
    let permits = permits(&policy, text);
    assert_eq!(permits, matches(pattern, text), "`{pattern}` and `{text}`");
    permits
}

fn permits(policy: &Policy, model: &str) -> bool {
    let issuer = Issuer::new("corp");
    let query = Query {
        user: &User::of(&issuer, "u"),
        groups: &[Group::of(&issuer, "g")],
        action: Action::InvokeEndpoint,
        endpoint: &Endpoint::parse("e").expect("a name"),
        targets: TargetNames { model: Some(model), ..TargetNames::default() },
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        team: None,
        token_id: None,
        tags: None,
        now: UNIX_EPOCH,
    };
    policy.decide(&query).is_permit()
}

/// One role that permits the target models that match.
fn access(pattern: &str) -> Access {
    let models = Some(vec![Pattern::new(pattern)]);
    let when = When { target_models: models, ..When::default() };
    let role = RoleRules {
        name: Role::new("r"),
        description: String::new(),
        permit: vec![Rule { when, ..Rule::default() }],
        forbid: Vec::new(),
    };
    let group = Group::of(&Issuer::new("corp"), "g");
    let binding = Binding { groups: vec![group], users: Vec::new(), roles: vec![Role::new("r")] };
    Access { roles: vec![role], bindings: vec![binding], ..Access::default() }
}

/// `*` stands for any run of characters, said in another way than Cedar says it: each piece
/// between stars is found as early as it can be.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(text) = text.strip_prefix(first).and_then(|text| text.strip_suffix(last)) else {
        return false;
    };
    let found = |text: &'_ str, piece: &str| text.find(piece).map(|at| at + piece.len());
    let mut left = text;
    middle.split('*').all(|piece| match found(left, piece) {
        Some(end) => {
            left = left.get(end..).unwrap_or_default();
            true
        }
        None => false,
    })
}
