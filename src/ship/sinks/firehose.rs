//! Amazon Data Firehose. Source: AWS, "PutRecordBatch", API version 2015-08-04.
//!
//! One event a record, with its newline, so that what Firehose joins is JSON Lines. A call
//! may succeed for some records and fail for others.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{SendError, Sink};
use crate::ship::aws::Service;
use crate::ship::batch::{Fate, Limits, Parcel};
use crate::ship::config;
use crate::ship::shipping::Identity;

const PUT: &str = "Firehose_20150804.PutRecordBatch";

#[derive(Debug)]
pub(in crate::ship) struct Firehose {
    service: Service,
    stream: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Put<'a> {
    delivery_stream_name: &'a str,
    records: Vec<Record>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    data: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    request_responses: Vec<Response>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    error_code: Option<String>,
}

impl Firehose {
    pub(in crate::ship) fn new(
        config: &config::Firehose,
        identity: &Identity,
    ) -> Result<Self, String> {
        let service = Service::new("firehose", "", &config.aws, identity)?;
        Ok(Self { service, stream: config.stream.clone() })
    }
}

impl Sink for Firehose {
    const NAME: &'static str = "firehose";

    /// The service's are 500 records, 4 MiB, and 1,000 KiB a record, before base64.
    fn limits(&self) -> Limits {
        Limits {
            events: 500,
            bytes: 4 << 20,
            overhead: 1,
            event: (1000 << 10) - 1,
            linger: Duration::from_secs(1),
        }
    }

    async fn send(&mut self, parcel: Parcel<'_>) -> Result<Vec<Fate>, SendError> {
        let record = |event: &&[u8]| Record { data: STANDARD.encode([event, &b"\n"[..]].concat()) };
        let records = parcel.events.iter().map(record).collect();
        let put = Put { delivery_stream_name: &self.stream, records };
        let body =
            serde_json::to_vec(&put).map_err(|error| SendError::failed(error.to_string()))?;
        let answer = self.service.call(PUT, body).await.map_err(|refused| refused.error)?;
        fates(&answer)
            .map_err(|error| SendError::failed(format!("the answer is not understood: {error}")))
    }
}

/// The answers stand in the order of the records.
fn fates(answer: &[u8]) -> Result<Vec<Fate>, serde_json::Error> {
    let answer: Answer = serde_json::from_slice(answer)?;
    let fate = |response: Response| response.error_code.map_or(Fate::Accepted, Fate::Failed);
    Ok(answer.request_responses.into_iter().map(fate).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_has_its_own_fate() {
        let answer = br#"{"FailedPutCount":1,"Encrypted":false,"RequestResponses":[{"RecordId":"a"},{"ErrorCode":"ServiceUnavailableException","ErrorMessage":"Slow down."},{"RecordId":"b"}]}"#;
        let failed = Fate::Failed("ServiceUnavailableException".into());
        assert_eq!(fates(answer).unwrap(), [Fate::Accepted, failed, Fate::Accepted]);
        assert!(fates(b"{}").is_err());
    }
}
