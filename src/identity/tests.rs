//! The room as a whole: real tokens, signed here with keys made here, against an
//! authenticator that fetched its keys from a real server on loopback.

mod fetching;
mod keys;
mod mutation;
mod rules;
mod shapes;
pub(super) mod support;
mod tls;
mod vectors;
