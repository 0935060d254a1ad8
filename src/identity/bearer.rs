//! Where the token stands in a request: `Authorization: Bearer`, or `X-Amz-Security-Token`,
//! which any AWS SDK fills from `AWS_SESSION_TOKEN`, so that callers need no new code.
//!
//! Whatever leaves a doubt about which token counts is refused: a doubled header, or two
//! headers with different tokens. What the token itself looks like is [`super::token`]'s.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName};

use super::error::{AuthError, Reason};

/// Longer tokens are refused unread: no issuer we know comes near, and a hash is computed
/// over every one that is not refused.
pub(super) const MAX_TOKEN: usize = 16 * 1024;

static SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The scheme of the signature that an AWS SDK makes with its own, here meaningless, key.
const SIGNATURE: &[u8] = b"AWS4-HMAC-SHA256 ";

/// The request's one token, still unread.
pub(super) fn token(headers: &HeaderMap) -> Result<&[u8], AuthError> {
    let authorization = single(headers, &AUTHORIZATION, "Authorization")?;
    let security_token = single(headers, &SECURITY_TOKEN, "X-Amz-Security-Token")?;
    let token = match (authorization, security_token) {
        (None, None) => return Err(AuthError::Missing),
        (None, Some(token)) => token,
        (Some(value), None) if value.starts_with(SIGNATURE) => {
            return Err(Reason::SignatureOnly.into());
        }
        (Some(value), Some(token)) if value.starts_with(SIGNATURE) => token,
        (Some(value), None) => bearer(value)?,
        (Some(value), Some(token)) if bearer(value)? == token => token,
        (Some(_), Some(_)) => return Err(Reason::TwoTokens.into()),
    };
    if token.len() > MAX_TOKEN {
        return Err(Reason::TooLong { max: MAX_TOKEN }.into());
    }
    Ok(token)
}

fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<&'a [u8]>, Reason> {
    let mut values = headers.get_all(name).into_iter();
    let first = values.next();
    match values.next() {
        Some(_) => Err(Reason::DoubledHeader(shown)),
        None => Ok(first.map(|value| value.as_bytes())),
    }
}

/// RFC 6750 §2.1: `"Bearer" 1*SP b64token`, the scheme without case (RFC 9110 §11.1). One
/// space exactly: a second one is then no character of a token, and is refused as such.
fn bearer(value: &[u8]) -> Result<&[u8], Reason> {
    match value.split_at_checked(b"Bearer ".len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => Ok(token),
        // HTTP takes the space away when nothing follows it.
        None if value.eq_ignore_ascii_case(b"Bearer") => Err(Reason::Parts),
        _ => Err(Reason::Scheme),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            map.append(name, value);
        }
        map
    }

    const A: &str = "authorization";
    const S: &str = "x-amz-security-token";
    const AWS: &str = "AWS4-HMAC-SHA256 Credential=x/20261123/us-east-1/sagemaker/aws4_request";

    #[test]
    fn the_token_is_found_in_either_header() {
        for fields in [
            &[(A, "Bearer t.o.k")][..],
            &[(A, "bEARER t.o.k")],
            &[(S, "t.o.k")],
            &[(A, AWS), (S, "t.o.k")],
            &[(A, "Bearer t.o.k"), (S, "t.o.k")],
        ] {
            assert_eq!(token(&headers(fields)), Ok(&b"t.o.k"[..]), "{fields:?}");
        }
    }

    #[test]
    fn whatever_leaves_a_doubt_is_refused() {
        let refused: [(&[(&str, &str)], AuthError); 11] = [
            (&[(A, "Bearer")], Reason::Parts.into()),
            (&[("x-other", "Bearer t")], AuthError::Missing),
            (&[(A, "Bearer t"), (A, "Bearer t")], Reason::DoubledHeader("Authorization").into()),
            (&[(S, "t"), (S, "t")], Reason::DoubledHeader("X-Amz-Security-Token").into()),
            (&[(A, AWS), (A, "Bearer t")], Reason::DoubledHeader("Authorization").into()),
            (&[(A, "Bearer t"), (S, "u")], Reason::TwoTokens.into()),
            (&[(A, AWS)], Reason::SignatureOnly.into()),
            (&[(A, "Basic dTpw")], Reason::Scheme.into()),
            (&[(A, "Basic dTpw"), (S, "t")], Reason::Scheme.into()),
            (&[(A, "Bearer\tt")], Reason::Scheme.into()),
            (&[(A, "t.o.k")], Reason::Scheme.into()),
        ];
        for (fields, expected) in refused {
            assert_eq!(token(&headers(fields)), Err(expected), "{fields:?}");
        }
    }

    #[test]
    fn a_second_space_is_part_of_the_token_and_so_no_token() {
        let two = headers(&[(A, "Bearer  t.o.k")]);
        let found = token(&two).unwrap();
        assert_eq!(found, b" t.o.k");
        assert!(super::super::token::parse(found).is_err());
    }

    #[test]
    fn tokens_are_bounded() {
        let longest = "t".repeat(MAX_TOKEN);
        assert!(token(&headers(&[(S, &longest)])).is_ok());
        let too_long = Err(Reason::TooLong { max: MAX_TOKEN }.into());
        assert_eq!(token(&headers(&[(S, &format!("{longest}t"))])), too_long);
    }
}
