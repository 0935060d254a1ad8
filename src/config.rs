//! The two files a user writes.
