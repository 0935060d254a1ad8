//! What a principal may do.

mod access;
mod compile;
mod permit;
mod verdict;

pub use access::{
    Access, Binding, Pattern, PolicyFault, PolicyFile, Revoked, RoleRules, Rule, TeamMembers, When,
};
pub use compile::Policy;
pub use permit::{Denial, DenialReason, Grounds, Permit};
pub use verdict::{Outcome, Query, TargetNames, Verdict};
