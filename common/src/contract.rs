//! The contract suite: every law of the seams as a function that an adapter passes or fails.
//!
//! A new adapter writes a [`Fixture`] and calls [`contract_suite!`](crate::contract_suite), which makes one
//! test per law. The laws speak of the seams alone: time is an argument wherever the seam takes one, and
//! what the seam promises only for "soon" is waited for with [`eventually`]. A law that fails panics with
//! what it expected, like any test.

pub mod agenda;
pub mod autoscaler;
pub mod inquiry;
pub mod ledger;
pub mod metric;
pub mod projects;
pub mod queue;
pub mod sample;
pub mod store;

mod suite;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::Backend;

/// Longest wait for what a seam promises without saying when.
pub const EVENTUALLY_MAX: Duration = Duration::from_secs(20);
const EVENTUALLY_PAUSE: Duration = Duration::from_millis(10);

/// An installation of the adapter under test, empty when made, and gone when dropped.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The seams of the running installation.
    async fn backend(&self) -> Backend;

    /// Ends every process of the installation without warning, starts it again on what was durable, and
    /// answers the seams of the new one. Those answered before must not be used any more.
    async fn restart(&self) -> Backend;

    /// Cuts every connection of the installation's processes, which go on. Nothing to do where there is none.
    async fn cut(&self) {}

    /// Waits until the store has caught up with everything the ledger took so far. Nothing to do where the
    /// projection is part of the append.
    async fn settled(&self) {}
}

/// Looks again and again until `look` finds something.
///
/// # Panics
/// When nothing was found within [`EVENTUALLY_MAX`].
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let search = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(EVENTUALLY_PAUSE).await;
        }
    };
    match tokio::time::timeout(EVENTUALLY_MAX, search).await {
        Ok(found) => found,
        Err(_) => panic!("{what} did not happen within {} s", EVENTUALLY_MAX.as_secs()),
    }
}

/// `seconds` after `start`.
pub(crate) fn later(start: Timestamp, seconds: u64) -> Timestamp {
    start.saturating_add(Duration::from_secs(seconds)).expect("a duration of seconds can be added")
}
