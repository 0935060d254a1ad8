//! What the record does not say of people: pseudonyms instead of names and addresses, and
//! fields that are left out (GDPR Art. 4(5) and 25, HIPAA 45 CFR 164.514).
//!
//! A pseudonym is an HMAC-SHA-256 under a named key, so that one person is one pseudonym for
//! as long as the key is used, nobody without the key can tell whose it is or try out names,
//! and whoever destroys the key has made the records anonymous. It keeps the issuer and says
//! which key made it: `corp/pseudonym:2026-11:8c1f…`.
//!
//! Invariant: where a pseudonym stands for a user or an address, the value itself stands
//! nowhere in the event, not in a text either.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::hmac;

use super::event::{Call, Caller, Decision, Event, Http, Outcome, Targets};
use crate::names::{Group, User};

/// Of the HMAC; as many bits as make a collision among all people improbable.
const PSEUDONYM_BYTES: usize = 16;
/// NIST SP 800-107 §5.3.4: as strong as the hash is wide.
const KEY_BYTES: usize = 32;
/// What Kubernetes' service accounts are called; the kind of caller is nobody's secret.
const SERVICE: &str = "system:serviceaccount:";

/// What to keep back. The default keeps back nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privacy {
    pub pseudonyms: Option<Pseudonyms>,
    pub omit: Vec<Omit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pseudonyms {
    pub key: PseudonymKey,
    pub user: bool,
    /// The caller's address.
    pub source: bool,
}

/// A field that can be left out; OCSF requires none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omit {
    UserAgent,
    Path,
    Groups,
    TokenId,
    Client,
    InferenceId,
    InputLocation,
}

/// A secret, and the name that pseudonyms carry to say which one made them.
#[derive(Clone)]
pub struct PseudonymKey {
    name: Arc<str>,
    key: Arc<hmac::Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("expected a name of 1 to 32 letters, digits, `.`, `_` and `-`, such as `2026-11`")]
    Name,
    #[error("expected at least {KEY_BYTES} bytes, such as `openssl rand -hex 32` makes")]
    Short,
}

impl PseudonymKey {
    /// `secret` as it stands in its file; a line's end behind it is none of it.
    ///
    /// # Errors
    /// When the name would not fit into a pseudonym, or the secret could be guessed.
    pub fn new(name: &str, secret: &[u8]) -> Result<Self, BadKey> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !(1..=32).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(BadKey::Name);
        }
        let secret = secret.trim_ascii_end();
        if secret.len() < KEY_BYTES {
            return Err(BadKey::Short);
        }
        let key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret));
        Ok(Self { name: name.into(), key })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// `kind` keeps a user from having an address's pseudonym.
    fn tag(&self, kind: &str, value: &str) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(value.as_bytes());
        let tag = context.sign();
        hex::encode(tag.as_ref().get(..PSEUDONYM_BYTES).unwrap_or_default())
    }

    fn pseudonym(&self, kind: &str, value: &str) -> String {
        format!("pseudonym:{}:{}", self.name, self.tag(kind, value))
    }

    fn user(&self, user: &User) -> User {
        User::new(match split(user.as_str()) {
            (issuer, subject) if subject.starts_with(SERVICE) => {
                format!("{issuer}{SERVICE}{}", self.pseudonym("user", user.as_str()))
            }
            (issuer, _) => format!("{issuer}{}", self.pseudonym("user", user.as_str())),
        })
    }

    fn source(&self, address: IpAddr) -> String {
        self.pseudonym("source", &address.to_canonical().to_string())
    }

    /// What the pseudonym of `user` looks like whatever its key was called, with `*` for the
    /// name: for searching the record with nothing but the secret.
    pub fn search(&self, user: &str) -> String {
        let (issuer, subject) = split(user);
        let service = if subject.starts_with(SERVICE) { SERVICE } else { "" };
        format!("{issuer}{service}pseudonym:*:{}", self.tag("user", user))
    }
}

/// The issuer with its slash, and the subject.
fn split(user: &str) -> (&str, &str) {
    user.split_at(user.find('/').map_or(0, |slash| slash + 1))
}

/// By a value made with it, for the secret itself cannot be read back.
impl PartialEq for PseudonymKey {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.tag("equal", "") == other.tag("equal", "")
    }
}

impl Eq for PseudonymKey {}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PseudonymKey({})", self.name)
    }
}

impl Privacy {
    /// Whom the record, and any log beside it, may call `user`.
    pub fn user<'a>(&self, user: &'a User) -> Cow<'a, User> {
        match self.pseudonyms.as_ref().filter(|pseudonyms| pseudonyms.user) {
            Some(pseudonyms) => Cow::Owned(pseudonyms.key.user(user)),
            None => Cow::Borrowed(user),
        }
    }

    /// A pseudonym instead of the address, or `None` where it may be told.
    pub fn source(&self, address: IpAddr) -> Option<String> {
        let pseudonyms = self.pseudonyms.as_ref().filter(|pseudonyms| pseudonyms.source)?;
        Some(pseudonyms.key.source(address))
    }

    /// Whether nothing may name a user.
    pub fn hides_users(&self) -> bool {
        self.pseudonyms.as_ref().is_some_and(|pseudonyms| pseudonyms.user)
    }

    /// The id of a token, where it may be told.
    pub fn token_id<'a>(&self, id: &'a str) -> Option<&'a str> {
        Some(id).filter(|_| !self.omits(Omit::TokenId))
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.pseudonyms.as_ref().map(|pseudonyms| pseudonyms.key.name())
    }

    pub(super) fn omits(&self, field: Omit) -> bool {
        self.omit.contains(&field)
    }

    pub(super) fn is_open(&self) -> bool {
        self.pseudonyms.is_none() && self.omit.is_empty()
    }
}

/// What stands in one event instead of what was kept back.
#[derive(Debug)]
pub(super) struct Veil<'e> {
    user: Option<User>,
    source: Option<String>,
    groups: Vec<Group>,
    errors: Vec<Arc<str>>,
    detail: Option<Cow<'e, str>>,
    path: Option<Cow<'e, str>>,
    user_agent: Option<Cow<'e, str>>,
    client: Option<Cow<'e, str>>,
    token_id: Option<Cow<'e, str>>,
    inference_id: Option<Cow<'e, str>>,
    model: Option<Cow<'e, str>>,
    input_location: Option<Cow<'e, str>>,
    output_extension: Option<Cow<'e, str>>,
}

impl<'e> Veil<'e> {
    pub(super) fn of(privacy: &Privacy, event: &Event<'e>) -> Self {
        let user = event.caller.map(|caller| privacy.user(caller.user));
        let source = privacy.source(event.source.ip());
        let hidden = Hidden::of(event, user.as_deref(), source.as_deref());
        let text = |text: Option<&'e str>| text.map(|text| hidden.in_text(text));
        let unless = |field, text: Option<&'e str>| {
            text.filter(|_| !privacy.omits(field)).map(|text| hidden.in_text(text))
        };
        let (caller, call) = (event.caller, event.call);
        let targets = call.map(|call| call.targets).unwrap_or_default();
        let groups = caller.filter(|_| !privacy.omits(Omit::Groups)).map(|caller| caller.groups);
        Self {
            groups: groups.unwrap_or_default().iter().map(|group| hidden.in_group(group)).collect(),
            errors: event
                .decision
                .map_or(&[][..], |decision| decision.errors)
                .iter()
                .map(|error| hidden.in_text(error).into())
                .collect(),
            detail: text(event.outcome.and_then(|outcome| outcome.detail)),
            path: unless(Omit::Path, event.http.path),
            user_agent: unless(Omit::UserAgent, event.http.user_agent),
            client: unless(Omit::Client, caller.and_then(|caller| caller.client)),
            token_id: unless(Omit::TokenId, caller.and_then(|caller| caller.token_id)),
            inference_id: unless(Omit::InferenceId, call.and_then(|call| call.inference_id)),
            model: text(targets.model),
            input_location: unless(Omit::InputLocation, targets.input_location),
            output_extension: text(targets.output_extension),
            user: user.map(Cow::into_owned),
            source,
        }
    }

    /// What stands for the address.
    pub(super) fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// The event as it may be told.
    pub(super) fn over<'v>(&'v self, event: &Event<'v>) -> Event<'v> {
        let mut event = event.clone();
        event.http = Http {
            path: self.path.as_deref(),
            user_agent: self.user_agent.as_deref(),
            ..event.http
        };
        event.call = event.call.map(|call| Call {
            targets: Targets {
                model: self.model.as_deref(),
                input_location: self.input_location.as_deref(),
                output_extension: self.output_extension.as_deref(),
                ..call.targets
            },
            inference_id: self.inference_id.as_deref(),
            ..call
        });
        event.caller = event.caller.map(|caller| Caller {
            user: self.user.as_ref().unwrap_or(caller.user),
            groups: &self.groups,
            client: self.client.as_deref(),
            token_id: self.token_id.as_deref(),
            ..caller
        });
        event.decision =
            event.decision.map(|decision| Decision { errors: &self.errors, ..decision });
        let detail = self.detail.as_deref();
        event.outcome = event.outcome.map(|outcome| Outcome { detail, ..outcome });
        event
    }
}

/// Values and what stands for them, the longer before those inside them.
struct Hidden<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Hidden<'a> {
    fn of(event: &Event<'a>, user: Option<&'a User>, source: Option<&'a str>) -> Self {
        let mut hidden = Vec::new();
        if let Some((caller, told)) = event.caller.zip(user).filter(|(c, told)| c.user != *told) {
            let (whole, told) = (caller.user.as_str(), told.as_str());
            for (value, told) in [(whole, told), (split(whole).1, split(told).1)] {
                // As Cedar writes a name in its errors.
                let escaped = value.escape_debug().to_string();
                if escaped != value {
                    hidden.push((escaped.into(), told));
                }
                hidden.push((value.into(), told));
            }
        }
        if let Some(told) = source {
            hidden.push((event.source.ip().to_canonical().to_string().into(), told));
        }
        Self(hidden)
    }

    fn in_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.0.iter().fold(Cow::Borrowed(text), |text, (value, told)| {
            if has_word(&text, value) { replace_words(&text, value, told).into() } else { text }
        })
    }

    /// Some providers give everybody a group of their own name.
    fn in_group(&self, group: &Group) -> Group {
        match self.in_text(group.as_str()) {
            Cow::Borrowed(_) => group.clone(),
            Cow::Owned(told) => Group::new(told),
        }
    }
}

fn has_word(text: &str, word: &str) -> bool {
    !word.is_empty() && text.match_indices(word).any(|(at, _)| is_word(text, at, word.len()))
}

/// Not in the middle of another word: a user `1` is no reason to take apart every number.
fn is_word(text: &str, at: usize, length: usize) -> bool {
    let before = text.get(..at).and_then(|text| text.chars().next_back());
    let after = text.get(at + length..).and_then(|text| text.chars().next());
    ![before, after].into_iter().flatten().any(char::is_alphanumeric)
}

fn replace_words(text: &str, word: &str, with: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in text.match_indices(word).filter(|(at, _)| is_word(text, *at, word.len())) {
        replaced.push_str(text.get(done..at).unwrap_or_default());
        replaced.push_str(with);
        done = at + word.len();
    }
    replaced.push_str(text.get(done..).unwrap_or_default());
    replaced
}

#[cfg(test)]
mod tests;
