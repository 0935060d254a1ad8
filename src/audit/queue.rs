//! The bounded buffer between the requests and the thread that writes.
//!
//! Producers append whole lines under a short lock; the writer takes all of them at once.
//! Invariants: tickets follow the order of the lines; what was appended stays
//! here, or with the writer, until [`settle`](Queue::settle); a sleeping writer is woken
//! once per batch and a busy one never, so that a busy journal costs no futex calls.

use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::journal::{Durability, Unavailable};
use super::line::{Kind, unsealed};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How long a line may wait for others at `memory` (DESIGN §10: written within 100 ms).
const GATHER: Duration = Duration::from_millis(100);
/// The same at `write`, where requests wait for it: only while batches follow each other
/// within [`BUSY`], and only while there are other requests whose lines could come. A lone
/// request never waits, and under load one write, one wake-up and one sleep serve many
/// requests instead of one.
const GATHER_BUSY: Duration = Duration::from_micros(500);
const BUSY: Duration = Duration::from_millis(2);
/// Bytes that end the gathering early: one large write is no cheaper per byte beyond this.
const GATHER_BYTES: usize = 256 * 1024;
/// What a drained buffer may keep of its capacity.
const KEEP_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    limits: Limits,
    durability: Durability,
    /// Places taken: reserved, or appended and not yet written.
    places: AtomicUsize,
    /// Bytes appended and not yet written.
    bytes: AtomicUsize,
    /// Every line up to this ticket is kept.
    written: AtomicU64,
    failing: AtomicBool,
    closed: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) places: usize,
    /// A bound for the lines of all requests but those already let in: a line's length is
    /// known only when its place is long taken.
    pub(super) bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    buffer: Vec<u8>,
    /// When the first of its lines came, where somebody waits for the disk.
    first: Option<Instant>,
    /// Lines in it.
    events: u64,
    /// The last ticket given out.
    last: u64,
    /// The writer shall end the run's records.
    finish: bool,
    /// One of them says what retention is about to remove.
    retires: bool,
    waiters: Vec<(u64, Waker)>,
    writer: Writer,
    shutdown: bool,
}

impl State {
    fn is_empty(&self) -> bool {
        self.buffer.is_empty() && !self.finish
    }
}

/// What the writing thread is doing.
#[derive(Debug, Default, PartialEq, Eq)]
enum Writer {
    #[default]
    Busy,
    /// Asleep over an empty buffer.
    Idle,
    /// Asleep while more lines gather.
    Gathering,
}

/// A run of lines taken for writing.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) events: u64,
    /// The ticket of the last line.
    pub(super) last: u64,
    /// When the first line came; only at `fsync`.
    pub(super) first: Option<Instant>,
    /// Somebody waits for the end of the run's records behind these lines.
    pub(super) finish: bool,
    /// Retention waits for a head behind these lines, by whose word it removes a file.
    pub(super) retires: bool,
    /// When it was taken.
    taken: Option<Instant>,
}

/// Why [`take`](Queue::take) came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Lines,
    /// Nothing came until the time given.
    Late,
    /// There is nothing left, and nothing can come.
    End,
}

impl Queue {
    pub(super) fn new(durability: Durability, limits: Limits) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            limits,
            durability,
            places: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Takes a place, or says why not.
    pub(super) fn reserve(&self) -> Result<(), Unavailable> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Unavailable::Closed);
        }
        if self.failing.load(Ordering::Relaxed) {
            return Err(Unavailable::Failing);
        }
        if self.bytes.load(Ordering::Relaxed) >= self.limits.bytes
            || self
                .places
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                    (taken < self.limits.places).then_some(taken + 1)
                })
                .is_err()
        {
            return Err(Unavailable::Full);
        }
        Ok(())
    }

    /// Gives back a place that no line was appended for.
    pub(super) fn release(&self) {
        self.places.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes a place whether or not there is one, for what is not a caller's to repeat at
    /// will: the intent of a request that has a place, or a word of the gateway's own.
    pub(super) fn intrude(&self) {
        self.places.fetch_add(1, Ordering::Relaxed);
    }

    /// Appends what was rendered as one line in a place taken before. Returns its ticket.
    pub(super) fn append(&self, kind: Kind, rendered: &[u8]) -> u64 {
        let mut state = self.lock();
        let before = state.buffer.len();
        state.last += 1;
        state.events += 1;
        state.retires |= kind == Kind::Retired;
        let ticket = state.last;
        if self.durability == Durability::Fsync {
            state.first.get_or_insert_with(Instant::now);
        }
        for part in unsealed(kind, rendered) {
            state.buffer.extend_from_slice(part);
        }
        state.buffer.push(b'\n');
        self.bytes.fetch_add(state.buffer.len() - before, Ordering::Relaxed);
        self.rouse(state);
        ticket
    }

    /// Puts lines before all others that take no place and that nobody waits for.
    pub(super) fn open_with(&self, lines: &[u8]) {
        let mut state = self.lock();
        state.buffer.extend_from_slice(lines);
        self.bytes.fetch_add(lines.len(), Ordering::Relaxed);
        self.rouse(state);
    }

    fn rouse(&self, mut state: MutexGuard<'_, State>) {
        let due = match state.writer {
            Writer::Busy => false,
            Writer::Idle => true,
            Writer::Gathering => self.is_due(&state),
        };
        if due {
            state.writer = Writer::Busy;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Whether there is no reason to gather longer.
    fn is_due(&self, state: &State) -> bool {
        state.finish
            || state.shutdown
            || self.is_closed()
            || state.buffer.len() >= GATHER_BYTES
            || (self.durability == Durability::Write && self.is_complete(state))
    }

    /// Whether every place taken has its line here, so that no other can come before new
    /// places are taken.
    fn is_complete(&self, state: &State) -> bool {
        u64::try_from(self.places.load(Ordering::Relaxed)).is_ok_and(|taken| state.events >= taken)
    }

    /// Ready once the line of `ticket` is kept, or, as a refusal, once writing fails.
    pub(super) fn poll_kept(&self, ticket: u64, waker: &Waker) -> Poll<Result<(), Unavailable>> {
        self.poll(ticket, waker, || {
            if self.is_written(ticket) {
                return Some(Ok(()));
            }
            self.is_failing().then_some(Err(Unavailable::Failing))
        })
    }

    /// Ready once the line of `ticket` is kept, however often that fails before.
    pub(super) fn poll_written(&self, ticket: u64, waker: &Waker) -> Poll<()> {
        self.poll(ticket, waker, || self.is_written(ticket).then_some(()))
    }

    /// The answer, or a place among the waiters, who are woken whenever it may have changed.
    fn poll<T>(&self, ticket: u64, waker: &Waker, answer: impl Fn() -> Option<T>) -> Poll<T> {
        if let Some(answer) = answer() {
            return Poll::Ready(answer);
        }
        let mut state = self.lock();
        // Again under the lock, under which alone the writer changes the answer.
        if let Some(answer) = answer() {
            return Poll::Ready(answer);
        }
        let waiters = &mut state.waiters;
        if !waiters.iter().rev().any(|(t, w)| *t == ticket && w.will_wake(waker)) {
            waiters.push((ticket, waker.clone()));
        }
        Poll::Pending
    }

    fn is_written(&self, ticket: u64) -> bool {
        self.written.load(Ordering::Acquire) >= ticket
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// Refuses new places from now on; lines for places already taken still go in.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Has everything appended so far written without gathering, and the run's records
    /// ended; returns the ticket to wait for.
    pub(super) fn finish(&self) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        state.finish = true;
        let last = state.last;
        self.rouse(state);
        last
    }

    /// Nobody can append any more: the writer ends after what is there.
    pub(super) fn shutdown(&self) {
        let mut state = self.lock();
        state.shutdown = true;
        state.writer = Writer::Busy;
        drop(state);
        self.wake.notify_one();
    }

    /// For the writer: swaps the lines into `batch` (whose old bytes are discarded), waiting
    /// for them, but not longer than `until`.
    pub(super) fn take(&self, batch: &mut Batch, until: Instant) -> Taken {
        batch.bytes.clear();
        batch.bytes.shrink_to(KEEP_BYTES);
        let mut state = self.wait_for_lines(until);
        let taken = match (state.is_empty(), state.shutdown) {
            (false, _) => Taken::Lines,
            (true, true) => Taken::End,
            (true, false) => Taken::Late,
        };
        if taken == Taken::Lines {
            state = self.gather(state, batch.taken);
            batch.taken = Some(Instant::now());
        }
        std::mem::swap(&mut state.buffer, &mut batch.bytes);
        batch.events = std::mem::take(&mut state.events);
        batch.finish = std::mem::take(&mut state.finish);
        batch.retires = std::mem::take(&mut state.retires);
        batch.first = state.first.take();
        batch.last = state.last;
        taken
    }

    fn wait_for_lines(&self, until: Instant) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while state.is_empty() && !state.shutdown {
            let wait = until.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            state.writer = Writer::Idle;
            let idle = |state: &mut State| state.writer == Writer::Idle;
            let woken = self.wake.wait_timeout_while(state, wait, idle);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.writer = Writer::Busy;
        state
    }

    /// Lets lines gather; `before` is when the last batch was taken.
    fn gather<'q>(
        &'q self,
        mut state: MutexGuard<'q, State>,
        before: Option<Instant>,
    ) -> MutexGuard<'q, State> {
        let wait = match self.durability {
            _ if self.is_due(&state) => Duration::ZERO,
            Durability::Memory => GATHER,
            Durability::Write if before.is_some_and(|taken| taken.elapsed() < BUSY) => GATHER_BUSY,
            Durability::Write => Duration::ZERO,
            // Lines gather while the disk is at work on those before.
            Durability::Fsync => Duration::ZERO,
        };
        if !wait.is_zero() {
            state.writer = Writer::Gathering;
            let gathering = |state: &mut State| state.writer == Writer::Gathering;
            let woken = self.wake.wait_timeout_while(state, wait, gathering);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.writer = Writer::Busy;
        state
    }

    /// For the writer: `batch` is written.
    pub(super) fn settle(&self, batch: &Batch) {
        let mut state = self.lock();
        // Room first: who sees its line written may take a place at once.
        self.bytes.fetch_sub(batch.bytes.len(), Ordering::Relaxed);
        let count = usize::try_from(batch.events).unwrap_or(usize::MAX);
        self.places.fetch_sub(count, Ordering::Relaxed);
        self.failing.store(false, Ordering::Release);
        self.written.store(batch.last, Ordering::Release);
        let due: Vec<_> =
            state.waiters.extract_if(.., |(ticket, _)| *ticket <= batch.last).collect();
        drop(state);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// For the writer: a write failed. New places are refused until a batch settles, and
    /// everyone who waits is told.
    pub(super) fn fail(&self) {
        let mut state = self.lock();
        self.failing.store(true, Ordering::Release);
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        waiters.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// For the writer: waits before it tries again; `false` at shutdown, when there will be
    /// no later.
    pub(super) fn pause(&self, wait: Duration) -> bool {
        let state = self.lock();
        let done = self.wake.wait_timeout_while(state, wait, |state| !state.shutdown);
        !done.unwrap_or_else(PoisonError::into_inner).0.shutdown
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(places: usize, bytes: usize) -> Queue {
        Queue::new(Durability::Write, Limits { places, bytes })
    }

    fn take(queue: &Queue, batch: &mut Batch) -> Taken {
        queue.take(batch, Instant::now() + Duration::from_secs(60))
    }

    #[test]
    fn bytes_bound_the_queue_as_places_do_and_writing_makes_room() {
        let queue = queue(100, 64);
        let mut batch = Batch::default();
        for _ in 0..3 {
            queue.reserve().unwrap();
            queue.append(Kind::Request, &[b'x'; 80]);
            assert_eq!(queue.reserve(), Err(Unavailable::Full));
            assert_eq!(take(&queue, &mut batch), Taken::Lines);
            assert_eq!(queue.reserve(), Err(Unavailable::Full));
            queue.settle(&batch);
        }
        assert_eq!((batch.events, batch.last), (1, 3));
        queue.reserve().unwrap();
    }

    #[test]
    fn lines_gather_only_while_others_can_come() {
        for (durability, complete) in
            [(Durability::Memory, false), (Durability::Write, true), (Durability::Fsync, false)]
        {
            let queue = Queue::new(durability, Limits { places: 9, bytes: 1024 });
            queue.reserve().unwrap();
            queue.reserve().unwrap();
            queue.append(Kind::Request, b"");
            assert!(!queue.is_due(&queue.lock()), "{durability:?}");
            queue.append(Kind::Request, b"");
            assert_eq!(queue.is_due(&queue.lock()), complete, "{durability:?}");
        }
    }

    #[test]
    fn a_batch_is_all_lines_in_their_order() {
        let queue = queue(100, 1024);
        let kinds = [Kind::Intent, Kind::Request, Kind::Gap];
        let tickets = kinds.map(|kind| queue.append(kind, b",1"));
        let mut batch = Batch::default();
        assert_eq!(take(&queue, &mut batch), Taken::Lines);
        assert_eq!((tickets, batch.events), ([1, 2, 3], 3));
        assert_eq!(batch.bytes, b"intent\",1\nrequest\",1\ngap\",1\n");
    }

    #[test]
    fn a_shut_queue_gives_what_it_holds_and_then_nothing() {
        let queue = queue(100, 1024);
        queue.append(Kind::Request, b"");
        queue.shutdown();
        let mut batch = Batch::default();
        assert_eq!(take(&queue, &mut batch), Taken::Lines);
        assert_eq!(take(&queue, &mut batch), Taken::End);
    }

    #[test]
    fn a_writer_that_has_other_duties_comes_back_in_time() {
        let queue = queue(100, 1024);
        let mut batch = Batch::default();
        assert_eq!(queue.take(&mut batch, Instant::now()), Taken::Late);
        assert_eq!(batch.events, 0);
    }

    #[test]
    fn the_end_of_a_run_is_a_ticket_behind_every_line() {
        let queue = queue(100, 1024);
        assert_eq!((queue.append(Kind::Request, b""), queue.finish()), (1, 2));
        let mut batch = Batch::default();
        assert_eq!(take(&queue, &mut batch), Taken::Lines);
        assert_eq!((batch.events, batch.last, batch.finish), (1, 2, true));
    }
}
