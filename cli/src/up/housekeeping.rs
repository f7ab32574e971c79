//! Housekeeping: what has been kept long enough is deleted, in small portions, now and then.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use slipway_api::Maintenance;
use slipway_common::embedded::Embedded;
use slipway_common::store::StoreError;
use slipway_common::telemetry::chain;
use tokio_util::sync::CancellationToken;

/// Pause between two rounds.
const INTERVAL: Duration = Duration::from_secs(600);
/// Most portions of one round.
const PORTIONS_MAX: usize = 100;

/// What an operator may ask for.
#[derive(Debug)]
pub(crate) struct Upkeep(pub(crate) Embedded);

#[async_trait]
impl Maintenance for Upkeep {
    async fn rebuild_store(&self) -> Result<Option<u64>, StoreError> {
        self.0.rebuild().await.map(Some)
    }
}

/// Deletes what has been kept long enough, until `shutdown`.
pub(crate) async fn run(embedded: Embedded, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        round(&embedded).await;
    }
}

async fn round(embedded: &Embedded) {
    for _ in 0..PORTIONS_MAX {
        match embedded.prune(Timestamp::now()).await {
            Ok(pruned) if pruned.more => {}
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "old jobs could not be deleted; they are tried again");
                return;
            }
        }
    }
}
