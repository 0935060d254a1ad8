//! `access.yaml`: roles, bindings, teams, endpoints' facts and the revoked.

use std::collections::{BTreeMap, BTreeSet};

use super::limits;
use crate::config::at::At;
use crate::config::file::access as file;
use crate::limits::LimitsConfig;
use crate::names::{Action, Group, Role, Team, User, is_endpoint_name};
use crate::policy::{Access, Binding, Pattern, Revoked, RoleRules, Rule, TeamMembers, When};

/// The names that a reference may mean: those that the files spell, be they faulty or not.
#[derive(Debug, Default)]
pub(in crate::config) struct Known {
    /// `None` when `sagegate.yaml` gave no issuers at all.
    pub issuers: Option<Vec<String>>,
    pub roles: BTreeSet<String>,
    /// The largest body that `sagegate.yaml` lets in, in bytes; 0 if it could not be read.
    pub max_body: u64,
}

/// A named thing: the place of its name, that of its value, and both.
type NamedAt<'a, T> = (At<'a>, At<'a>, &'a str, &'a T);

pub(in crate::config) fn access<'a>(
    at: &At<'a>,
    file: &'a file::Access,
    known: &Known,
) -> (Access, LimitsConfig) {
    let (roles, teams) = (at.key("roles"), at.key("teams"));
    let access = Access {
        roles: roles.named(&file.roles).map(role).collect(),
        bindings: bindings(&at.key("bindings"), &file.bindings, known),
        teams: teams.named(&file.teams).map(|one| team(one, known)).collect(),
        revoked: revoked(&at.key("revoked"), &file.revoked, known),
        endpoints: endpoints(&at.key("endpoints"), file),
    };
    (access, limits::compile(at, file, known))
}

fn role((named, here, name, file): NamedAt<'_, file::Role>) -> RoleRules {
    check_plain(&named, name);
    if file.permit.is_empty() && file.forbid.is_empty() && !here.damaged() {
        named.reject_with("the role neither permits nor forbids", Some("give it a `permit`"));
    }
    let permits = here.key("permit");
    for (at, permit) in permits.items(&file.permit) {
        // Leaving a key out must not be the way to permit the most.
        if permit.endpoints.is_none() && !at.damaged() {
            at.reject_with("a permit names its `endpoints`", Some("`[\"*\"]` is every endpoint"));
        }
    }
    RoleRules {
        name: Role::new(name),
        description: file.description.clone(),
        permit: permits.items(&file.permit).map(|(at, one)| rule(&at, one)).collect(),
        forbid: here.key("forbid").items(&file.forbid).map(|(at, one)| rule(&at, one)).collect(),
    }
}

fn rule(at: &At<'_>, file: &file::Rule) -> Rule {
    let here = at.key("endpoints");
    let endpoints = file.endpoints.iter().flatten().enumerate();
    Rule {
        actions: file.actions.iter().flatten().copied().map(action).collect(),
        endpoints: endpoints.map(|(n, text)| endpoint_pattern(&here.item(n), text)).collect(),
        when: when(&at.key("when"), &file.when),
    }
}

pub(super) const fn action(file: file::Action) -> Action {
    match file {
        file::Action::InvokeEndpoint => Action::InvokeEndpoint,
        file::Action::InvokeEndpointWithResponseStream => Action::InvokeEndpointWithResponseStream,
        file::Action::InvokeEndpointAsync => Action::InvokeEndpointAsync,
        file::Action::GetAsyncResult => Action::GetAsyncResult,
        file::Action::DescribeEndpoint => Action::DescribeEndpoint,
        file::Action::ListEndpoints => Action::ListEndpoints,
    }
}

/// Endpoints compare without case, so a pattern is kept in lower case.
pub(super) fn endpoint_pattern(at: &At<'_>, text: &str) -> Pattern {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'*');
    if text.is_empty() || text.len() > 128 || !text.bytes().all(good) {
        at.reject_with(
            format!("`{text}` matches no endpoint's name"),
            Some("letters, digits, `-`, and `*` for any characters"),
        );
    }
    Pattern::new(&text.to_ascii_lowercase())
}

fn when(at: &At<'_>, file: &file::When) -> When {
    let all = |key: &str, texts: &file::Patterns| {
        texts.as_ref().map(|texts| patterns(&at.key(key), texts))
    };
    let tags = at.key("tags");
    let source_ips = file.source_ips.as_ref();
    When {
        tags: file
            .tags
            .iter()
            .map(|(name, texts)| (name.clone(), tag_patterns(&tags.key(name), texts)))
            .collect(),
        target_variants: all("target_variants", &file.target_variants),
        target_models: all("target_models", &file.target_models),
        inference_components: all("inference_components", &file.inference_components),
        container_hostnames: all("container_hostnames", &file.container_hostnames),
        input_locations: all("input_locations", &file.input_locations),
        output_extensions: all("output_extensions", &file.output_extensions),
        source_ips: source_ips.map(|all| all.iter().map(|network| network.0).collect()),
    }
}

fn tag_patterns(at: &At<'_>, texts: &[String]) -> Vec<Pattern> {
    if texts.is_empty() && !at.damaged() {
        at.reject("must not be empty");
    }
    patterns(at, texts)
}

fn patterns(at: &At<'_>, texts: &[String]) -> Vec<Pattern> {
    let one = |(n, text): (usize, &String)| {
        check_plain(&at.item(n), text);
        Pattern::new(text)
    };
    texts.iter().enumerate().map(one).collect()
}

fn check_plain(at: &At<'_>, text: &str) {
    if text.is_empty() || text.len() > 1024 || text.chars().any(char::is_control) {
        at.reject("expected 1 to 1024 characters, none of them a control character");
    }
}

fn bindings(at: &At<'_>, file: &[file::Binding], known: &Known) -> Vec<Binding> {
    let one = |(n, binding): (usize, &file::Binding)| {
        let here = at.item(n);
        check_members(&here, "the binding", &binding.groups, &binding.users);
        Binding {
            groups: groups(&here.key("groups"), &binding.groups, known),
            users: users(&here.key("users"), &binding.users, known),
            roles: role_names(&here.key("roles"), &binding.roles, known),
        }
    };
    file.iter().enumerate().map(one).collect()
}

fn role_names(at: &At<'_>, names: &[String], known: &Known) -> Vec<Role> {
    for (n, name) in names.iter().enumerate() {
        if !known.roles.contains(name) {
            let all = known.roles.iter().map(String::as_str);
            at.item(n).reject_name(format!("there is no role `{name}`"), name, all);
        }
    }
    names.iter().map(|name| Role::new(name.as_str())).collect()
}

fn team((named, here, name, file): NamedAt<'_, file::Team>, known: &Known) -> TeamMembers {
    check_plain(&named, name);
    check_members(&named, "the team", &file.groups, &file.users);
    TeamMembers {
        name: Team::new(name),
        groups: groups(&here.key("groups"), &file.groups, known),
        users: users(&here.key("users"), &file.users, known),
    }
}

fn check_members(at: &At<'_>, what: &str, groups: &[String], users: &[String]) {
    if groups.is_empty() && users.is_empty() && !at.damaged() {
        at.reject_with(format!("{what} is for nobody"), Some("give it `groups` or `users`"));
    }
}

fn groups(at: &At<'_>, names: &[String], known: &Known) -> Vec<Group> {
    check_qualified(at, names, known);
    names.iter().map(|name| Group::new(name.as_str())).collect()
}

fn users(at: &At<'_>, names: &[String], known: &Known) -> Vec<User> {
    check_qualified(at, names, known);
    names.iter().map(|name| User::new(name.as_str())).collect()
}

/// Every user and group is `issuer/name`, of an issuer that exists.
fn check_qualified(at: &At<'_>, names: &[String], known: &Known) {
    for (n, name) in names.iter().enumerate() {
        let here = at.item(n);
        check_plain(&here, name);
        let issuer =
            name.split_once('/').filter(|(issuer, name)| !issuer.is_empty() && !name.is_empty());
        match (issuer, &known.issuers) {
            (None, issuers) => {
                let issuer = issuers.iter().flatten().next().map_or("issuer", String::as_str);
                let hint = format!("such as `{issuer}/alice`");
                here.reject_with(format!("`{name}` is not of the form `issuer/name`"), Some(hint));
            }
            (Some((issuer, _)), Some(issuers)) if !issuers.iter().any(|one| one == issuer) => {
                let all = issuers.iter().map(String::as_str);
                here.reject_name(format!("there is no issuer `{issuer}`"), issuer, all);
            }
            (Some(_), _) => {}
        }
    }
}

fn revoked(at: &At<'_>, file: &file::Revoked, known: &Known) -> Revoked {
    let users = users(&at.key("users"), &file.users, known).into_iter().collect();
    let ids = at.key("token_ids");
    for (n, id) in file.token_ids.iter().enumerate() {
        check_plain(&ids.item(n), id);
    }
    Revoked { users, token_ids: file.token_ids.iter().cloned().collect() }
}

fn endpoints<'a>(
    at: &At<'a>,
    file: &'a file::Access,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for (named, _, name, facts) in at.named(&file.endpoints) {
        if !is_endpoint_name(name) {
            named.reject_with(
                "is not an endpoint's name",
                Some("at most 63 letters, digits and inner `-`"),
            );
        }
        if all.insert(name.to_ascii_lowercase(), facts.tags.clone()).is_some() {
            named.reject("the same endpoint a second time: case does not count");
        }
    }
    all
}
