//! SHA-256 as a plain array, in the one place that knows its length.

use aws_lc_rs::digest::{SHA256, digest};

#[expect(clippy::expect_used, reason = "a wrong length must never become a shared hash")]
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 gives 32 bytes")
}
