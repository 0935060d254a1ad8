//! The two answers of the authorize stage. Both keep who asked for what, for the record.

use std::net::IpAddr;
use std::sync::Arc;

use super::verdict::Verdict;
use crate::identity::Principal;
use crate::names::{Role, Team};
use crate::sagemaker::Call;

/// Why a decision came out as it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grounds {
    /// Ids of the policies that decided; empty when nothing matched (default deny).
    pub policies: Arc<[Arc<str>]>,
    /// Policies that failed to evaluate. Any error denies.
    pub errors: Arc<[Arc<str>]>,
    /// The roles the principal holds here.
    pub roles: Arc<[Role]>,
    /// `sha256:` and hex over everything the policy was compiled from.
    pub policy_version: Arc<str>,
}

/// A call that may go on. Only the policy room makes one.
#[derive(Debug)]
pub struct Permit {
    pub(super) principal: Arc<Principal>,
    pub(super) call: Call,
    pub(super) source: IpAddr,
    /// Shared with the decision cache, so that a hit copies nothing.
    pub(super) verdict: Arc<Verdict>,
}

impl Permit {
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    pub fn call(&self) -> &Call {
        &self.call
    }

    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// The team that the call is charged to.
    pub fn team(&self) -> Option<&Team> {
        self.verdict.team.as_ref()
    }

    /// The decision with its grounds.
    pub fn verdict(&self) -> &Arc<Verdict> {
        &self.verdict
    }

    pub fn grounds(&self) -> &Grounds {
        &self.verdict.grounds
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// The user or the token is in `revoked`.
    Revoked,
    /// No policy permits it.
    NoPermit,
    /// A policy forbids it.
    Forbidden,
    /// A policy failed to evaluate, and an error denies.
    PolicyError,
    /// The caller named a team that it does not belong to.
    NotInTeam,
}

impl DenialReason {
    /// The word for it in records and in `explain`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::NoPermit => "no_permit",
            Self::Forbidden => "forbidden",
            Self::PolicyError => "policy_error",
            Self::NotInTeam => "not_in_team",
        }
    }
}

/// A call that may not go on.
#[derive(Debug)]
pub struct Denial {
    pub(super) reason: DenialReason,
    pub(super) principal: Arc<Principal>,
    pub(super) call: Call,
    pub(super) verdict: Arc<Verdict>,
}

impl Denial {
    pub fn reason(&self) -> DenialReason {
        self.reason
    }

    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    pub fn call(&self) -> &Call {
        &self.call
    }

    pub fn team(&self) -> Option<&Team> {
        self.verdict.team.as_ref()
    }

    /// The decision with its grounds.
    pub fn verdict(&self) -> &Arc<Verdict> {
        &self.verdict
    }

    pub fn grounds(&self) -> &Grounds {
        &self.verdict.grounds
    }
}

#[cfg(test)]
impl Permit {
    /// A permit for the tests of later stages.
    pub(crate) fn for_tests(principal: Arc<Principal>, call: Call, team: Option<&str>) -> Self {
        let source = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        let team = team.map(Team::new);
        let outcome = super::verdict::Outcome::Permit;
        let verdict = Verdict { outcome, team, grounds: Grounds::default() };
        Self { principal, call, source, verdict: Arc::new(verdict) }
    }
}
