//! Carrying out what was ordered. On an engine under the lease on the place's replicas, which deploy jobs take while they
//! apply or stop; on a cluster by compare-and-swap of the object. Either way the shard's lease is looked at right before
//! each change.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use slipway_common::Backend;
use slipway_common::model::autoscaler::replicas_lease;
use slipway_common::model::{JobState, Stage};
use slipway_common::store::Lease;
use slipway_common::telemetry::chain;
use tokio_util::sync::CancellationToken;

use super::kept::Order;
use super::shards::{ShardGuard, Until, moment};
use super::targets::{Target, Targets};
use crate::docker::DockerTarget;
use crate::target::{Guard, Subject, TargetError};

/// How long the lease of a place is held without being renewed.
const PLACE_TTL: Duration = Duration::from_secs(15);
/// Pause between two renewals.
const PLACE_RENEW: Duration = Duration::from_secs(4);
/// Pause between two looks for a newer deployment, which must not wait for replicas of an older one.
const NEWER_PAUSE: Duration = Duration::from_secs(1);
/// Longest time for one order; what is left half done is finished by the next.
const ORDER_MAX: Duration = Duration::from_secs(300);

/// Carries out an order.
pub(crate) async fn carry_out(
    backend: &Backend,
    targets: &Targets,
    scaler: &str,
    order: &Order,
    guard: ShardGuard,
    stop: &CancellationToken,
) -> Result<u32, TargetError> {
    let subject = &order.subject;
    let done = async {
        match targets.get(&subject.target) {
            Some(Target::Docker(engine)) => under_lease((backend, scaler), order, guard, engine, stop).await,
            Some(Target::Kubernetes(cluster)) => match order.to {
                Some(to) => cluster.scale(subject, order.from, to, &guard).await,
                None => Ok(order.from),
            },
            None => Err(TargetError::Refused {
                code: "target_unknown",
                reason: format!("this scaler has no target `{}`", subject.target),
            }),
        }
    };
    let slow = || TargetError::Unavailable { reason: format!("not done within {} s", ORDER_MAX.as_secs()) };
    tokio::time::timeout(ORDER_MAX, done).await.unwrap_or_else(|_| Err(slow()))
}

/// The right to act on a place: its own lease, and that of its shard.
struct PlaceGuard {
    shard: ShardGuard,
    fence: u64,
    until: Mutex<Until>,
}

impl PlaceGuard {
    fn renewed(&self, until: Until) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

impl Guard for PlaceGuard {
    fn fence(&self) -> Result<u64, TargetError> {
        self.shard.fence()?;
        let is_over = self.until.lock().unwrap_or_else(PoisonError::into_inner).has_passed();
        if is_over { Err(TargetError::LeaseLost) } else { Ok(self.fence) }
    }
}

async fn under_lease(
    (backend, scaler): (&Backend, &str),
    order: &Order,
    shard: ShardGuard,
    engine: &DockerTarget,
    stop: &CancellationToken,
) -> Result<u32, TargetError> {
    let (key, holder) = (replicas_lease(&order.subject.place.to_string()), format!("scaler/{scaler}"));
    let asked = moment();
    let lease = backend.store.acquire_lease(&key, &holder, PLACE_TTL, asked.1).await;
    let lease = lease.map_err(|error| TargetError::Unavailable { reason: chain(&error) })?;
    let Some(lease) = lease else {
        let reason = "a job is at work on the replicas".to_owned();
        return Err(TargetError::Refused { code: "job_at_work", reason });
    };
    let guard =
        Arc::new(PlaceGuard { shard, fence: lease.fence, until: Mutex::new(Until::after(asked, PLACE_TTL)) });
    let done = tokio::select! {
        done = act(engine, order, &guard) => done,
        () = renew(backend, &lease, &guard) => Err(TargetError::LeaseLost),
        () = overtaken(backend, &order.subject) => Err(TargetError::Changed),
        () = stop.cancelled() => Err(TargetError::Changed),
    };
    if let Err(error) = backend.store.release_lease(&lease).await {
        tracing::debug!(key, error = chain(&error), "the lease is left to expire");
    }
    done
}

async fn act(engine: &DockerTarget, order: &Order, guard: &PlaceGuard) -> Result<u32, TargetError> {
    match order.to {
        Some(to) => engine.scale(&order.subject, to, guard).await,
        None => engine.settle(&order.subject, guard).await.map(|()| order.from),
    }
}

/// Renews the lease; ends when it is lost.
async fn renew(backend: &Backend, lease: &Lease, guard: &PlaceGuard) {
    let mut good_until = Instant::now() + PLACE_TTL;
    loop {
        tokio::time::sleep(PLACE_RENEW).await;
        let asked = moment();
        match backend.store.renew_lease(lease, PLACE_TTL, asked.1).await {
            Ok(true) => {
                guard.renewed(Until::after(asked, PLACE_TTL));
                good_until = asked.0 + PLACE_TTL;
            }
            Ok(false) => return,
            Err(_) if Instant::now() < good_until => {}
            Err(_) => return,
        }
    }
}

/// Whether a job wants its turn at the replicas now: one that still builds does not, nor one that waits.
fn wants_its_turn(state: &JobState) -> bool {
    match state {
        JobState::Running { stage: Stage::Apply | Stage::Stop, .. } => true,
        JobState::Running {
            stage: Stage::Clone | Stage::Template | Stage::Commit | Stage::Build, ..
        }
        | JobState::Queued
        | JobState::Waiting { .. }
        | JobState::Succeeded
        | JobState::Failed { .. }
        | JobState::Cancelled
        | JobState::Superseded { .. } => false,
    }
}

/// Ends when a job waits for the replicas: of a newer deployment, or of this one, such as to stop it.
async fn overtaken(backend: &Backend, subject: &Subject) {
    loop {
        tokio::time::sleep(NEWER_PAUSE).await;
        let newest = backend.store.newest(&subject.place.project, &subject.place.environment).await;
        let newest = newest.ok().flatten().filter(|newest| *newest != subject.deployment);
        for id in [Some(subject.deployment), newest].into_iter().flatten() {
            let Ok(Some(deployment)) = backend.store.deployment(id).await else { continue };
            if deployment.jobs.iter().any(|job| wants_its_turn(&job.state)) {
                tracing::info!(place = %subject.place, deployment = %id, "a job goes first");
                return;
            }
        }
    }
}
