//! What lies in the journal's directory, and what of it may go. Pure: sizes, positions and
//! the time come in, a verdict goes out.

use std::time::{Duration, SystemTime};

use super::config::SpoolFull;
use super::files::{Chains, JournalFile};
use super::position::Positions;

/// The directory at one moment.
#[derive(Debug)]
pub(super) struct Stock {
    pub(super) chains: Chains,
    /// One of each sink.
    pub(super) positions: Vec<Positions>,
    /// Bytes that sinks rejected and nobody has taken away yet.
    pub(super) set_aside: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) spool: u64,
    pub(super) full: SpoolFull,
    pub(super) retention: Option<Duration>,
}

impl Stock {
    /// Bytes that this sink does not have yet.
    pub(super) fn unshipped(&self, sink: &Positions) -> u64 {
        self.files().map(|(chain, file)| sink.unshipped(chain, file)).sum()
    }

    /// Whether requests must be refused, for what is unshipped has reached the bound. Once
    /// that is so, it takes an eighth of room to end it, so that readiness does not flap.
    pub(super) fn is_full(&self, rules: &Rules, was_full: bool) -> bool {
        let enough = if was_full { rules.spool - rules.spool / 8 } else { rules.spool };
        self.unshipped_by_any() + self.set_aside >= enough
    }

    /// The files that may go now, oldest first: closed, with every sink, and either old
    /// enough or, at the bound, in the way. Of a chain only its beginning goes, for a file
    /// that is missing inside is one that somebody else removed.
    pub(super) fn removable(&self, rules: &Rules, now: SystemTime) -> Vec<JournalFile> {
        let mut total = self.files().map(|(_, file)| file.bytes).sum::<u64>() + self.set_aside;
        let mut shipped: Vec<_> = self.shipped().collect();
        shipped.sort_by_key(|(since, file)| (*since, &file.name));
        let mut removable = Vec::new();
        for (since, file) in shipped {
            let age = now.duration_since(since).unwrap_or_default();
            let old = rules.retention.is_some_and(|retention| age >= retention);
            if old || (self.drops(rules) && total >= rules.spool) {
                total -= file.bytes;
                removable.push(file.clone());
            }
        }
        removable
    }

    /// The closed files that every sink has, and how old they are: none is older than the one
    /// before it, whatever a clock that was wrong for a while says.
    fn shipped(&self) -> impl Iterator<Item = (SystemTime, &JournalFile)> {
        self.chains.iter().flat_map(move |(chain, files)| {
            let closed = files.iter().take(files.len().saturating_sub(1));
            let shipped = closed.take_while(move |file| self.is_shipped(chain, file));
            shipped.scan(SystemTime::UNIX_EPOCH, |since, file| {
                *since = file.modified.max(*since);
                Some((*since, file))
            })
        })
    }

    /// Without a sink the journal itself is the record, and only its age ends it.
    fn drops(&self, rules: &Rules) -> bool {
        rules.full == SpoolFull::DropOldestShipped && !self.positions.is_empty()
    }

    fn is_shipped(&self, chain: &str, file: &JournalFile) -> bool {
        self.positions.iter().all(|sink| sink.has_left(chain, file))
    }

    fn unshipped_by_any(&self) -> u64 {
        let most = |chain: &str, file: &JournalFile| {
            self.positions.iter().map(|sink| sink.unshipped(chain, file)).max().unwrap_or(0)
        };
        self.files().map(|(chain, file)| most(chain, file)).sum()
    }

    /// Every file, with its chain.
    fn files(&self) -> impl Iterator<Item = (&str, &JournalFile)> {
        let chains = self.chains.iter();
        chains.flat_map(|(chain, files)| files.iter().map(move |file| (chain.as_str(), file)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::super::position::Mark;
    use super::*;

    const DAY: Duration = Duration::from_hours(24);
    const RULES: Rules = Rules { spool: 1000, full: SpoolFull::Refuse, retention: None };
    const DROP: Rules = Rules { full: SpoolFull::DropOldestShipped, ..RULES };

    /// One chain of files of 100 bytes, a day apart, the first a day after the epoch.
    fn files(count: u32) -> Chains {
        let file = |n: u32| JournalFile {
            name: format!("f{n:03}"),
            bytes: 100,
            modified: UNIX_EPOCH + DAY * (n + 1),
        };
        [("aa".to_owned(), (0..count).map(file).collect())].into()
    }

    /// A sink that is at the beginning of a file.
    fn at(file: u32) -> Positions {
        let mark = Mark { file: format!("f{file:03}"), offset: 0, sequence: 1 };
        Positions { chains: [("aa".to_owned(), mark)].into() }
    }

    fn stock(count: u32, positions: Vec<Positions>) -> Stock {
        Stock { chains: files(count), positions, set_aside: 0 }
    }

    fn removable(stock: &Stock, rules: Rules, days: u32) -> usize {
        let files = stock.removable(&rules, UNIX_EPOCH + DAY * days);
        let oldest = stock.chains["aa"].iter().map(|file| &file.name).take(files.len());
        assert!(files.iter().map(|file| &file.name).eq(oldest), "oldest first, and none skipped");
        files.len()
    }

    #[test]
    fn a_file_is_kept_for_its_time_and_then_until_every_sink_has_it() {
        let ninety = Rules { retention: Some(DAY * 90), ..RULES };
        let shipped = stock(10, vec![at(9), at(9)]);
        assert_eq!(removable(&shipped, ninety, 90), 0);
        assert_eq!(removable(&shipped, ninety, 91), 1);
        assert_eq!(removable(&shipped, ninety, 1000), 9, "never the last, which is written to");
        assert_eq!(removable(&shipped, RULES, 1000), 0, "without a retention, all are kept");
        assert_eq!(removable(&stock(10, vec![at(9), at(3)]), ninety, 1000), 3);
        assert_eq!(removable(&stock(10, vec![at(9), Positions::default()]), ninety, 1000), 0);
        assert_eq!(removable(&stock(10, Vec::new()), ninety, 95), 5, "no sink: its age alone");
    }

    #[test]
    fn a_clock_that_was_wrong_for_a_while_takes_no_file_from_inside_a_chain() {
        let ninety = Rules { retention: Some(DAY * 90), ..RULES };
        let gone = |wrong: SystemTime, rules, days| {
            let mut stock = stock(6, vec![at(5)]);
            stock.chains.get_mut("aa").unwrap()[2].modified = wrong;
            removable(&stock, rules, days)
        };
        let (late, never) = (UNIX_EPOCH + DAY * 1000, UNIX_EPOCH);
        assert_eq!(gone(late, ninety, 95), 2, "nothing behind one from the future");
        assert_eq!(gone(never, ninety, 80), 0, "nor one that was written without a clock");
        assert_eq!(gone(never, ninety, 92), 3);
        assert_eq!(gone(late, Rules { spool: 301, ..DROP }, 0), 3, "the oldest make room");
    }

    #[test]
    fn at_the_bound_requests_are_refused_and_nothing_is_removed() {
        let full =
            |at_file, was_full| stock(20, vec![at(19), at(at_file)]).is_full(&RULES, was_full);
        assert_eq!([11, 10, 9].map(|file| full(file, false)), [false, true, true]);
        assert_eq!([12, 11].map(|file| full(file, true)), [false, true], "an eighth of room");
        assert_eq!(removable(&stock(20, vec![at(19)]), RULES, 1000), 0);
        let aside = Stock { set_aside: 900, ..stock(20, vec![at(19)]) };
        assert!(aside.is_full(&RULES, false), "what was set aside counts");
    }

    #[test]
    fn at_the_bound_the_oldest_shipped_make_room_and_what_is_unshipped_never_does() {
        assert_eq!(removable(&stock(9, vec![at(8)]), DROP, 0), 0, "below the bound");
        assert_eq!(removable(&stock(12, vec![at(11)]), DROP, 0), 3);
        assert_eq!(removable(&stock(12, vec![at(11), at(2)]), DROP, 0), 2);
        let stuck = stock(12, vec![at(11), Positions::default()]);
        assert_eq!((removable(&stuck, DROP, 0), stuck.is_full(&DROP, false)), (0, true));
        assert_eq!(removable(&stock(12, Vec::new()), DROP, 0), 0, "the journal is the record");
    }

    proptest! {
        #[test]
        fn no_file_goes_that_a_sink_still_needs_or_that_is_written_to(
            count in 1..30_u32,
            sinks in prop::collection::vec(0..30_u32, 1..4),
            spool in 1..3000_u64,
            days in 0..60_u32,
            retention in prop::option::of(0..40_u32),
            drops: bool,
        ) {
            let slowest = sinks.iter().copied().min().unwrap_or(0).min(count - 1);
            let stock = stock(count, sinks.into_iter().map(at).collect());
            let full = if drops { SpoolFull::DropOldestShipped } else { SpoolFull::Refuse };
            let rules = Rules { spool, full, retention: retention.map(|days| DAY * days) };
            let gone = stock.removable(&rules, UNIX_EPOCH + DAY * days);
            let last = format!("f{slowest:03}");
            prop_assert!(gone.iter().all(|file| file.name < last));
        }
    }
}
