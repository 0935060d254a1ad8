//! The event stream that SageMaker streams answers in: frames, and a body that lets them out
//! one at a time.
//!
//! A frame is `u32 total | u32 headers' length | u32 CRC of those 8 bytes | headers | payload
//! | u32 CRC of everything before`, big-endian.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// A string header's type number.
const STRING: u8 = 7;

/// One piece of the model's answer, framed as the event `PayloadPart`.
pub(super) fn payload_part(payload: &[u8]) -> Bytes {
    let mut headers = Vec::with_capacity(96);
    header(&mut headers, ":event-type", "PayloadPart");
    header(&mut headers, ":content-type", "application/octet-stream");
    header(&mut headers, ":message-type", "event");
    message(&headers, payload)
}

/// Two bytes hold a value's length, one a name's; the demo's own are far shorter.
fn header(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name.as_bytes());
    out.push(STRING);
    out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(value.as_bytes());
}

/// 12 bytes of prelude and 4 of checksum surround headers and payload.
fn message(headers: &[u8], payload: &[u8]) -> Bytes {
    let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
    let total = 12 + headers.len() + payload.len() + 4;
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&length(total));
    out.extend_from_slice(&length(headers.len()));
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out.extend_from_slice(headers);
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out.into()
}

/// A body of ready frames with a pause between them, as a model has while it thinks.
#[derive(Debug)]
pub(super) struct Paced {
    frames: VecDeque<Bytes>,
    pause: Interval,
}

impl Paced {
    /// The first frame leaves at once.
    pub(super) fn new(frames: impl IntoIterator<Item = Bytes>, pause: Duration) -> Self {
        let mut pause = interval(pause);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { frames: frames.into_iter().collect(), pause }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.frames.is_empty() {
            return Poll::Ready(None);
        }
        ready!(self.pause.poll_tick(cx));
        Poll::Ready(self.frames.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Reads whole frames, holding both checksums, and gives their payloads.
    pub(in crate::cli::demo::sagemaker) fn payloads(mut stream: &[u8]) -> Vec<Vec<u8>> {
        let number = |at: &[u8]| u32::from_be_bytes(at[..4].try_into().unwrap());
        let mut found = Vec::new();
        while !stream.is_empty() {
            let (total, headers) = (number(stream) as usize, number(&stream[4..]) as usize);
            let (frame, rest) = stream.split_at(total);
            assert_eq!(number(&frame[8..]), crc32fast::hash(&frame[..8]));
            assert_eq!(number(&frame[total - 4..]), crc32fast::hash(&frame[..total - 4]));
            found.push(frame[12 + headers..total - 4].to_vec());
            stream = rest;
        }
        found
    }

    /// An empty message of the format's own test set: 16 bytes, both checksums known.
    #[test]
    fn an_empty_message_has_the_published_bytes() {
        let expected = [0, 0, 0, 0x10, 0, 0, 0, 0, 5, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
        assert_eq!(&*message(&[], &[]), expected);
    }

    #[test]
    fn a_part_names_its_event_and_carries_its_payload() {
        let part = payload_part(b"hello");
        assert_eq!(payloads(&part), [b"hello".to_vec()]);
        let start = b"\x0b:event-type\x07\x00\x0bPayloadPart\x0d:content-type\x07\x00\x18";
        assert_eq!(&part[12..12 + start.len()], start);
    }

    #[tokio::test]
    async fn frames_leave_in_order_with_a_pause_between_them() {
        use http_body_util::BodyExt;
        let pause = Duration::from_millis(5);
        let began = tokio::time::Instant::now();
        let mut body = Paced::new(["a", "b"].map(Bytes::from), pause);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "b");
        assert!(began.elapsed() >= pause);
        assert!(body.frame().await.is_none());
    }
}
