//! Whether an HTTP/1 request agrees with itself about where it ends.
//!
//! hyper forgives what RFC 9112 lets it forgive: a length beside chunks, a bare line feed, the
//! same length twice, no `Host`. Another proxy on the way may forgive it differently, and then
//! the two see different requests in the same bytes (RFC 9112 §11.2). Nothing is forgiven
//! here. To know where the next head begins, bodies are followed, and nothing is kept but the
//! beginning of a line that is not yet whole.
//!
//! Invariant: what this takes for well-framed, hyper frames in the same way.

use memchr::{memchr, memchr2};

/// A line's first bytes, which tell all that is asked of it. A longer one is refused where it
/// would be read; a token's line may be as long as a head.
const KEPT: usize = 8 * 1024;
/// Sixteen hexadecimal digits are 64 bits.
const MOST_DIGITS: usize = 16;
/// How every HTTP/2 connection begins (RFC 9113 §3.4); its other eight bytes follow.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// What bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// At this place it is certain that the request is none.
    Fault(usize),
    /// HTTP/2 begins: from this place on, frames and the rest of the preface.
    Http2(usize),
}

/// One connection's requests, as far as they came.
#[derive(Debug)]
pub struct Framing {
    state: State,
    line: Line,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before the first request.
    First,
    Start,
    Head(Head),
    /// So many bytes to come.
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    /// Nothing that follows is read.
    Over,
}

#[derive(Clone, Copy, Debug, Default)]
struct Head {
    host: bool,
    length: Option<u64>,
    chunked: bool,
    /// Before HTTP/1.1 a request needs no `Host`.
    old: bool,
}

/// It is none.
struct Fault;

impl Default for Framing {
    fn default() -> Self {
        Self { state: State::First, line: Line::default() }
    }
}

impl Framing {
    /// Looks at the next bytes of the connection. After anything but [`Verdict::Fine`] nothing
    /// more is to be asked.
    pub fn check(&mut self, bytes: &[u8]) -> Verdict {
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            rest = match self.state {
                State::Over => return Verdict::Fine,
                State::Body(left) => self.skip(left, rest, State::Body, State::Start),
                State::Chunk(left) => self.skip(left, rest, State::Chunk, State::ChunkEnd),
                state => match self.line.read(rest) {
                    Read::Part => return Verdict::Fine,
                    Read::Fault(place) => return self.end(Verdict::Fault(at + place)),
                    Read::Whole { line, after } => {
                        if matches!(state, State::First) && line.start == PREFACE {
                            return self.end(Verdict::Http2(bytes.len() - after.len()));
                        }
                        let Ok(next) = step(state, &line) else {
                            let place = bytes.len() - after.len() - 1;
                            return self.end(Verdict::Fault(place));
                        };
                        self.line.clear();
                        self.state = next;
                        after
                    }
                },
            };
        }
        Verdict::Fine
    }

    /// Whether a head has begun and not ended.
    pub fn within_head(&self) -> bool {
        match self.state {
            State::Head(_) => true,
            State::First | State::Start => self.line.begun(),
            _ => false,
        }
    }

    fn end(&mut self, verdict: Verdict) -> Verdict {
        *self = Self { state: State::Over, line: Line::default() };
        verdict
    }

    fn skip<'a>(
        &mut self,
        left: u64,
        bytes: &'a [u8],
        during: fn(u64) -> State,
        then: State,
    ) -> &'a [u8] {
        match usize::try_from(left).ok().and_then(|left| bytes.split_at_checked(left)) {
            Some((_, after)) => {
                self.state = then;
                after
            }
            None => {
                self.state = during(left - bytes.len() as u64);
                &[]
            }
        }
    }
}

/// One more line.
fn step(state: State, line: &Whole<'_>) -> Result<State, Fault> {
    match state {
        // An empty line before a request is what some clients send after a body (§2.2).
        State::First | State::Start if line.start.is_empty() => Ok(State::Start),
        State::First | State::Start => Ok(State::Head(request_line(line)?)),
        State::Head(head) if line.start.is_empty() => head.end(),
        State::Head(head) => Ok(State::Head(head.and(line)?)),
        State::ChunkSize => Ok(match chunk_size(line)? {
            0 => State::Trailers,
            size => State::Chunk(size),
        }),
        State::ChunkEnd if line.start.is_empty() => Ok(State::ChunkSize),
        State::ChunkEnd => Err(Fault),
        State::Trailers if line.start.is_empty() => Ok(State::Start),
        State::Trailers => Ok(State::Trailers),
        State::Body(_) | State::Chunk(_) | State::Over => Ok(state),
    }
}

/// A target has no fragment (RFC 9112 §3.2); hyper would take it off.
fn request_line(line: &Whole<'_>) -> Result<Head, Fault> {
    if line.cut || memchr(b'#', line.start).is_some() {
        return Err(Fault);
    }
    Ok(Head { old: !line.start.ends_with(b" HTTP/1.1"), ..Head::default() })
}

impl Head {
    fn and(mut self, line: &Whole<'_>) -> Result<Self, Fault> {
        // A folded line (RFC 9112 §5.2).
        if matches!(line.start.first(), Some(b' ' | b'\t')) {
            return Err(Fault);
        }
        let colon = memchr(b':', line.start).ok_or(Fault)?;
        let (name, value) = line.start.split_at_checked(colon).ok_or(Fault)?;
        let known = |known: &[u8]| name.eq_ignore_ascii_case(known);
        // Names are told apart by their lengths first, which costs the other headers nothing.
        match name.len() {
            4 if known(b"host") => self.host = !self.host && host(line.value(value)?),
            14 if known(b"content-length") => {
                let again = self.length.replace(length(line.value(value)?)?);
                return if again.is_none() { Ok(self) } else { Err(Fault) };
            }
            17 if known(b"transfer-encoding") => {
                let once = !std::mem::replace(&mut self.chunked, true);
                let chunked = line.value(value)?.eq_ignore_ascii_case(b"chunked");
                return if once && chunked { Ok(self) } else { Err(Fault) };
            }
            _ => return Ok(self),
        }
        if self.host { Ok(self) } else { Err(Fault) }
    }

    fn end(self) -> Result<State, Fault> {
        match (self.host || self.old, self.length, self.chunked) {
            (false, ..) | (_, Some(_), true) => Err(Fault),
            (_, None, true) => Ok(State::ChunkSize),
            (_, Some(0) | None, false) => Ok(State::Start),
            (_, Some(length), false) => Ok(State::Body(length)),
        }
    }
}

/// RFC 9110 §8.6: digits, and no list of them.
fn length(value: &[u8]) -> Result<u64, Fault> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits);
    text.and_then(|text| text.parse().ok()).ok_or(Fault)
}

/// RFC 9110 §7.2: a host and perhaps a port, in the characters of RFC 3986 §3.2.2.
fn host(value: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    !value.is_empty() && value.iter().all(allowed)
}

/// RFC 9112 §7.1; extensions are nobody's, and passed over as it demands.
fn chunk_size(line: &Whole<'_>) -> Result<u64, Fault> {
    let digits = line.start.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.start.split_at_checked(digits).ok_or(Fault)?;
    if line.cut
        || digits > MOST_DIGITS
        || !matches!(extension.first(), None | Some(b' ' | b'\t' | b';'))
    {
        return Err(Fault);
    }
    let text = std::str::from_utf8(size).map_err(|_| Fault)?;
    u64::from_str_radix(text, 16).map_err(|_| Fault)
}

/// The line that is being read.
#[derive(Debug, Default)]
struct Line {
    /// What came of it in earlier reads, up to [`KEPT`].
    kept: Vec<u8>,
    /// More than [`KEPT`] came.
    cut: bool,
    /// The last byte was a carriage return.
    returned: bool,
}

/// A line without its end.
struct Whole<'a> {
    start: &'a [u8],
    /// Only its start is here.
    cut: bool,
}

enum Read<'l, 'a> {
    Part,
    /// A carriage return or a line feed alone, at this place.
    Fault(usize),
    Whole {
        line: Whole<'l>,
        after: &'a [u8],
    },
}

impl Whole<'_> {
    /// A header's value, from its colon on.
    fn value<'v>(&self, colon: &'v [u8]) -> Result<&'v [u8], Fault> {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let value = colon.get(1..).filter(|_| !self.cut).ok_or(Fault)?;
        let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
        let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
        value.get(start..end).ok_or(Fault)
    }
}

impl Line {
    fn begun(&self) -> bool {
        !self.kept.is_empty() || self.returned
    }

    fn clear(&mut self) {
        if self.begun() {
            *self = Self::default();
        }
    }

    fn read<'l, 'a: 'l>(&'l mut self, bytes: &'a [u8]) -> Read<'l, 'a> {
        let (end, after) = if self.returned {
            (0, bytes)
        } else {
            match memchr2(b'\r', b'\n', bytes) {
                None => {
                    self.keep(bytes);
                    return Read::Part;
                }
                Some(end) => match bytes.split_at_checked(end) {
                    Some((_, [b'\r', after @ ..])) => (end, after),
                    _ => return Read::Fault(end),
                },
            }
        };
        let line = bytes.get(..end).unwrap_or_default();
        match after {
            [] => {
                self.keep(line);
                self.returned = true;
                Read::Part
            }
            [b'\n', after @ ..] => Read::Whole { line: self.whole(line), after },
            _ => Read::Fault(bytes.len() - after.len()),
        }
    }

    fn whole<'l>(&'l mut self, end: &'l [u8]) -> Whole<'l> {
        if !self.begun() {
            return Whole { start: end.get(..KEPT).unwrap_or(end), cut: end.len() > KEPT };
        }
        self.keep(end);
        Whole { start: &self.kept, cut: self.cut }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = KEPT - self.kept.len();
        self.cut |= bytes.len() > room;
        self.kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `Ok` with the number of requests, or `Err` with what came before the fault.
    fn requests(bytes: &[u8]) -> Result<usize, usize> {
        let mut framing = Framing::default();
        let mut count = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let within = matches!(framing.state, State::Head(_));
            match framing.check(&[*byte]) {
                Verdict::Fine => {
                    count += usize::from(within && !matches!(framing.state, State::Head(_)));
                }
                Verdict::Fault(0) => return Err(at),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(Framing::default().check(bytes), Verdict::Fine, "whole and in bytes alike");
        Ok(count)
    }

    const HEAD: &str = "POST /a HTTP/1.1\r\nhost: a\r\n";

    #[test]
    fn requests_are_told_apart_whatever_frames_their_bodies() {
        let bodies = [
            "\r\n",
            "content-length: 0\r\n\r\n",
            "Content-Length:\t 11 \r\n\r\nGET / HTTP/9",
            "content-length: 2\r\n\r\n\n\n\r\n",
            "TRANSFER-ENCODING: Chunked\r\n\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n3;a=\"b\"\r\n\r\n\r\r\nA \r\n0123456789\r\n00\r\nx: y\r\n\r\n",
            "x-long: LONG\r\n\r\n",
        ];
        let text: String = bodies.iter().map(|body| format!("{HEAD}{body}")).collect();
        let text = text.replace("LONG", &"a".repeat(2 * KEPT));
        assert_eq!(requests(text.as_bytes()), Ok(bodies.len()));
        assert_eq!(requests(b"GET / HTTP/1.0\r\n\r\n"), Ok(1), "no Host before HTTP/1.1");
        assert_eq!(requests(b"\r\nGET / HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n"), Ok(1));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_a_fault_where_it_becomes_certain() {
        let head = |rest: &str| format!("{HEAD}{rest}");
        let long = "a".repeat(KEPT);
        for (what, text) in [
            ("a fragment", "GET /a#b HTTP/1.1\r\n".to_owned()),
            ("no host", "GET / HTTP/1.1\r\n\r\n".to_owned()),
            ("an empty host", "GET / HTTP/1.1\r\nhost: \r\n".to_owned()),
            ("a host with a path", "GET / HTTP/1.1\r\nhost: a/b\r\n".to_owned()),
            ("a host with a user", "GET / HTTP/1.1\r\nhost: a@b\r\n".to_owned()),
            ("two hosts", head("Host: a\r\n")),
            ("a target too long to look at", format!("GET /{long} HTTP/1.1\r\n")),
            ("a line feed alone", head("x: y\n")),
            ("a line feed alone after the request line", "GET / HTTP/1.1\n".to_owned()),
            ("an empty line of a line feed alone", head("\n")),
            ("a carriage return alone", head("x: y\rz")),
            ("two carriage returns", head("x: y\r\r")),
            ("a folded line", head("x: y\r\n z\r\n")),
            ("a line without a colon", head("content-length 2\r\n")),
            ("two lengths that differ", head("content-length: 2\r\ncontent-length: 3\r\n")),
            ("two lengths that agree", head("content-length: 2\r\ncontent-length: 2\r\n")),
            ("a list of lengths", head("content-length: 2, 2\r\n")),
            ("a length with a sign", head("content-length: +2\r\n")),
            ("a length in hexadecimal", head("content-length: 0x2\r\n")),
            ("no length", head("content-length:\r\n")),
            ("a length past all", head("content-length: 99999999999999999999\r\n")),
            (
                "chunks and a length",
                head("transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n"),
            ),
            (
                "a length and chunks",
                head("content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n"),
            ),
            ("chunks twice", head("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n")),
            ("chunks twice in one", head("transfer-encoding: chunked, chunked\r\n")),
            ("an encoding before", head("transfer-encoding: gzip, chunked\r\n")),
            ("an encoding alone", head("transfer-encoding: identity\r\n")),
            ("no encoding", head("transfer-encoding:\r\n")),
            ("a vertical tab", head("transfer-encoding: \u{b}chunked\r\n")),
            ("a size that is none", head("transfer-encoding: chunked\r\n\r\nx\r\n")),
            ("an empty size", head("transfer-encoding: chunked\r\n\r\n\r\n")),
            ("a size too large", head("transfer-encoding: chunked\r\n\r\n11111111111111111\r\n")),
            ("a size of a line feed alone", head("transfer-encoding: chunked\r\n\r\n2\n")),
            ("a chunk longer than it says", head("transfer-encoding: chunked\r\n\r\n1\r\nab\r\n")),
        ] {
            assert_eq!(requests(text.as_bytes()), Err(text.len() - 1), "{what}");
        }
    }

    #[test]
    fn http2_is_told_by_its_preface_and_only_at_the_beginning() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(Framing::default().check(preface), Verdict::Http2(16));
        let later = [&b"\r\n"[..], preface].concat();
        assert_eq!(Framing::default().check(&later), Verdict::Fine, "a line that hyper refuses");
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_changes_nothing(
            pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24),
            cuts in prop::collection::vec(1_usize..40, 1..40),
        ) {
            let bytes = pieces.concat();
            let whole = Framing::default().check(&bytes);
            let (mut framing, mut at) = (Framing::default(), 0);
            for cut in cuts.into_iter().cycle() {
                let piece = &bytes[at..bytes.len().min(at + cut)];
                match framing.check(piece) {
                    Verdict::Fine if piece.is_empty() => {
                        prop_assert_eq!(whole, Verdict::Fine);
                        break;
                    }
                    Verdict::Fine => at += piece.len(),
                    Verdict::Fault(place) => {
                        prop_assert_eq!(whole, Verdict::Fault(at + place));
                        break;
                    }
                    Verdict::Http2(place) => {
                        prop_assert_eq!(whole, Verdict::Http2(at + place));
                        break;
                    }
                }
            }
        }
    }

    const PIECES: &[&[u8]] = &[
        b"PRI * HTTP/2.0\r\n",
        b"POST / HTTP/1.1\r\n",
        b"host: a\r\n",
        b"content-length: 5\r\n",
        b"transfer-encoding: chunked\r\n",
        b"5\r\n",
        b"hello",
        b"0\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"x: y",
        b"#",
        b" ",
    ];
}
