//! Whether something the worker needs can be used: told once when that changes, however often it is met.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use slipway_common::telemetry::chain;

/// The state of one thing the worker needs.
#[derive(Debug)]
pub(crate) struct Condition {
    what: &'static str,
    is_bad: AtomicBool,
}

impl Condition {
    /// `what` is good until told otherwise.
    pub(crate) fn of(what: &'static str) -> Self {
        Self { what, is_bad: AtomicBool::new(false) }
    }

    /// It could not be used.
    pub(crate) fn failed(&self, error: &dyn Error) {
        if !self.is_bad.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = chain(error), "{} cannot be used; work waits for it", self.what);
        }
    }

    /// It was used.
    pub(crate) fn works(&self) {
        if self.is_bad.load(Ordering::Relaxed) && self.is_bad.swap(false, Ordering::Relaxed) {
            tracing::info!("{} can be used again", self.what);
        }
    }

    /// Whether it could not be used the last time.
    pub(crate) fn is_bad(&self) -> bool {
        self.is_bad.load(Ordering::Relaxed)
    }
}
