//! Why a token was refused, said twice: to the developer who sent it (`Display`) and to
//! the operator (`operator`).
//!
//! The developer's text goes into `error_description`, so it keeps to the characters of
//! RFC 6750 §3. It names what was expected, from our configuration; it never repeats what
//! the token said, save for its own times once the signature has been verified.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::issuer::Algorithm;
use crate::names::Issuer;

/// Why no principal came of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error(
        "a token is needed: send Authorization: Bearer, or X-Amz-Security-Token from an AWS SDK"
    )]
    Missing,
    #[error("{0}")]
    Invalid(Reason),
    /// The signature was good and `exp`, with the leeway, is over.
    #[error("the token expired at {}: get a new one", Utc(*.at))]
    Expired { issuer: Issuer, at: SystemTime },
    #[error("the identity provider's keys cannot be had at the moment: try again later")]
    KeysUnavailable,
}

impl AuthError {
    /// What happened, for logs and the record. Holds no value of an unverified token.
    pub fn operator(&self) -> String {
        match self {
            Self::Missing => "no token in the request".to_owned(),
            Self::Invalid(reason) => reason.operator(),
            Self::Expired { issuer, at } => {
                format!("a token of issuer `{issuer}` expired at {}", Utc(*at))
            }
            Self::KeysUnavailable => "the issuer's keys are missing or too old".to_owned(),
        }
    }
}

impl From<Reason> for AuthError {
    fn from(reason: Reason) -> Self {
        Self::Invalid(reason)
    }
}

/// The rule that a token broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("the {0} header came more than once")]
    DoubledHeader(&'static str),
    #[error("Authorization and X-Amz-Security-Token carry different tokens: send one")]
    TwoTokens,
    #[error("the Authorization scheme is not Bearer")]
    Scheme,
    #[error(
        "the request carries an AWS signature and no token: set AWS_SESSION_TOKEN to your token"
    )]
    SignatureOnly,
    #[error("the token is longer than {max} bytes")]
    TooLong { max: usize },
    #[error("the token is not a signed JWT: expected three parts with dots between")]
    Parts,
    #[error("the token's {0} is not base64url without padding: send the JWT alone")]
    Encoding(Part),
    #[error("the {0} of the token is not a JSON object whose members have unique names")]
    Json(Part),
    #[error("the token's header has `{0}`, which is not accepted here")]
    HeaderMember(&'static str),
    #[error("the token's header member `{0}` has the wrong type or is missing")]
    HeaderType(&'static str),
    #[error("the token is nested in another token")]
    Nested,
    #[error("the token's alg is not accepted: expected one of {}", List(.expected))]
    Algorithm { expected: Arc<[Algorithm]> },
    #[error("the token's typ is not accepted: expected one of {}", List(.expected))]
    TokenType { expected: Arc<[String]> },
    #[error("the token's issuer is not trusted here")]
    UnknownIssuer,
    #[error("the token's key is not among its issuer's keys")]
    UnknownKey { issuer: Issuer },
    #[error("the token does not say which of its issuer's keys signed it")]
    AmbiguousKey { issuer: Issuer },
    #[error("the token's key is not one for its alg")]
    UnfitKey { issuer: Issuer },
    #[error("the token's signature is not valid")]
    Signature { issuer: Issuer, kid: Option<Arc<str>> },
    #[error("the token's claim `{}` is missing", Plain(.0))]
    MissingClaim(Arc<str>),
    #[error("the token's claim `{}` has the wrong type or form: expected {expected}", Plain(.claim))]
    ClaimForm { claim: Arc<str>, expected: &'static str },
    #[error("the token is for another audience: expected `{}` to be one of {}", Plain(.claim), List(.expected))]
    Audience { claim: Arc<str>, expected: Arc<[String]> },
    #[error("the token's claim `{}` must be `{}`", Plain(.claim), Plain(.expected))]
    RequiredClaim { claim: Arc<str>, expected: Arc<str> },
    #[error("the token is not valid before {}", Utc(*.at))]
    NotYetValid { at: SystemTime },
    #[error("the token was issued in the future, at {}: compare the clocks", Utc(*.at))]
    IssuedInFuture { at: SystemTime },
    #[error("the token is valid for too long: at most {max_seconds} s are accepted")]
    TooLongLived { max_seconds: u64 },
    #[error(
        "the token leaves out the groups, because its user has too many: \
         have the issuer send only the groups assigned to the application, or app roles"
    )]
    GroupOverage,
}

impl Reason {
    fn operator(&self) -> String {
        match self {
            Self::UnknownKey { issuer } => format!("issuer `{issuer}` has no key of that id"),
            Self::AmbiguousKey { issuer } => {
                format!("more than one key of issuer `{issuer}` fits the token")
            }
            Self::UnfitKey { issuer } => {
                format!("the key of issuer `{issuer}` is not for verifying with the token's alg")
            }
            Self::Signature { issuer, kid } => {
                let kid = kid.as_deref().unwrap_or("without kid");
                format!("the signature does not verify with key `{kid}` of issuer `{issuer}`")
            }
            _ => self.to_string(),
        }
    }
}

/// Which of the three parts of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Header,
    Payload,
    Signature,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}

/// Why the gateway cannot work with the issuers that it was given.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("issuer `{issuer}`: `{setting}` is empty")]
    Empty { issuer: Issuer, setting: &'static str },
    #[error("issuer `{0}`: another issuer has the same name or url")]
    Doubled(Issuer),
    #[error("issuer `{issuer}`: `{url}` is not an http or https url")]
    Url { issuer: Issuer, url: String },
    #[error("issuer `{issuer}`: `ca` holds no usable PEM certificate")]
    Certificates { issuer: Issuer },
    #[error("no usable certificate authority found on this system; set the issuer's `ca`")]
    NoSystemRoots,
    #[error("tls cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// A time as RFC 3339 writes it, in whole seconds.
struct Utc(SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        match i64::try_from(seconds).map(jiff::Timestamp::from_second) {
            Ok(Ok(time)) => time.fmt(f),
            _ => write!(f, "{seconds} s after 1970"),
        }
    }
}

/// Configured text, with what RFC 6750 §3 forbids replaced.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        self.0
            .chars()
            .try_for_each(|c| fmt::Write::write_char(f, if allowed(&c) { c } else { '?' }))
    }
}

struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, item) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}", Plain(&item.to_string()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_developers_text_keeps_to_what_a_challenge_may_hold() {
        let expected = vec!["a\"b\\c\n".to_owned(), "é".to_owned()].into();
        let text = AuthError::from(Reason::Audience { claim: "aud".into(), expected }).to_string();
        assert_eq!(
            text,
            "the token is for another audience: expected `aud` to be one of a?b?c?, ?"
        );
    }

    #[test]
    fn an_expired_token_says_since_when() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_200);
        let error = AuthError::Expired { issuer: Issuer::new("corp"), at };
        assert_eq!(error.to_string(), "the token expired at 2026-11-23T12:00:00Z: get a new one");
        assert_eq!(error.operator(), "a token of issuer `corp` expired at 2026-11-23T12:00:00Z");
    }

    #[test]
    fn a_bad_signature_tells_the_operator_which_key_and_the_developer_nothing() {
        let reason = Reason::Signature { issuer: Issuer::new("corp"), kid: Some("k1".into()) };
        assert_eq!(reason.to_string(), "the token's signature is not valid");
        assert!(AuthError::from(reason).operator().contains("`k1` of issuer `corp`"));
    }
}
