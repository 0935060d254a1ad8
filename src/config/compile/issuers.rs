//! `issuers:`: whose tokens are accepted, and by which rules.

use std::time::Duration;

use super::gateway::{certificates, not_zero};
use super::url::{self, Plain};
use crate::config::at::At;
use crate::config::file::gateway as file;
use crate::config::sources::Sources;
use crate::identity::{Algorithm, IssuerConfig};
use crate::names::Issuer;

/// Clocks that differ by more are broken, and an expired token would work as long.
const MAX_LEEWAY: Duration = Duration::from_secs(600);

pub(in crate::config) fn issuers<'a>(
    at: &At<'a>,
    file: &'a file::Gateway,
    sources: &mut Sources,
) -> Vec<IssuerConfig> {
    let here = at.key("issuers");
    let on = file.danger.http_issuers || at.key("danger").damaged();
    let plain = Plain { danger: "http_issuers", on };
    let mut all: Vec<IssuerConfig> = Vec::new();
    for (named, here, name, issuer) in here.named(&file.issuers) {
        check_name(&named, name);
        let same = |other: &&IssuerConfig| !other.url.is_empty() && other.url == issuer.issuer;
        if let Some(other) = all.iter().find(same) {
            let message = format!("`{}` has this issuer already", other.name);
            here.key("issuer").reject(message);
        }
        all.push(compile(&here, name, issuer, plain, sources));
    }
    all
}

/// A user is `issuer/name`, so that a `/` in the issuer would let one issuer speak for another.
fn check_name(at: &At<'_>, name: &str) {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(good) {
        at.reject("an issuer's name has only letters, digits, `-`, `_` and `.`");
    }
}

fn compile(
    at: &At<'_>,
    name: &str,
    file: &file::Issuer,
    plain: Plain,
    sources: &mut Sources,
) -> IssuerConfig {
    if at.key("issuer").spelled() {
        url::check(&at.key("issuer"), &file.issuer, plain);
    }
    if let Some(text) = &file.jwks_url {
        url::check(&at.key("jwks_url"), text, plain);
    }
    check_times(at, file);
    IssuerConfig {
        name: Issuer::new(name),
        url: file.issuer.clone(),
        audiences: file.audiences.clone(),
        audience_claim: file.audience_claim.clone(),
        algorithms: file.algorithms.iter().copied().map(algorithm).collect(),
        token_types: file.token_types.iter().map(|name| name.to_ascii_lowercase()).collect(),
        groups_claim: file.groups_claim.steps().to_vec(),
        user_claim: file.user_claim.steps().to_vec(),
        required_claims: file.required_claims.clone(),
        leeway: file.leeway.0,
        max_token_age: not_zero(&at.key("max_token_age"), file.max_token_age.0),
        jwks_url: file.jwks_url.clone(),
        jwks_refresh: not_zero(&at.key("jwks_refresh"), file.jwks_refresh.0),
        jwks_max_stale: file.jwks_max_stale.0,
        ca: file.ca.as_ref().and_then(|path| certificates(&at.key("ca"), path, sources)),
    }
}

fn check_times(at: &At<'_>, file: &file::Issuer) {
    if file.leeway.0 > MAX_LEEWAY {
        at.key("leeway").reject("must be at most 10m: expired tokens work for as long");
    }
    if file.jwks_max_stale < file.jwks_refresh && !at.damaged() {
        let message = format!(
            "is less than `jwks_refresh`, {}: keys would always be stale",
            file.jwks_refresh
        );
        at.key("jwks_max_stale").reject(message);
    }
}

const fn algorithm(file: file::Algorithm) -> Algorithm {
    match file {
        file::Algorithm::RS256 => Algorithm::Rs256,
        file::Algorithm::RS384 => Algorithm::Rs384,
        file::Algorithm::RS512 => Algorithm::Rs512,
        file::Algorithm::PS256 => Algorithm::Ps256,
        file::Algorithm::PS384 => Algorithm::Ps384,
        file::Algorithm::PS512 => Algorithm::Ps512,
        file::Algorithm::ES256 => Algorithm::Es256,
        file::Algorithm::ES384 => Algorithm::Es384,
        file::Algorithm::EdDSA => Algorithm::EdDsa,
    }
}
