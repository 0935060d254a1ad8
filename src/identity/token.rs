//! The compact form of a signed token (RFC 7515 §3.1), read strictly.
//!
//! Pure: bytes in, parts out. It refuses everything that another reader might read in
//! another way: padding, line ends, stray bits after the last character, doubled members,
//! and every header member that would have us follow the token's own word about its key.
//! What is read here is *not yet verified*.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::{Part, Reason};
use super::json::Object;

/// A token whose form is right. Its signature is still to be checked. No `Debug`: it holds
/// the token.
#[expect(missing_debug_implementations, reason = "it would print the token")]
pub struct Token<'a> {
    header: Header,
    payload: Vec<u8>,
    signed: &'a str,
    signature: Vec<u8>,
}

struct Header {
    alg: String,
    typ: String,
    kid: Option<String>,
}

/// Reads a token's form and header, and unpacks its payload and signature.
///
/// # Errors
/// The first rule that the token breaks.
pub fn parse(token: &[u8]) -> Result<Token<'_>, Reason> {
    let token = str::from_utf8(token).map_err(|_| Reason::Parts)?;
    let (signed, signature) = token.rsplit_once('.').ok_or(Reason::Parts)?;
    let (header, payload) = signed.split_once('.').ok_or(Reason::Parts)?;
    if payload.contains('.') || [header, payload, signature].contains(&"") {
        return Err(Reason::Parts);
    }
    let header = read_header(&decode(header, Part::Header)?)?;
    let payload = decode(payload, Part::Payload)?;
    let signature = decode(signature, Part::Signature)?;
    Ok(Token { header, payload, signed, signature })
}

impl<'a> Token<'a> {
    pub fn alg(&self) -> &str {
        &self.header.alg
    }

    /// In lower case, without `application/`; `jwt` if the token has none.
    pub fn typ(&self) -> &str {
        &self.header.typ
    }

    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// What the signature is over, as it came, and the signature, unpacked.
    pub(super) fn signed(&self) -> (&'a [u8], &Vec<u8>) {
        (self.signed.as_bytes(), &self.signature)
    }

    pub(super) fn claims(&self) -> Result<Object<'_>, Reason> {
        Object::parse(&self.payload).ok_or(Reason::Json(Part::Payload))
    }
}

/// `URL_SAFE_NO_PAD` refuses padding and trailing bits that are not zero, so that no two
/// texts mean the same bytes.
fn decode(text: &str, part: Part) -> Result<Vec<u8>, Reason> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Reason::Encoding(part))
}

/// Members that name or carry a key (RFC 8725 §3.10), and `crit`, whose extensions we would
/// have to understand (RFC 7515 §4.1.11) and do not.
const REFUSED: [&str; 5] = ["crit", "jku", "x5u", "jwk", "x5c"];

fn read_header(json: &[u8]) -> Result<Header, Reason> {
    let header = Object::parse(json).ok_or(Reason::Json(Part::Header))?;
    if let Some(name) = REFUSED.into_iter().find(|name| header.has(name)) {
        return Err(Reason::HeaderMember(name));
    }
    if text(&header, "cty")?.is_some_and(|cty| media_type(cty) == "jwt") {
        return Err(Reason::Nested);
    }
    Ok(Header {
        alg: text(&header, "alg")?.ok_or(Reason::HeaderType("alg"))?.to_owned(),
        typ: text(&header, "typ")?.map_or_else(|| "jwt".to_owned(), media_type),
        kid: text(&header, "kid")?.map(str::to_owned),
    })
}

fn text<'a>(header: &'a Object<'_>, name: &'static str) -> Result<Option<&'a str>, Reason> {
    header.member(name).map(|value| value.text().ok_or(Reason::HeaderType(name))).transpose()
}

/// The short form of a media type: `application/` may be left out when no other `/` is in
/// it, and case does not matter (RFC 7515 §4.1.9).
pub(super) fn media_type(value: &str) -> String {
    let lower = value.to_ascii_lowercase();
    match lower.strip_prefix("application/") {
        Some(short) if !short.contains('/') => short.to_owned(),
        _ => lower,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encode(header), encode("{}"), encode("signature"))
    }

    fn refusal(token: &str) -> Option<Reason> {
        parse(token.as_bytes()).err()
    }

    #[test]
    fn a_plain_token_is_read() {
        let token = token(r#"{"alg":"RS256","kid":"k1","typ":"application/AT+jwt","x5t":"x"}"#);
        let token = parse(token.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((token.alg(), token.typ(), token.kid()), ("RS256", "at+jwt", Some("k1")));
    }

    #[test]
    fn three_parts_no_more_no_less() {
        let good = token(r#"{"alg":"RS256"}"#);
        assert_eq!(refusal(&good), None);
        let parts: Vec<_> = good.split('.').collect();
        let [header, payload, signature] = parts[..] else { panic!() };
        for bad in [
            String::new(),
            "..".into(),
            header.into(),
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            format!("{header}..{signature}"),
            format!(".{payload}.{signature}"),
            format!("{good}."),
            format!("{good}.{signature}"),
            format!("{good}.a.b"),
        ] {
            assert_eq!(refusal(&bad), Some(Reason::Parts), "{bad}");
        }
    }

    #[test]
    fn only_canonical_base64url_is_read() {
        let good = token(r#"{"alg":"RS256"}"#);
        let (rest, signature) = good.rsplit_once('.').unwrap();
        // Eleven characters are eight bytes and two bits, which must be zero: `I`, not `J`.
        assert_eq!(&signature[..11], "c2lnbmF0dXJ");
        let spare = Some(Reason::Encoding(Part::Signature));
        assert_eq!(refusal(&format!("{rest}.c2lnbmF0dXJ")), spare);
        assert_eq!(refusal(&format!("{rest}.c2lnbmF0dXI")), None);
        for bad in
            ["c2ln=", "c2lnbg==", "c2 ln", "c2ln\n", "c2+n", "c2/n", "c2l", "c2lnb", "c2ln%3D"]
        {
            let expected = Some(Reason::Encoding(Part::Signature));
            assert_eq!(refusal(&format!("{rest}.{bad}")), expected, "{bad:?}");
            let expected = Some(Reason::Encoding(Part::Header));
            let (_, tail) = good.split_once('.').unwrap();
            assert_eq!(refusal(&format!("{bad}.{tail}")), expected, "{bad:?}");
        }
    }

    #[test]
    fn header_members_that_we_must_not_follow_are_refused() {
        for (member, expected) in [
            (r#""crit":["exp"]"#, Reason::HeaderMember("crit")),
            (r#""crit":[]"#, Reason::HeaderMember("crit")),
            (r#""crit":null"#, Reason::HeaderMember("crit")),
            (r#""jku":"https://evil.example"#, Reason::Json(Part::Header)),
            (r#""jku":"https://evil.example""#, Reason::HeaderMember("jku")),
            (r#""x5u":"https://evil.example""#, Reason::HeaderMember("x5u")),
            (r#""jwk":{"kty":"oct","k":"AA"}"#, Reason::HeaderMember("jwk")),
            (r#""x5c":["AA=="]"#, Reason::HeaderMember("x5c")),
            (r#""cty":"JWT""#, Reason::Nested),
            (r#""cty":"application/jwt""#, Reason::Nested),
            (r#""cty":7"#, Reason::HeaderType("cty")),
            (r#""typ":null"#, Reason::HeaderType("typ")),
            (r#""kid":1"#, Reason::HeaderType("kid")),
            (r#""kid":"a","kid":"b""#, Reason::Json(Part::Header)),
            (r#""alg":"RS256""#, Reason::Json(Part::Header)),
        ] {
            let refused = refusal(&token(&format!(r#"{{"alg":"RS256",{member}}}"#)));
            assert_eq!(refused, Some(expected), "{member}");
        }
        assert_eq!(refusal(&token(r#"{"alg":"RS256","cty":"json","b":0}"#)), None);
    }

    #[test]
    fn the_header_is_an_object_with_alg() {
        for (header, expected) in [
            ("{}", Reason::HeaderType("alg")),
            (r#"{"alg":null}"#, Reason::HeaderType("alg")),
            (r#"{"alg":["RS256"]}"#, Reason::HeaderType("alg")),
            ("[]", Reason::Json(Part::Header)),
            ("RS256", Reason::Json(Part::Header)),
        ] {
            assert_eq!(refusal(&token(header)), Some(expected), "{header}");
        }
    }

    #[test]
    fn media_types_lose_application_only_where_that_is_unambiguous() {
        for (given, read) in [
            ("JWT", "jwt"),
            ("Application/At+JWT", "at+jwt"),
            ("application/a/b", "application/a/b"),
            ("text/plain", "text/plain"),
        ] {
            assert_eq!(media_type(given), read);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = parse(&bytes).map(|token| token.claims().is_ok());
        }

        #[test]
        fn any_header_is_read_or_refused(header: String, payload: Vec<u8>) {
            let token = format!(
                "{}.{}.AA",
                URL_SAFE_NO_PAD.encode(header),
                URL_SAFE_NO_PAD.encode(payload)
            );
            let _ = parse(token.as_bytes()).map(|token| token.claims().is_ok());
        }
    }
}
