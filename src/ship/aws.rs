//! Signed calls of AWS's services: the endpoint, the signature, the error's name.
//!
//! Three operations are needed, of services whose SDKs take minutes to build; what the
//! sinks need of an SDK is this file. The hosts come from the SDK's own table of partitions.

use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use aws_sdk_sagemakerruntime::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use serde::Deserialize;

use super::config;
use super::http::{Client, unexpected};
use super::shipping::Identity;
use super::sinks::SendError;
use crate::aws::Credentials;
use crate::aws::sigv4::{self, Head};
use crate::telemetry::clock::Clock;

const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// One service in one region.
#[derive(Debug)]
pub(super) struct Service {
    name: &'static str,
    region: String,
    /// Scheme and authority.
    origin: String,
    host: HeaderValue,
    client: Client,
    credentials: Credentials,
    clock: Clock,
}

/// An answer that is an error, by the service's own name for it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: String,
    pub(super) error: SendError,
}

impl From<SendError> for Refused {
    fn from(error: SendError) -> Self {
        Self { code: String::new(), error }
    }
}

impl Service {
    /// `subdomain` stands before the service's own host, unless an endpoint is given.
    pub(super) fn new(
        name: &'static str,
        subdomain: &str,
        place: &config::Aws,
        identity: &Identity,
    ) -> Result<Self, String> {
        let region = place.region.as_ref().unwrap_or(&identity.region).clone();
        let origin = match &place.endpoint_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("https://{subdomain}{}", host(name, &region, identity.fips)?),
        };
        let uri: Uri = origin.parse().map_err(|_| format!("`{origin}` is no origin"))?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Ok(Self {
            name,
            region,
            host: HeaderValue::from_str(authority).map_err(|error| error.to_string())?,
            origin,
            client: Client::new(place.ca.as_deref())?,
            credentials: identity.credentials.clone(),
            clock: Clock::System,
        })
    }

    /// An operation of the JSON protocol, 1.1.
    pub(super) async fn call(&self, target: &'static str, body: Vec<u8>) -> Result<Bytes, Refused> {
        let headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1")),
            (TARGET, HeaderValue::from_static(target)),
        ];
        self.send(Method::POST, "/", headers, body).await
    }

    /// `path` is sent and signed as it is.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Vec<u8>,
    ) -> Result<Bytes, Refused> {
        let request = self.signed(method, path, headers, body, self.clock.now())?;
        let answer = self.client.send(request).await?;
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        Err(refused(head.status, &head.headers, &body))
    }

    fn signed(
        &self,
        method: Method,
        path: &str,
        mut headers: Vec<(HeaderName, HeaderValue)>,
        body: Vec<u8>,
        now: SystemTime,
    ) -> Result<Request<Vec<u8>>, SendError> {
        let failed = |error: &dyn std::error::Error| SendError::failed(error.to_string());
        let sha256 = hex::encode(digest(&SHA256, &body));
        headers.push((HOST, self.host.clone()));
        let value = HeaderValue::from_str(&sha256).map_err(|error| failed(&error))?;
        headers.push((CONTENT_SHA256, value));
        let Some(keys) = self.credentials.current(now) else {
            return Err(SendError::failed("no valid AWS credentials at hand"));
        };
        let head = Head {
            service: self.name,
            method: method.as_str(),
            path,
            headers: &headers,
            body_sha256: &sha256,
        };
        let added = sigv4::sign(head, &keys, &self.region, now).map_err(|error| failed(&error))?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        let uri = format!("{}{path}", self.origin);
        *request.uri_mut() = uri.parse().map_err(|error: http::uri::InvalidUri| failed(&error))?;
        request.headers_mut().extend(headers.into_iter().chain(added));
        Ok(request)
    }
}

/// `logs.eu-west-1.amazonaws.com`. The SDK at hand knows SageMaker Runtime's hosts, whose
/// end is every service's.
fn host(service: &str, region: &str, fips: bool) -> Result<String, String> {
    let unknown = || format!("the region `{region}` is in no known partition");
    let params = Params::builder().region(region).build().map_err(|_| unknown())?;
    let resolved =
        futures_util::FutureExt::now_or_never(DefaultResolver::new().resolve_endpoint(&params));
    let endpoint = resolved.and_then(Result::ok).ok_or_else(unknown)?;
    let end = endpoint.url().strip_prefix("https://runtime.sagemaker").ok_or_else(unknown)?;
    Ok(format!("{service}{}{}", if fips { "-fips" } else { "" }, end.trim_end_matches('/')))
}

fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Refused {
    let text = String::from_utf8_lossy(body);
    let said = headers.get(ERROR_TYPE).and_then(|value| value.to_str().ok());
    let (code, message) = json_error(body).or_else(|| xml_error(&text)).unwrap_or_default();
    // `com.amazonaws.logs#ResourceNotFoundException:http://…`
    let code = said.map_or(code.as_str(), |said| said).rsplit('#').next().unwrap_or_default();
    let code = code.split(':').next().unwrap_or_default().to_owned();
    let error = unexpected(status, headers, &format!("{code}: {message}"));
    Refused { code, error }
}

fn json_error(body: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Said {
        #[serde(rename = "__type", default)]
        code: String,
        #[serde(alias = "Message", default)]
        message: String,
    }
    let said: Said = serde_json::from_slice(body).ok()?;
    Some((said.code, said.message))
}

/// S3's.
fn xml_error(text: &str) -> Option<(String, String)> {
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside.to_owned())
    };
    Some((element("Code")?, element("Message").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_follow_the_partition_and_fips() {
        assert_eq!(host("logs", "eu-west-1", false).unwrap(), "logs.eu-west-1.amazonaws.com");
        assert_eq!(host("s3", "cn-north-1", false).unwrap(), "s3.cn-north-1.amazonaws.com.cn");
        let fips = host("firehose", "us-gov-west-1", true).unwrap();
        assert_eq!(fips, "firehose-fips.us-gov-west-1.amazonaws.com");
    }

    #[test]
    fn an_errors_name_is_found_in_every_place_that_aws_puts_it() {
        let code = |headers: &[(HeaderName, &'static str)], body: &str| {
            let headers = headers.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v)));
            refused(StatusCode::BAD_REQUEST, &headers.collect(), body.as_bytes()).code
        };
        assert_eq!(code(&[], r#"{"__type":"a.b#NotFound","message":"m"}"#), "NotFound");
        assert_eq!(code(&[(ERROR_TYPE, "NotFound:http://x")], "{}"), "NotFound");
        let xml = "<Error><Code>NoSuchBucket</Code><Message>none</Message></Error>";
        assert_eq!(code(&[], xml), "NoSuchBucket");
        assert_eq!(code(&[], "<html>"), "");
        let told = refused(StatusCode::NOT_FOUND, &HeaderMap::new(), xml.as_bytes()).error;
        assert_eq!(told.to_string(), "answered 404 Not Found: NoSuchBucket: none");
    }
}
