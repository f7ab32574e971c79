//! One change of one thing at a time, over all processes of the API: a change that was read before another was written
//! would undo it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::store::Lease;
use slipway_common::telemetry::chain;
use tokio::time::timeout;
use uuid::Uuid;

use crate::refusal::Refusal;

/// How long nobody else may change it.
const LEASE_TTL: Duration = Duration::from_secs(5);
/// How long a change may take, whatever settings allow an answer: what is written later could undo somebody else's.
const WORK_TIMEOUT: Duration = Duration::from_secs(4);
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
    let done = in_time(WORK_TIMEOUT, work).await;
    if let Err(error) = backend.store.release_lease(&lease).await {
        tracing::debug!(key, error = chain(&error), "the lease is left to expire");
    }
    done
}

/// Waits for `work`, but not for longer than `limit`.
async fn in_time<T>(limit: Duration, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let late = |_| Err(Refusal::OutcomeUnknown { limit_ms: limit.as_millis() });
    timeout(limit, work).await.unwrap_or_else(late)
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_change_ends_before_its_lease() {
        assert!(WORK_TIMEOUT < LEASE_TTL);
        let limit = Duration::from_millis(10);
        assert_eq!(in_time(limit, async { Ok(1) }).await.unwrap(), 1);
        let late = in_time(limit, pending::<Result<u8, Refusal>>()).await;
        assert!(matches!(late, Err(Refusal::OutcomeUnknown { limit_ms: 10 })), "{late:?}");
        let refused = in_time(limit, async { Err::<u8, _>(Refusal::NotFound { what: "project" }) }).await;
        assert!(matches!(refused, Err(Refusal::NotFound { .. })), "{refused:?}");
    }
}
