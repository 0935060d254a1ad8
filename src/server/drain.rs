//! The two ways a server ends: asked to finish, and told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// A server's end, shared with all its connections. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<Tokens>);

#[derive(Debug, Default)]
struct Tokens {
    /// Whether `draining` is cancelled. Each answer asks, and a token's own answer takes a lock
    /// that all connections would share.
    begun: AtomicBool,
    draining: CancellationToken,
    cut: CancellationToken,
}

impl Drain {
    /// Soon no new connections; open ones finish what they are at.
    pub fn start(&self) {
        self.0.begun.store(true, Ordering::Relaxed);
        self.0.draining.cancel();
    }

    /// Ends what is still open.
    pub fn cut(&self) {
        self.start();
        self.0.cut.cancel();
    }

    pub fn is_draining(&self) -> bool {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Returns once the drain began and `notice` is over, for which whoever calls is still
    /// answered and told to call elsewhere: to close on an idle caller at once would break the
    /// request that is already on its way from there.
    ///
    /// Cancel-safe, but each call gives notice anew.
    pub(super) async fn noticed(&self, notice: Duration) {
        self.0.draining.cancelled().await;
        // Whoever is told to stop has no time left.
        let _ = tokio::time::timeout(notice, self.0.cut.cancelled()).await;
    }

    /// Cancel-safe.
    pub(super) async fn is_cut(&self) {
        self.0.cut.cancelled().await;
    }
}
