//! What `access.yaml` means, once it is read: roles, bindings, teams, revocations and the
//! endpoints' tags.
//!
//! The config room produces these values; this room owns their meaning. Invariant: they hold
//! names and patterns only, never Cedar text, so that nothing a user writes in a name can
//! become policy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;

use crate::names::{Action, Group, Role, Team, User};

/// Everything that decides beside the policy files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub roles: Vec<RoleRules>,
    pub bindings: Vec<Binding>,
    /// In file order: a caller of several teams is charged to the first.
    pub teams: Vec<TeamMembers>,
    pub revoked: Revoked,
    /// Tags by endpoint name in lower case. An endpoint that is not here has no tags.
    pub endpoints: BTreeMap<String, BTreeMap<String, String>>,
}

/// What holders of a role may and may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRules {
    pub name: Role,
    pub description: String,
    pub permit: Vec<Rule>,
    pub forbid: Vec<Rule>,
}

/// One permit or forbid. It applies where all of its parts do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Empty: every action.
    pub actions: Vec<Action>,
    /// Empty: every endpoint.
    pub endpoints: Vec<Pattern>,
    pub when: When,
}

/// Conditions, all of which must hold. `None` asks nothing; `Some` of no patterns can never
/// hold. A condition on a target holds only for a request that names that target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// The endpoint has each tag, with a value that one of its patterns matches.
    pub tags: BTreeMap<String, Vec<Pattern>>,
    /// Compared without case.
    pub target_variants: Option<Vec<Pattern>>,
    pub target_models: Option<Vec<Pattern>>,
    /// Compared without case.
    pub inference_components: Option<Vec<Pattern>>,
    /// Compared without case.
    pub container_hostnames: Option<Vec<Pattern>>,
    pub input_locations: Option<Vec<Pattern>>,
    pub output_extensions: Option<Vec<Pattern>>,
    pub source_ips: Option<Vec<IpNet>>,
}

/// A text to match, in which `*` stands for any run of characters. There is no other
/// wildcard and no escape: every other character stands for itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Box<str>);

impl Pattern {
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches all of `text`: the parts between the `*`s, from left to right,
    /// each as early as can be, and the last at the end.
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return *self.0 == *text };
        let Some(text) = text.strip_prefix(first) else { return false };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(mut text) = text.strip_suffix(last) else { return false };
        middle.split('*').all(|part| match text.split_once(part) {
            Some((_, after)) => {
                text = after;
                true
            }
            None => false,
        })
    }

    /// The same pattern for names that compare without case.
    pub(super) fn folded(&self) -> Self {
        Self(self.0.to_ascii_lowercase().into())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.0)
    }
}

/// Who holds which roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    pub groups: Vec<Group>,
    pub users: Vec<User>,
    pub roles: Vec<Role>,
}

/// Who belongs to a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamMembers {
    pub name: Team,
    pub groups: Vec<Group>,
    pub users: Vec<User>,
}

/// Who and what is refused whatever the policies say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    pub users: BTreeSet<User>,
    /// `jti`s.
    pub token_ids: BTreeSet<String>,
}

/// A `*.cedar` file: its name as faults, policy ids and the version give it, which is to be
/// the same on every machine, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    pub name: String,
    pub text: String,
}

/// What is wrong with a policy, and where. Lines and columns count from 1, columns in
/// characters. For policies compiled from roles the file is `access` and the line 0: the
/// config room knows where they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFault {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
    pub hint: Option<String>,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}
