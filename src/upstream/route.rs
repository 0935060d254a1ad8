//! Where calls go: one origin, settled when the configuration is read.

use std::time::Duration;

use aws_sdk_sagemakerruntime::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use http::Uri;
use http::header::HeaderValue;
use http::uri::{Authority, PathAndQuery, Scheme};

/// What the operator chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub region: String,
    /// An origin to use instead of the region's own: a VPC endpoint or a test server.
    pub runtime_url: Option<String>,
    pub fips: bool,
    pub dual_stack: bool,
    /// PEM certificates to trust instead of the platform's.
    pub ca: Option<Vec<u8>>,
    /// Between two resolutions of the host's name.
    pub dns_refresh: Duration,
    pub timeouts: Timeouts,
}

impl Config {
    /// The AWS partition that the region is in, by its name.
    pub fn partition(&self) -> &'static str {
        const PARTITIONS: [(&str, &str); 6] = [
            ("cn-", "aws-cn"),
            ("us-gov-", "aws-us-gov"),
            ("eusc-", "aws-eusc"),
            ("us-isob-", "aws-iso-b"),
            ("us-iso-", "aws-iso"),
            ("", "aws"),
        ];
        let found = PARTITIONS.iter().find(|(prefix, _)| self.region.starts_with(prefix));
        found.map_or("aws", |(_, partition)| partition)
    }
}

/// How long each part of a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// From sending to the answer's head. SageMaker's own limit is 60 s.
    pub response_head: Duration,
    /// Between two parts of a streamed answer.
    pub stream_idle: Duration,
    /// The whole of an answer. SageMaker streams for up to 8 minutes.
    pub stream: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            response_head: Duration::from_secs(70),
            stream_idle: Duration::from_mins(1),
            stream: Duration::from_mins(10),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    #[error("the region `{region}` has no SageMaker runtime endpoint: {reason}")]
    Region { region: String, reason: String },
    #[error("`{0}` is not an origin like `https://runtime.example.com`")]
    Url(String),
}

/// A scheme and an authority, ready to be put before a path.
#[derive(Clone, Debug)]
pub struct Route {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
}

impl Route {
    /// # Errors
    /// When the region is in no partition the resolver knows, or the URL is no origin.
    pub fn resolve(config: &Config) -> Result<Self, RouteError> {
        match &config.runtime_url {
            Some(url) => Self::parse(url),
            None => Self::parse(&region_url(config)?),
        }
    }

    fn parse(url: &str) -> Result<Self, RouteError> {
        let fault = || RouteError::Url(url.to_owned());
        let parts = url.parse::<Uri>().map_err(|_| fault())?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(fault());
        };
        let bare = parts.path_and_query.is_none_or(|path| path == "/");
        let known = scheme == Scheme::HTTPS || scheme == Scheme::HTTP;
        if !bare || !known || authority.as_str().contains('@') {
            return Err(fault());
        }
        let host = HeaderValue::from_str(host_header(&scheme, &authority)).map_err(|_| fault())?;
        Ok(Self { scheme, authority, host })
    }

    /// The URI of `path` at one of the host's addresses.
    pub(super) fn uri(&self, address: &Authority, path: &PathAndQuery) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(address.clone())
            .path_and_query(path.clone())
            .build()
    }

    /// The host alone, as DNS and certificates have it: an IPv6 address without brackets.
    pub(super) fn name(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    pub(super) fn port(&self) -> u16 {
        let usual = if self.scheme == Scheme::HTTPS { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(usual)
    }

    /// The `Host` header's value, which is signed.
    pub(super) fn host_value(&self) -> &HeaderValue {
        &self.host
    }

    /// `runtime.sagemaker.us-east-1.amazonaws.com`
    pub fn host(&self) -> &str {
        self.authority.as_str()
    }
}

/// Without a default port, as HTTP clients write it and so as signers sign it.
fn host_header<'a>(scheme: &Scheme, authority: &'a Authority) -> &'a str {
    let default = if *scheme == Scheme::HTTPS { ":443" } else { ":80" };
    authority.as_str().strip_suffix(default).unwrap_or(authority.as_str())
}

/// The SDK's own rule set: partitions, FIPS and dual-stack.
fn region_url(config: &Config) -> Result<String, RouteError> {
    let fault = |reason: String| RouteError::Region { region: config.region.clone(), reason };
    let params = Params::builder()
        .region(config.region.clone())
        .use_fips(config.fips)
        .use_dual_stack(config.dual_stack)
        .build()
        .map_err(|error| fault(error.to_string()))?;
    let resolver = DefaultResolver::new();
    // The rule set is computed, never awaited.
    match now_or_never(resolver.resolve_endpoint(&params)) {
        Some(Ok(endpoint)) => Ok(endpoint.url().to_owned()),
        Some(Err(error)) => Err(fault(error.to_string())),
        None => Err(fault("the resolver did not answer at once".to_owned())),
    }
}

fn now_or_never<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(region: &str) -> Config {
        Config {
            region: region.to_owned(),
            runtime_url: None,
            fips: false,
            dual_stack: false,
            ca: None,
            dns_refresh: Duration::from_secs(15),
            timeouts: Timeouts::default(),
        }
    }

    fn host(config: &Config) -> String {
        Route::resolve(config).unwrap().host().to_owned()
    }

    /// FACTS §1, from botocore's rule set.
    #[test]
    fn hosts_follow_the_partition_fips_and_dual_stack() {
        let usual = config("us-east-1");
        assert_eq!(host(&usual), "runtime.sagemaker.us-east-1.amazonaws.com");
        assert_eq!(host(&config("cn-north-1")), "runtime.sagemaker.cn-north-1.amazonaws.com.cn");
        let fips = Config { fips: true, ..usual.clone() };
        assert_eq!(host(&fips), "runtime-fips.sagemaker.us-east-1.amazonaws.com");
        let dual = Config { dual_stack: true, ..usual };
        assert_eq!(host(&dual), "runtime.sagemaker.us-east-1.api.aws");
        let both = Config { fips: true, ..dual };
        assert_eq!(host(&both), "runtime.sagemaker-fips.us-east-1.api.aws");
    }

    #[test]
    fn a_runtime_url_is_an_origin_and_nothing_else() {
        let with = |url: &str| {
            Route::resolve(&Config { runtime_url: Some(url.to_owned()), ..config("us-east-1") })
        };
        let good = with("https://vpce-1.example.com:443/").unwrap();
        assert_eq!(good.host_value(), "vpce-1.example.com");
        assert_eq!((good.name(), good.port()), ("vpce-1.example.com", 443));
        assert_eq!(with("http://127.0.0.1:8080").unwrap().host_value(), "127.0.0.1:8080");
        let six = with("http://[::1]").unwrap();
        assert_eq!((six.name(), six.port()), ("::1", 80));
        for bad in ["example.com", "ftp://a", "https://a/path", "https://u@a", "https://", "/x", ""]
        {
            assert!(with(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_impossible_region_is_an_error() {
        assert!(Route::resolve(&config("not a region")).is_err());
    }
}
