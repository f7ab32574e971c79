//! The heartbeat of a run: keeps claim and lease alive, and tells the run to stop when somebody asks for it,
//! when the job is lost to another worker, or when this process is to end.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::queue::{Claim, QueueError};
use slipway_common::store::Lease;
use slipway_common::telemetry::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::stage::Tools;

/// How often a running job looks whether it was cancelled.
const CANCEL_LOOK: Duration = Duration::from_millis(500);
/// Longest wait for a run that was told to stop.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Why a run is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// Somebody asked for it.
    Cancelled,
    /// Another worker has the job.
    Lost,
    /// This process ends.
    Shutdown,
}

/// Tells one run to stop, once, with the reason.
#[derive(Debug, Default)]
pub(super) struct Interrupt {
    token: CancellationToken,
    reason: OnceLock<StopReason>,
}

impl Interrupt {
    /// The token the run watches.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Why the run was told to stop, if it was.
    pub(super) fn reason(&self) -> Option<StopReason> {
        self.reason.get().copied()
    }

    fn stop(&self, reason: StopReason) {
        self.reason.get_or_init(|| reason);
        self.token.cancel();
    }
}

/// Beats until the run must stop and has had its time to; never returns before.
pub(super) async fn beat(
    tools: &Tools,
    claim: &Claim,
    lease: &Lease,
    interrupt: &Interrupt,
    stop: &CancellationToken,
) {
    let reason = tokio::select! {
        () = keep(tools, claim, lease) => StopReason::Lost,
        () = cancelled(tools, claim) => StopReason::Cancelled,
        () = shut_down(tools, stop) => StopReason::Shutdown,
    };
    interrupt.stop(reason);
    if reason != StopReason::Lost {
        tokio::select! {
            () = keep(tools, claim, lease) => {}
            () = tokio::time::sleep(STOP_LIMIT) => {}
        }
    }
}

/// Renews claim and lease; returns once either is lost, or could not be renewed for as long as it lasts.
async fn keep(tools: &Tools, claim: &Claim, lease: &Lease) {
    let (ttl, job) = (tools.settings.claim_ttl, claim.message.id);
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(tools.settings.claim_renew).await;
        let now = Timestamp::now();
        let claimed = tools.backend.queue.renew(claim, ttl, now).await;
        let leased = tools.backend.store.renew_lease(lease, ttl, now).await;
        match (claimed, leased) {
            (Ok(()), Ok(true)) => renewed = Instant::now(),
            (Err(QueueError::ClaimLost { .. }), _) | (_, Ok(false)) => {
                tracing::warn!(%job, "another worker has taken the job over");
                return;
            }
            (Err(error), _) => tracing::warn!(%job, error = chain(&error), "the claim could not be renewed"),
            (_, Err(error)) => tracing::warn!(%job, error = chain(&error), "the lease could not be renewed"),
        }
        if renewed.elapsed() >= ttl {
            tracing::warn!(%job, "claim and lease ran out");
            return;
        }
    }
}

/// Returns once somebody asked for the job to be cancelled.
async fn cancelled(tools: &Tools, claim: &Claim) {
    loop {
        tokio::time::sleep(CANCEL_LOOK).await;
        match tools.backend.store.job(claim.message.id).await {
            Ok(Some(job)) if job.cancel_requested => return,
            Ok(_) => {}
            Err(error) => tracing::debug!(error = chain(&error), "the job could not be looked at"),
        }
    }
}

/// Returns once the process is to end and the run has had its time to finish by itself.
async fn shut_down(tools: &Tools, stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(tools.settings.drain_limit).await;
}
