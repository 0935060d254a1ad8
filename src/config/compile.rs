//! The files as typed → what they mean, in the rooms' own types.
//!
//! Shape was checked before; here names are looked up, files are read and rules between keys
//! are held. Every function goes on after a fault and returns its best guess, so that all
//! faults are told at once; the guesses are thrown away with them.

pub(super) mod access;
pub(super) mod gateway;
pub(super) mod issuers;
mod limits;
mod privacy;
pub(super) mod ship;
pub(super) mod store;
mod url;
