//! Signature Version 4 over a request's head and the digest of its body.
//!
//! `aws-sigv4` does the work; this module fixes what SageMaker needs of it, which is right
//! for other services too: header signatures, the real body's SHA-256 (UNSIGNED-PAYLOAD is
//! undocumented there), no `x-amz-content-sha256` but the caller's own, and a path taken as
//! it is.
//!
//! Source: AWS Signature Version 4, "Create a signed AWS API request".

use std::sync::LazyLock;
use std::time::SystemTime;

use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign as sign_v4,
};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use http::header::{HOST, HeaderName, HeaderValue};

/// What is signed. Header names in lower case; `host` among them.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The service's name in the credential scope.
    pub service: &'a str,
    pub method: &'a str,
    /// The path, percent-encoded as it will be sent. The host is among the headers.
    pub path: &'a str,
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// Lower-case hex of the body's SHA-256.
    pub body_sha256: &'a str,
}

/// A head that cannot be signed. Never holds a header's value or a key.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("the signing parameters are incomplete")]
    Parameters,
    #[error("the headers to sign lack `host`")]
    NoHost,
    #[error("header `{0}` is not text")]
    Header(HeaderName),
    #[error("the request cannot be put in canonical form")]
    Canonical,
}

/// The headers to add: `x-amz-date`, `authorization`, and `x-amz-security-token` when the
/// credentials are temporary. Both of the latter are marked sensitive.
///
/// # Errors
/// When a header is no text, `host` is missing or the path is none; see [`SigningError`].
pub fn sign(
    head: Head<'_>,
    identity: &Identity,
    region: &str,
    now: SystemTime,
) -> Result<Vec<(HeaderName, HeaderValue)>, SigningError> {
    if !head.headers.iter().any(|(name, _)| name == HOST) {
        return Err(SigningError::NoHost);
    }
    let params = SigningParams::builder()
        .identity(identity)
        .region(region)
        .name(head.service)
        .time(now)
        .settings(SETTINGS.clone())
        .build()
        .map_err(|_| SigningError::Parameters)?;
    let mut headers = Vec::with_capacity(head.headers.len());
    for (name, value) in head.headers {
        let text = value.to_str().map_err(|_| SigningError::Header(name.clone()))?;
        headers.push((name.as_str(), text));
    }
    let body = SignableBody::Precomputed(head.body_sha256.to_owned());
    let request = SignableRequest::new(head.method, head.path, headers.into_iter(), body)
        .map_err(|_| SigningError::Canonical)?;
    let output = sign_v4(request, &params.into()).map_err(|_| SigningError::Canonical)?;
    let (added, _) = output.into_parts().0.into_parts();
    added
        .iter()
        .map(|header| added_header(header.name(), header.value(), header.sensitive()))
        .collect()
}

fn added_header(
    name: &'static str,
    value: &str,
    sensitive: bool,
) -> Result<(HeaderName, HeaderValue), SigningError> {
    let name = HeaderName::from_static(name);
    let mut value = HeaderValue::from_str(value).map_err(|_| SigningError::Canonical)?;
    value.set_sensitive(sensitive || name == http::header::AUTHORIZATION);
    Ok((name, value))
}

/// The path of a call is plain ASCII without anything to encode or normalise, so both are
/// off: what is signed is what is sent.
static SETTINGS: LazyLock<SigningSettings> = LazyLock::new(|| {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.excluded_headers = None;
    settings
});

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use aws_credential_types::Credentials;
    use aws_lc_rs::digest::{SHA256, digest};

    use super::*;

    const TOKEN: &str = "FwoGZXIvYXdzEXAMPLE//token+with/special=chars==";

    fn identity(token: Option<&str>) -> Identity {
        Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            token.map(str::to_owned),
            None,
            "test",
        )
        .into()
    }

    /// FACTS §2: aws-sigv4 and botocore agree on these.
    fn signed(token: Option<&str>, body: &[u8]) -> Vec<(HeaderName, HeaderValue)> {
        let headers = [
            ("accept", "application/json"),
            ("content-type", "application/json"),
            ("host", "runtime.sagemaker.us-west-2.amazonaws.com"),
            ("x-amzn-sagemaker-target-variant", "blue"),
        ]
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let head = Head {
            service: "sagemaker",
            method: "POST",
            path: "/endpoints/my-endpoint/invocations",
            headers: &headers,
            body_sha256: &hex::encode(digest(&SHA256, body)),
        };
        // 2026-11-23T12:00:00Z
        let now = UNIX_EPOCH + Duration::from_secs(1_795_435_200);
        sign(head, &identity(token), "us-west-2", now).unwrap()
    }

    fn value(headers: &[(HeaderName, HeaderValue)], name: &str) -> Option<String> {
        let (_, value) = headers.iter().find(|(have, _)| have == name)?;
        value.to_str().ok().map(str::to_owned)
    }

    const SCOPE: &str =
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-west-2/sagemaker/aws4_request";

    #[test]
    fn the_published_vectors_come_out() {
        let cases = [
            (
                None,
                "accept;content-type;host;x-amz-date;x-amzn-sagemaker-target-variant",
                "bd5a09e43f59ba002c99fefa8b0c453e7277c1cbc4a3b1a0fe00ac61f55a9752",
            ),
            (
                Some(TOKEN),
                "accept;content-type;host;x-amz-date;x-amz-security-token;x-amzn-sagemaker-target-variant",
                "89dc90f33c4c8656be2dd8111b1ad10a6834aa490c8e58556478a758d2fc886f",
            ),
        ];
        for (token, names, signature) in cases {
            let headers = signed(token, br#"{"inputs":"hi"}"#);
            assert_eq!(value(&headers, "x-amz-date").as_deref(), Some("20261123T120000Z"));
            assert_eq!(value(&headers, "x-amz-security-token").as_deref(), token);
            assert_eq!(
                value(&headers, "authorization"),
                Some(format!("{SCOPE}, SignedHeaders={names}, Signature={signature}"))
            );
        }
    }

    #[test]
    fn one_changed_byte_of_the_body_changes_the_signature() {
        let (one, two) = (signed(None, b"a"), signed(None, b"b"));
        assert_ne!(value(&one, "authorization"), value(&two, "authorization"));
    }

    #[test]
    fn a_head_without_its_host_is_not_signed() {
        let head =
            Head { service: "sagemaker", method: "POST", path: "/", headers: &[], body_sha256: "" };
        let got = sign(head, &identity(None), "us-west-2", UNIX_EPOCH);
        assert!(matches!(got, Err(SigningError::NoHost)));
    }

    #[test]
    fn nothing_secret_prints() {
        let printed = format!("{:?}", signed(Some(TOKEN), b"a"));
        assert!(!printed.contains("Signature=") && !printed.contains("FwoG"), "{printed}");
    }
}
