//! Lines of a journal's file, one at a time and without a copy, each with where it stands.
//!
//! Invariant: memory is bounded by the longest line that can be a record; a longer one comes
//! in pieces, of which none is whole.

use std::io::{self, Read};
use std::ops::Range;

use memchr::memchr;

use super::line::LONGEST;

/// What is read at once.
const CHUNK: usize = 1 << 20;

/// Takes `reader`'s bytes apart at their newlines.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// What of the buffer was not given out yet.
    ahead: Range<usize>,
    /// Where `ahead` begins in what is read.
    offset: u64,
    ended: bool,
}

/// A line, or what there is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Where it begins.
    pub offset: u64,
    /// Without the newline.
    pub text: &'a [u8],
    /// Whether a newline ended it. Only the last piece, or one that is too long for a
    /// record, has none.
    pub whole: bool,
}

impl Piece<'_> {
    /// Where the next one begins.
    pub fn end(&self) -> u64 {
        self.offset + self.text.len() as u64 + u64::from(self.whole)
    }
}

impl<R: Read> Lines<R> {
    pub fn new(reader: R) -> Self {
        Self::at(reader, 0)
    }

    /// For a reader that stands at `offset` of its file.
    pub fn at(reader: R, offset: u64) -> Self {
        Self { reader, buffer: Vec::new(), ahead: 0..0, offset, ended: false }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    #[expect(clippy::should_implement_trait, reason = "a piece borrows from its reader")]
    pub fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        let mut searched = 0;
        let newline = loop {
            let ahead = self.buffer.get(self.ahead.clone()).unwrap_or_default();
            let unseen = ahead.get(searched..).unwrap_or_default();
            if let Some(at) = memchr(b'\n', unseen) {
                break Some(searched + at);
            }
            searched = ahead.len();
            if self.ended || searched > LONGEST {
                break None;
            }
            self.fill()?;
        };
        let (start, length) = (self.ahead.start, newline.unwrap_or(searched));
        let (whole, offset) = (newline.is_some(), self.offset);
        let taken = length + usize::from(whole);
        self.ahead.start += taken;
        self.offset += taken as u64;
        let text = self.buffer.get(start..start + length).unwrap_or_default();
        Ok((taken > 0).then_some(Piece { offset, text, whole }))
    }

    /// Reads on behind what is there.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.ahead.clone(), 0);
        self.ahead = 0..self.ahead.len();
        if self.buffer.len() < self.ahead.end + CHUNK {
            self.buffer.resize(self.ahead.end + CHUNK, 0);
        }
        let room = self.buffer.get_mut(self.ahead.end..).unwrap_or_default();
        let read = loop {
            match self.reader.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.ahead.end += read;
        self.ended = read == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            room[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn pieces(reader: impl Read) -> Vec<(u64, Vec<u8>, bool)> {
        let mut lines = Lines::new(reader);
        let mut pieces = Vec::new();
        while let Some(piece) = lines.next().unwrap() {
            pieces.push((piece.offset, piece.text.to_vec(), piece.whole));
        }
        pieces
    }

    #[test]
    fn lines_come_with_their_places_and_the_last_may_lack_its_end() {
        let wanted = vec![(0, b"ab".to_vec(), true), (3, vec![], true), (4, b"c".to_vec(), false)];
        assert_eq!(pieces(&b"ab\n\nc"[..]), wanted);
        assert_eq!(pieces(Slow(b"ab\n\nc")), wanted);
        assert_eq!(pieces(&b""[..]), []);
    }

    #[test]
    fn what_is_too_long_comes_in_pieces_that_are_not_whole() {
        let mut text = vec![b'x'; 2 * LONGEST];
        text.extend_from_slice(b"\ny\n");
        let pieces = pieces(&*text);
        assert!(pieces.iter().rev().skip(2).all(|(_, _, whole)| !whole));
        assert_eq!(pieces.last(), Some(&(text.len() as u64 - 2, b"y".to_vec(), true)));
        assert!(pieces.iter().all(|(_, text, _)| text.len() <= LONGEST + CHUNK));
    }

    proptest! {
        #[test]
        fn put_together_again_the_pieces_are_the_file(bytes in "[ab\n]{0,40}") {
            let pieces = pieces(Slow(bytes.as_bytes()));
            let mut text = Vec::new();
            for (offset, piece, whole) in pieces {
                prop_assert_eq!(offset, text.len() as u64);
                text.extend(piece);
                text.extend(whole.then_some(b'\n'));
            }
            prop_assert_eq!(text, bytes.as_bytes());
        }
    }
}
