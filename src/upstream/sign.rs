//! An admitted call and its body → [`Signed`], the only thing that can be sent.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request};
use http_body_util::Full;

use super::headers::{Headers, to_sign};
use super::{Payload, Route};
use crate::aws::Credentials;
use crate::aws::sigv4::{self, Head, SigningError};
use crate::limits::Admitted;
use crate::names::RequestId;
use crate::sagemaker::Call;

/// SageMaker Runtime's in the credential scope.
const SERVICE: &str = "sagemaker";

/// A call with its signature. Only this room makes one, and only from an [`Admitted`].
#[derive(Debug)]
pub struct Signed {
    admitted: Admitted,
    head: SignedHead,
    payload: Payload,
}

/// The target and the headers, the signature's among them.
#[derive(Debug)]
pub(super) struct SignedHead {
    path: PathAndQuery,
    headers: Headers,
}

#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("no valid AWS credentials at hand")]
    NoCredentials,
    #[error("the call cannot be signed: {0}")]
    Signing(#[from] SigningError),
    #[error("the call has no path: {0}")]
    Uri(#[from] http::Error),
}

/// Rebuilds the head of `call` and signs it.
pub(super) fn head(
    call: &Call,
    payload: &Payload,
    route: &Route,
    credentials: &Credentials,
    region: &str,
    id: RequestId,
    now: SystemTime,
) -> Result<SignedHead, SignError> {
    let path = call.path();
    let mut headers = to_sign(call, route, id);
    let identity = credentials.current(now).ok_or(SignError::NoCredentials)?;
    let head = Head {
        service: SERVICE,
        method: Method::POST.as_str(),
        path: &path,
        headers: &headers,
        body_sha256: payload.sha256(),
    };
    let added = sigv4::sign(head, &identity, region, now)?;
    headers.extend(added);
    let path = PathAndQuery::try_from(path).map_err(http::Error::from)?;
    Ok(SignedHead { path, headers })
}

impl Signed {
    pub(super) fn new(admitted: Admitted, head: SignedHead, payload: Payload) -> Self {
        Self { admitted, head, payload }
    }

    pub(super) fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    /// What the call holds of its limits; the body is freed.
    pub(super) fn into_admitted(self) -> Admitted {
        self.admitted
    }

    /// The request to send to this address of the route; a second one is made only when
    /// nothing of the first went out. The signed `Host` names the route's host all the same.
    pub(super) fn request(
        &self,
        route: &Route,
        address: &Authority,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::new(Full::new(self.payload.bytes().clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = route.uri(address, &self.head.path)?;
        let headers = request.headers_mut();
        headers.reserve(self.head.headers.len() + 1);
        // hyper leaves a length of 0 unsaid, and SageMaker must not have to guess.
        headers.insert(CONTENT_LENGTH, self.payload.len().into());
        for (name, value) in &self.head.headers {
            headers.insert(name.clone(), value.clone());
        }
        Ok(request)
    }
}
