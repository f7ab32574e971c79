//! One change of one thing at a time, over all processes of the API: a change that was read before another was written
//! would undo it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::store::Lease;
use slipway_common::telemetry::chain;
use uuid::Uuid;

use crate::refusal::Refusal;

/// How long a change may take; longer than any answer is waited for.
const LEASE_TTL: Duration = Duration::from_secs(5);
/// How long another's change is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Does `work` while nobody else changes what is called `key`. Is `busy` when somebody else does for too long.
pub(crate) async fn alone<T>(
    backend: &Backend,
    key: &str,
    busy: impl Into<Refusal>,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let Some(lease) = take(backend, key).await? else { return Err(busy.into()) };
    let done = work.await;
    if let Err(error) = backend.store.release_lease(&lease).await {
        tracing::debug!(key, error = chain(&error), "the lease is left to expire");
    }
    done
}

async fn take(backend: &Backend, key: &str) -> Result<Option<Lease>, Refusal> {
    let holder = Uuid::now_v7().to_string();
    let begun = Instant::now();
    loop {
        let taken = backend.store.acquire_lease(key, &holder, LEASE_TTL, Timestamp::now()).await?;
        if taken.is_some() || begun.elapsed() >= PATIENCE {
            return Ok(taken);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
