//! A caller's standing: the roles and teams held here, with the policies that can matter.
//!
//! Callers of equal standing are one caller to the policies, so thousands of users share a
//! few standings and their cached decisions. Owns the directory (who belongs where) and the
//! interned standings. Invariant: two callers share a standing only if no loaded policy can
//! tell them apart by who they are or what they belong to.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use cedar_policy::EntityUid;
use foldhash::fast::RandomState;
use moka::sync::Cache;

use super::access::Access;
use super::footprint::Footprint;
use super::slice::{Slicer, Slices};
use super::words::Words;
use crate::identity::Principal;
use crate::names::{Group, Role, Team, User};

/// Callers remembered: more than a gateway sees within a token's life, at about 100 bytes.
/// A full table is emptied: finding a standing again takes microseconds.
const CALLERS: usize = 16_384;
/// Standings kept: distinct sets of roles, far fewer than callers, at some KiB each.
const STANDINGS: u64 = 4_096;

/// What the policies can tell about who is asking.
#[derive(Debug)]
pub(super) struct Standing {
    /// Never given twice within one compiled policy.
    pub(super) id: u64,
    pub(super) roles: Arc<[Role]>,
    /// The caller's teams, in file order.
    pub(super) teams: Box<[Team]>,
    /// The user, if a policy names it.
    pub(super) user: Option<User>,
    /// What the principal is `in`.
    pub(super) parents: HashSet<EntityUid>,
    pub(super) slices: Slices,
}

/// Who belongs where, and the standings made so far.
#[derive(Debug)]
pub(super) struct Directory {
    roles: Vec<Role>,
    teams: Vec<Team>,
    groups: HashMap<Group, Belongs, RandomState>,
    users: HashMap<User, Belongs, RandomState>,
    /// A plain table, because it is read on every request and a hit must cost little.
    callers: RwLock<HashMap<Caller, Arc<Standing>, RandomState>>,
    standings: Cache<Membership, Arc<Standing>, RandomState>,
    next: AtomicU64,
}

/// What one group or one user brings; indices into the directory's roles and teams.
#[derive(Debug, Default)]
struct Belongs {
    roles: BTreeSet<usize>,
    teams: BTreeSet<usize>,
    /// Whether a policy names it.
    named: bool,
}

/// Everything about a caller that a policy can see, apart from what [`Footprint`] lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Membership {
    roles: BTreeSet<usize>,
    teams: BTreeSet<usize>,
    groups: BTreeSet<Group>,
    user: Option<User>,
}

/// What a standing is found by on the hit path: the groups' digest, and the user only if a
/// binding, a team or a policy names it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Caller {
    digest: [u8; 16],
    user: Option<User>,
}

impl Standing {
    /// Which of the teams a call is charged to: the one that it names, or else the first.
    /// `None` if it names another.
    pub(super) fn charged(&self, named: Option<&str>) -> Option<usize> {
        let Some(named) = named else { return Some(0) };
        self.teams.iter().position(|team| team.as_str() == named)
    }
}

impl Directory {
    pub(super) fn new(access: &Access, footprint: &Footprint) -> Self {
        let mut directory = Self {
            roles: access.roles.iter().map(|role| role.name.clone()).collect(),
            teams: access.teams.iter().map(|team| team.name.clone()).collect(),
            groups: HashMap::default(),
            users: HashMap::default(),
            callers: RwLock::default(),
            standings: Cache::builder()
                .max_capacity(STANDINGS)
                .build_with_hasher(RandomState::default()),
            next: AtomicU64::new(0),
        };
        directory.bind(access);
        directory.enrol(access);
        for group in footprint.groups() {
            directory.groups.entry(group.clone()).or_default().named = true;
        }
        for user in footprint.users() {
            directory.users.entry(user.clone()).or_default().named = true;
        }
        directory
    }

    /// The standing of a principal, remembered by its groups' digest.
    pub(super) fn of(
        &self,
        principal: &Principal,
        slicer: &Slicer,
        words: &Words,
    ) -> Arc<Standing> {
        let user = Some(principal.user()).filter(|user| self.users.contains_key(*user)).cloned();
        let caller = Caller { digest: principal.groups_digest(), user };
        if let Some(standing) = self.known(&caller) {
            return standing;
        }
        let standing = self.find(principal.user(), principal.groups(), slicer, words);
        self.remember(caller, Arc::clone(&standing));
        standing
    }

    /// The standing of a user with these groups.
    pub(super) fn find(
        &self,
        user: &User,
        groups: &[Group],
        slicer: &Slicer,
        words: &Words,
    ) -> Arc<Standing> {
        let membership = self.membership(user, groups);
        self.standings
            .get_with_by_ref(&membership, || Arc::new(self.standing(&membership, slicer, words)))
    }

    fn known(&self, caller: &Caller) -> Option<Arc<Standing>> {
        // A panic elsewhere cannot leave the table half-written.
        let callers = self.callers.read().unwrap_or_else(PoisonError::into_inner);
        callers.get(caller).map(Arc::clone)
    }

    fn remember(&self, caller: Caller, standing: Arc<Standing>) {
        let mut callers = self.callers.write().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= CALLERS {
            callers.clear();
        }
        callers.insert(caller, standing);
    }

    fn bind(&mut self, access: &Access) {
        let index: HashMap<_, _> = access.roles.iter().map(|r| &r.name).zip(0..).collect();
        for binding in &access.bindings {
            let roles = || binding.roles.iter().filter_map(|role| index.get(role).copied());
            for group in &binding.groups {
                self.groups.entry(group.clone()).or_default().roles.extend(roles());
            }
            for user in &binding.users {
                self.users.entry(user.clone()).or_default().roles.extend(roles());
            }
        }
    }

    fn enrol(&mut self, access: &Access) {
        for (index, team) in access.teams.iter().enumerate() {
            for group in &team.groups {
                self.groups.entry(group.clone()).or_default().teams.insert(index);
            }
            for user in &team.users {
                self.users.entry(user.clone()).or_default().teams.insert(index);
            }
        }
    }

    fn membership(&self, user: &User, groups: &[Group]) -> Membership {
        let mut membership = Membership::default();
        for (group, belongs) in groups.iter().filter_map(|g| self.groups.get_key_value(g)) {
            membership.join(belongs);
            membership.groups.extend(belongs.named.then(|| group.clone()));
        }
        if let Some((user, belongs)) = self.users.get_key_value(user) {
            membership.join(belongs);
            membership.user = belongs.named.then(|| user.clone());
        }
        membership
    }

    fn standing(&self, membership: &Membership, slicer: &Slicer, words: &Words) -> Standing {
        let pick = |role: &usize| self.roles.get(*role).cloned();
        let roles: Arc<[Role]> = membership.roles.iter().filter_map(pick).collect();
        let teams = || membership.teams.iter().filter_map(|team| self.teams.get(*team));
        let parents: HashSet<_> = (roles.iter().map(|role| words.role(role.as_str())))
            .chain(teams().map(|team| words.team(team.as_str())))
            .chain(membership.groups.iter().map(|group| words.group(group.as_str())))
            .collect();
        let user = membership.user.as_ref().map(|user| words.user(user.as_str()));
        Standing {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            slices: slicer.slices(parents.iter().chain(user.as_ref())),
            teams: teams().cloned().collect(),
            user: membership.user.clone(),
            roles,
            parents,
        }
    }
}

impl Membership {
    fn join(&mut self, belongs: &Belongs) {
        self.roles.extend(&belongs.roles);
        self.teams.extend(&belongs.teams);
    }
}
