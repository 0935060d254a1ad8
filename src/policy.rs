//! What a principal may do: `Principal` + `Call` → [`Permit`] or [`Denial`].
//!
//! This room owns the meaning of `access.yaml` ([`Access`]) and of `policies/*.cedar`: roles
//! compile to Cedar, both are checked strictly against `config/sagegate.cedarschema`, and one
//! [`Policy`] answers for both. It refuses by default: no permit that matched, a forbid that
//! did, a policy that failed, a name that nobody has (at load) all mean no.
//!
//! How a question travels:
//!
//! 1. `standing` finds the caller's set of roles and teams, shared by all who hold the same;
//! 2. revocation, which nothing caches;
//! 3. `asked` strips the request of all that no loaded policy reads (`footprint`);
//! 4. `cache` knows that stripped request, or
//! 5. `decide` shows it to Cedar with the policies that can matter (`slice`).
//!
//! Invariant: what the cache's key lacks, Cedar is not shown, so a cached decision is the
//! fresh decision; and `explain` runs steps 1, 2, 3 and 5, the code that enforces. Pure: the
//! time is a parameter, and nothing here waits or does I/O.

mod access;
mod asked;
mod cache;
mod case;
mod compile;
mod decide;
mod footprint;
mod load;
mod permit;
mod roles;
mod slice;
mod standing;
#[cfg(test)]
mod tests;
mod verdict;
mod words;

pub use access::{
    Access, Binding, Pattern, PolicyFault, PolicyFile, Revoked, RoleRules, Rule, TeamMembers, When,
};
pub use decide::Policy;
pub use footprint::{Footprint, Input};
pub use permit::{Denial, DenialReason, Grounds, Permit};
pub use verdict::{Outcome, Query, TargetNames, Verdict};
