//! Until when something new is begun: a look at a deployment gives its place to another after a while, and ends soon after
//! the process is to end.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The end of a look.
#[derive(Debug)]
pub(super) struct Until {
    at: Instant,
    stop: CancellationToken,
}

impl Until {
    /// Ends after `longest`, or at `stop`.
    pub(super) fn new(longest: Duration, stop: &CancellationToken) -> Self {
        Self { at: Instant::now() + longest, stop: stop.clone() }
    }

    /// Whether nothing new is to be begun.
    pub(super) fn is_over(&self) -> bool {
        self.stop.is_cancelled() || Instant::now() >= self.at
    }
}
