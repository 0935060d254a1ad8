//! Small random worlds: few names, so that rules, bindings and requests meet often.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::{Access, Binding, Pattern, PolicyFile, Revoked, RoleRules, Rule, TeamMembers};
use super::{Asking, When, file, patterns, role};
use crate::names::{Action, Group, Role, Team, User};

/// What is compiled.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) access: Access,
    pub(super) files: Vec<PolicyFile>,
}

const ROLES: [&str; 4] = ["r0", "r1", "r2", "r3"];
const GROUPS: [&str; 4] = ["corp/g0", "corp/g1", "corp/g2", "corp/g3"];
const USERS: [&str; 3] = ["corp/u0", "corp/u1", "corp/u2"];
const TEAMS: [&str; 2] = ["t0", "t1"];
const ENDPOINTS: [&str; 4] = ["fraud-a", "fraud-b", "Churn", "other"];
const SOURCES: [&str; 4] = ["10.0.0.1", "10.1.0.1", "::ffff:10.0.0.1", "2001:db8::1"];
/// Values for each of [`super::HEADERS`].
const TARGETS: [[&str; 3]; 6] = [
    ["blue", "Blue", "green"],
    ["m/a", "M/a", "m/b"],
    ["ic-1", "IC-1", "ic-2"],
    ["c1", "C1", "c2"],
    ["s3://b/in/1", "s3://B/in/1", "s3://b/out/1"],
    ["x/1", "X/1", "y/1"],
];

/// Policies that read each thing there is to read, in each shape of scope.
pub(super) const TEXTS: [&str; 18] = [
    r#"permit (principal in Group::"corp/g0", action, resource);"#,
    r#"forbid (principal in Group::"corp/g3", action, resource == Endpoint::"fraud-b");"#,
    r#"permit (principal == User::"corp/u1", action == Action::"InvokeEndpoint", resource);"#,
    r#"permit (principal is User in Team::"t0", action, resource);"#,
    r#"permit (principal is User, action == Action::"ListEndpoints", resource);"#,
    r#"permit (principal in Role::"r0", action in [Action::"InvokeEndpointAsync"], resource);"#,
    r#"forbid (principal, action, resource) when { principal in [Group::"corp/g2"] || principal in Role::"r3" };"#,
    r#"forbid (principal, action, resource) unless { principal != User::"corp/u2" };"#,
    r#"forbid (principal, action, resource) when { principal.name like "*u0" && principal.issuer == "corp" };"#,
    r#"permit (principal, action, resource) when { context has target_variant && context.target_variant == "blue" };"#,
    r#"forbid (principal, action, resource) when { context has target_model };"#,
    r#"permit (principal in Role::"r1", action, resource) when { context.source_ip.isInRange(ip("10.0.0.0/16")) };"#,
    r#"permit (principal, action, resource) when { context has team && context.team == "t1" };"#,
    r#"forbid (principal, action, resource) when { context.now.toTime() < duration("9h") };"#,
    r#"forbid (principal in Role::"r2", action, resource) when { context has input_location && context.input_location like "s3://b/in/*" };"#,
    r#"permit (principal, action, resource) when { resource.hasTag("env") && resource.getTag("env") == "test" };"#,
    r#"permit (principal, action, resource == Endpoint::"other") when { 9223372036854775807 + 1 > 0 };"#,
    r#"forbid (principal in Role::"r1", action, resource) when { context has inference_component && 9223372036854775807 + 1 > 0 };"#,
];

pub(super) fn world() -> impl Strategy<Value = World> {
    let files = subsequence(TEXTS.to_vec(), 0..3).prop_shuffle();
    (access(), files)
        .prop_map(|(access, texts)| World { access, files: vec![file(&texts.join("\n"))] })
}

fn access() -> impl Strategy<Value = Access> {
    let rules = || vec(rule(), 0..3);
    let roles =
        ROLES.map(|name| (rules(), vec(rule(), 0..2)).prop_map(move |(p, f)| role(name, p, f)));
    let revoked = prop_oneof![9 => Just(vec![]), 1 => Just(vec![User::new(USERS[2])])];
    let endpoints = btree_map(select(&["fraud-a", "churn", "other"][..]), tags(), 0..3);
    (roles, vec(binding(), 1..6), teams(), revoked, endpoints).prop_map(
        |(roles, bindings, teams, revoked, endpoints)| Access {
            roles: Vec::<RoleRules>::from(roles),
            bindings,
            teams,
            revoked: Revoked {
                users: revoked.into_iter().collect(),
                token_ids: ["stolen".to_owned()].into(),
            },
            endpoints: endpoints.into_iter().map(|(name, tags)| (name.to_owned(), tags)).collect(),
        },
    )
}

fn tags() -> impl Strategy<Value = BTreeMap<String, String>> {
    select(&["test", "prod"][..]).prop_map(|value| [("env".to_owned(), value.to_owned())].into())
}

fn some<T: Clone + std::fmt::Debug + 'static>(
    names: &'static [&'static str],
    make: fn(&'static str) -> T,
) -> impl Strategy<Value = Vec<T>> {
    subsequence(names, 0..=2).prop_map(move |names| names.into_iter().map(make).collect())
}

fn binding() -> impl Strategy<Value = Binding> {
    (some(&GROUPS, Group::new), some(&USERS, User::new), some(&ROLES, Role::new))
        .prop_map(|(groups, users, roles)| Binding { groups, users, roles })
}

fn teams() -> impl Strategy<Value = Vec<TeamMembers>> {
    TEAMS
        .map(|name| {
            (some(&GROUPS, Group::new), some(&USERS, User::new)).prop_map(move |(groups, users)| {
                TeamMembers { name: Team::new(name), groups, users }
            })
        })
        .prop_map(Vec::from)
        .prop_shuffle()
}

pub(super) fn rule() -> impl Strategy<Value = Rule> {
    let actions = subsequence(Action::ALL.to_vec(), 0..3);
    let endpoints = subsequence(vec!["*", "fraud-*", "FRAUD-B", "churn", "other"], 0..4);
    (actions, endpoints, when()).prop_map(|(actions, endpoints, when)| Rule {
        actions,
        endpoints: patterns(&endpoints),
        when,
    })
}

/// Mostly without conditions, or little would ever be permitted.
fn when() -> impl Strategy<Value = When> {
    let of = |n: usize| -> BoxedStrategy<Option<Vec<Pattern>>> {
        let [a, b, c] = TARGETS[n];
        let choices = vec![patterns(&[a, c]), patterns(&[b]), patterns(&["*1", "m*", "g*n"])];
        option::weighted(0.12, select(choices)).boxed()
    };
    let tags = btree_map(Just("env".to_owned()), Just(patterns(&["te*"])), 0..2);
    let nets = vec!["10.0.0.0/16".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let ips = option::weighted(0.12, subsequence(nets, 1..3));
    ([of(0), of(1), of(2), of(3), of(4), of(5)], tags, ips).prop_map(
        |(targets, tags, source_ips)| {
            let [variants, models, components, containers, inputs, outputs] = targets;
            When {
                tags,
                target_variants: variants,
                target_models: models,
                inference_components: components,
                container_hostnames: containers,
                input_locations: inputs,
                output_extensions: outputs,
                source_ips,
            }
        },
    )
}

pub(super) fn asking() -> impl Strategy<Value = Asking> {
    let who = (select(&USERS[..]), btree_set(select(&GROUPS[..]), 0..3));
    let what = (select(&Action::ALL[..]), select(&ENDPOINTS[..]), targets());
    let team = option::weighted(0.1, select(&["t0", "t1", "t2"][..]));
    let how = (select(&SOURCES[..]), select(&["jti-1", "jti-1", "stolen"][..]), team, 0..24u64);
    (who, what, how).prop_map(
        |((user, groups), (action, endpoint, targets), (ip, token, team, hour))| Asking {
            user: user.to_owned(),
            groups: groups.into_iter().map(str::to_owned).collect(),
            action: Some(action),
            endpoint: endpoint.to_owned(),
            targets: taken(action, targets),
            source: Some(ip.parse().unwrap()),
            token: token.to_owned(),
            team: team.map(str::to_owned),
            hour,
        },
    )
}

fn targets() -> impl Strategy<Value = [Option<&'static str>; 6]> {
    [0, 1, 2, 3, 4, 5].map(|n: usize| option::of(select(&TARGETS[n][..])))
}

/// The targets that the action's table takes, so that the request can also come as a call.
fn taken(action: Action, values: [Option<&'static str>; 6]) -> BTreeMap<String, String> {
    let taken: &[usize] = match action {
        Action::InvokeEndpoint => &[0, 1, 2, 3],
        Action::InvokeEndpointWithResponseStream => &[0, 2, 3],
        Action::InvokeEndpointAsync => &[4, 5],
        _ => &[],
    };
    let named =
        taken.iter().filter_map(|n| Some((super::HEADERS[*n].to_owned(), values[*n]?.to_owned())));
    named.collect()
}
