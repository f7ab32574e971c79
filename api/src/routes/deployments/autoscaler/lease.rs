//! One change of an autoscaler at a time, over all processes of the API: a change that was read before another was
//! written would undo it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::model::autoscaler::Place;
use slipway_common::store::Lease;
use slipway_common::telemetry::chain;
use uuid::Uuid;

use crate::refusal::{AutoscalerRefusal, Refusal};

/// How long a change may take; longer than any answer is waited for.
const LEASE_TTL: Duration = Duration::from_secs(5);
/// How long another's change is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Does `work` while nobody else changes the autoscaler of `place`.
pub(crate) async fn alone<T>(
    backend: &Backend,
    place: &Place,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let lease = take(backend, place).await?;
    let done = work.await;
    if let Err(error) = backend.store.release_lease(&lease).await {
        tracing::debug!(%place, error = chain(&error), "the lease is left to expire");
    }
    done
}

async fn take(backend: &Backend, place: &Place) -> Result<Lease, Refusal> {
    let (key, holder) = (format!("autoscaler/{place}"), Uuid::now_v7().to_string());
    let begun = Instant::now();
    loop {
        let taken = backend.store.acquire_lease(&key, &holder, LEASE_TTL, Timestamp::now()).await?;
        if let Some(lease) = taken {
            return Ok(lease);
        }
        if begun.elapsed() >= PATIENCE {
            return Err(AutoscalerRefusal::Busy.into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
