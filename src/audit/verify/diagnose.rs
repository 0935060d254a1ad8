//! Once a line is bad: what was done to the file, told from what comes behind the line.

use std::io;
use std::path::Path;

use super::fault::What;
use super::open;
use crate::audit::digest::ChainUid;
use crate::audit::line::{Line, Link};
use crate::audit::reader::Lines;

/// What is behind the bad line in its file.
#[derive(Debug, Default)]
struct Rest {
    /// The first record.
    next: Option<(u64, bool)>,
    /// A record with the number that was expected at the bad line.
    expected: bool,
    /// A record with the number that stands there.
    same: bool,
}

/// Of the line at `offset` of `path`, which `bad` is if it can be read, and which should have
/// followed `last`.
pub(super) fn diagnose(
    path: &Path,
    offset: u64,
    chain: ChainUid,
    bad: Option<Link>,
    last: Link,
) -> io::Result<What> {
    let expected = last.sequence + 1;
    let found = bad.map(|bad| bad.sequence);
    let rest = rest(path, offset, chain, found, last)?;
    Ok(match found {
        None if rest.next.is_some_and(|(_, follows)| follows) => What::Foreign,
        None => What::Edited,
        Some(found) if found < expected => What::Repeated(found),
        Some(found) if found == expected => What::Replaced,
        Some(found) if rest.expected && rest.same => What::Repeated(found),
        Some(found) if rest.expected => What::Reordered { found, expected },
        Some(found) => What::Removed { from: expected, to: found - 1 },
    })
}

fn rest(
    path: &Path,
    offset: u64,
    chain: ChainUid,
    found: Option<u64>,
    last: Link,
) -> io::Result<Rest> {
    let mut lines = Lines::new(open(path)?);
    let mut rest = Rest::default();
    while let Some(piece) = lines.next()? {
        let line = Line::parse(piece.text).filter(|line| piece.whole && line.chain == chain);
        let Some(line) = line.filter(|line| piece.offset > offset && line.is_intact()) else {
            continue;
        };
        rest.next.get_or_insert((line.sequence, line.follows(last)));
        rest.expected |= line.sequence == last.sequence + 1;
        rest.same |= Some(line.sequence) == found;
    }
    Ok(rest)
}
