//! SIGTERM and SIGINT: the first asks for a graceful end, the second for an immediate one.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ProcessError;

/// Both signals, watched from the moment this exists.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to watch; from now on the signals do not end the process by themselves.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn watch() -> Result<Self, ProcessError> {
        let watch = |kind| signal(kind).map_err(ProcessError::System);
        Ok(Self { terminate: watch(SignalKind::terminate())?, interrupt: watch(SignalKind::interrupt())? })
    }

    /// Waits for the next of them; answers its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
