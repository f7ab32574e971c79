//! SIGTERM and SIGINT: the first asks for a graceful end, the second for an immediate one.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals, watched from the moment this exists.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// What ended the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedBy {
    /// A signal of this name.
    Signal(&'static str),
    /// A service of this name ended by itself.
    Service(&'static str),
}

impl Signals {
    /// Begins to watch; from now on the signals do not end the process by themselves.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn watch() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for a signal, or for a service to end by itself.
    pub(crate) async fn first_or(&mut self, failed: impl Future<Output = &'static str>) -> EndedBy {
        tokio::select! {
            _ = self.terminate.recv() => EndedBy::Signal("SIGTERM"),
            _ = self.interrupt.recv() => EndedBy::Signal("SIGINT"),
            name = failed => EndedBy::Service(name),
        }
    }

    /// Waits for the next signal.
    pub(crate) async fn another(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
