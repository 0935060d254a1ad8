//! The places for a listener's connections, in all and by address.
//!
//! A connection takes its place before anything is read of it and gives it back when it ends.
//! Who finds none is refused at once: a caller who is let go can try another gateway, and one
//! who waits in the kernel's queue cannot tell that from an outage.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Bounds, sockets};

#[derive(Debug)]
pub(super) struct Places {
    all: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize, foldhash::fast::RandomState>,
}

/// One connection's, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    All,
    /// For this address.
    Address,
}

impl Places {
    /// As many as `bounds` says and there are file descriptors for.
    pub(super) fn new(bounds: &Bounds) -> Arc<Self> {
        let all = sockets(bounds.connections);
        let each = bounds.connections_per_address.unwrap_or(usize::MAX);
        Arc::new(Self { all, each, taken: Mutex::default() })
    }

    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let address = network(address);
        let each = if address.is_loopback() { usize::MAX } else { self.each };
        self.with_taken(|taken| {
            if taken.all >= self.all {
                return Err(Full::All);
            }
            let of_address = taken.by_address.entry(address).or_default();
            if *of_address >= each {
                return Err(Full::Address);
            }
            *of_address += 1;
            taken.all += 1;
            Ok(())
        })?;
        Ok(Place { places: Arc::clone(self), address })
    }

    fn with_taken<T>(&self, act: impl FnOnce(&mut Taken) -> T) -> T {
        // Nothing panics under the lock.
        act(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whose share it is. A host of IPv6 has a network of 64 bits to choose addresses from (RFC
/// 4291 §2.5.1), so that all of it counts as one; ::ffff:10.0.0.1 on a listener for both
/// families is 10.0.0.1.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) if !six.is_loopback() => {
            Ipv6Addr::from_bits(six.to_bits() >> 64 << 64).into()
        }
        other => other,
    }
}

impl Full {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::All => "connections",
            Self::Address => "address",
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.with_taken(|taken| {
            taken.all = taken.all.saturating_sub(1);
            if let Some(of_address) = taken.by_address.get_mut(&self.address) {
                *of_address = of_address.saturating_sub(1);
                if *of_address == 0 {
                    taken.by_address.remove(&self.address);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(connections: usize, each: Option<usize>) -> Arc<Places> {
        let bounds = Bounds { connections, connections_per_address: each, ..Bounds::default() };
        Places::new(&bounds)
    }

    fn from(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn an_address_has_its_share_and_gives_it_back() {
        let places = places(4, Some(2));
        let first = places.take(from(1)).unwrap();
        let second = places.take("::ffff:10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(places.take(from(1)).unwrap_err(), Full::Address);
        let others = [places.take(from(2)).unwrap(), places.take(from(3)).unwrap()];
        assert_eq!(places.take(from(4)).unwrap_err(), Full::All);
        drop(first);
        let again = places.take(from(1)).unwrap();
        drop((second, others, again));
        let taken = places.taken.lock().unwrap();
        assert_eq!((taken.all, taken.by_address.len()), (0, 0), "nothing is left of them");
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_its_neighbour_another() {
        let places = places(8, Some(1));
        let six = |text: &str| text.parse::<IpAddr>().unwrap();
        let held = places.take(six("2001:db8::1")).unwrap();
        assert_eq!(places.take(six("2001:db8::ffff:2")).unwrap_err(), Full::Address);
        assert!(places.take(six("2001:db8:0:1::1")).is_ok());
        drop(held);
        assert!(places.take(six("2001:db8::3")).is_ok());
        let loopback = [places.take(six("::1")).unwrap(), places.take(six("::1")).unwrap()];
        drop(loopback);
    }

    #[test]
    fn loopback_has_all_and_so_has_everyone_where_no_share_is_set() {
        for (places, address) in
            [(places(3, Some(1)), [127, 0, 0, 9].into()), (places(3, None), from(1))]
        {
            let held: Vec<_> = (0..3).map(|_| places.take(address).unwrap()).collect();
            assert_eq!(places.take(address).unwrap_err(), Full::All);
            drop(held);
        }
    }
}
