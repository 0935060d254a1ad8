//! The few policies, of all that are loaded, that can apply to a standing and an action.
//!
//! Cedar's evaluation is linear in the policies it is given. A policy whose scope says
//! `principal in Role::"r"` cannot match a principal outside the role, so it is filed under
//! the role and only its holders pay for it. Invariant: what is left out could neither have
//! matched nor have erred, since a scope is evaluated before its conditions; a scope that is
//! not understood stays in. A property test holds slice and whole set equal.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use cedar_policy::{ActionConstraint, EntityUid, Policy, PolicySet, PrincipalConstraint};

use super::words::Words;
use crate::names::Action;

/// All policies, filed by what their scope asks of the principal.
#[derive(Debug)]
pub(super) struct Slicer {
    policies: Arc<[Filed]>,
    scoped: HashMap<EntityUid, Vec<usize>>,
    unscoped: Vec<usize>,
}

#[derive(Debug)]
struct Filed {
    policy: Policy,
    /// Bit n is set if the scope takes `Action::ALL[n]`.
    actions: u8,
}

impl Slicer {
    pub(super) fn new(policies: Vec<Policy>, words: &Words) -> Self {
        let mut slicer = Self { policies: [].into(), scoped: HashMap::new(), unscoped: Vec::new() };
        for (index, policy) in policies.iter().enumerate() {
            match scope(policy) {
                Some(uid) => slicer.scoped.entry(uid).or_default().push(index),
                None => slicer.unscoped.push(index),
            }
        }
        let filed = |policy| Filed { actions: actions(&policy, words), policy };
        slicer.policies = policies.into_iter().map(filed).collect();
        slicer
    }

    /// What can apply to a principal that is, or is in, one of `entities` and nothing else
    /// that a policy names.
    pub(super) fn slices<'a>(&self, entities: impl Iterator<Item = &'a EntityUid>) -> Slices {
        let scoped = entities.filter_map(|uid| self.scoped.get(uid)).flatten();
        let mut indices: Vec<_> = self.unscoped.iter().chain(scoped).copied().collect();
        indices.sort_unstable();
        Slices { policies: Arc::clone(&self.policies), indices, sets: Default::default() }
    }
}

/// One standing's policies, as a policy set per action, made when the action is first asked.
#[derive(Debug)]
pub(super) struct Slices {
    policies: Arc<[Filed]>,
    indices: Vec<usize>,
    sets: [OnceLock<PolicySet>; Action::ALL.len()],
}

impl Slices {
    /// `None` if Cedar will not take the policies as one set: they were one set when they
    /// were validated.
    pub(super) fn of(&self, action: Action) -> Option<&PolicySet> {
        let cell = self.sets.get(action as usize)?;
        match cell.get() {
            Some(set) => Some(set),
            None => {
                let set = PolicySet::from_policies(self.taking(action)).ok()?;
                Some(cell.get_or_init(|| set))
            }
        }
    }

    fn taking(&self, action: Action) -> impl Iterator<Item = Policy> + '_ {
        let filed = self.indices.iter().filter_map(|index| self.policies.get(*index));
        filed.filter(move |f| f.actions & bit(action) != 0).map(|f| f.policy.clone())
    }
}

/// The entity that a principal must be or be in, if the scope says so.
fn scope(policy: &Policy) -> Option<EntityUid> {
    match policy.principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
        PrincipalConstraint::In(uid)
        | PrincipalConstraint::Eq(uid)
        | PrincipalConstraint::IsIn(_, uid) => Some(uid),
    }
}

fn actions(policy: &Policy, words: &Words) -> u8 {
    // The schema has no action groups, so `in` means one of these.
    let named = match policy.action_constraint() {
        ActionConstraint::Any => return u8::MAX,
        ActionConstraint::Eq(uid) => vec![uid],
        ActionConstraint::In(uids) => uids,
    };
    let taken = Action::ALL
        .into_iter()
        .filter(|action| words.action(*action).is_none_or(|uid| named.contains(uid)));
    taken.fold(0, |bits, action| bits | bit(action))
}

const fn bit(action: Action) -> u8 {
    1 << action as u8
}
