//! `sagegate.yaml` without its issuers: listeners, upstream, record, log, dangers.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::privacy;
use super::url::{self, Plain};
use crate::audit::signing::SigningKey;
use crate::audit::{Durability, JournalConfig};
use crate::config::at::At;
use crate::config::file::gateway as file;
use crate::config::loaded::LogConfig;
use crate::config::loaded::{AdminConfig, AwsConfig, ServerConfig};
use crate::config::sources::{Sources, why};
use crate::server::{self, TlsFiles};
use crate::telemetry::log;
use crate::upstream::Timeouts;

pub(in crate::config) fn server(
    at: &At<'_>,
    file: &file::Gateway,
    sources: &mut Sources,
) -> ServerConfig {
    let here = at.key("server");
    let file::Server { listen, tls, max_body, body_memory, .. } = &file.server;
    if max_body.0 == 0 {
        here.key("max_body").reject("must not be zero");
    }
    if max_body > body_memory && !here.damaged() {
        let message = format!("is more than `body_memory`, {body_memory}: such a body never fits");
        here.key("max_body").reject(message);
    }
    let plaintext = tls.is_none() && !here.damaged() && !at.key("danger").damaged();
    if plaintext && !listen.0.ip().is_loopback() && !file.danger.plaintext_listener {
        here.key("listen").reject_with(
            "without `tls`, tokens would cross the network in plaintext",
            Some("give `server.tls`, listen on 127.0.0.1 as a sidecar does, or spell out `danger: { plaintext_listener: true }`"),
        );
    }
    let tls = tls.as_ref().map(|tls| tls_files(&here.key("tls"), tls, sources));
    ServerConfig { listen: listen.0, tls, bounds: bounds(&here, &file.server) }
}

/// Below it no token fits; above it a head is no head.
const HEADS: RangeInclusive<u64> = (16 << 10)..=(1 << 20);

fn bounds(at: &At<'_>, file: &file::Server) -> server::Bounds {
    let file::Bounds { connections, connections_per_address, streams, headers, head, .. } =
        file.bounds;
    if !HEADS.contains(&head.0) {
        at.key("bounds").key("head").reject("must be between 16KiB and 1MiB");
    }
    let (here, file) = (at.key("timeouts"), &file.timeouts);
    let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    server::Bounds {
        connections: size(connections),
        connections_per_address: connections_per_address.map(size),
        streams,
        headers: size(headers),
        head: u32::try_from(head.0).unwrap_or(u32::MAX),
        timeouts: server::Timeouts {
            handshake: not_zero(&here.key("handshake"), file.handshake.0),
            head: not_zero(&here.key("head"), file.head.0),
            idle: not_zero(&here.key("idle"), file.idle.0),
            unread: not_zero(&here.key("unread"), file.unread.0),
            notice: file.notice.0,
        },
    }
}

/// How many requests at once, and how long the body of each may take.
pub(in crate::config) fn requests(at: &At<'_>, file: &file::Server) -> (NonZeroU32, Duration) {
    let here = at.key("server").key("timeouts").key("body");
    // The schema has refused a zero.
    let requests = NonZeroU32::new(file.bounds.requests).unwrap_or(NonZeroU32::MIN);
    (requests, not_zero(&here, file.timeouts.body.0))
}

fn tls_files(at: &At<'_>, tls: &file::Tls, sources: &mut Sources) -> TlsFiles {
    certificates(&at.key("certificate"), &tls.certificate, sources);
    private_key(&at.key("private_key"), &tls.private_key, sources);
    if let Some(path) = &tls.client_ca {
        certificates(&at.key("client_ca"), path, sources);
    }
    TlsFiles {
        certificate: sources.resolve(&tls.certificate),
        private_key: sources.resolve(&tls.private_key),
        client_ca: tls.client_ca.as_ref().map(|path| sources.resolve(path)),
        modern: tls.modern,
    }
}

/// Reads a bundle of certificates; `None` with a fault if it is none.
pub(super) fn certificates(at: &At<'_>, path: &Path, sources: &mut Sources) -> Option<Vec<u8>> {
    let pem = read(at, path, sources)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    if all.is_ok_and(|all| !all.is_empty()) {
        return Some(pem);
    }
    at.reject("the file holds no certificate in PEM");
    None
}

/// Reads a private key; `None` with a fault if it is none.
pub(super) fn private_key(at: &At<'_>, path: &Path, sources: &mut Sources) -> Option<Vec<u8>> {
    let pem = read(at, path, sources)?;
    if PrivateKeyDer::from_pem_slice(&pem).is_ok() {
        return Some(pem);
    }
    at.reject("the file holds no private key in PEM");
    None
}

pub(super) fn read(at: &At<'_>, path: &Path, sources: &mut Sources) -> Option<Vec<u8>> {
    if !at.spelled() {
        return None;
    }
    let path = sources.resolve(path);
    let bytes = sources.read(&path);
    bytes
        .inspect_err(|error| at.reject(format!("cannot read `{}`: {}", path.display(), why(error))))
        .ok()
}

pub(in crate::config) fn admin(at: &At<'_>, file: &file::Gateway) -> AdminConfig {
    let listen = file.admin.listen.0;
    let judged = !at.key("danger").damaged() && !file.danger.public_admin;
    if judged && !listen.ip().is_loopback() {
        at.key("admin").key("listen").reject_with(
            "the admin listener has no authentication, and its metrics name endpoints and teams",
            Some("keep it on 127.0.0.1; probes have `admin.probes`, and to be scraped from other pods, spell out `danger: { public_admin: true }`"),
        );
    }
    AdminConfig { listen, probes: file.admin.probes.map(|probes| probes.0) }
}

pub(in crate::config) fn aws(
    at: &At<'_>,
    file: &file::Gateway,
    sources: &mut Sources,
) -> AwsConfig {
    let (here, aws) = (at.key("aws"), &file.aws);
    check_region(&here.key("region"), aws.region.as_deref());
    runtime_url(&here, file, at.key("danger").damaged());
    let ca = aws.ca.as_ref().and_then(|path| certificates(&here.key("ca"), path, sources));
    AwsConfig {
        region: aws.region.clone(),
        runtime_url: aws.runtime_url.clone(),
        fips: aws.fips,
        dual_stack: aws.dual_stack,
        ca,
        dns_refresh: not_zero(&here.key("dns_refresh"), aws.dns_refresh.0),
        timeouts: timeouts(&here.key("timeouts"), &aws.timeouts),
    }
}

pub(super) fn check_region(at: &At<'_>, region: Option<&str>) {
    let good = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    if region.is_some_and(|text| !good(text)) {
        at.reject_with("is not a region's name", Some("such as `us-east-1`"));
    }
}

fn runtime_url(at: &At<'_>, file: &file::Gateway, lenient: bool) {
    let Some(text) = &file.aws.runtime_url else { return };
    let here = at.key("runtime_url");
    let on = file.danger.http_runtime_url || lenient;
    url::check(&here, text, Plain { danger: "http_runtime_url", on });
    if url::has_path(text) {
        here.reject("a runtime URL has no path: the path comes from the call");
    }
    for (key, on) in [("fips", file.aws.fips), ("dual_stack", file.aws.dual_stack)] {
        if on {
            at.key(key).reject("chooses the region's host, and `runtime_url` gives another one");
        }
    }
}

fn timeouts(at: &At<'_>, file: &file::Timeouts) -> Timeouts {
    let file::Timeouts { connect, response_head, stream_idle, stream } = file;
    Timeouts {
        connect: not_zero(&at.key("connect"), connect.0),
        response_head: not_zero(&at.key("response_head"), response_head.0),
        stream_idle: not_zero(&at.key("stream_idle"), stream_idle.0),
        stream: not_zero(&at.key("stream"), stream.0),
    }
}

pub(super) fn not_zero(at: &At<'_>, span: Duration) -> Duration {
    if span.is_zero() {
        at.reject("must not be zero");
    }
    span
}

pub(in crate::config) fn journal(
    at: &At<'_>,
    file: &file::Audit,
    sources: &mut Sources,
) -> JournalConfig {
    let here = at.key("audit");
    if file.directory.is_none() && !file.stdout && !here.damaged() {
        here.reject_with(
            "the record has nowhere to go",
            Some("give `directory`, or leave `stdout` on"),
        );
    }
    if file.rotate_size.0 == 0 {
        here.key("rotate_size").reject("must not be zero");
    }
    JournalConfig {
        directory: file.directory.as_ref().map(|path| sources.resolve(path)),
        durability: match file.durability {
            file::Durability::Memory => Durability::Memory,
            file::Durability::Write => Durability::Write,
            file::Durability::Fsync => Durability::Fsync,
        },
        rotate_size: file.rotate_size.0,
        rotate_age: not_zero(&here.key("rotate_age"), file.rotate_age.0),
        signing_key: file
            .signing_key
            .as_ref()
            .map(|path| signing_key(&here.key("signing_key"), path, sources)),
        queue: usize::try_from(file.queue).unwrap_or(usize::MAX),
        privacy: privacy::privacy(&here, file, sources),
    }
}

/// Checks the key as the journal will read it.
fn signing_key(at: &At<'_>, path: &Path, sources: &mut Sources) -> PathBuf {
    if let Some(pem) = read(at, path, sources)
        && let Err(error) = SigningKey::from_pem(&pem)
    {
        at.reject_with(error.to_string(), Some("`openssl genpkey -algorithm ed25519` makes one"));
    }
    sources.resolve(path)
}

pub(in crate::config) fn log(file: &file::Log) -> LogConfig {
    let level = match file.level {
        file::Level::Error => tracing::Level::ERROR,
        file::Level::Warn => tracing::Level::WARN,
        file::Level::Info => tracing::Level::INFO,
        file::Level::Debug => tracing::Level::DEBUG,
        file::Level::Trace => tracing::Level::TRACE,
    };
    let format = match file.format {
        file::Format::Json => log::Format::Json,
        file::Format::Text => log::Format::Text,
    };
    LogConfig { level, format }
}

/// The dangers that are on, for start-up to warn about.
pub(in crate::config) fn dangers(file: &file::Danger) -> Vec<&'static str> {
    let file::Danger {
        plaintext_listener,
        http_issuers,
        http_runtime_url,
        public_admin,
        plaintext_limit_store,
        http_sinks,
    } = *file;
    let all = [
        ("plaintext_listener", plaintext_listener),
        ("http_issuers", http_issuers),
        ("http_runtime_url", http_runtime_url),
        ("public_admin", public_admin),
        ("plaintext_limit_store", plaintext_limit_store),
        ("http_sinks", http_sinks),
    ];
    all.into_iter().filter_map(|(name, on)| on.then_some(name)).collect()
}

/// The files of the policies' directory; a fault if it cannot be read.
pub(in crate::config) fn policy_paths(
    at: &At<'_>,
    file: &file::Gateway,
    sources: &mut Sources,
) -> Vec<PathBuf> {
    let Some(path) = &file.policies else { return Vec::new() };
    let directory = sources.resolve(path);
    sources.policies(&directory).unwrap_or_else(|error| {
        let (shown, why) = (directory.display(), why(&error));
        at.key("policies").reject(format!("cannot read the directory `{shown}`: {why}"));
        Vec::new()
    })
}
