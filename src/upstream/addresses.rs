//! Which of SageMaker's addresses a call goes to.
//!
//! A name stands for several addresses, and calls shall spread over them, follow them when
//! they change, and go around one that fails. Each address has a pool of connections of its
//! own, because the request's URI names the address; the call goes to the one with the
//! fewest calls on their way. With one call at a time that is always the same one, whose
//! connection is warm; which one, differs from process to process.
//!
//! An address that fails is left alone for a while, longer each time; then one call at a time
//! tries it again. When all of them fail, they are all used: a guess at which is the least
//! broken beats no call at all.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::uri::Authority;

use super::health::{Claim, Health};

/// More than any name of AWS has.
const MOST: usize = 32;

/// The addresses of one name.
#[derive(Debug)]
pub(super) struct Addresses {
    list: ArcSwap<Vec<Known>>,
    /// Orders the addresses differently in each process.
    seed: RandomState,
    /// How long an address is used after it was last resolved: a name with many addresses
    /// answers with some of them, and others the next time.
    keep: Duration,
}

#[derive(Clone, Debug)]
struct Known {
    address: Arc<Address>,
    resolved: Instant,
    /// Not of the family that the system prefers: for when that one fails.
    second_family: bool,
}

#[derive(Debug)]
struct Address {
    socket: SocketAddr,
    authority: Authority,
    in_flight: AtomicUsize,
    health: Health,
}

/// An address for one call, which counts as on its way until this is dropped.
#[derive(Debug)]
pub(super) struct Pick {
    address: Arc<Address>,
    claim: Claim,
}

/// How many addresses there are, and how many of them are left alone now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressCounts {
    pub open: usize,
    pub closed: usize,
}

impl Addresses {
    /// None yet.
    pub(super) fn new(keep: Duration) -> Self {
        Self { list: ArcSwap::default(), seed: RandomState::new(), keep }
    }

    /// Takes what the name resolves to now, in the order of the system's preference. What
    /// is known of an address stays; an address that is not named any more leaves after
    /// `keep`, and calls on their way to it end as they would have.
    pub(super) fn update(&self, resolved: &[SocketAddr], now: Instant) {
        let before = self.list.load();
        let find = |socket| before.iter().find(|known| known.address.socket == socket);
        let mut next: Vec<Known> = Vec::with_capacity(resolved.len());
        for &socket in resolved.iter().take(MOST) {
            let same = find(socket).map(|known| Arc::clone(&known.address));
            let Some(address) = same.or_else(|| Address::new(socket)) else { continue };
            let second_family = resolved.first().is_some_and(|f| f.is_ipv4() != socket.is_ipv4());
            if !next.iter().any(|known| known.address.socket == socket) {
                next.push(Known { address, resolved: now, second_family });
            }
        }
        let kept = before.iter().filter(|known| {
            !resolved.contains(&known.address.socket)
                && now.saturating_duration_since(known.resolved) < self.keep
        });
        next.extend(kept.take(MOST - next.len()).cloned());
        next.sort_by_cached_key(|known| self.seed.hash_one(known.address.socket));
        self.list.store(Arc::new(next));
    }

    /// The address for a call; `None` if there is none at all.
    pub(super) fn pick(&self, now: Instant) -> Option<Pick> {
        let list = self.list.load();
        let load =
            |known: &&Known| (known.second_family, known.address.in_flight.load(Ordering::Relaxed));
        // Whoever loses a claim finds the address closed the next time round.
        while let Some(known) = list.iter().filter(|k| !k.is_closed(now)).min_by_key(load) {
            if let Some(claim) = known.address.health.claim(now) {
                return Some(Pick::new(&known.address, claim));
            }
        }
        list.iter().min_by_key(load).map(|known| Pick::new(&known.address, Claim::Open))
    }

    pub(super) fn counts(&self, now: Instant) -> AddressCounts {
        let list = self.list.load();
        let closed = list.iter().filter(|known| known.is_closed(now)).count();
        AddressCounts { open: list.len() - closed, closed }
    }
}

impl Known {
    fn is_closed(&self, now: Instant) -> bool {
        self.address.health.is_closed(now)
    }
}

impl Address {
    fn new(socket: SocketAddr) -> Option<Arc<Self>> {
        let authority = SocketAddr::new(socket.ip(), socket.port()).to_string().parse().ok()?;
        Some(Arc::new(Self {
            socket,
            authority,
            in_flight: AtomicUsize::new(0),
            health: Health::new(),
        }))
    }
}

impl Pick {
    fn new(address: &Arc<Address>, claim: Claim) -> Self {
        address.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { address: Arc::clone(address), claim }
    }

    /// `10.0.0.1:443`
    pub(super) fn authority(&self) -> &Authority {
        &self.address.authority
    }

    /// An answer came.
    pub(super) fn answered(&self) {
        self.address.health.answered();
    }

    /// No connection could be made.
    pub(super) fn unreachable(&self, now: Instant) {
        self.address.health.unreachable(self.claim, now);
    }

    /// A connection broke before the answer.
    pub(super) fn broke(&self, now: Instant) {
        self.address.health.broke(self.claim, now);
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.address.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::health::FIRST_PAUSE;
    use super::*;

    const KEEP: Duration = Duration::from_mins(1);

    fn socket(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 443))
    }

    fn with(last: &[u8], now: Instant) -> Addresses {
        let addresses = Addresses::new(KEEP);
        addresses.update(&last.iter().copied().map(socket).collect::<Vec<_>>(), now);
        addresses
    }

    fn picked(addresses: &Addresses, now: Instant) -> SocketAddr {
        addresses.pick(now).unwrap().address.socket
    }

    /// Where so many calls at once would go.
    fn spread(addresses: &Addresses, calls: usize, now: Instant) -> BTreeSet<SocketAddr> {
        let picks: Vec<_> = (0..calls).map(|_| addresses.pick(now).unwrap()).collect();
        picks.iter().map(|pick| pick.address.socket).collect()
    }

    #[test]
    fn calls_at_once_spread_evenly_and_one_at_a_time_stays_where_its_connection_is() {
        let now = Instant::now();
        let addresses = with(&[1, 2, 3, 4], now);
        let picks: Vec<_> = (0..8).map(|_| addresses.pick(now).unwrap()).collect();
        assert!(picks.iter().all(|p| p.address.in_flight.load(Ordering::Relaxed) == 2));
        drop(picks);
        let first = picked(&addresses, now);
        assert!((0..10).all(|_| picked(&addresses, now) == first));
        assert!(Addresses::new(KEEP).pick(now).is_none());
    }

    #[test]
    fn processes_do_not_all_begin_with_the_same_address() {
        let now = Instant::now();
        let firsts: BTreeSet<_> = (0..64).map(|_| picked(&with(&[1, 2, 3, 4], now), now)).collect();
        assert!(firsts.len() > 1);
    }

    #[test]
    fn a_new_address_is_used_at_once_and_one_that_is_not_named_any_more_leaves_later() {
        let now = Instant::now();
        let addresses = with(&[1, 2], now);
        addresses.update(&[socket(2), socket(3)], now + KEEP / 2);
        assert_eq!(spread(&addresses, 3, now), [1, 2, 3].map(socket).into());
        addresses.update(&[socket(2), socket(3)], now + KEEP);
        assert_eq!(spread(&addresses, 9, now), [2, 3].map(socket).into());
    }

    #[test]
    fn addresses_are_bounded_and_counted_once() {
        let now = Instant::now();
        let addresses = with(&(0..=255).collect::<Vec<_>>(), now);
        assert_eq!(addresses.counts(now).open, MOST);
        assert_eq!(with(&[1, 1, 1], now).counts(now).open, 1);
    }

    #[test]
    fn an_address_that_cannot_be_reached_is_left_alone_for_longer_and_longer() {
        let mut now = Instant::now();
        let addresses = with(&[1, 2], now);
        let bad = picked(&addresses, now);
        addresses.pick(now).unwrap().unreachable(now);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            let last = now + Duration::from_secs(pause) - Duration::from_millis(1);
            assert!(!spread(&addresses, 9, last).contains(&bad), "{pause} s");
            now += Duration::from_secs(pause);
            // One call tries it; the others go on around it.
            let picks: Vec<_> = (0..9).map(|_| addresses.pick(now).unwrap()).collect();
            let there: Vec<_> = picks.iter().filter(|p| p.address.socket == bad).collect();
            assert_eq!(there.len(), 1, "{pause} s");
            there[0].unreachable(now);
        }
        assert_eq!(addresses.counts(now), AddressCounts { open: 1, closed: 1 });
    }

    #[test]
    fn an_answer_makes_an_address_good_again() {
        let now = Instant::now();
        let addresses = with(&[1, 2], now);
        addresses.pick(now).unwrap().unreachable(now);
        let later = now + FIRST_PAUSE;
        let picks: Vec<_> = (0..2).map(|_| addresses.pick(later).unwrap()).collect();
        picks.iter().for_each(Pick::answered);
        drop(picks);
        assert_eq!(addresses.counts(later), AddressCounts { open: 2, closed: 0 });
        addresses.pick(later).unwrap().unreachable(later);
        assert_eq!(addresses.counts(later + FIRST_PAUSE).closed, 0, "it starts over");
    }

    #[test]
    fn breaks_close_an_address_only_in_a_row_of_three() {
        let now = Instant::now();
        let addresses = with(&[1, 2], now);
        let broke = |times| (0..times).for_each(|_| addresses.pick(now).unwrap().broke(now));
        broke(2);
        addresses.pick(now).unwrap().answered();
        broke(2);
        assert_eq!(addresses.counts(now).closed, 0);
        broke(1);
        assert_eq!(addresses.counts(now).closed, 1);
    }

    #[test]
    fn many_calls_that_fail_together_count_as_one_failure() {
        let now = Instant::now();
        let addresses = with(&[1], now);
        let picks: Vec<_> = (0..50).map(|_| addresses.pick(now).unwrap()).collect();
        picks.iter().for_each(|pick| pick.unreachable(now));
        assert_eq!(addresses.counts(now + FIRST_PAUSE).closed, 0);
    }

    #[test]
    fn never_are_all_left_alone() {
        let now = Instant::now();
        let addresses = with(&[1, 2, 3], now);
        (0..3).for_each(|_| addresses.pick(now).unwrap().unreachable(now));
        assert_eq!(addresses.counts(now), AddressCounts { open: 0, closed: 3 });
        assert_eq!(spread(&addresses, 3, now).len(), 3);
    }

    #[test]
    fn the_second_family_is_for_when_the_first_fails() {
        let now = Instant::now();
        let addresses = Addresses::new(KEEP);
        let (six, four) = (SocketAddr::from(([1, 0, 0, 0, 0, 0, 0, 1], 443)), socket(1));
        addresses.update(&[six, four], now);
        assert_eq!(spread(&addresses, 9, now), [six].into());
        addresses.pick(now).unwrap().unreachable(now);
        assert_eq!(spread(&addresses, 9, now), [four].into());
    }
}
