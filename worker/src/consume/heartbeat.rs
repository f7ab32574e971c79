//! The heartbeat of a run: keeps claim and lease alive, and tells the run to stop when somebody asks for it,
//! when the job is lost to another worker, or when this process is to end.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::health::Progress;
use slipway_common::queue::{Claim, QueueError};
use slipway_common::store::Lease;
use slipway_common::telemetry::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::stage::Tools;

/// How often a running job looks whether it was cancelled.
const CANCEL_LOOK: Duration = Duration::from_millis(500);
/// Longest wait for a run that was told to stop.
const STOP_LIMIT: Duration = Duration::from_secs(4);
/// Longest pause between two signs of progress.
const MARK_INTERVAL_MAX: Duration = Duration::from_secs(5);

/// Why a run is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// Somebody asked for it.
    Cancelled,
    /// Another worker has the job, or the queue withdrew it.
    ClaimLost,
    /// Another job works on the same project and environment.
    LeaseLost,
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

/// What is kept alive while a job is worked on.
#[derive(Debug)]
pub(super) struct Beat<'a> {
    pub(super) tools: &'a Tools,
    pub(super) claim: &'a Claim,
    pub(super) lease: &'a Lease,
    pub(super) progress: &'a Progress,
}

impl Beat<'_> {
    /// Beats until the run must stop and has had its time to; never returns before.
    pub(super) async fn until_stopped(&self, interrupt: &Interrupt, stop: &CancellationToken) {
        let reason = tokio::select! {
            lost = self.keep() => lost,
            () = cancelled(self.tools, self.claim) => StopReason::Cancelled,
            () = shut_down(self.tools, stop) => StopReason::Shutdown,
        };
        interrupt.stop(reason);
        if matches!(reason, StopReason::Cancelled | StopReason::Shutdown) {
            tokio::select! {
                _ = self.keep() => {}
                () = tokio::time::sleep(STOP_LIMIT) => {}
            }
        }
    }

    /// Renews claim and lease; answers which was lost. A store that cannot be used is no reason to stop while the
    /// claim is renewed: the fencing token protects what is written.
    pub(super) async fn keep(&self) -> StopReason {
        let (tools, job) = (self.tools, self.claim.message.id);
        let ttl = tools.settings.claim_ttl;
        let mut renewed = Instant::now();
        loop {
            self.progress.mark();
            tokio::time::sleep(tools.settings.claim_renew.min(MARK_INTERVAL_MAX)).await;
            let now = Timestamp::now();
            let (claimed, leased) = tokio::join!(
                tools.backend.queue.renew(self.claim, ttl, now),
                tools.backend.store.renew_lease(self.lease, ttl, now),
            );
            match claimed {
                Ok(()) => {
                    renewed = Instant::now();
                    tools.queue.works();
                }
                Err(QueueError::ClaimLost { .. }) => {
                    tracing::warn!(%job, "the claim was lost: another worker may have the job");
                    return StopReason::ClaimLost;
                }
                Err(error) => tools.queue.failed(&error),
            }
            match leased {
                Ok(true) => tools.recorder.store_works(),
                Ok(false) => {
                    tracing::warn!(%job, "the lease on project and environment was lost");
                    return StopReason::LeaseLost;
                }
                Err(error) => tools.recorder.store_failed(&error),
            }
            if renewed.elapsed() >= ttl {
                tracing::warn!(%job, "the claim ran out");
                return StopReason::ClaimLost;
            }
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
