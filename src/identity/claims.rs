//! What a verified token says about its bearer.

use std::sync::Arc;
use std::time::SystemTime;

use super::hash::sha256;
use crate::names::{Group, Issuer, User};

/// A caller whose token passed every rule. Only this room makes one.
#[derive(Debug)]
pub struct Principal {
    pub(super) issuer: Issuer,
    pub(super) issuer_url: Arc<str>,
    pub(super) user: User,
    /// Sorted, without doubles.
    pub(super) groups: Arc<[Group]>,
    pub(super) groups_digest: [u8; 16],
    pub(super) token_id: Option<Arc<str>>,
    pub(super) client: Option<Arc<str>>,
    pub(super) issued_at: Option<SystemTime>,
    pub(super) expires_at: SystemTime,
}

impl Principal {
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The token's `iss`.
    pub fn issuer_url(&self) -> &str {
        &self.issuer_url
    }

    pub fn user(&self) -> &User {
        &self.user
    }

    /// Sorted, without doubles, each qualified by the issuer.
    pub fn groups(&self) -> &Arc<[Group]> {
        &self.groups
    }

    /// A collision-resistant digest of [`groups`](Self::groups): equal digests, equal groups.
    pub fn groups_digest(&self) -> [u8; 16] {
        self.groups_digest
    }

    /// The token's `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// The application that the token was issued to: `azp`, `client_id`, `cid` or `appid`.
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    pub fn issued_at(&self) -> Option<SystemTime> {
        self.issued_at
    }

    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }
}

/// The first 16 bytes of the SHA-256 over the sorted groups.
pub(super) fn digest(groups: &[Group]) -> [u8; 16] {
    let size = groups.iter().map(|group| group.as_str().len() + 1).sum();
    let mut text = String::with_capacity(size);
    for group in groups {
        text.push_str(group.as_str());
        // NUL cannot stand in a group: the claims reader refuses control characters.
        text.push('\0');
    }
    let mut short = [0; 16];
    for (to, from) in short.iter_mut().zip(sha256(text.as_bytes())) {
        *to = from;
    }
    short
}

#[cfg(test)]
impl Principal {
    /// A principal for the tests of later stages; nothing outside tests can skip the token.
    pub(crate) fn for_tests(issuer: &str, user: &str, groups: &[&str]) -> Arc<Self> {
        let issuer = Issuer::new(issuer);
        let mut groups: Vec<_> = groups.iter().map(|g| Group::of(&issuer, g)).collect();
        groups.sort();
        groups.dedup();
        Arc::new(Self {
            user: User::of(&issuer, user),
            groups_digest: digest(&groups),
            groups: groups.into(),
            issuer_url: "https://idp.example.com".into(),
            issuer,
            token_id: Some("jti-1".into()),
            client: None,
            issued_at: None,
            expires_at: SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_102_444_800),
        })
    }
}
