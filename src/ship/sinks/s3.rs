//! Amazon S3: gzip objects of JSON Lines under `prefix/year/month/day/`, for Athena and
//! whatever else reads a bucket. Source: AWS, "PutObject".
//!
//! The day is that of the events (UTC). A key is made from the journal file and the place in
//! it, so that what is sent again replaces what was sent before and is not beside it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;

use super::{SendError, Sink};
use crate::ship::aws::Service;
use crate::ship::batch::{Fate, Glance, Limits, Parcel};
use crate::ship::config;
use crate::ship::shipping::Identity;
use crate::telemetry::clock::Clock;

#[derive(Debug)]
pub(in crate::ship) struct S3 {
    service: Service,
    /// What keys begin with, from the host's root on.
    root: String,
    every: Duration,
}

impl S3 {
    /// The bucket stands in the host, except where an endpoint is given, or where its name
    /// has a dot and the host would have no certificate.
    pub(in crate::ship) fn new(config: &config::S3, identity: &Identity) -> Result<Self, String> {
        let bucket = &config.bucket;
        let in_host = config.aws.endpoint_url.is_none() && !bucket.contains('.');
        let subdomain = if in_host { format!("{bucket}.") } else { String::new() };
        let service = Service::new("s3", &subdomain, &config.aws, identity)?;
        let root = if in_host { "/".to_owned() } else { format!("/{bucket}/") };
        Ok(Self { service, root: root + &config.prefix, every: config.every })
    }

    async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), SendError> {
        // S3 signs a path in which everything but letters, digits, `-._~/` is encoded.
        let path = format!("{}{key}", self.root).replace('=', "%3D");
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/gzip"))];
        let put = self.service.send(Method::PUT, &path, headers, body).await;
        put.map(drop).map_err(|refused| refused.error)
    }
}

impl Sink for S3 {
    const NAME: &'static str = "s3";

    /// Some 4,000 events an object, of about a tenth of that as gzip.
    fn limits(&self) -> Limits {
        Limits {
            events: usize::MAX,
            bytes: 8 << 20,
            overhead: 1,
            event: usize::MAX,
            linger: self.every,
        }
    }

    async fn send(&mut self, parcel: Parcel<'_>) -> Result<Vec<Fate>, SendError> {
        for (day, events) in by_day(parcel.events, Clock::System.now()) {
            let failed = |error: std::io::Error| SendError::failed(error.to_string());
            self.put(&key(&day, &parcel), gzip(&events).map_err(failed)?).await?;
        }
        Ok(vec![Fate::Accepted; parcel.events.len()])
    }
}

/// `2026/11/23/sagegate-20261123T120000.123Z-9f2c41d07ab35e18-0000000000.jsonl.gz`
fn key(day: &str, parcel: &Parcel<'_>) -> String {
    let stem = parcel.file.strip_suffix(".jsonl").unwrap_or(parcel.file);
    format!("{day}/{stem}-{:010}.jsonl.gz", parcel.offset)
}

/// The events by their day, `2026/11/23`, in the journal's order.
fn by_day<'a>(events: &[&'a [u8]], now: std::time::SystemTime) -> BTreeMap<String, Vec<&'a [u8]>> {
    let mut days = BTreeMap::<_, Vec<_>>::new();
    for event in events {
        let time = Glance::of(event).time;
        let time = time.map_or(now, |millis| UNIX_EPOCH + Duration::from_millis(millis));
        let day = Timestamp::try_from(time).unwrap_or(Timestamp::MAX).strftime("%Y/%m/%d");
        days.entry(day.to_string()).or_default().push(*event);
    }
    days
}

fn gzip(events: &[&[u8]]) -> std::io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    for event in events {
        gzip.write_all(event)?;
        gzip.write_all(b"\n")?;
    }
    gzip.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_lie_under_the_day_on_which_they_happened() {
        let before = br#"{"time":1795478399999}"#.as_slice();
        let after = br#"{"time":1795478400000}"#.as_slice();
        let days = by_day(&[after, before, b"{", after], UNIX_EPOCH);
        assert_eq!(days.keys().collect::<Vec<_>>(), ["1970/01/01", "2026/11/23", "2026/11/24"]);
        assert_eq!(days["2026/11/24"], [after, after]);
    }

    #[test]
    fn a_key_says_what_is_in_it_and_keys_sort_as_the_journal_does() {
        let parcel = |offset| Parcel { events: &[], file: "sagegate-t-c.jsonl", offset };
        assert_eq!(key("2026/11/23", &parcel(70)), "2026/11/23/sagegate-t-c-0000000070.jsonl.gz");
        assert!(key("d", &parcel(70)) < key("d", &parcel(100)));
    }
}
