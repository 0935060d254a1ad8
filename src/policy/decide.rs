//! One request's decision: revocation, the cache, Cedar, and what their answers mean.
//!
//! Enforcement ([`Policy::authorize`]) and `explain` ([`Policy::decide`]) run the same code;
//! enforcement only looks into the cache first. Invariant: there is one way to a permit, the
//! one commented `match` in [`outcome`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicyId,
    Request, Response, RestrictedExpression,
};

use super::asked::{Asked, TARGETS};
use super::cache::{Decisions, Use};
use super::footprint::{Footprint, Input};
use super::permit::{Denial, DenialReason, Grounds, Permit};
use super::slice::Slicer;
use super::standing::{Directory, Standing};
use super::verdict::{Outcome, Query, Verdict};
use super::words::Words;
use crate::identity::Principal;
use crate::names::{Role, User};
use crate::sagemaker::Call;

/// What decides in place of a policy when the user or the token is revoked.
const REVOKED: &str = "revoked";
/// The same when it names a team that is not the caller's.
const NOT_IN_TEAM: &str = "team";

/// Everything that decides, compiled and immutable; see [`Policy::compile`].
///
/// The caches inside belong to this one value, so a reload, which compiles another, starts
/// with none of the old decisions: that is how a cached decision is bound to its epoch.
#[derive(Debug)]
pub struct Policy {
    pub(super) words: Words,
    pub(super) authorizer: Authorizer,
    pub(super) slicer: Slicer,
    pub(super) directory: Directory,
    pub(super) footprint: Footprint,
    pub(super) revoked_users: HashSet<User, foldhash::fast::RandomState>,
    pub(super) revoked_tokens: HashSet<String, foldhash::fast::RandomState>,
    pub(super) tags: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) ids: HashMap<PolicyId, Arc<str>>,
    pub(super) decisions: Decisions,
    pub(super) cedar: String,
    pub(super) version: Arc<str>,
}

impl Policy {
    /// The authorize stage: the principal's call becomes a permit, or a denial with its
    /// grounds. `team` is the one that the caller wants charged. `now` matters only if a
    /// policy reads the time.
    ///
    /// # Errors
    /// The [`Denial`] for the refusal table and the record.
    pub fn authorize(
        &self,
        principal: Arc<Principal>,
        call: Call,
        team: Option<&str>,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<Permit, Denial> {
        let query = Query {
            user: principal.user(),
            groups: principal.groups(),
            action: call.action(),
            endpoint: call.endpoint(),
            targets: call.targets().into(),
            source,
            team,
            token_id: principal.token_id(),
            tags: None,
            now,
        };
        let verdict = self.recall(&principal, &query);
        match verdict.outcome {
            Outcome::Permit => Ok(Permit { principal, call, source, verdict }),
            Outcome::Deny(reason) => Err(Denial { reason, principal, call, verdict }),
        }
    }

    /// Decides afresh, whatever is cached.
    pub fn decide(&self, query: &Query<'_>) -> Verdict {
        let standing = self.directory.find(query.user, query.groups, &self.slicer, &self.words);
        if self.is_revoked(query) {
            return self.revoked(&standing);
        }
        let Some(team) = standing.charged(query.team) else { return self.not_in_team(&standing) };
        let asked = Asked::new(standing.id, team, query, &self.footprint);
        let verdict = self.evaluate(&standing, &asked, query.tags);
        Verdict { team: standing.teams.get(team).cloned(), ..verdict }
    }

    /// What the loaded policies read, and so what the cache's key holds.
    pub fn footprint(&self) -> &Footprint {
        &self.footprint
    }

    /// Whether decisions depend on the time and are therefore never cached.
    pub fn uncacheable(&self) -> bool {
        self.footprint.reads(Input::Now)
    }

    /// All policies as Cedar, each role's under a comment that names it.
    pub fn cedar(&self) -> String {
        self.cedar.clone()
    }

    /// `sha256:` and hex over everything that was compiled.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// The decision as the cache has it, or a fresh one. Revocation comes before the cache.
    fn recall(&self, principal: &Principal, query: &Query<'_>) -> Arc<Verdict> {
        let standing = self.directory.of(principal, &self.slicer, &self.words);
        if self.is_revoked(query) {
            return self.decisions.count(Arc::new(self.revoked(&standing)), Use::Uncached);
        }
        let Some(team) = standing.charged(query.team) else {
            return self.decisions.count(Arc::new(self.not_in_team(&standing)), Use::Uncached);
        };
        let asked = Asked::new(standing.id, team, query, &self.footprint);
        let verdict = self.decisions.recall(&asked, || self.evaluate(&standing, &asked, None));
        if asked.team == team {
            return verdict;
        }
        // No policy reads the team, so the cached verdict is the same for all of them.
        let team = standing.teams.get(team).cloned();
        Arc::new(Verdict { team, ..Verdict::clone(&verdict) })
    }

    fn is_revoked(&self, query: &Query<'_>) -> bool {
        self.revoked_users.contains(query.user)
            || query.token_id.is_some_and(|id| self.revoked_tokens.contains(id))
    }

    fn revoked(&self, standing: &Standing) -> Verdict {
        let outcome = Outcome::Deny(DenialReason::Revoked);
        self.verdict(standing, 0, outcome, [REVOKED.into()].into(), [].into())
    }

    /// On record without the team, which is anything that a caller may write.
    fn not_in_team(&self, standing: &Standing) -> Verdict {
        let outcome = Outcome::Deny(DenialReason::NotInTeam);
        let nobodys = usize::MAX;
        self.verdict(standing, nobodys, outcome, [NOT_IN_TEAM.into()].into(), [].into())
    }

    fn evaluate(
        &self,
        standing: &Standing,
        asked: &Asked<'_>,
        tags: Option<&BTreeMap<String, String>>,
    ) -> Verdict {
        match self.ask_cedar(standing, asked, tags) {
            Some(response) => self.read(standing, asked.team, &response),
            // Names and values that Cedar will not take cannot come through the parser; if
            // they do, nothing was decided, and that denies.
            None => {
                let outcome = Outcome::Deny(DenialReason::PolicyError);
                self.verdict(standing, asked.team, outcome, [].into(), ["request".into()].into())
            }
        }
    }

    fn read(&self, standing: &Standing, team: usize, response: &Response) -> Verdict {
        let mut policies: Vec<_> = response.diagnostics().reason().map(|id| self.id(id)).collect();
        let mut errors: Vec<_> = response.diagnostics().errors().map(|e| self.erred(e)).collect();
        policies.sort();
        errors.sort();
        let outcome = outcome(response.decision(), !policies.is_empty(), !errors.is_empty());
        self.verdict(standing, team, outcome, policies.into(), errors.into())
    }

    fn verdict(
        &self,
        standing: &Standing,
        team: usize,
        outcome: Outcome,
        policies: Arc<[Arc<str>]>,
        errors: Arc<[Arc<str>]>,
    ) -> Verdict {
        let roles: Arc<[Role]> = Arc::clone(&standing.roles);
        let policy_version = Arc::clone(&self.version);
        let grounds = Grounds { policies, errors, roles, policy_version };
        Verdict { outcome, team: standing.teams.get(team).cloned(), grounds }
    }

    fn erred(&self, error: &AuthorizationError) -> Arc<str> {
        match error {
            AuthorizationError::PolicyEvaluationError(error) => self.id(error.policy_id()),
        }
    }

    fn id(&self, id: &PolicyId) -> Arc<str> {
        self.ids.get(id).map_or_else(|| AsRef::<str>::as_ref(id).into(), Arc::clone)
    }
}

/// The rule of the house. Cedar itself skips a policy that fails to evaluate, which for a
/// forbid means letting through what it was written to stop.
fn outcome(decision: Decision, decided: bool, erred: bool) -> Outcome {
    match (erred, decision, decided) {
        // Some policy could not be evaluated: whatever the others said, deny.
        (true, _, _) => Outcome::Deny(DenialReason::PolicyError),
        // A permit matched, no forbid did, and nothing erred.
        (false, Decision::Allow, true) => Outcome::Permit,
        // A forbid matched.
        (false, Decision::Deny, true) => Outcome::Deny(DenialReason::Forbidden),
        // Nothing matched. (Cedar never allows without a permit; if it did, this denies.)
        (false, _, false) => Outcome::Deny(DenialReason::NoPermit),
    }
}

/// What Cedar is shown: all of it from the standing and from `asked`, nothing else.
impl Policy {
    fn ask_cedar(
        &self,
        standing: &Standing,
        asked: &Asked<'_>,
        tags: Option<&BTreeMap<String, String>>,
    ) -> Option<Response> {
        let principal = self.words.user(principal_id(standing, asked));
        let resource = self.words.endpoint(&asked.endpoint);
        let tags = tags.or_else(|| self.tags.get(&*asked.endpoint));
        let entities = [
            principal_entity(principal.clone(), standing, asked)?,
            endpoint_entity(resource.clone(), &asked.endpoint, tags)?,
        ];
        let entities = Entities::from_entities(entities, None).ok()?;
        let action = self.words.action(asked.action)?.clone();
        let context = Context::from_pairs(context(standing, asked, &self.footprint)).ok()?;
        let request = Request::new(principal, action, resource, context, None).ok()?;
        let policies = standing.slices.of(asked.action)?;
        Some(self.authorizer.is_authorized(&request, policies, &entities))
    }
}

/// Stands for every user that no policy can tell from another. No user is called so: users
/// are `issuer/name`.
const SOMEONE: &str = "*";

fn principal_id<'a>(standing: &'a Standing, asked: &'a Asked<'_>) -> &'a str {
    match (&asked.user, &standing.user) {
        (Some(user), _) => user,
        (None, Some(named)) => named.as_str(),
        (None, None) => SOMEONE,
    }
}

fn principal_entity(uid: EntityUid, standing: &Standing, asked: &Asked<'_>) -> Option<Entity> {
    let attributes = asked.user.as_ref().map(|user| {
        let issuer = user.split_once('/').map_or("", |(issuer, _)| issuer);
        [("issuer".to_owned(), string(issuer)), ("name".to_owned(), string(user))]
    });
    let attributes = attributes.into_iter().flatten().collect();
    Entity::new(uid, attributes, standing.parents.clone()).ok()
}

fn endpoint_entity(
    uid: EntityUid,
    name: &str,
    tags: Option<&BTreeMap<String, String>>,
) -> Option<Entity> {
    let tags = tags.into_iter().flatten().map(|(tag, value)| (tag.clone(), string(value)));
    Entity::new_with_tags(uid, [("name".to_owned(), string(name))], [], tags).ok()
}

fn context(
    standing: &Standing,
    asked: &Asked<'_>,
    footprint: &Footprint,
) -> Vec<(String, RestrictedExpression)> {
    let team = standing.teams.get(asked.team).filter(|_| footprint.reads(Input::Team));
    let team = team.map(|team| (Input::Team, string(team.as_str())));
    let source =
        asked.source.map(|ip| (Input::SourceIp, RestrictedExpression::new_ip(ip.to_string())));
    let now = asked.now.map(|now| (Input::Now, datetime(now)));
    let targets = TARGETS.iter().zip(&asked.targets);
    let targets = targets.filter_map(|((input, ..), text)| Some((*input, string(text.as_ref()?))));
    let all = targets.chain(team).chain(source).chain(now);
    all.map(|(input, value)| (input.as_str().to_owned(), value)).collect()
}

fn string(text: impl AsRef<str>) -> RestrictedExpression {
    RestrictedExpression::new_string(text.as_ref().to_owned())
}

/// Cedar's `datetime`, to the millisecond.
fn datetime(time: SystemTime) -> RestrictedExpression {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    RestrictedExpression::new_datetime(time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}
