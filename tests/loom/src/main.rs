//! Every order that the memory model allows of what threads do to our own shared state.
//!
//! The product's very files are built here with loom's primitives in the place of
//! `crate::sync`'s. loom then runs each check below once for each order of their loads, stores
//! and locks that can be told apart; a wake-up that is lost shows as a thread that waits for
//! ever. A program and no test, because what is compiled for tests would bring along each
//! file's own, which need the standard library's threads. `make test` runs it.
//!
//! Everything else that threads share rests on a single lock, on one atomic number that stands
//! for itself, or on arc-swap, moka, tokio and prometheus.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};

use budget::Budget;
use bytes::BodyMemory;
use concurrency::Concurrency;
use health::{Claim, Health};
use journal::{Durability, Unavailable};
use line::Kind;
use queue::{Batch, Limits, Queue, Taken};

#[path = "../../../src/upstream/budget.rs"]
mod budget;
#[expect(dead_code, reason = "what no check asks for")]
#[path = "../../../src/limits/bytes.rs"]
mod bytes;
#[expect(dead_code, reason = "what no check asks for")]
#[path = "../../../src/limits/concurrency.rs"]
mod concurrency;
#[expect(dead_code, reason = "what no check asks for")]
#[path = "../../../src/upstream/health.rs"]
mod health;

#[expect(dead_code, reason = "what no check asks for")]
#[path = "../../../src/audit/queue.rs"]
mod queue;

/// What the journal's queue knows of its journal.
mod journal {
    #[expect(dead_code, reason = "its checks are of one kind")]
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Durability {
        Memory,
        Write,
        Fsync,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Unavailable {
        Full,
        Failing,
        Closed,
    }
}

/// And of its lines.
mod line {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Kind {
        Request,
        Retired,
    }

    pub(crate) fn unsealed(_: Kind, rendered: &[u8]) -> [&[u8]; 1] {
        [rendered]
    }
}

/// loom's, under the names that the product's files know.
mod sync {
    use std::sync::LockResult;
    use std::time::Duration;

    pub(crate) use std::sync::PoisonError;

    pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};

    #[derive(Debug)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        /// Time never passes: who needs a wake-up has to get one.
        pub(crate) fn wait_timeout_while<'a, T>(
            &self,
            mut guard: MutexGuard<'a, T>,
            _: Duration,
            mut condition: impl FnMut(&mut T) -> bool,
        ) -> LockResult<(MutexGuard<'a, T>, ())> {
            while condition(&mut guard) {
                guard = self.0.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
            Ok((guard, ()))
        }
    }
}

/// How often a thread may be interrupted where it need not wait. Nearly every fault of this kind
/// takes one or two; without a bound the orders of three threads are beyond number.
const ANY: Option<usize> = None;
const ONCE: Option<usize> = Some(1);
const TWICE: Option<usize> = Some(2);

fn main() {
    let checks: [(&str, Option<usize>, fn()); 9] = [
        ("a failure of an address that is noted is seen", ANY, a_noted_failure_is_seen),
        ("one call alone tries an address again", ANY, one_call_alone_tries_again),
        ("body memory is never given twice", ANY, body_memory_is_never_given_twice),
        ("a slot is never given twice", ANY, a_slot_is_never_given_twice),
        ("a saved retry is spent once", ANY, a_saved_retry_is_spent_once),
        ("a place in the journal's queue is never given twice", ANY, a_place_is_never_given_twice),
        ("who waits for the record is told, and the writer woken", TWICE, one_is_told_and_again),
        ("two who wait for the record are both told", ONCE, both_are_told),
        ("who waits while writing fails is told, and once it is written", TWICE, failure_is_told),
    ];
    for (name, switches, check) in checks {
        let began = Instant::now();
        let mut model = loom::model::Builder::new();
        model.preemption_bound = switches;
        model.check(check);
        eprintln!("{:5.1} s  {name}", began.elapsed().as_secs_f64());
    }
}

/// Runs both on threads of their own, to their ends.
fn both<A: 'static, B>(one: impl FnOnce() -> A + 'static, other: impl FnOnce() -> B) -> (A, B) {
    let one = loom::thread::spawn(one);
    let other = other();
    (one.join().expect("it ends well"), other)
}

fn a_noted_failure_is_seen() {
    let (start, health) = (Instant::now(), Arc::new(Health::new()));
    health.unreachable(Claim::Open, start);
    let now = start + Duration::from_secs(2);
    let (one, other) = (Arc::clone(&health), Arc::clone(&health));
    both(move || one.answered(), move || other.unreachable(Claim::Open, now));
    // Whichever came last: the next failure closes it, or it is closed already.
    health.unreachable(Claim::Open, now);
    assert!(health.is_closed(now));
}

fn one_call_alone_tries_again() {
    let (start, health) = (Instant::now(), Arc::new(Health::new()));
    health.unreachable(Claim::Open, start);
    let now = start + Duration::from_secs(2);
    let (one, other) = (Arc::clone(&health), Arc::clone(&health));
    let claims: [_; 2] = both(move || one.claim(now), move || other.claim(now)).into();
    assert!(claims.contains(&Some(Claim::Probe)) && claims.contains(&None), "{claims:?}");
}

fn body_memory_is_never_given_twice() {
    let memory = BodyMemory::new(3);
    let hold = |memory: BodyMemory| {
        move || {
            let Some(mut body) = memory.reserve(2) else { return };
            let grown = u64::from(body.grow(1));
            assert_eq!(body.held(), 2 + grown);
            assert!(memory.used() <= 3 && memory.used() >= body.held());
        }
    };
    both(hold(memory.clone()), hold(memory.clone()));
    assert_eq!(memory.used(), 0);
}

fn a_slot_is_never_given_twice() {
    let (limit, held) = (Concurrency::new(NonZeroU32::MIN), Arc::new(AtomicU32::new(0)));
    let hold = || {
        let (limit, held) = (std::sync::Arc::clone(&limit), Arc::clone(&held));
        move || {
            let Some(_slot) = limit.acquire() else { return };
            assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0);
            held.fetch_sub(1, Ordering::SeqCst);
        }
    };
    both(hold(), hold());
    assert_eq!(limit.remaining(), 1);
}

fn a_saved_retry_is_spent_once() {
    let now = Instant::now();
    let budget = Arc::new(Budget::new(now));
    while budget.spend(now) {}
    (0..5).for_each(|_| budget.earn());
    let (one, other) = (Arc::clone(&budget), Arc::clone(&budget));
    let (one, other) = both(move || one.spend(now), move || other.spend(now));
    assert!(one != other);
}

fn queue(places: usize) -> Arc<Queue> {
    Arc::new(Queue::new(Durability::Fsync, Limits { places, bytes: 1024 }))
}

fn a_place_is_never_given_twice() {
    let queue = queue(1);
    let (one, other) = (Arc::clone(&queue), Arc::clone(&queue));
    let (one, other) = both(move || one.reserve(), move || other.reserve());
    assert!(one.is_ok() != other.is_ok());
    assert_eq!(queue.reserve(), Err(Unavailable::Full));
    queue.release();
    assert_eq!(queue.reserve(), Ok(()));
}

/// One request's line, and its wait until it is kept.
fn request(queue: &Queue) -> Result<(), Unavailable> {
    queue.reserve().expect("there is a place");
    let ticket = queue.append(Kind::Request, b"line");
    loom::future::block_on(std::future::poll_fn(|context| queue.poll_kept(ticket, context.waker())))
}

/// A time that does not come.
fn later() -> Instant {
    Instant::now() + Duration::from_hours(1)
}

/// Writes what comes until nothing can come any more; how many lines that were.
fn write(queue: &Queue) -> u64 {
    let (mut batch, mut lines) = (Batch::default(), 0);
    while queue.take(&mut batch, later()) == Taken::Lines {
        lines += batch.events;
        queue.settle(&batch);
    }
    lines
}

fn one_is_told_and_again() {
    let queue = queue(1);
    let writing = Arc::clone(&queue);
    let requests = move || {
        let kept = [request(&queue), request(&queue)];
        queue.shutdown();
        kept
    };
    let (lines, kept) = both(move || write(&writing), requests);
    assert_eq!((lines, kept), (2, [Ok(()), Ok(())]));
}

fn both_are_told() {
    let queue = queue(2);
    let writing = Arc::clone(&queue);
    let requests = move || {
        let other = Arc::clone(&queue);
        let kept = both(move || request(&other), || request(&queue));
        queue.shutdown();
        kept
    };
    let (lines, kept) = both(move || write(&writing), requests);
    assert_eq!((lines, kept), (2, (Ok(()), Ok(()))));
}

fn failure_is_told() {
    let queue = queue(1);
    let writing = Arc::clone(&queue);
    let writer = move || {
        let mut batch = Batch::default();
        assert_eq!(writing.take(&mut batch, later()), Taken::Lines);
        writing.fail();
        writing.settle(&batch);
    };
    let requests = move || {
        let told = request(&queue);
        assert!(matches!(told, Ok(()) | Err(Unavailable::Failing)), "{told:?}");
        let written = std::future::poll_fn(|context| queue.poll_written(1, context.waker()));
        loom::future::block_on(written);
        queue.reserve().expect("its place came back");
    };
    both(writer, requests);
}
