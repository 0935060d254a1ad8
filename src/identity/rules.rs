//! The claims of a verified token → a [`Principal`].
//!
//! Pure: claims, the issuer's rules and the time in, a principal or the first broken rule
//! out. A claim of the wrong type is never taken for a missing one, and a missing one never
//! for an empty one.

use std::slice;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::claims::{Principal, digest};
use super::error::{AuthError, Reason};
use super::issuer::{Algorithm, IssuerConfig};
use super::json::{Json, Object};
use super::token::{Token, media_type};
use crate::names::{Group, Issuer, User};

const MAX_GROUPS: usize = 1000;
const MAX_USER_CHARS: usize = 256;

/// 9999-12-31T23:59:59Z: what comes later is no date but a mistake or an attack.
const MAX_DATE: f64 = 253_402_300_799.0;

/// An issuer's configuration in the form that checking a token needs.
#[derive(Debug)]
pub(super) struct Rules {
    issuer: Issuer,
    url: Arc<str>,
    algorithms: Arc<[Algorithm]>,
    token_types: Arc<[String]>,
    audiences: Arc<[String]>,
    audience_claim: Arc<str>,
    groups_claim: Vec<String>,
    user_claim: Vec<String>,
    required: Vec<(Arc<str>, Arc<str>)>,
    leeway: Duration,
    max_age: Option<Duration>,
}

/// What the rules say of a token whose signature nobody has checked. It proves nothing, and
/// no [`Principal`] comes of it: it is for telling what is wrong with a token.
///
/// # Errors
/// The first rule that the header or a claim breaks.
pub fn review(config: &IssuerConfig, token: &Token<'_>, now: SystemTime) -> Result<(), AuthError> {
    let (rules, claims) = (Rules::new(config), token.claims()?);
    if !rules.is_issuer_of(&claims) {
        return Err(Reason::UnknownIssuer.into());
    }
    rules.check_header(token)?;
    rules.check_claims(&claims, now).map(drop)
}

/// What the token says about its own life.
#[derive(Clone, Copy)]
struct Life {
    issued: Option<SystemTime>,
    expires: SystemTime,
}

impl Rules {
    pub(super) fn new(config: &IssuerConfig) -> Self {
        let required = config.required_claims.iter();
        Self {
            issuer: config.name.clone(),
            url: config.url.as_str().into(),
            algorithms: config.algorithms.as_slice().into(),
            token_types: config.token_types.iter().map(|typ| media_type(typ)).collect(),
            audiences: config.audiences.as_slice().into(),
            audience_claim: config.audience_claim.as_str().into(),
            groups_claim: config.groups_claim.clone(),
            user_claim: config.user_claim.clone(),
            required: required.map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect(),
            leeway: config.leeway,
            max_age: Some(config.max_token_age).filter(|age| *age != Duration::MAX),
        }
    }

    pub(super) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Whether the claims, not yet verified, name this issuer.
    pub(super) fn is_issuer_of(&self, claims: &Object<'_>) -> bool {
        claims.member("iss").and_then(Json::text) == Some(&*self.url)
    }

    /// The rules that the header must keep before a key is looked for.
    pub(super) fn check_header(&self, token: &Token<'_>) -> Result<Algorithm, Reason> {
        if !self.token_types.iter().any(|typ| typ == token.typ()) {
            return Err(Reason::TokenType { expected: Arc::clone(&self.token_types) });
        }
        let allowed = self.algorithms.iter().find(|alg| alg.as_str() == token.alg());
        let expected = || Reason::Algorithm { expected: Arc::clone(&self.algorithms) };
        allowed.copied().ok_or_else(expected)
    }

    /// The rules for the claims of a token whose signature is good.
    pub(super) fn check_claims(
        &self,
        claims: &Object<'_>,
        now: SystemTime,
    ) -> Result<Principal, AuthError> {
        let life = self.check_life(claims, now)?;
        self.check_audience(claims)?;
        self.check_required(claims)?;
        Ok(self.principal(claims, life)?)
    }

    /// Whether a token that expires at `at` is over: on the cached path, too.
    pub(super) fn check_expiry(&self, at: SystemTime, now: SystemTime) -> Result<(), AuthError> {
        if now < later(at, self.leeway) {
            return Ok(());
        }
        Err(AuthError::Expired { issuer: self.issuer.clone(), at })
    }

    /// RFC 7519 §4.1.4 to §4.1.6.
    fn check_life(&self, claims: &Object<'_>, now: SystemTime) -> Result<Life, AuthError> {
        let expires = date(claims, "exp")?.ok_or_else(|| missing("exp"))?;
        let (not_before, issued) = (date(claims, "nbf")?, date(claims, "iat")?);
        self.check_expiry(expires, now)?;
        let soon = later(now, self.leeway);
        if let Some(at) = not_before.filter(|at| *at > soon) {
            return Err(Reason::NotYetValid { at }.into());
        }
        if let Some(at) = issued.filter(|at| *at > soon) {
            return Err(Reason::IssuedInFuture { at }.into());
        }
        self.check_age(issued, expires)?;
        Ok(Life { issued, expires })
    }

    fn check_age(&self, issued: Option<SystemTime>, expires: SystemTime) -> Result<(), Reason> {
        if issued.is_some_and(|issued| issued >= expires) {
            return Err(form("exp", "a time after `iat`"));
        }
        let Some(max) = self.max_age else { return Ok(()) };
        let issued = issued.ok_or_else(|| missing("iat"))?;
        match expires.duration_since(issued) {
            Ok(age) if age <= max => Ok(()),
            _ => Err(Reason::TooLongLived { max_seconds: max.as_secs() }),
        }
    }

    /// RFC 7519 §4.1.3: a text or an array of texts, one of which is ours.
    fn check_audience(&self, claims: &Object<'_>) -> Result<(), Reason> {
        let claim = &self.audience_claim;
        let audience = claims.member(claim).ok_or_else(|| Reason::MissingClaim(claim.clone()))?;
        let mut given = texts(audience)
            .filter(|given| given.len() > 0)
            .ok_or_else(|| form(claim, "a text, or an array of texts"))?;
        if given.any(|given| self.audiences.iter().any(|ours| ours == given)) {
            return Ok(());
        }
        let (claim, expected) = (Arc::clone(claim), Arc::clone(&self.audiences));
        Err(Reason::Audience { claim, expected })
    }

    fn check_required(&self, claims: &Object<'_>) -> Result<(), Reason> {
        let met = |name: &str, value: &str| {
            claims.member(name).and_then(Json::plain).as_deref() == Some(value)
        };
        match self.required.iter().find(|(name, value)| !met(name, value)) {
            None => Ok(()),
            Some((name, value)) => {
                let (claim, expected) = (Arc::clone(name), Arc::clone(value));
                Err(Reason::RequiredClaim { claim, expected })
            }
        }
    }

    fn principal(&self, claims: &Object<'_>, life: Life) -> Result<Principal, Reason> {
        let subject = claims.member("sub").ok_or_else(|| missing("sub"))?;
        if subject.text().is_none_or(str::is_empty) {
            return Err(form("sub", "a text that is not empty"));
        }
        let user = self.user(claims)?;
        let groups = self.groups(claims)?;
        Ok(Principal {
            issuer: self.issuer.clone(),
            issuer_url: Arc::clone(&self.url),
            user: User::of(&self.issuer, user),
            groups_digest: digest(&groups),
            groups,
            token_id: token_id(claims)?,
            client: client(claims),
            issued_at: life.issued,
            expires_at: life.expires,
        })
    }

    fn user<'a>(&self, claims: &'a Object<'_>) -> Result<&'a str, Reason> {
        let name = || self.user_claim.join(".");
        let user = at_path(claims, &self.user_claim)?
            .ok_or_else(|| Reason::MissingClaim(name().into()))?;
        user.text()
            .filter(|user| is_name(user) && user.chars().count() <= MAX_USER_CHARS)
            .ok_or_else(|| {
                form(&name(), "a text of 1 to 256 characters without control characters")
            })
    }

    /// Sorted, without doubles; empty if the token has no such claim.
    fn groups(&self, claims: &Object<'_>) -> Result<Arc<[Group]>, Reason> {
        if self.is_overage(claims) {
            return Err(Reason::GroupOverage);
        }
        let Some(claim) = at_path(claims, &self.groups_claim)? else { return Ok(Arc::new([])) };
        let mut names: Vec<_> = texts(claim)
            .filter(|names| names.len() <= MAX_GROUPS && names.clone().all(is_name))
            .ok_or_else(|| {
                form(&self.groups_claim.join("."), "an array of at most 1000 group names")
            })?
            .collect();
        // The issuer before each of them changes neither their order nor which are equal.
        names.sort_unstable();
        names.dedup();
        Ok(names.iter().map(|name| Group::of(&self.issuer, name)).collect())
    }

    /// Entra leaves out the groups of a user who has more than 200, and says so with
    /// `_claim_names` or, in the implicit flow, `hasgroups`. Such a token must not count as
    /// one of a user without groups: a policy may forbid by group.
    fn is_overage(&self, claims: &Object<'_>) -> bool {
        let Some(claim) = self.groups_claim.first() else { return false };
        let elsewhere = claims.member("_claim_names").and_then(Json::object);
        let has_groups = claims.member("hasgroups").and_then(Json::plain);
        elsewhere.is_some_and(|names| names.has(claim))
            || claim == "groups" && has_groups.as_deref() == Some("true")
    }
}

/// `None` if the claim, or an object on the way to it, is not there; an error if what is on
/// the way is no object.
fn at_path<'a, 'j>(
    claims: &'a Object<'j>,
    path: &[String],
) -> Result<Option<&'a Json<'j>>, Reason> {
    let Some((last, objects)) = path.split_last() else { return Ok(None) };
    let mut object = claims;
    for name in objects {
        let Some(next) = object.member(name) else { return Ok(None) };
        object = next.object().ok_or_else(|| form(name, "an object"))?;
    }
    Ok(object.member(last))
}

/// One text, or an array of nothing but texts.
fn texts<'a>(value: &'a Json<'_>) -> Option<impl ExactSizeIterator<Item = &'a str> + Clone> {
    let items = value.array().unwrap_or(slice::from_ref(value));
    let texts = items.iter().all(|item| item.text().is_some());
    texts.then(|| items.iter().map(|item| item.text().unwrap_or_default()))
}

/// RFC 7519 §2, NumericDate: seconds since 1970, fractions allowed.
fn date(claims: &Object<'_>, name: &'static str) -> Result<Option<SystemTime>, Reason> {
    let Some(value) = claims.member(name) else { return Ok(None) };
    let Json::Number(number) = value else { return Err(form(name, DATE)) };
    let seconds = number.as_f64().filter(|seconds| (0.0..=MAX_DATE).contains(seconds));
    let since = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    since.map(|since| Some(UNIX_EPOCH + since)).ok_or_else(|| form(name, DATE))
}

const DATE: &str = "a number of seconds since 1970";

/// A leeway too large to add is no leeway.
fn later(time: SystemTime, leeway: Duration) -> SystemTime {
    time.checked_add(leeway).unwrap_or(time)
}

/// `revoked` names token ids, so that one of another type must not slip by.
fn token_id(claims: &Object<'_>) -> Result<Option<Arc<str>>, Reason> {
    let Some(id) = claims.member("jti") else { return Ok(None) };
    let id = id.text().filter(|id| is_name(id));
    id.map(|id| Some(id.into())).ok_or_else(|| form("jti", "a text without control characters"))
}

/// RFC 9068 and Cognito say `client_id`, OpenID Connect and Keycloak `azp`, Okta `cid`,
/// Entra's v1 tokens `appid`.
fn client(claims: &Object<'_>) -> Option<Arc<str>> {
    ["azp", "client_id", "cid", "appid"]
        .into_iter()
        .find_map(|name| claims.member(name).and_then(Json::text))
        .filter(|client| is_name(client))
        .map(Arc::from)
}

/// Printable ASCII, as most names are, is settled without looking at characters.
fn is_name(text: &str) -> bool {
    let printable = |byte| (b' '..=b'~').contains(&byte);
    !text.is_empty() && (text.bytes().all(printable) || !text.chars().any(char::is_control))
}

fn missing(claim: &str) -> Reason {
    Reason::MissingClaim(claim.into())
}

fn form(claim: &str, expected: &'static str) -> Reason {
    Reason::ClaimForm { claim: claim.into(), expected }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_any_text_without_control_characters(
            text in prop_oneof![any::<String>(), "[ -~]{0,8}[\u{0}-\u{a1}]?"],
        ) {
            let plain = !text.is_empty() && !text.chars().any(char::is_control);
            prop_assert_eq!(is_name(&text), plain);
        }
    }
}
