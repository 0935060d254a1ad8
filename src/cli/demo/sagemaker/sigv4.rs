//! Checks a SigV4 signature from the receiving side.
//!
//! Written from AWS's description of Signature Version 4 and on purpose without the crate
//! that signs: a signer that is verified by itself proves nothing. It takes no shortcut that
//! AWS would refuse: the scope, the age, the headers that must be signed and the body's hash
//! are all held to the rules.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};
use http::HeaderMap;
use http::request::Parts;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "sagemaker";

/// How far a request's clock may be from ours, either way.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// One pair of keys that the stand-in knows.
#[derive(Clone)]
pub(super) struct Keys {
    pub secret: String,
    pub session_token: Option<String>,
}

/// Why a request is not who it says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No `Authorization` at all.
    Missing,
    /// Not a SigV4 header, or one that leaves something out that must be signed.
    Incomplete,
    /// An access key or session token that nobody gave out.
    Unknown,
    /// A scope of another day, region or service.
    Scope,
    /// Signed too long ago, or in the future.
    Expired,
    /// The signature is not the one this request has.
    Mismatch,
}

/// Whether the request was signed for SageMaker in `region` by one of `known` (by access key).
pub(super) fn verify(
    head: &Parts,
    body: &[u8],
    region: &str,
    known: &BTreeMap<String, Keys>,
    now: SystemTime,
) -> Result<(), Fault> {
    let header = head.headers.get(http::header::AUTHORIZATION).ok_or(Fault::Missing)?;
    let claim = Claim::parse(header.to_str().map_err(|_| Fault::Incomplete)?)?;
    let date = single(&head.headers, "x-amz-date").ok_or(Fault::Incomplete)?;
    claim.check_scope(date, region)?;
    claim.check_signed(&head.headers)?;
    check_age(date, now)?;
    let keys = known.get(claim.access_key).ok_or(Fault::Unknown)?;
    if single(&head.headers, "x-amz-security-token") != keys.session_token.as_deref() {
        return Err(Fault::Unknown);
    }
    let text = string_to_sign(&claim, date, &canonical_request(&claim, head, body));
    let given = hex::decode(claim.signature).map_err(|_| Fault::Incomplete)?;
    let key = signing_key(&keys.secret, &claim);
    hmac::verify(&key, text.as_bytes(), &given).map_err(|_| Fault::Mismatch)
}

/// What the `Authorization` header says.
struct Claim<'a> {
    access_key: &'a str,
    /// Date, region, service, `aws4_request`.
    scope: [&'a str; 4],
    signed: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Claim<'a> {
    fn parse(header: &'a str) -> Result<Self, Fault> {
        let rest = header.strip_prefix(ALGORITHM).ok_or(Fault::Incomplete)?;
        let fields: BTreeMap<_, _> =
            rest.split(',').filter_map(|field| field.trim().split_once('=')).collect();
        let field = |name| fields.get(name).copied().ok_or(Fault::Incomplete);
        let (access_key, scope) = field("Credential")?.split_once('/').ok_or(Fault::Incomplete)?;
        let scope: Vec<_> = scope.split('/').collect();
        Ok(Self {
            access_key,
            scope: scope.try_into().map_err(|_| Fault::Incomplete)?,
            signed: field("SignedHeaders")?.split(';').collect(),
            signature: field("Signature")?,
        })
    }

    fn check_scope(&self, date: &str, region: &str) -> Result<(), Fault> {
        let day = date.split('T').next().unwrap_or_default();
        let right = self.scope == [day, region, SERVICE, "aws4_request"];
        if right { Ok(()) } else { Err(Fault::Scope) }
    }

    /// `host` and every `x-amz-*` header must be signed; names in lower case, sorted.
    fn check_signed(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let must = headers.keys().map(http::HeaderName::as_str);
        let all = must
            .filter(|name| *name == "host" || name.starts_with("x-amz-"))
            .all(|name| self.signed.contains(&name));
        let present = self.signed.iter().all(|name| headers.contains_key(*name));
        if all && present && self.signed.contains(&"host") && self.signed.is_sorted() {
            Ok(())
        } else {
            Err(Fault::Incomplete)
        }
    }
}

fn check_age(date: &str, now: SystemTime) -> Result<(), Fault> {
    let signed = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date)
        .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC))
        .map_err(|_| Fault::Incomplete)?;
    let signed = SystemTime::from(signed.timestamp());
    let apart = now.duration_since(signed).unwrap_or_else(|early| early.duration());
    if apart <= SKEW { Ok(()) } else { Err(Fault::Expired) }
}

fn canonical_request(claim: &Claim<'_>, head: &Parts, body: &[u8]) -> String {
    let headers: String = claim
        .signed
        .iter()
        .map(|name| format!("{name}:{}\n", canonical_value(&head.headers, name)))
        .collect();
    [
        head.method.as_str(),
        &encode_again(head.uri.path()),
        &canonical_query(head.uri.query().unwrap_or_default()),
        &headers,
        &claim.signed.join(";"),
        &hex::encode(digest::digest(&digest::SHA256, body)),
    ]
    .join("\n")
}

/// The values of one name, each trimmed and its runs of spaces made one, joined by commas.
fn canonical_value(headers: &HeaderMap, name: &str) -> String {
    let value = |value: &http::HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    };
    headers.get_all(name).iter().map(value).collect::<Vec<_>>().join(",")
}

/// Every service but S3 signs the path encoded once more than it travels.
fn encode_again(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// Pairs sorted by their encoded form; a name alone has an empty value.
fn canonical_query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<_> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn string_to_sign(claim: &Claim<'_>, date: &str, canonical: &str) -> String {
    let hash = hex::encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
    format!("{ALGORITHM}\n{date}\n{}\n{hash}", claim.scope.join("/"))
}

fn signing_key(secret: &str, claim: &Claim<'_>) -> hmac::Key {
    let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    claim.scope.iter().fold(first, |key, part| {
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
    })
}

/// The value of a header that came exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const KEY: &str = "AKIDEXAMPLE";
    const TOKEN: &str = "FwoGZXIvYXdzEXAMPLE//token+with/special=chars==";
    const BODY: &[u8] = br#"{"inputs":"hi"}"#;
    const PLAIN: &str = "bd5a09e43f59ba002c99fefa8b0c453e7277c1cbc4a3b1a0fe00ac61f55a9752";
    const WITH_TOKEN: &str = "89dc90f33c4c8656be2dd8111b1ad10a6834aa490c8e58556478a758d2fc886f";

    fn known(session_token: Option<&str>) -> BTreeMap<String, Keys> {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned();
        let keys = Keys { secret, session_token: session_token.map(str::to_owned) };
        BTreeMap::from([(KEY.to_owned(), keys)])
    }

    fn noon() -> SystemTime {
        "2026-11-23T12:00:00Z".parse::<jiff::Timestamp>().unwrap().into()
    }

    fn signed(token: Option<&str>, signature: &str) -> Parts {
        let list = if token.is_some() { "x-amz-date;x-amz-security-token" } else { "x-amz-date" };
        let authorization = format!(
            "{ALGORITHM} Credential={KEY}/20261123/us-west-2/sagemaker/aws4_request, \
             SignedHeaders=accept;content-type;host;{list};x-amzn-sagemaker-target-variant, \
             Signature={signature}"
        );
        let mut request = Request::post("/endpoints/my-endpoint/invocations")
            .header("host", "runtime.sagemaker.us-west-2.amazonaws.com")
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .header("x-amzn-sagemaker-target-variant", "blue")
            .header("x-amz-date", "20261123T120000Z")
            .header("authorization", authorization);
        if let Some(token) = token {
            request = request.header("x-amz-security-token", token);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn check(head: &Parts, token: Option<&str>) -> Result<(), Fault> {
        verify(head, BODY, "us-west-2", &known(token), noon())
    }

    #[test]
    fn signatures_that_botocore_and_aws_sigv4_agree_on_are_right() {
        assert_eq!(check(&signed(None, PLAIN), None), Ok(()));
        assert_eq!(check(&signed(Some(TOKEN), WITH_TOKEN), Some(TOKEN)), Ok(()));
    }

    #[test]
    fn any_change_to_what_was_signed_is_a_mismatch() {
        let changes: [fn(&mut Parts); 5] = [
            |head| head.method = http::Method::PUT,
            |head| head.uri = "/endpoints/my-endpoint2/invocations".parse().unwrap(),
            |head| head.uri = "/endpoints/my-endpoint/invocations?a=b".parse().unwrap(),
            |head| *head.headers.get_mut("host").unwrap() = "localhost".parse().unwrap(),
            |head| {
                let variant = head.headers.get_mut("x-amzn-sagemaker-target-variant");
                *variant.unwrap() = "green".parse().unwrap();
            },
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut head = signed(None, PLAIN);
            change(&mut head);
            assert_eq!(check(&head, None), Err(Fault::Mismatch), "change {number}");
        }
        let got = verify(&signed(None, PLAIN), b"{}", "us-west-2", &known(None), noon());
        assert_eq!(got, Err(Fault::Mismatch));
        assert_eq!(check(&signed(None, &"0".repeat(64)), None), Err(Fault::Mismatch));
    }

    #[test]
    fn what_must_be_signed_must_be_signed() {
        let mut head = signed(None, PLAIN);
        head.headers.insert("x-amz-added", "later".parse().unwrap());
        assert_eq!(check(&head, None), Err(Fault::Incomplete));

        let mut head = signed(None, PLAIN);
        head.headers.remove("x-amzn-sagemaker-target-variant");
        assert_eq!(check(&head, None), Err(Fault::Incomplete));
    }

    #[test]
    fn another_scope_time_or_key_is_refused() {
        let head = signed(None, PLAIN);
        assert_eq!(verify(&head, BODY, "us-east-1", &known(None), noon()), Err(Fault::Scope));
        for late in [noon() + SKEW + Duration::from_secs(1), noon() - SKEW - SKEW] {
            assert_eq!(verify(&head, BODY, "us-west-2", &known(None), late), Err(Fault::Expired));
        }
        assert_eq!(verify(&head, BODY, "us-west-2", &known(None), noon() + SKEW), Ok(()));
        let nobody = BTreeMap::new();
        assert_eq!(verify(&head, BODY, "us-west-2", &nobody, noon()), Err(Fault::Unknown));
        // The right key with a session token that it does not have, and without the one it has.
        assert_eq!(check(&signed(Some(TOKEN), WITH_TOKEN), None), Err(Fault::Unknown));
        assert_eq!(check(&head, Some(TOKEN)), Err(Fault::Unknown));
    }

    #[test]
    fn a_header_that_is_not_sigv4_is_incomplete_and_none_is_missing() {
        for header in ["Bearer x", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b"] {
            let mut head = signed(None, PLAIN);
            head.headers.insert("authorization", header.parse().unwrap());
            assert_eq!(check(&head, None), Err(Fault::Incomplete), "{header}");
        }
        let mut head = signed(None, PLAIN);
        head.headers.remove("authorization");
        assert_eq!(check(&head, None), Err(Fault::Missing));
    }

    #[test]
    fn the_canonical_forms_follow_the_description() {
        assert_eq!(encode_again("/a/b%20c/-._~"), "/a/b%2520c/-._~");
        assert_eq!(canonical_query("b=2&a&b=1"), "a=&b=1&b=2");
        let mut headers = HeaderMap::new();
        headers.append("x", "  a   b ".parse().unwrap());
        headers.append("x", "c".parse().unwrap());
        assert_eq!(canonical_value(&headers, "x"), "a b,c");
    }
}
