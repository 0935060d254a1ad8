//! Just enough JSON to write an event fast: fixed text, escaped strings, whole numbers.
//!
//! serde_json's derive costs about twice as much for a shape this wide and this constant.
//! Invariant: whatever a string holds, what comes out is one line of valid JSON, for no
//! control character passes unescaped.

use std::fmt::Display;
use std::io::Write as _;

/// Appends to a line. Keys, commas and braces come as fixed text.
#[derive(Debug)]
pub(super) struct Json<'b>(pub(super) &'b mut Vec<u8>);

impl Json<'_> {
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        decimal(self.0, number);
        self
    }

    /// Without the quotes, for text that is put together from parts.
    pub(super) fn part(&mut self, text: &str) -> &mut Self {
        escape(self.0, text);
        self
    }

    pub(super) fn string(&mut self, text: &str) -> &mut Self {
        self.raw("\"").part(text).raw("\"")
    }

    /// For types whose text needs no escape: addresses and ids.
    pub(super) fn plain(&mut self, value: impl Display) -> &mut Self {
        self.raw("\"").display(value).raw("\"")
    }

    /// The same without the quotes.
    pub(super) fn display(&mut self, value: impl Display) -> &mut Self {
        // Writing to a Vec cannot fail.
        let _ = write!(self.0, "{value}");
        self
    }

    /// `lead` (a comma and a key) and the string, or nothing.
    pub(super) fn maybe(&mut self, lead: &str, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            self.raw(lead).string(text);
        }
        self
    }

    /// `lead` (a comma and a key) and an array of strings, or nothing for an empty one.
    pub(super) fn list<'a>(
        &mut self,
        lead: &str,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> &mut Self {
        let mut texts = texts.into_iter();
        if let Some(first) = texts.next() {
            self.raw(lead).raw("[").string(first);
            for text in texts {
                self.raw(",").string(text);
            }
            self.raw("]");
        }
        self
    }
}

/// Appends `number` in decimal.
pub(super) fn decimal(to: &mut Vec<u8>, mut number: u64) {
    let start = to.len();
    loop {
        to.push(b'0' + u8::try_from(number % 10).unwrap_or_default());
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = to.get_mut(start..) {
        digits.reverse();
    }
}

/// RFC 8259 §7: quotation mark, reverse solidus and U+0000 to U+001F must be escaped.
fn escape(to: &mut Vec<u8>, text: &str) {
    let special = |b: u8| b < 0x20 || b == b'"' || b == b'\\';
    // Without a way out early, so that it compiles to vector instructions.
    if !text.bytes().fold(false, |found, byte| found | special(byte)) {
        return to.extend_from_slice(text.as_bytes());
    }
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => to.extend_from_slice(&[b'\\', byte]),
            0x00..0x20 => {
                // Writing to a Vec cannot fail.
                let _ = write!(to, "\\u{byte:04x}");
            }
            _ => to.push(byte),
        }
    }
}

/// The beginning of `text`, at most `limit` bytes, never half a character.
pub(super) fn clip(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_string_reads_back_as_it_was_and_stays_on_one_line(text in any::<String>()) {
            let mut line = Vec::new();
            Json(&mut line).string(&text);
            prop_assert!(line.iter().all(|b| *b >= 0x20));
            prop_assert_eq!(serde_json::from_slice::<String>(&line).unwrap(), text);
        }

        #[test]
        fn any_number_reads_back_as_it_was(number in any::<u64>()) {
            let mut line = Vec::new();
            decimal(&mut line, number);
            prop_assert_eq!(String::from_utf8(line).unwrap(), number.to_string());
        }

        #[test]
        fn a_clipped_text_is_a_bounded_beginning(text in any::<String>(), limit in 0_usize..64) {
            let clipped = clip(&text, limit);
            prop_assert!(clipped.len() <= limit && text.starts_with(clipped));
            prop_assert!(clipped == text || clipped.len() + 4 > limit);
        }
    }
}
