//! The record of who called what.
