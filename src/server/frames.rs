//! What HTTP/2 frames a peer sends, told by their heads alone.
//!
//! h2 bounds what a peer can make it keep. It does not say when it refused a head by itself,
//! and it does not tire of frames that ask nothing: a PING costs the peer less than us. Both
//! are counted here, and nothing is kept but the head of one frame (RFC 9113 §4.1).

/// What is left of the preface when frames are first looked at: `\r\nSM\r\n\r\n`.
const REST_OF_PREFACE: u32 = 8;

/// Kinds of frames, RFC 9113 §6.
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What came, since the connection began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Heads that are complete and open a stream.
    pub heads: u64,
    /// Streams that the peer gave up.
    pub resets: u64,
    /// Frames that ask nothing and bring nothing: SETTINGS, PING, PRIORITY, unknown ones, and
    /// empty DATA and CONTINUATION that end nothing.
    pub idle: u64,
}

/// One connection's frames, as far as they came.
#[derive(Debug)]
pub struct Frames {
    count: Count,
    /// The head of the next frame, as far as it is here.
    head: [u8; 9],
    read: usize,
    /// Bytes of a frame that are still to come.
    skip: u32,
    /// The highest stream that a HEADERS frame named.
    last: u32,
    /// A new stream's head that CONTINUATION frames go on with.
    opening: bool,
}

impl Default for Frames {
    fn default() -> Self {
        let skip = REST_OF_PREFACE;
        Self { count: Count::default(), head: [0; 9], read: 0, skip, last: 0, opening: false }
    }
}

impl Frames {
    /// Looks at the next bytes of the connection.
    pub fn pass(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.skip > 0 {
                rest = self.pass_over(rest);
                continue;
            }
            let missing = self.head.get_mut(self.read..).unwrap_or_default();
            let taken = missing.len().min(rest.len());
            let (now, after) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
            missing.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            self.read += taken;
            rest = after;
            if self.read == self.head.len() {
                self.read = 0;
                self.frame();
            }
        }
    }

    pub fn count(&self) -> Count {
        self.count
    }

    fn pass_over<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let over = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= u32::try_from(over).unwrap_or(self.skip);
        bytes.get(over..).unwrap_or_default()
    }

    fn frame(&mut self) {
        let [a, b, c, kind, flags, w, x, y, z] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let stream = u32::from_be_bytes([w & 0x7f, x, y, z]);
        self.skip = length;
        match kind {
            HEADERS => {
                // A second HEADERS frame of a stream brings trailers.
                self.opening = stream > self.last;
                self.last = self.last.max(stream);
                self.head_goes_on(flags);
            }
            CONTINUATION => {
                self.count.idle += u64::from(length == 0 && flags & END_HEADERS == 0);
                self.head_goes_on(flags);
            }
            DATA => self.count.idle += u64::from(length == 0 && flags & END_STREAM == 0),
            RST_STREAM => self.count.resets += 1,
            // As many as our answers are read in pieces.
            WINDOW_UPDATE | GOAWAY => {}
            _ => self.count.idle += 1,
        }
    }

    fn head_goes_on(&mut self, flags: u8) {
        if self.opening && flags & END_HEADERS != 0 {
            self.opening = false;
            self.count.heads += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    #[test]
    fn frames_are_counted_by_what_they_ask_however_they_are_cut() {
        let bytes = [
            b"\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, 1, b"head"),
            frame(DATA, 0, 1, b"data"),
            frame(DATA, 0, 1, b""),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, b"trailers"),
            frame(HEADERS, END_STREAM, 3, b"he"),
            frame(CONTINUATION, 0, 3, b""),
            frame(CONTINUATION, END_HEADERS, 3, b"ad"),
            frame(6, 0, 0, &[0; 8]),
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
            frame(RST_STREAM, 0, 3, &[0; 4]),
            frame(DATA, END_STREAM, 1, b""),
            frame(HEADERS, 0, 5, b"a head that never ends"),
        ]
        .concat();
        let expected = Count { heads: 2, resets: 1, idle: 4 };
        for size in [1, 2, 7, 10, bytes.len()] {
            let mut frames = Frames::default();
            bytes.chunks(size).for_each(|piece| frames.pass(piece));
            assert_eq!(frames.count(), expected, "in pieces of {size}");
        }
    }
}
