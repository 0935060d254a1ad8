//! Why a request is not a call. The words go to the caller, so they name what to change and
//! never repeat a header's value.

/// A request head that is none of the three operations, or breaks one's rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error(
        "unknown path: the gateway serves POST /endpoints/{{name}}/invocations, \
         /invocations-response-stream and /async-invocations; \
         a name is at most 63 letters, digits and inner hyphens"
    )]
    UnknownPath,
    /// `allow` is the `Allow` header's value.
    #[error("this path takes {allow}")]
    Method { allow: &'static str },
    #[error("no operation takes a query string; send the token in the Authorization header")]
    Query,
    #[error("header `{0}` was sent more than once")]
    Doubled(&'static str),
    #[error("header `{header}` must be {rule}")]
    Header { header: &'static str, rule: &'static str },
    #[error("{operation} does not take an `{header}` header")]
    NotTaken { operation: &'static str, header: String },
    #[error(
        "InvokeEndpointAsync takes either a body or an `x-amzn-sagemaker-inputlocation` header, and exactly one of them"
    )]
    BodyOrLocation,
    #[error(
        "an inline body of InvokeEndpointAsync has at most 128000 bytes; put larger input on S3 and name it with `x-amzn-sagemaker-inputlocation`"
    )]
    InlineBodyTooLarge,
}
