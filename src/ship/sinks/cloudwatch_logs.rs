//! Amazon CloudWatch Logs. Source: AWS, "PutLogEvents", API version 2014-03-28.
//!
//! A call takes events in the order of their times and of one day at most; the journal is in
//! the order in which requests ended, so each parcel is sorted, and cut where a day is over.
//! Events that the service finds too old or too new are rejected for good.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{SendError, Sink};
use crate::ship::aws::{Refused, Service};
use crate::ship::batch::{Fate, Glance, Limits, Parcel};
use crate::ship::config;
use crate::ship::shipping::Identity;
use crate::telemetry::clock::{Clock, unix_millis};

const PUT: &str = "Logs_20140328.PutLogEvents";
const CREATE_STREAM: &str = "Logs_20140328.CreateLogStream";
const DAY_MILLIS: u64 = 24 * 3600 * 1000;

#[derive(Debug)]
pub(in crate::ship) struct CloudWatchLogs {
    service: Service,
    group: String,
    stream: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Put<'a> {
    log_group_name: &'a str,
    log_stream_name: &'a str,
    log_events: Vec<LogEvent<'a>>,
}

#[derive(Serialize)]
struct LogEvent<'a> {
    timestamp: u64,
    message: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    rejected_log_events_info: Option<Rejected>,
}

/// Positions among the events sent, which are in the order of their times.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rejected {
    /// This one and all after it.
    too_new_log_event_start_index: Option<usize>,
    /// All before this one.
    too_old_log_event_end_index: Option<usize>,
    /// All before this one.
    expired_log_event_end_index: Option<usize>,
}

impl CloudWatchLogs {
    pub(in crate::ship) fn new(
        config: &config::CloudWatchLogs,
        identity: &Identity,
    ) -> Result<Self, String> {
        let service = Service::new("logs", "", &config.aws, identity)?;
        let stream = config.stream.as_ref().unwrap_or(&identity.instance.uid).clone();
        Ok(Self { service, group: config.group.clone(), stream })
    }

    async fn put(&self, events: Vec<LogEvent<'_>>) -> Result<Answer, SendError> {
        let (group, stream) = (&self.group, &self.stream);
        let put = Put { log_group_name: group, log_stream_name: stream, log_events: events };
        let body =
            serde_json::to_vec(&put).map_err(|error| SendError::failed(error.to_string()))?;
        let answer = match self.service.call(PUT, body.clone()).await {
            Err(refused) if refused.code == "ResourceNotFoundException" => {
                self.create_stream().await?;
                self.service.call(PUT, body).await
            }
            answer => answer,
        };
        let answer = answer.map_err(|refused| refused.error)?;
        serde_json::from_slice(&answer)
            .map_err(|error| SendError::failed(format!("the answer is not understood: {error}")))
    }

    /// Of the stream alone: who may read the group, and for how long, is not ours to say.
    async fn create_stream(&self) -> Result<(), SendError> {
        let body = json!({"logGroupName": self.group, "logStreamName": self.stream});
        match self.service.call(CREATE_STREAM, body.to_string().into_bytes()).await {
            Ok(_) => Ok(()),
            Err(Refused { code, .. }) if code == "ResourceAlreadyExistsException" => Ok(()),
            Err(refused) => Err(refused.error),
        }
    }
}

impl Sink for CloudWatchLogs {
    const NAME: &'static str = "cloudwatch_logs";

    /// The service's are 10,000 events and 1,048,576 bytes, each event counting 26 more, less
    /// some room for bytes that become longer as text.
    fn limits(&self) -> Limits {
        Limits {
            events: 10_000,
            bytes: 1_000_000,
            overhead: 26,
            event: 1_000_000 - 26,
            linger: Duration::from_secs(1),
        }
    }

    async fn send(&mut self, parcel: Parcel<'_>) -> Result<Vec<Fate>, SendError> {
        let order = first_day(parcel.events, unix_millis(Clock::System.now()));
        let event = |(index, timestamp): &(usize, u64)| {
            let message = String::from_utf8_lossy(parcel.events.get(*index)?);
            Some(LogEvent { timestamp: *timestamp, message })
        };
        let answer = self.put(order.iter().filter_map(event).collect()).await?;
        let rejected = answer.rejected_log_events_info.unwrap_or_default();
        let mut fates = vec![Fate::Unsent; parcel.events.len()];
        for (place, (index, _)) in order.iter().enumerate() {
            if let Some(fate) = fates.get_mut(*index) {
                *fate = fate_of(place, &rejected);
            }
        }
        Ok(fates)
    }
}

/// The indices of the events in the order of their times, with these, as far as they are of
/// the 24 hours that begin with the first. An event without a time happened `now`.
fn first_day(events: &[&[u8]], now: u64) -> Vec<(usize, u64)> {
    let time = |event: &&[u8]| Glance::of(event).time.unwrap_or(now);
    let mut order: Vec<(usize, u64)> = events.iter().map(time).enumerate().collect();
    order.sort_by_key(|(_, time)| *time);
    let end = order.first().map_or(0, |(_, first)| first.saturating_add(DAY_MILLIS));
    order.retain(|(_, time)| *time < end);
    order
}

fn fate_of(place: usize, rejected: &Rejected) -> Fate {
    let reason = if rejected.expired_log_event_end_index.is_some_and(|end| place < end) {
        "older than the log group's retention"
    } else if rejected.too_old_log_event_end_index.is_some_and(|end| place < end) {
        "more than 14 days old"
    } else if rejected.too_new_log_event_start_index.is_some_and(|start| place >= start) {
        "more than 2 hours in the future"
    } else {
        return Fate::Accepted;
    };
    Fate::Rejected(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_in_the_order_of_time_and_ends_with_its_day() {
        let event = |time: u64| format!(r#"{{"time":{time}}}"#).into_bytes();
        let lines = [event(DAY_MILLIS + 5), event(7), event(5), event(DAY_MILLIS + 4), b"{".into()];
        let events: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        assert_eq!(first_day(&events, 6), [(2, 5), (4, 6), (1, 7), (3, DAY_MILLIS + 4)]);
    }

    #[test]
    fn each_kind_of_rejection_has_its_side() {
        let info = r#"{"rejectedLogEventsInfo":{"expiredLogEventEndIndex":1,"tooOldLogEventEndIndex":2,"tooNewLogEventStartIndex":4}}"#;
        let answer: Answer = serde_json::from_str(info).unwrap();
        let rejected = answer.rejected_log_events_info.unwrap();
        let fates: Vec<_> = (0..6).map(|place| fate_of(place, &rejected)).collect();
        let said = |fate: &Fate| matches!(fate, Fate::Rejected(_));
        assert_eq!(
            fates.iter().map(said).collect::<Vec<_>>(),
            [true, true, false, false, true, true]
        );
        assert!(matches!(&fates[0], Fate::Rejected(reason) if reason.contains("retention")));
        let none: Answer = serde_json::from_str(r#"{"nextSequenceToken":"1"}"#).unwrap();
        assert!(none.rejected_log_events_info.is_none());
    }
}
