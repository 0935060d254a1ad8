//! A request's body, whole and hashed, within its bounds.
//!
//! A signature covers the digest of the body, so the body must be held before its head can
//! go out. Memory for it is reserved before it is read: by Content-Length at once, or
//! growing with a chunked body.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

use crate::limits::{BodyGuard, BodyMemory};

/// How much body is taken.
#[derive(Clone, Debug)]
pub struct BodyLimits {
    /// The largest body of one request, in bytes.
    pub max: u64,
    /// From the end of its head to its own.
    pub time: Duration,
    /// What all bodies together may hold.
    pub memory: BodyMemory,
}

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    #[error("the body is larger than {max} bytes, the most this gateway takes")]
    TooLarge { max: u64 },
    #[error("no memory is left for the body; try again")]
    NoMemory,
    #[error("the body did not arrive within {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error("the body broke off")]
    Broken,
}

/// A whole body and its SHA-256. Its memory is given back on drop.
pub struct Payload {
    bytes: Bytes,
    /// In hex, and in place: a `String` would be an allocation for every call.
    sha256: [u8; 64],
    _memory: BodyGuard,
}

impl Payload {
    /// Reads `body` to its end. Dropping the future gives its memory back.
    ///
    /// # Errors
    /// When the body is over a bound, too slow, or cut off; see [`PayloadError`].
    pub async fn read<B>(body: B, limits: &BodyLimits) -> Result<Self, PayloadError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let expected = body.size_hint().lower();
        if expected > limits.max {
            return Err(PayloadError::TooLarge { max: limits.max });
        }
        let memory = limits.memory.reserve(expected).ok_or(PayloadError::NoMemory)?;
        let reading = read(body, limits.max, memory, expected);
        let read = tokio::time::timeout(limits.time, reading).await;
        read.map_err(|_| PayloadError::TooSlow(limits.time))?
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Lower-case hex.
    pub(super) fn sha256(&self) -> &str {
        // Hex is ASCII.
        str::from_utf8(&self.sha256).unwrap_or_default()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").field("length", &self.bytes.len()).finish_non_exhaustive()
    }
}

async fn read<B>(
    mut body: B,
    max: u64,
    mut memory: BodyGuard,
    expected: u64,
) -> Result<Payload, PayloadError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut digest = Context::new(&SHA256);
    let mut gathered = Gathered::None;
    let mut length = 0_u64;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| PayloadError::Broken)?.into_data() else { continue };
        length += data.len() as u64;
        if length > max {
            return Err(PayloadError::TooLarge { max });
        }
        if length > memory.held() && !memory.grow(length - memory.held()) {
            return Err(PayloadError::NoMemory);
        }
        digest.update(&data);
        gathered = gathered.and(data, expected);
    }
    let mut sha256 = [0; 64];
    // Twice as long as the digest, which is all that it asks.
    let _ = hex::encode_to_slice(digest.finish(), &mut sha256);
    Ok(Payload { bytes: gathered.into_bytes(), sha256, _memory: memory })
}

/// A body of one frame, which most are, is kept as it came; only more frames are copied.
enum Gathered {
    None,
    One(Bytes),
    Many(BytesMut),
}

impl Gathered {
    fn and(self, data: Bytes, expected: u64) -> Self {
        match self {
            Self::None => Self::One(data),
            Self::One(first) => {
                let room = usize::try_from(expected).unwrap_or(0).max(first.len() + data.len());
                let mut all = BytesMut::with_capacity(room);
                all.extend_from_slice(&first);
                all.extend_from_slice(&data);
                Self::Many(all)
            }
            Self::Many(mut all) => {
                all.extend_from_slice(&data);
                Self::Many(all)
            }
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(all) => all.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context as Poller, Poll};

    use http_body::{Frame, SizeHint};

    use super::*;

    /// Chunks with or without a declared length; `Pending` for ever after the last if it hangs.
    struct Chunks {
        chunks: VecDeque<Bytes>,
        declared: Option<u64>,
        hangs: bool,
    }

    impl Body for Chunks {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Poller<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.chunks.pop_front() {
                None if self.hangs => Poll::Pending,
                next => Poll::Ready(next.map(|chunk| Ok(Frame::data(chunk)))),
            }
        }

        fn size_hint(&self) -> SizeHint {
            self.declared.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    fn chunks(chunks: &[&'static str], declared: Option<u64>) -> Chunks {
        let chunks = chunks.iter().map(|chunk| Bytes::from_static(chunk.as_bytes())).collect();
        Chunks { chunks, declared, hangs: false }
    }

    fn limits(max: u64, memory: u64) -> BodyLimits {
        BodyLimits { max, time: Duration::from_mins(1), memory: BodyMemory::new(memory) }
    }

    #[tokio::test]
    async fn a_body_is_gathered_and_hashed_however_it_is_cut() {
        for parts in [&["hello world"][..], &["hello", " ", "world"], &["hello ", "", "world"]] {
            for declared in [None, Some(11)] {
                let limits = limits(11, 11);
                let payload = Payload::read(chunks(parts, declared), &limits).await.unwrap();
                assert_eq!(&payload.bytes()[..], b"hello world");
                assert_eq!(
                    payload.sha256(),
                    "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
                );
                assert_eq!(limits.memory.used(), 11);
                drop(payload);
                assert_eq!(limits.memory.used(), 0, "given back");
            }
        }
    }

    #[tokio::test]
    async fn an_empty_body_has_the_empty_digest() {
        let payload = Payload::read(chunks(&[], Some(0)), &limits(0, 0)).await.unwrap();
        assert!(payload.is_empty());
        assert!(payload.sha256().starts_with("e3b0c44298fc1c14"));
    }

    #[tokio::test]
    async fn a_body_over_a_bound_is_refused_and_its_memory_given_back() {
        for (declared, limits) in [(Some(11), limits(10, 100)), (None, limits(10, 100))] {
            let got = Payload::read(chunks(&["hello", " world"], declared), &limits).await;
            assert!(matches!(got, Err(PayloadError::TooLarge { max: 10 })), "{declared:?}");
            assert_eq!(limits.memory.used(), 0);
        }
        for declared in [Some(11), None] {
            let limits = limits(100, 10);
            let got = Payload::read(chunks(&["hello", " world"], declared), &limits).await;
            assert!(matches!(got, Err(PayloadError::NoMemory)), "{declared:?}");
            assert_eq!(limits.memory.used(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let limits = limits(100, 100);
        let body = Chunks { hangs: true, ..chunks(&["a"], None) };
        let got = Payload::read(body, &limits).await;
        assert!(matches!(got, Err(PayloadError::TooSlow(_))));
        assert_eq!(limits.memory.used(), 0);
    }

    #[test]
    fn a_payload_does_not_print() {
        let limits = limits(9, 9);
        let payload = Payload {
            bytes: Bytes::from_static(b"s3cret"),
            sha256: [b'0'; 64],
            _memory: limits.memory.reserve(0).unwrap(),
        };
        assert_eq!(format!("{payload:?}"), "Payload { length: 6, .. }");
    }
}
