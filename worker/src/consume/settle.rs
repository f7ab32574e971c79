//! Settling a claim: what was decided about a job reaches the queue, or the claim turns out to be lost. Both are fine:
//! a job that arrives again is found done.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipway_common::health::Progress;
use slipway_common::queue::{Claim, QueueError};
use slipway_common::telemetry::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failpoint::{self, Place};
use crate::figures::Count;
use crate::stage::Tools;

/// How long a queue that cannot be used is tried again; until then the claim is kept.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// The same once the process is to end.
const STOPPING_PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// What becomes of a claim.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The job is done.
    Complete,
    /// The job goes on later.
    Park {
        /// When; at once when absent.
        until: Option<Timestamp>,
    },
    /// The job is set aside.
    Bury {
        /// Why.
        reason: String,
    },
    /// The run crashed: the job is handed out again at once, and the delivery counts.
    Crashed,
    /// Somebody else has the job now; leave it alone.
    Leave,
}

impl Verdict {
    /// The job goes on after `pause`.
    pub(super) fn park_for(pause: SignedDuration) -> Self {
        Self::Park { until: Some(Timestamp::now().checked_add(pause).unwrap_or(Timestamp::MAX)) }
    }
}

/// Tells the queue what becomes of the claim, for as long as the claim can be kept.
pub(super) async fn settle(
    tools: &Tools,
    claim: &Claim,
    verdict: &Verdict,
    progress: &Progress,
    stop: &CancellationToken,
) {
    let (job, begun) = (claim.message.id, Instant::now());
    let mut stopping_since = None;
    loop {
        progress.mark();
        let error = match tell(tools, claim, verdict).await {
            Ok(()) => {
                tools.queue.works();
                return;
            }
            Err(QueueError::ClaimLost { .. }) => return lost(tools, claim),
            Err(error) => error,
        };
        tools.queue.failed(&error);
        if stop.is_cancelled() {
            stopping_since.get_or_insert_with(Instant::now);
        }
        let stops = stopping_since.is_some_and(|since: Instant| since.elapsed() >= STOPPING_PATIENCE);
        if stops || begun.elapsed() >= PATIENCE {
            tracing::warn!(%job, error = chain(&error), "the claim is left to the queue; the job may arrive again");
            return;
        }
        tokio::time::sleep(RETRY_PAUSE.min(tools.settings.claim_renew)).await;
        // Kept meanwhile, so that nobody begins anew, and no crash is counted that was none.
        let kept = tools.backend.queue.renew(claim, tools.settings.claim_ttl, Timestamp::now()).await;
        if let Err(QueueError::ClaimLost { .. }) = kept {
            return lost(tools, claim);
        }
    }
}

async fn tell(tools: &Tools, claim: &Claim, verdict: &Verdict) -> Result<(), QueueError> {
    let (queue, now) = (&tools.backend.queue, Timestamp::now());
    match verdict {
        Verdict::Complete => failpoint::around(Place::QueueComplete, queue.complete(claim, now)).await,
        Verdict::Park { until } => {
            failpoint::around(Place::QueuePark, queue.park(claim, until.unwrap_or(now), now)).await
        }
        Verdict::Bury { reason } => {
            failpoint::around(Place::QueueBury, queue.bury(claim, reason, now)).await?;
            tools.figures.count(Count::Buried);
            Ok(())
        }
        // A claim that ends now is handed out again with the next token, and its deliveries go on counting.
        Verdict::Crashed => queue.renew(claim, Duration::ZERO, now).await,
        Verdict::Leave => Ok(()),
    }
}

fn lost(tools: &Tools, claim: &Claim) {
    tools.figures.count(Count::ClaimLost);
    tracing::info!(job = %claim.message.id, "the claim was withdrawn meanwhile; the job may arrive again");
}
