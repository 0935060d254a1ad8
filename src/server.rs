//! Bytes → requests: listening, TLS, HTTP/1.1 and 2, and draining.
