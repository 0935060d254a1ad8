//! The two ways a server ends: asked to finish, and told to stop.

use tokio_util::sync::CancellationToken;

/// A server's end, shared with all its connections. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    draining: CancellationToken,
    cut: CancellationToken,
}

impl Drain {
    /// No new connections; open ones finish what they are at.
    pub fn start(&self) {
        self.draining.cancel();
    }

    /// Ends what is still open.
    pub fn cut(&self) {
        self.draining.cancel();
        self.cut.cancel();
    }

    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Cancel-safe.
    pub(super) async fn started(&self) {
        self.draining.cancelled().await;
    }

    /// Cancel-safe.
    pub(super) async fn is_cut(&self) {
        self.cut.cancelled().await;
    }
}
