//! What a reload changed: each file's hash before and after, and every role, binding, limit,
//! team, issuer, revocation and endpoint that was added, removed or changed.
//!
//! Pure: two loaded states in, differences out. Invariant: two states that decide
//! differently differ in a file's hash at least, so that no reload passes for none.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::Privacy;
use crate::config::{Loaded, Source};
use crate::identity::IssuerConfig;
use crate::limits::{Limit, LimitsConfig, Scope};
use crate::names::User;
use crate::policy::{Access, Binding, RoleRules, TeamMembers};

/// What is in force, as far as a change of it is told.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    files: Vec<Source>,
    access: Access,
    issuers: Vec<IssuerConfig>,
    limits: LimitsConfig,
}

/// One line of what changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Difference {
    File { file: String, before: Option<String>, after: Option<String> },
    Named { kind: &'static str, name: String, change: Change },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Change {
    Added,
    Removed,
    Changed,
}

impl InForce {
    pub(super) fn of(loaded: &Loaded) -> Self {
        Self {
            files: loaded.sources.clone(),
            access: loaded.access.clone(),
            issuers: loaded.issuers.clone(),
            limits: loaded.limits.clone(),
        }
    }

    /// Every file with its hash: what a start begins with.
    pub(super) fn files(&self) -> Vec<Difference> {
        files(&[], &self.files)
    }

    /// From this state to `next`: every file, and whatever else differs. Users are called
    /// what `privacy` calls them.
    pub(super) fn differences(&self, next: &Self, privacy: &Privacy) -> Vec<Difference> {
        let mut all = files(&self.files, &next.files);
        let (old, new) = (&self.access, &next.access);
        all.extend(named("role", &roles(old), &roles(new)));
        all.extend(named("binding", &bindings(old, privacy), &bindings(new, privacy)));
        all.extend(named("team", &teams(old), &teams(new)));
        all.extend(named("limit", &limits(&self.limits), &limits(&next.limits)));
        all.extend(named("issuer", &issuers(&self.issuers), &issuers(&next.issuers)));
        all.extend(named("revoked_user", &revoked(old, privacy), &revoked(new, privacy)));
        all.extend(named("revoked_token", &tokens(old, privacy), &tokens(new, privacy)));
        all.extend(named("endpoint", &endpoints(old), &endpoints(new)));
        all
    }
}

fn files(old: &[Source], new: &[Source]) -> Vec<Difference> {
    let hashes = |sources: &[Source]| -> BTreeMap<String, String> {
        let of = |source: &Source| (source.path.display().to_string(), source.sha256.clone());
        sources.iter().map(of).collect()
    };
    let (old, new) = (hashes(old), hashes(new));
    let gone = old.keys().filter(|path| !new.contains_key(*path));
    let file = |path: &String| Difference::File {
        file: path.clone(),
        before: old.get(path).cloned(),
        after: new.get(path).cloned(),
    };
    new.keys().chain(gone).map(file).collect()
}

/// Values by the name they are told under. Values of one name are compared together.
type Named<T> = BTreeMap<String, Vec<T>>;

fn named<T: PartialEq>(
    kind: &'static str,
    old: &Named<T>,
    new: &Named<T>,
) -> impl Iterator<Item = Difference> {
    let told = move |name: &str, change| Difference::Named { kind, name: name.to_owned(), change };
    let now = new.iter().filter_map(move |(name, value)| match old.get(name) {
        None => Some(told(name, Change::Added)),
        Some(before) if before != value => Some(told(name, Change::Changed)),
        Some(_) => None,
    });
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    now.chain(gone.map(move |name| told(name, Change::Removed)))
}

fn by_name<T>(values: &[T], name: impl Fn(&T) -> String) -> Named<&T> {
    let mut named = Named::new();
    for value in values {
        named.entry(name(value)).or_default().push(value);
    }
    named
}

/// A binding has no name, so it is told as what it says, and a changed one as two.
fn bindings(access: &Access, privacy: &Privacy) -> Named<()> {
    let told = |binding: &Binding| {
        let groups = binding.groups.iter().map(ToString::to_string);
        let users = binding.users.iter().map(|user| privacy.user(user).to_string());
        let who: Vec<_> = groups.chain(users).collect();
        let roles: Vec<_> = binding.roles.iter().map(|role| role.as_str()).collect();
        format!("{} -> {}", who.join(", "), roles.join(", "))
    };
    access.bindings.iter().map(|binding| (told(binding), Vec::new())).collect()
}

fn limits(limits: &LimitsConfig) -> Named<impl PartialEq + use<'_>> {
    let told = |limit: &Limit| match &limit.scope {
        Scope::Everybody => format!("limits: {}", limit.name),
        Scope::NoTeam => format!("default_team: {}", limit.name),
        Scope::Team(team) => format!("teams.{team}: {}", limit.name),
    };
    let mut named = Named::new();
    for limit in &limits.limits {
        // Not the line it stands on.
        named.entry(told(limit)).or_default().push((&limit.measure, limit.per, &limit.filter));
    }
    named
}

fn roles(access: &Access) -> Named<&RoleRules> {
    by_name(&access.roles, |role| role.name.to_string())
}

fn teams(access: &Access) -> Named<&TeamMembers> {
    by_name(&access.teams, |team| team.name.to_string())
}

fn issuers(issuers: &[IssuerConfig]) -> Named<&IssuerConfig> {
    by_name(issuers, |issuer| issuer.name.to_string())
}

fn revoked(access: &Access, privacy: &Privacy) -> Named<()> {
    let told = |user: &User| (privacy.user(user).to_string(), Vec::new());
    access.revoked.users.iter().map(told).collect()
}

fn tokens(access: &Access, privacy: &Privacy) -> Named<()> {
    let ids = access.revoked.token_ids.iter();
    ids.filter_map(|id| privacy.token_id(id)).map(|id| (id.to_owned(), Vec::new())).collect()
}

fn endpoints(access: &Access) -> Named<&BTreeMap<String, String>> {
    access.endpoints.iter().map(|(name, tags)| (name.clone(), vec![tags])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::telemetry::metrics::Metrics;

    const GATEWAY: &str = "server: { listen: 127.0.0.1:0 }\nissuers:\n  corp: { issuer: https://a.example.com, audiences: [a] }\n";

    fn in_force(gateway: &str, access: &str) -> InForce {
        let files = [("/c/sagegate.yaml", gateway), ("/c/access.yaml", access)];
        let files = files.map(|(path, text)| (path.into(), text.as_bytes().to_vec()));
        let metrics = Metrics::new().unwrap();
        let loaded =
            config::load_texts(files.into(), "/c/sagegate.yaml".as_ref(), &|_| None, &metrics);
        InForce::of(&loaded.unwrap_or_else(|faults| panic!("{faults}")))
    }

    /// As `kind name change`, without the files.
    fn told(old: &str, new: &str) -> Vec<String> {
        let (old, new) = (in_force(GATEWAY, old), in_force(GATEWAY, new));
        let differences = old.differences(&new, &Privacy::default());
        differences
            .iter()
            .filter_map(|difference| match difference {
                Difference::File { .. } => None,
                Difference::Named { kind, name, change } => {
                    Some(format!("{kind} {name} {change:?}"))
                }
            })
            .collect()
    }

    const BEFORE: &str = "\
roles:
  caller: { permit: [{ endpoints: ['*'] }] }
  old: { permit: [{ endpoints: ['*'] }] }
bindings:
  - { groups: [corp/ds], roles: [caller] }
teams:
  fraud: { groups: [corp/fraud], limits: [{ requests: 5/s }, { concurrency: 3 }] }
revoked: { users: [corp/mallory], token_ids: [t1] }
endpoints: { fraud-v1: { tags: { env: prod } } }
";

    #[test]
    fn every_kind_of_rule_that_changed_is_told_and_no_other() {
        let after = "\
roles:
  # A comment is no change.
  caller: { permit: [{ endpoints: ['fraud-*'] }] }
  new: { permit: [{ endpoints: ['*'] }] }
bindings:
  - { groups: [corp/ds], users: [corp/bob], roles: [caller] }
teams:
  fraud: { groups: [corp/fraud, corp/x], limits: [{ concurrency: 3 }, { requests: 9/s }] }
  risk: { groups: [corp/risk] }
revoked: { users: [corp/eve], token_ids: [t1, t2] }
endpoints: { fraud-v1: { tags: { env: test } } }
";
        assert_eq!(
            told(BEFORE, after),
            [
                "role caller Changed",
                "role new Added",
                "role old Removed",
                "binding corp/ds, corp/bob -> caller Added",
                "binding corp/ds -> caller Removed",
                "team fraud Changed",
                "team risk Added",
                "limit teams.fraud: requests-9/s Added",
                "limit teams.fraud: requests-5/s Removed",
                "revoked_user corp/eve Added",
                "revoked_user corp/mallory Removed",
                "revoked_token t2 Added",
                "endpoint fraud-v1 Changed",
            ]
        );
        assert!(told(BEFORE, &format!("# new line\n{BEFORE}")).is_empty());
    }

    #[test]
    fn every_file_is_told_with_its_hash_before_and_after() {
        let (old, new) = (in_force(GATEWAY, BEFORE), in_force(&format!("{GATEWAY}#"), BEFORE));
        let differences = old.differences(&new, &Privacy::default());
        let changed = |file: &Difference| match file {
            Difference::File { file, before: Some(before), after: Some(after) } => {
                Some((file.clone(), before != after))
            }
            _ => None,
        };
        let files: Vec<_> = differences.iter().map(changed).collect();
        let wanted = [("/c/access.yaml", false), ("/c/sagegate.yaml", true)];
        assert_eq!(files, wanted.map(|(file, changed)| Some((file.to_owned(), changed))));
        assert_eq!(new.files().len(), 2);
    }

    #[test]
    fn an_issuer_that_changed_is_told() {
        let other = GATEWAY.replace("audiences: [a]", "audiences: [a, b]");
        let (old, new) = (in_force(GATEWAY, ""), in_force(&other, ""));
        let last = old.differences(&new, &Privacy::default()).pop().unwrap();
        let name = "corp".to_owned();
        assert_eq!(last, Difference::Named { kind: "issuer", name, change: Change::Changed });
    }
}
