//! `audit:`, as far as the journal's way out of its directory is concerned.

use secrecy::SecretString;

use super::gateway::{certificates, not_zero};
use super::url::{self, Plain};
use crate::config::at::At;
use crate::config::file::gateway as file;
use crate::config::file::sinks::{self, Place};
use crate::config::sources::Sources;
use crate::ship::{Aws, CloudWatchLogs, Firehose, Otlp, S3, ShipConfig, SinkConfig, SpoolFull};

/// `None` without a directory: there is nothing to follow.
pub(in crate::config) fn ship(
    at: &At<'_>,
    file: &file::Gateway,
    sources: &mut Sources,
) -> Option<ShipConfig> {
    let (here, audit) = (at.key("audit"), &file.audit);
    let on = file.danger.http_sinks || at.key("danger").damaged();
    let remote = Compiler { plain: Plain { danger: "http_sinks", on }, sources }
        .sinks(&here.key("sinks"), &audit.sinks);
    let Some(directory) = &audit.directory else {
        if !audit.sinks.is_empty() && !here.damaged() {
            here.key("sinks").reject_with(
                "sinks follow the journal's files, and there are none",
                Some("give `directory`"),
            );
        }
        return None;
    };
    if audit.spool.0 < audit.rotate_size.0.saturating_mul(2) && !here.damaged() {
        here.key("spool").reject(format!(
            "is less than twice `rotate_size`, {}: only closed files can make room",
            audit.rotate_size
        ));
    }
    let stdout = audit.stdout.then_some(SinkConfig::Stdout);
    Some(ShipConfig {
        directory: sources.resolve(directory),
        sinks: stdout.into_iter().chain(remote).collect(),
        spool: audit.spool.0,
        spool_full: match audit.spool_full {
            file::SpoolFull::Refuse => SpoolFull::Refuse,
            file::SpoolFull::DropOldestShipped => SpoolFull::DropOldestShipped,
        },
        retention: audit.retention.map(|span| not_zero(&here.key("retention"), span.0)),
    })
}

struct Compiler<'s> {
    plain: Plain,
    sources: &'s mut Sources,
}

impl Compiler<'_> {
    fn sinks(&mut self, at: &At<'_>, file: &sinks::Sinks) -> Vec<SinkConfig> {
        let sinks::Sinks { cloudwatch_logs, firehose, s3, otlp } = file;
        let mut all = Vec::new();
        if let Some(file) = cloudwatch_logs {
            all.push(self.cloudwatch_logs(&at.key("cloudwatch_logs"), file));
        }
        if let Some(file) = firehose {
            all.push(self.firehose(&at.key("firehose"), file));
        }
        if let Some(file) = s3 {
            all.push(self.s3(&at.key("s3"), file));
        }
        if let Some(file) = otlp {
            all.push(self.otlp(&at.key("otlp"), file));
        }
        all
    }

    fn cloudwatch_logs(&mut self, at: &At<'_>, file: &sinks::CloudWatchLogs) -> SinkConfig {
        if file.stream.as_deref().is_some_and(|name| name.is_empty() || name.contains([':', '*'])) {
            at.key("stream").reject("a stream's name is not empty and has no `:` and no `*`");
        }
        SinkConfig::CloudWatchLogs(CloudWatchLogs {
            aws: self.aws(at, file.place()),
            group: file.group.clone(),
            stream: file.stream.clone(),
        })
    }

    fn firehose(&mut self, at: &At<'_>, file: &sinks::Firehose) -> SinkConfig {
        let (aws, stream) = (self.aws(at, file.place()), file.stream.clone());
        SinkConfig::Firehose(Firehose { aws, stream })
    }

    /// Keys are sent and signed as they are, so they have only what is never encoded.
    fn s3(&mut self, at: &At<'_>, file: &sinks::S3) -> SinkConfig {
        let bucket =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        if !file.bucket.bytes().all(bucket) {
            at.key("bucket").reject("a bucket's name has only `a-z`, `0-9`, `-` and `.`");
        }
        let key =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'=' | b'/');
        if file.prefix.starts_with('/') || !file.prefix.bytes().all(key) {
            at.key("prefix").reject_with(
                "a prefix has only letters, digits, `-`, `_`, `.`, `=` and `/`, and does not begin with `/`",
                Some("such as `sagegate/prod/`"),
            );
        }
        let mut prefix = file.prefix.clone();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        SinkConfig::S3(S3 {
            aws: self.aws(at, file.place()),
            bucket: file.bucket.clone(),
            prefix,
            every: not_zero(&at.key("every"), file.every.0),
        })
    }

    fn otlp(&mut self, at: &At<'_>, file: &sinks::Otlp) -> SinkConfig {
        if at.key("url").spelled() {
            url::check(&at.key("url"), &file.url, self.plain);
        }
        let headers = at.key("headers");
        for (name, value) in &file.headers {
            let header = name.parse::<http::HeaderName>().is_ok();
            if !header || http::HeaderValue::from_str(&value.0).is_err() {
                // Not the value: it is a secret.
                headers.key(name).reject("is not a header's name with a value for it");
            }
        }
        let secret = |(name, value): (&String, &sinks::Secret)| {
            (name.clone(), SecretString::from(value.0.clone()))
        };
        SinkConfig::Otlp(Otlp {
            url: file.url.clone(),
            headers: file.headers.iter().map(secret).collect(),
            ca: file.ca.as_ref().and_then(|path| certificates(&at.key("ca"), path, self.sources)),
        })
    }

    fn aws(&mut self, at: &At<'_>, place: Place<'_>) -> Aws {
        super::gateway::check_region(&at.key("region"), place.region);
        if let Some(text) = place.endpoint_url {
            let here = at.key("endpoint_url");
            url::check(&here, text, self.plain);
            if url::has_path(text) {
                here.reject("an endpoint's URL has no path");
            }
        }
        Aws {
            region: place.region.map(str::to_owned),
            endpoint_url: place.endpoint_url.map(str::to_owned),
            ca: place.ca.and_then(|path| certificates(&at.key("ca"), path, self.sources)),
        }
    }
}
