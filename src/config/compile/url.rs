//! What a URL in the files must be: https, unless it stays on this machine.

use http::Uri;

use crate::config::at::At;

/// Under which key of `danger:` plain http is allowed, and whether it is.
#[derive(Clone, Copy)]
pub(super) struct Plain {
    pub danger: &'static str,
    pub on: bool,
}

/// Checks the URL `text` at `at`. Userinfo, query and fragment are refused everywhere: the
/// first would be a secret in a file, the others would be lost.
pub(super) fn check(at: &At<'_>, text: &str, plain: Plain) {
    let uri: Option<Uri> = text.parse().ok().filter(|uri: &Uri| uri.host().is_some());
    let Some(uri) = uri else {
        return at.reject_with("expected a URL", Some("such as `https://idp.example.com`"));
    };
    if text.contains(['?', '#', '@']) {
        return at.reject("a URL here has no user, no query and no fragment");
    }
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if plain.on || uri.host().is_some_and(is_loopback) => {}
        Some("http") => at.reject_with(
            "`http://` is for loopback addresses",
            Some(format!("use https, or spell out `danger: {{ {}: true }}`", plain.danger)),
        ),
        _ => at.reject_with("expected a URL", Some("it begins with `https://`")),
    }
}

/// Whether the URL has a path besides `/`.
pub(super) fn has_path(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| !matches!(uri.path(), "" | "/"))
}

pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["localhost.evil.example", "127.0.0.1.nip.io", "0.0.0.0", "10.0.0.1", "[::]", ""]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
