//! The same decision made the slow and obvious way: every policy, every entity, every
//! attribute, nothing shared and nothing left out.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request,
    RestrictedExpression,
};

use super::super::words::Words;
use super::super::{Access, DenialReason, Outcome, PolicyFile, Query, compile};

/// Everything that is loaded, as one policy set.
pub(super) struct Reference {
    access: Access,
    words: Words,
    policies: PolicySet,
}

impl Reference {
    pub(super) fn new(access: &Access, files: &[PolicyFile]) -> Self {
        let words = Words::read().unwrap();
        let policies = compile::policies(access, files, &words).unwrap();
        let policies = PolicySet::from_policies(policies).unwrap();
        Self { access: access.clone(), words, policies }
    }

    /// The outcome, and the ids of the policies that made it.
    pub(super) fn decide(&self, query: &Query<'_>) -> (Outcome, Vec<String>) {
        let revoked = &self.access.revoked;
        let token = revoked.token_ids.iter().any(|id| Some(id.as_str()) == query.token_id);
        if token || revoked.users.contains(query.user) {
            return (Outcome::Deny(DenialReason::Revoked), vec!["revoked".into()]);
        }
        let mut teams = self.access.teams.iter();
        let own =
            |name| teams.any(|t| t.name.as_str() == name && member(&t.groups, &t.users, query));
        if !query.team.is_none_or(own) {
            return (Outcome::Deny(DenialReason::NotInTeam), vec!["team".into()]);
        }
        let request = request(&self.access, query, &self.words);
        let entities = entities(&self.access, query, &self.words);
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        let reasons = response.diagnostics().reason().map(ToString::to_string);
        let mut reasons: Vec<_> = reasons.collect();
        reasons.sort();
        let outcome = if response.diagnostics().errors().next().is_some() {
            Outcome::Deny(DenialReason::PolicyError)
        } else if response.decision() == Decision::Allow {
            Outcome::Permit
        } else if reasons.is_empty() {
            Outcome::Deny(DenialReason::NoPermit)
        } else {
            Outcome::Deny(DenialReason::Forbidden)
        };
        (outcome, reasons)
    }
}

fn string(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn request(access: &Access, query: &Query<'_>, words: &Words) -> Request {
    let lower = |text: Option<&str>| text.map(str::to_lowercase);
    let same = |text: Option<&str>| text.map(str::to_owned);
    let targets = query.targets;
    let named = |name: &str| query.team.is_none_or(|named| named == name);
    let mut teams = access.teams.iter().filter(|team| named(team.name.as_str()));
    let team = teams.find(|team| member(&team.groups, &team.users, query));
    let optional = [
        ("target_variant", lower(targets.variant)),
        ("target_model", same(targets.model)),
        ("inference_component", lower(targets.inference_component)),
        ("container_hostname", lower(targets.container_hostname)),
        ("input_location", same(targets.input_location)),
        ("output_extension", same(targets.output_extension)),
        ("team", team.map(|team| team.name.to_string())),
    ];
    let optional = optional.into_iter().filter_map(|(name, text)| Some((name, string(&text?))));
    let now = jiff::Timestamp::try_from(query.now).unwrap().to_string();
    let always = [
        ("source_ip", RestrictedExpression::new_ip(query.source.to_canonical().to_string())),
        ("now", RestrictedExpression::new_datetime(now)),
    ];
    let pairs = optional.chain(always).map(|(name, value)| (name.to_owned(), value));
    let context = Context::from_pairs(pairs).unwrap();
    let action = words.action(query.action).unwrap().clone();
    let (user, endpoint) = (words.user(query.user.as_str()), endpoint(query, words));
    Request::new(user, action, endpoint, context, Some(&words.schema)).unwrap()
}

fn entities(access: &Access, query: &Query<'_>, words: &Words) -> Entities {
    let roles = access.bindings.iter().filter(|b| member(&b.groups, &b.users, query));
    let roles = roles.flat_map(|b| &b.roles).map(|role| words.role(role.as_str()));
    let teams = access.teams.iter().filter(|team| member(&team.groups, &team.users, query));
    let teams = teams.map(|team| words.team(team.name.as_str()));
    let groups = query.groups.iter().map(|group| words.group(group.as_str()));
    let parents: HashSet<EntityUid> = roles.chain(teams).chain(groups).collect();
    let (issuer, _) = query.user.as_str().split_once('/').unwrap();
    let attributes = [("issuer", string(issuer)), ("name", string(query.user.as_str()))];
    let attributes: HashMap<_, _> =
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let principal = Entity::new(words.user(query.user.as_str()), attributes, parents).unwrap();
    let folded = query.endpoint.given().to_lowercase();
    let tags = access.endpoints.get(&folded).into_iter().flatten();
    let tags = tags.map(|(tag, value)| (tag.clone(), string(value)));
    let name = [("name".to_owned(), string(&folded))];
    let resource = Entity::new_with_tags(endpoint(query, words), name, [], tags).unwrap();
    Entities::from_entities([principal, resource], Some(&words.schema)).unwrap()
}

fn endpoint(query: &Query<'_>, words: &Words) -> EntityUid {
    words.endpoint(&query.endpoint.given().to_lowercase())
}

fn member(groups: &[crate::names::Group], users: &[crate::names::User], query: &Query<'_>) -> bool {
    users.contains(query.user) || query.groups.iter().any(|group| groups.contains(group))
}
