//! Where limits are kept.

use std::path::PathBuf;

use http::Uri;
use secrecy::SecretString;

use super::gateway::{certificates, not_zero, private_key};
use super::url::is_loopback;
use crate::config::at::At;
use crate::config::file::gateway::Gateway;
use crate::config::file::store as file;
use crate::config::sources::Sources;
use crate::limits::{OnFailure, RedisConfig, RedisTls};

/// `None` where each gateway keeps its own counts.
pub(in crate::config) fn store(
    at: &At<'_>,
    file: &Gateway,
    sources: &mut Sources,
) -> Option<RedisConfig> {
    let redis = &file.limits.store.as_ref()?.redis;
    let here = at.key("limits").key("store").key("redis");
    let plain = file.danger.plaintext_limit_store || at.key("danger").damaged();
    let encrypted = url(&here, redis, plain);
    let tls = redis.tls.as_ref().map(|files| {
        let at = here.key("tls");
        if encrypted == Some(false) {
            at.reject_with("the store is asked in plaintext", Some("write `rediss://` in `url`"));
        }
        tls(&at, files, sources)
    });
    Some(RedisConfig {
        url: SecretString::from(redis.url.0.clone()),
        cluster: redis.cluster,
        tls: tls.unwrap_or_default(),
        timeout: not_zero(&here.key("timeout"), redis.timeout.0),
        on_failure: match redis.on_failure {
            file::OnFailure::Local => OnFailure::Local,
            file::OnFailure::Open => OnFailure::Open,
            file::OnFailure::Closed => OnFailure::Closed,
        },
    })
}

/// Whether it asks for TLS; `None` with a fault. No fault repeats the URL: it may hold a
/// password.
fn url(here: &At<'_>, redis: &file::Redis, plain: bool) -> Option<bool> {
    let at = here.key("url");
    let (text, example) = (&redis.url.0, Some("such as `rediss://redis.example.com:6379`"));
    let uri: Option<Uri> = text.parse().ok().filter(|uri: &Uri| uri.host().is_some());
    let Some(uri) = uri.filter(|_| !text.contains(['?', '#'])) else {
        if at.spelled() {
            at.reject_with("expected the URL of a Redis or Valkey server", example);
        }
        return None;
    };
    let database = uri.path().trim_start_matches('/');
    if !database.is_empty() && database.parse::<u16>().is_err() {
        at.reject("the path is the number of a database, or empty");
    } else if redis.cluster && !matches!(database, "" | "0") {
        at.reject("a cluster has no databases but 0");
    }
    match uri.scheme_str() {
        Some("rediss" | "valkeys") => Some(true),
        Some("redis" | "valkey") => {
            if !plain && !uri.host().is_some_and(is_loopback) {
                at.reject_with(
                    "`redis://` is for loopback addresses",
                    Some("use `rediss://`, or spell out `danger: { plaintext_limit_store: true }`"),
                );
            }
            Some(false)
        }
        _ => {
            at.reject_with("expected the URL of a Redis or Valkey server", example);
            None
        }
    }
}

fn tls(at: &At<'_>, files: &file::RedisTls, sources: &mut Sources) -> RedisTls {
    let mut read = |key: &str, path: &Option<PathBuf>| {
        path.as_ref().and_then(|path| certificates(&at.key(key), path, sources))
    };
    let (ca, certificate) = (read("ca", &files.ca), read("certificate", &files.certificate));
    let key = files.private_key.as_ref();
    let key = key.and_then(|path| private_key(&at.key("private_key"), path, sources));
    if files.certificate.is_some() != files.private_key.is_some() {
        at.reject("`certificate` and `private_key` go together");
    }
    RedisTls::new(ca, certificate.zip(key))
}
