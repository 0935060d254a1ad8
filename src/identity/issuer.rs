//! What the operator says about an issuer: the whole of what its tokens are held to.
//!
//! Nothing here has a default. The configuration's author chose every value, and a list
//! that would let everything or nothing through is refused when the gateway starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::error::IdentityError;
use crate::names::Issuer;

/// One trusted issuer.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerConfig {
    pub name: Issuer,
    /// Compared with the token's `iss` byte for byte.
    pub url: String,
    /// One of them must be in the token's audience claim.
    pub audiences: Vec<String>,
    /// `aud`; for Cognito's access tokens `client_id`.
    pub audience_claim: String,
    pub algorithms: Vec<Algorithm>,
    /// Accepted `typ`, in lower case. A token without `typ` counts as `jwt`.
    pub token_types: Vec<String>,
    /// A top-level claim, or a path into objects.
    pub groups_claim: Vec<String>,
    /// A top-level claim, or a path into objects.
    pub user_claim: Vec<String>,
    /// Top-level claims and their values; numbers and booleans as JSON writes them.
    pub required_claims: BTreeMap<String, String>,
    /// How far our clock and the issuer's may differ.
    pub leeway: Duration,
    /// Bounds `exp - iat`. `Duration::MAX` lifts the bound, and `iat` becomes optional.
    pub max_token_age: Duration,
    /// Instead of discovery.
    pub jwks_url: Option<String>,
    /// A key that left the issuer's set stops working within this time.
    pub jwks_refresh: Duration,
    /// Without a successful fetch for this long, the issuer's tokens are refused.
    pub jwks_max_stale: Duration,
    /// PEM certificates to trust instead of the system's.
    pub ca: Option<Vec<u8>>,
}

impl IssuerConfig {
    /// Refuses what would make a rule empty.
    pub(super) fn check(&self) -> Result<(), IdentityError> {
        let empty = |setting| IdentityError::Empty { issuer: self.name.clone(), setting };
        let lists = [
            ("audiences", self.audiences.is_empty() || self.audiences.contains(&String::new())),
            ("audience_claim", self.audience_claim.is_empty()),
            ("algorithms", self.algorithms.is_empty()),
            ("token_types", self.token_types.is_empty()),
            ("groups_claim", self.groups_claim.is_empty()),
            ("user_claim", self.user_claim.is_empty()),
            ("jwks_refresh", self.jwks_refresh.is_zero()),
            ("jwks_max_stale", self.jwks_max_stale.is_zero()),
        ];
        lists.into_iter().try_for_each(
            |(setting, wrong)| {
                if wrong { Err(empty(setting)) } else { Ok(()) }
            },
        )
    }
}

/// Refuses two issuers of one name or of one URL: a token must choose exactly one.
pub(super) fn check_all(issuers: &[IssuerConfig]) -> Result<(), IdentityError> {
    let (mut names, mut urls) = (BTreeSet::new(), BTreeSet::new());
    for issuer in issuers {
        issuer.check()?;
        if !names.insert(issuer.name.as_str()) || !urls.insert(issuer.url.as_str()) {
            return Err(IdentityError::Doubled(issuer.name.clone()));
        }
    }
    Ok(())
}

/// A signature algorithm of RFC 7518 §3.1 or RFC 8037 §3.1. Symmetric ones and `none` do
/// not exist here, so that no configuration can name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The name in a token's `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(super) const fn of_crate(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Rs384 => jsonwebtoken::Algorithm::RS384,
            Self::Rs512 => jsonwebtoken::Algorithm::RS512,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
            Self::Ps384 => jsonwebtoken::Algorithm::PS384,
            Self::Ps512 => jsonwebtoken::Algorithm::PS512,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Es384 => jsonwebtoken::Algorithm::ES384,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is none of [`Algorithm::ALL`]; names are compared with case (RFC 7515 §4.1.1).
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an accepted signature algorithm")]
pub struct UnknownAlgorithm(String);

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_read_back_as_they_print_and_nothing_else_reads() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse::<Algorithm>().ok(), Some(algorithm));
        }
        for bad in ["none", "None", "HS256", "rs256", "ES512", "ES256K", "", "RS256 "] {
            assert!(bad.parse::<Algorithm>().is_err(), "{bad}");
        }
    }
}
