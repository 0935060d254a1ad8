//! Any request head → `Call::parse`: what it accepts has one spelling, and carries nothing
//! that the operation's table does not name.
//!
//! The input is a head as text: `METHOD PATH`, then one `name: value` a line.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use sagegate::sagemaker::Call;

/// Whether it is a call.
pub(crate) fn check(head: &[u8]) -> bool {
    let Some((method, uri, headers)) = read(head) else { return false };
    let Ok(call) = Call::parse(&method, &uri, &headers) else { return false };
    assert_eq!(method, Method::POST);
    assert_eq!(call.path(), uri.to_string(), "a path with a second spelling");
    carries_only_its_own(&call, &headers);
    is_read_again_as_itself(&call);
    true
}

fn read(head: &[u8]) -> Option<(Method, Uri, HeaderMap)> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let space = first.iter().position(|byte| *byte == b' ')?;
    let (method, path) = first.split_at(space);
    let mut headers = HeaderMap::new();
    for line in lines.take(64) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..)?.trim_ascii();
        headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    // Only what a server would hand over: a path, never a whole URL.
    let uri = Uri::try_from(path.get(1..)?).ok().filter(|uri| uri.host().is_none())?;
    Some((Method::from_bytes(method).ok()?, uri, headers))
}

fn carries_only_its_own(call: &Call, given: &HeaderMap) {
    for (name, value) in call.headers() {
        let known = name == "content-type"
            || name == "accept"
            || name.as_str().starts_with("x-amzn-sagemaker-");
        assert!(known, "`{name}` goes on to SageMaker");
        assert_eq!(
            given.get_all(name).iter().collect::<Vec<_>>(),
            [value],
            "`{name}` is not single"
        );
    }
}

fn is_read_again_as_itself(call: &Call) {
    let path = call.path().parse().expect("a call's path is a URI");
    let headers = call.headers().iter().cloned().collect();
    let again = Call::parse(&Method::POST, &path, &headers).expect("a call is a call");
    assert_eq!(
        (again.action(), again.endpoint().given()),
        (call.action(), call.endpoint().given())
    );
    assert_eq!(again.targets(), call.targets());
}
