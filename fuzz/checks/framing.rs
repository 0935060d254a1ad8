//! Any bytes of a connection → `Framing` and `Frames`: how the network cuts them changes
//! nothing, and a fault has its place among them.
//!
//! The first byte says into pieces of which size the rest is cut.

use sagegate::server::frames::{Count, Frames};
use sagegate::server::framing::{Framing, Verdict};

/// Whether they are well-framed requests, or HTTP/2.
pub(crate) fn check(input: &[u8]) -> bool {
    let Some((size, bytes)) = input.split_first() else { return false };
    let size = usize::from(*size).max(1);
    let whole = Framing::default().check(bytes);
    assert_eq!(whole, in_pieces(bytes, size));
    match whole {
        Verdict::Fine => true,
        Verdict::Fault(place) => {
            assert!(place < bytes.len());
            // What came before it was fine.
            assert_eq!(Framing::default().check(&bytes[..place]), Verdict::Fine);
            false
        }
        Verdict::Http2(place) => {
            let frames = &bytes[place..];
            assert_eq!(counted(frames, frames.len().max(1)), counted(frames, size));
            true
        }
    }
}

fn in_pieces(bytes: &[u8], size: usize) -> Verdict {
    let (mut framing, mut at) = (Framing::default(), 0);
    for piece in bytes.chunks(size) {
        match framing.check(piece) {
            Verdict::Fine => at += piece.len(),
            Verdict::Fault(place) => return Verdict::Fault(at + place),
            Verdict::Http2(place) => return Verdict::Http2(at + place),
        }
    }
    Verdict::Fine
}

fn counted(bytes: &[u8], size: usize) -> Count {
    let mut frames = Frames::default();
    bytes.chunks(size).for_each(|piece| frames.pass(piece));
    frames.count()
}
