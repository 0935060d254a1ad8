//! A strict JSON reader for tokens and key sets: a doubled member name is an error, at
//! every level.
//!
//! Readers differ over which of two equal names counts, and what two programs read
//! differently can be forged for one of them (RFC 8725 §2.6, RFC 7519 §4). `serde_json`
//! would keep the last; this keeps none. Texts are borrowed from the input where they can be.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// A JSON value whose objects have unique member names. No `Debug`: it holds claims.
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    Array(Vec<Self>),
    Object(Object<'a>),
}

impl<'a> Json<'a> {
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn array(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    pub(super) fn object(&self) -> Option<&Object<'a>> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// A number or boolean as JSON writes it, a text as it is.
    pub(super) fn plain(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Bool(value) => Some(value.to_string().into()),
            Self::Number(number) => Some(number.to_string().into()),
            Self::Null | Self::Array(_) | Self::Object(_) => None,
        }
    }
}

/// The members in the order in which they came.
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Object<'a> {
    /// Reads a document that is one object. `None` for anything else, including bytes that
    /// are not UTF-8, text after the object, and nesting deeper than `serde_json` follows.
    pub(super) fn parse(document: &'a [u8]) -> Option<Self> {
        // Checked once for the whole document, which is less work than once for each text.
        match serde_json::from_str(str::from_utf8(document).ok()?).ok()? {
            Json::Object(object) => Some(object),
            _ => None,
        }
    }

    pub(super) fn member(&self, name: &str) -> Option<&Json<'a>> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.member(name).is_some()
    }
}

/// Up to this many members, comparing each pair is faster than sorting.
const FEW: usize = 16;

fn unique(members: &[(Cow<'_, str>, Json<'_>)]) -> bool {
    if members.len() <= FEW {
        let mut rest = members.iter();
        return std::iter::from_fn(|| rest.next().map(|first| (first, rest.clone())))
            .all(|((name, _), mut later)| later.all(|(other, _)| name != other));
    }
    // Whoever sends the token chooses the names: this must not be quadratic.
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    names.windows(2).all(|pair| pair.first() != pair.last())
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without doubled members")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Name(name), value)) = access.next_entry()? {
            members.push((name, value));
        }
        if unique(&members) {
            Ok(Json::Object(Object(members)))
        } else {
            Err(A::Error::custom("a doubled member"))
        }
    }
}

/// A member's name; serde's own `Cow` always copies.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(Reader)? {
            Json::Text(name) => Ok(Self(name)),
            _ => Err(D::Error::custom("a member's name is a text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_doubled_member_is_refused_at_every_level() {
        for good in [r#"{"a":1,"b":{"a":1}}"#, r#"{"a":[{"x":1},{"x":1}]}"#, "{}", " { } "] {
            assert!(Object::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"b":[[{"a":1,"c":0,"a":2}]]}"#,
        ] {
            assert!(Object::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn doubles_are_found_among_many_members_too() {
        let mut members: Vec<_> = (0..FEW * 4).map(|n| format!(r#""m{n}":{n}"#)).collect();
        let object = |members: &[String]| format!("{{{}}}", members.join(","));
        assert!(Object::parse(object(&members).as_bytes()).is_some());
        members.push(r#""m7":0"#.to_owned());
        assert!(Object::parse(object(&members).as_bytes()).is_none());
    }

    #[test]
    fn only_one_whole_utf_8_object_is_read() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        let bad: [&[u8]; 9] = [
            b"",
            b"[]",
            b"1",
            b"{}{}",
            b"{} x",
            b"{\"a\":\"\xff\"}",
            b"\xef\xbb\xbf{}",
            br#"{"a":1e999}"#,
            deep.as_bytes(),
        ];
        for bad in bad {
            assert!(Object::parse(bad).is_none(), "{:?}", String::from_utf8_lossy(bad));
        }
        assert!(Object::parse(br#"{"a":1e9,"b":"\u00e9"}"#).is_some());
    }

    proptest! {
        /// What serde checks text by text is refused here as well, and nothing else.
        #[test]
        fn bytes_are_read_as_if_each_text_were_checked_alone(
            text: Vec<u8>,
            rest in prop_oneof![4 => Just(Vec::new()), 1 => any::<Vec<u8>>()],
        ) {
            let document = [&br#"{"a":""#[..], &text, br#"","b":[7]}"#, &rest].concat();
            let each = matches!(serde_json::from_slice(&document), Ok(Json::Object(_)));
            prop_assert_eq!(Object::parse(&document).is_some(), each);
        }
    }
}
