//! The room as a whole: real tokens, signed here with keys made here, against an
//! authenticator that fetched its keys from a real server on loopback.

mod fetching;
mod mutation;
mod rules;
mod shapes;
mod support;
mod vectors;
