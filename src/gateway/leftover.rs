//! What is left of a refused request's body: read for a while and thrown away.
//!
//! Most clients write their whole body before they look for an answer. Closing on them would
//! reset the connection, and they would report that instead of the refusal. Bounded in time
//! and bytes, and nothing of it is kept.

use std::time::Duration;

use http::header::EXPECT;
use http::request::Parts;
use http::{HeaderMap, Version};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

const LONGEST: Duration = Duration::from_secs(5);
/// SageMaker's largest body, rounded up; who sends more is no client of it.
const MOST: usize = 32 * 1024 * 1024;

/// Returns at once; the reading goes on beside the answer.
pub(super) fn discard(head: &Parts, body: Incoming) {
    if !body.is_end_stream() && is_coming(head.version, &head.headers) {
        tokio::spawn(tokio::time::timeout(LONGEST, read(body)));
    }
}

/// Over HTTP/2 a stream is reset alone, after its answer. Whoever waits to be asked for the
/// body (RFC 9110 §10.1.1) has not sent it.
fn is_coming(version: Version, headers: &HeaderMap) -> bool {
    version < Version::HTTP_2 && !headers.contains_key(EXPECT)
}

async fn read(mut body: Incoming) {
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, bytes::Bytes::len);
        if length > MOST {
            return;
        }
    }
}
