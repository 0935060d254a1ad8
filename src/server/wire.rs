//! A connection's bytes on their way to hyper, looked at in passing.
//!
//! A request that contradicts itself is spoiled by one byte at the very place, so that hyper
//! refuses it in its own way: what came before is answered, then a 400, then the end. What
//! hyper does not time is timed here: how long a head takes from its first byte on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::frames::{Count, Frames};
use super::framing::{Framing, Verdict};

/// No part of any head, chunk size or trailer, so that hyper refuses it wherever it stands.
const SPOILED: u8 = 0;
/// What follows it. hyper looks at a head or a trailer that came in pieces only once it seems
/// complete, and takes any byte but a line feed in a chunk's extension.
const END: &[u8] = b"\n\r\n\r\n";

/// A stream that is looked at.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    sight: Sight,
    seen: Arc<Seen>,
    /// How long a head may take.
    longest: Duration,
    /// There while a head is half here.
    late: Option<Pin<Box<Sleep>>>,
    /// What is read next, whatever comes.
    end: &'static [u8],
}

#[derive(Debug)]
enum Sight {
    Http1(Framing),
    Http2(Frames),
}

/// What was seen, for the connection that hyper makes of it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    heads: AtomicU64,
    resets: AtomicU64,
    idle: AtomicU64,
    /// The peer does not read, so that h2 may not have looked at all that came.
    blocked: AtomicBool,
}

impl Seen {
    pub(super) fn count(&self) -> Count {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Count { heads: get(&self.heads), resets: get(&self.resets), idle: get(&self.idle) }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }
}

/// Why a connection was closed on half a head.
#[derive(Debug, thiserror::Error)]
#[error("a request's head took too long")]
pub(super) struct LateHead;

impl<S> Wire<S> {
    pub(super) fn new(stream: S, longest: Duration) -> (Self, Arc<Seen>) {
        let seen = Arc::<Seen>::default();
        let sight = Sight::Http1(Framing::default());
        (Self { stream, sight, seen: Arc::clone(&seen), longest, late: None, end: &[] }, seen)
    }

    /// The place to spoil, if there is one.
    fn look(&mut self, bytes: &[u8]) -> Option<usize> {
        match &mut self.sight {
            Sight::Http1(framing) => match framing.check(bytes) {
                Verdict::Fine => None,
                Verdict::Fault(at) => Some(at),
                Verdict::Http2(at) => {
                    self.sight = Sight::Http2(Frames::default());
                    self.look(bytes.get(at..).unwrap_or_default())
                }
            },
            Sight::Http2(frames) => {
                frames.pass(bytes);
                let Count { heads, resets, idle } = frames.count();
                self.seen.heads.store(heads, Ordering::Relaxed);
                self.seen.resets.store(resets, Ordering::Relaxed);
                self.seen.idle.store(idle, Ordering::Relaxed);
                None
            }
        }
    }

    fn time(&mut self) {
        match &self.sight {
            Sight::Http1(framing) if framing.within_head() => {
                self.late.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.longest)));
            }
            _ => self.late = None,
        }
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        self.late.as_mut().is_some_and(|late| late.as_mut().poll(context).is_ready())
    }

    fn written<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.seen.blocked.store(polled.is_pending(), Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.end.is_empty() {
            let (now, later) = self.end.split_at(self.end.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.end = later;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        match polled {
            Poll::Pending if self.is_late(context) => {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, LateHead)));
            }
            Poll::Pending | Poll::Ready(Err(_)) => return polled,
            Poll::Ready(Ok(())) => {}
        }
        if let Some(at) = self.look(buffer.filled().get(before..).unwrap_or_default()) {
            let at = before + at;
            if let Some(byte) = buffer.filled_mut().get_mut(at) {
                *byte = SPOILED;
                buffer.set_filled(at + 1);
                self.end = END;
            }
        }
        self.time();
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.written(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
