//! Who is calling: an OIDC token → a [`Principal`].
//!
//! The `jsonwebtoken` crate checks the signature and nothing else. It accepts much that
//! RFC 8725 forbids (any `crit`, any `typ`, a doubled claim, no `aud`), so every other rule
//! is ours, strict, and pure: [`token`] reads the compact form, [`keys`] the issuer's key
//! set, `rules` the claims; each takes what it needs, the time included, as a parameter.
//! Around them stand the parts that know the network: `fetch` (discovery and key sets),
//! `store` (what an issuer's keys are now) and the [`Authenticator`] that requests call.
//!
//! It refuses whatever it does not fully understand. Invariants: a [`Principal`] exists only
//! if a key that its issuer publishes *now* signed its token; no token, and no value from
//! an unverified one, is ever logged, printed or put in an error.

mod authenticator;
mod bearer;
mod cache;
mod claims;
mod error;
mod fetch;
mod hash;
mod issuer;
mod json;
pub mod keys;
mod rules;
mod store;
pub mod token;

pub use authenticator::Authenticator;
pub use claims::Principal;
pub use error::{AuthError, IdentityError, Part, Reason};
pub use issuer::{Algorithm, IssuerConfig, UnknownAlgorithm};
pub use rules::review;

#[cfg(test)]
mod tests;
