//! The turn at a place's containers. On an engine a scaler changes them too, between deploys and while a deploy builds:
//! whoever changes them holds this lease, beside the job's own on the place. A scaler gives it back within a moment when a
//! job has come to apply or stop.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::model::autoscaler::replicas_lease;
use slipway_common::store::{Lease, StoreError};
use slipway_common::telemetry::chain;
use tokio::time::Instant;

use super::{Run, StageError};

/// Longest wait for a scaler; one that is gone loses the lease earlier.
const WAIT_MAX: Duration = Duration::from_secs(20);
const WAIT_PAUSE: Duration = Duration::from_millis(200);

/// Does `work` while nobody else changes the containers of the job's place.
pub(super) async fn in_turn<T>(
    run: &Run<'_>,
    work: impl Future<Output = Result<T, StageError>>,
) -> Result<T, StageError> {
    let lease = take(run).await?;
    let done = tokio::select! {
        done = work => done,
        () = keep(run, &lease) => Err(away("the lease on the replicas was lost")),
    };
    if let Err(error) = run.tools.backend.store.release_lease(&lease).await {
        tracing::debug!(job = %run.message.id, error = chain(&error), "the lease is left to expire");
    }
    done
}

async fn take(run: &Run<'_>) -> Result<Lease, StageError> {
    let (key, holder) = (replicas_lease(&run.message.serial_key()), run.message.id.to_string());
    let (ttl, deadline) = (run.tools.settings.claim_ttl, Instant::now() + WAIT_MAX);
    loop {
        let asked = run.tools.backend.store.acquire_lease(&key, &holder, ttl, Timestamp::now());
        if let Some(lease) = asked.await.map_err(StageError::Store)? {
            return Ok(lease);
        }
        if Instant::now() > deadline {
            return Err(away("a scaler does not give the replicas back"));
        }
        tokio::select! {
            () = tokio::time::sleep(WAIT_PAUSE) => {}
            () = run.cancel.cancelled() => return Err(StageError::Interrupted),
        }
    }
}

/// Renews the lease; ends when it is lost.
async fn keep(run: &Run<'_>, lease: &Lease) {
    let (store, ttl) = (&run.tools.backend.store, run.tools.settings.claim_ttl);
    loop {
        tokio::time::sleep(run.tools.settings.claim_renew).await;
        match store.renew_lease(lease, ttl, Timestamp::now()).await {
            Ok(true) => {}
            Ok(false) => return,
            // As for the job's own lease: a store that cannot be used is no reason to stop.
            Err(error) => tracing::debug!(error = chain(&error), "the lease could not be renewed"),
        }
    }
}

fn away(reason: &str) -> StageError {
    StageError::Store(StoreError::Unavailable { reason: reason.to_owned() })
}
