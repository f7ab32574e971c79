//! The observer: looks at what runs on the target, keeps the live state in the store, and says when a
//! deployment in service degrades or recovers. What others have changed it has repaired, where the target wants that.
//! Of several workers one observes at a time, under a lease.

mod ordered;
mod repair;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use slipway_common::model::autoscaler::Place;
use slipway_common::model::{
    Deployment, DeploymentId, DeploymentState, Event, EventKind, LiveReplica, LiveState, WorkerId,
};
use slipway_common::record::Record;
use slipway_common::store::{DeploymentFilter, Page, StoreError};
use slipway_common::telemetry::chain;
use tokio_util::sync::CancellationToken;

use self::ordered::Ordered;
use self::repair::Repairs;
use crate::docker::{self, Scope, labels::RoutingState};
use crate::kubernetes::{self, Judged, Looked, names};
use crate::stage::{StageError, Tools, size};
use crate::targets::Target;

/// An unchanged observation is stored again after this long, so that its age shows that somebody still looks.
const REFRESH: SignedDuration = SignedDuration::from_secs(10);
/// Deployments read from the store at once.
const PAGE_SIZE: u32 = 100;
/// How long an order may lie before the first replica of it is begun: a job may be at work in the same place.
const ORDER_PAUSE: Duration = Duration::from_secs(30);

/// What the observer leases, so that a change is said once.
const LEASE: &str = "observe";
/// The shortest time until another worker takes over from an observer that is gone.
const LEASE_TTL_MIN: Duration = Duration::from_secs(10);

/// What is known of one deployment from the looks before.
#[derive(Debug, Default)]
struct Known {
    /// What was stored last.
    live: Option<LiveState>,
    /// What was found of drift.
    judged: Judged,
    /// How many replicas were ordered.
    ordered: Ordered,
    /// The repairs that were asked for.
    repairs: Repairs,
}

/// Observes until `stop`, while no other worker does.
pub(crate) async fn observe(tools: Arc<Tools>, worker: WorkerId, stop: CancellationToken) {
    let mut known: HashMap<DeploymentId, Known> = HashMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(tools.settings.observe_interval) => {}
            () = stop.cancelled() => return,
        }
        match is_observer(&tools, worker).await {
            Ok(true) => {}
            Ok(false) => {
                known.clear();
                continue;
            }
            Err(error) => {
                tracing::debug!(error = chain(&error), "the observer's lease cannot be asked for");
                continue;
            }
        }
        match in_service(&tools).await {
            Ok(deployments) => {
                known.retain(|id, _| deployments.iter().any(|deployment| deployment.id == *id));
                for deployment in deployments {
                    look_at(&tools, &deployment, known.entry(deployment.id).or_default()).await;
                }
            }
            Err(error) => tracing::warn!(error = chain(&error), "the store could not be read"),
        }
    }
}

/// Takes or keeps the observer's lease.
async fn is_observer(tools: &Tools, worker: WorkerId) -> Result<bool, StoreError> {
    let ttl = LEASE_TTL_MIN.max(tools.settings.observe_interval * 3);
    let lease = tools.backend.store.acquire_lease(LEASE, &worker.to_string(), ttl, Timestamp::now()).await?;
    Ok(lease.is_some())
}

async fn in_service(tools: &Tools) -> Result<Vec<Deployment>, StoreError> {
    let mut found = Vec::new();
    for state in [DeploymentState::Active, DeploymentState::Degraded] {
        let filter = DeploymentFilter { state: Some(state), ..DeploymentFilter::default() };
        let mut page = Page { limit: PAGE_SIZE, ..Page::default() };
        loop {
            let read = tools.backend.store.deployments(&filter, &page).await?;
            found.extend(read.deployments);
            match read.next {
                Some(next) => page.cursor = Some(next),
                None => break,
            }
        }
    }
    Ok(found)
}

/// Looks at one deployment. When the engine cannot be read, the last observation stays and shows its age.
async fn look_at(tools: &Tools, deployment: &Deployment, known: &mut Known) {
    let (live, due) = match looked(tools, deployment, known).await {
        Ok(looked) => looked,
        Err(error) => {
            tracing::debug!(deployment = %deployment.id, error = chain(&error), "the target could not be read");
            return;
        }
    };
    if let Some(kind) = transition(deployment.state, &live, due) {
        let Some(job) = deployment.latest_job() else { return };
        tracing::info!(deployment = %deployment.id, event = kind.name(), "the deployment changed");
        let event = Event::of_request(deployment.id, job.id, live.observed_at, kind);
        match tools.backend.record(&Record::Event(event)).await {
            Ok(_) => tools.recorder.noted().note(deployment.id),
            Err(error) => {
                let error = chain(&error);
                tracing::debug!(deployment = %deployment.id, error, "the change was not recorded");
            }
        }
    }
    let is_to_repair = !live.drift.is_empty() && is_settled(deployment) && repairs_itself(tools, deployment);
    if is_to_repair && known.repairs.are_due(Instant::now()) {
        repair::ask_for(tools, deployment).await;
    }
    let unchanged = known.live.as_ref().is_some_and(|last| is_same(last, &live));
    if !unchanged {
        match tools.backend.store.put_live(deployment.id, &live).await {
            Ok(()) => known.live = Some(live),
            Err(error) => tracing::warn!(deployment = %deployment.id, error = chain(&error), "not stored"),
        }
    }
}

/// Whether no job is at work on the deployment.
fn is_settled(deployment: &Deployment) -> bool {
    deployment.jobs.iter().all(|job| job.state.is_terminal())
}

/// Whether the deployment's target wants drift to be repaired without being asked.
fn repairs_itself(tools: &Tools, deployment: &Deployment) -> bool {
    match tools.target(&deployment.target) {
        Ok(Target::Kubernetes(target)) => target.cluster.settings().repairs_drift,
        Ok(Target::Docker) | Err(_) => false,
    }
}

/// Whether storing `new` again would tell nothing.
fn is_same(last: &LiveState, new: &LiveState) -> bool {
    let age = new.observed_at.duration_since(last.observed_at);
    age < REFRESH && LiveState { observed_at: last.observed_at, ..new.clone() } == *last
}

/// The event that brings the deployment's state in line with what was observed, if it is not; `due` replicas must serve.
/// Pure.
fn transition(state: DeploymentState, live: &LiveState, due: u32) -> Option<EventKind> {
    match (state, live.replicas_serving >= due) {
        (DeploymentState::Active, false) => {
            let reason = format!("{} of {} replicas serve", live.replicas_serving, live.replicas_wanted);
            Some(EventKind::Degraded { reason })
        }
        (DeploymentState::Degraded, true) => Some(EventKind::Recovered),
        _ => None,
    }
}

/// What runs of the deployment, and how many replicas must serve.
async fn looked(
    tools: &Tools,
    deployment: &Deployment,
    known: &mut Known,
) -> Result<(LiveState, u32), StageError> {
    let (live, leaving) = live_state(tools, deployment, &mut known.judged).await?;
    let now = Instant::now();
    if known.ordered.is_unknown() {
        let place = Place::of(deployment);
        let asked = deployment.spec.replicas;
        let is_scaled = size(tools.backend.autoscalers.as_ref(), &place, asked).await?.is_scaled;
        known.ordered.note(first_due(deployment.state, is_scaled, &live), now);
    }
    known.ordered.note(live.replicas_wanted, now);
    let grace = Duration::from_millis(deployment.spec.health.deadline_ms).saturating_add(ORDER_PAUSE);
    // What takes the place of a degraded deployment does not mend it.
    let leaving = if deployment.state == DeploymentState::Active { leaving } else { 0 };
    let due = known.ordered.due(grace, now).saturating_sub(leaving);
    Ok((live, due))
}

/// How many replicas must serve at the first look. Nobody knows when an autoscaler ordered what is there, perhaps a moment
/// ago; so what serves is taken for enough, for as long as replicas may take to come up. That none serves is not. Pure.
fn first_due(state: DeploymentState, is_scaled: bool, live: &LiveState) -> u32 {
    if is_scaled && state == DeploymentState::Active {
        live.replicas_serving.max(1).min(live.replicas_wanted)
    } else {
        live.replicas_wanted
    }
}

/// Reads what runs of the deployment on its target, and how many replicas are being taken away there on purpose: by a
/// scaler, which says so a moment later, or by a job that has put something else in their place.
async fn live_state(
    tools: &Tools,
    deployment: &Deployment,
    judged: &mut Judged,
) -> Result<(LiveState, u32), StageError> {
    match tools.target(&deployment.target)? {
        Target::Docker => on_docker(tools, deployment).await,
        Target::Kubernetes(target) => {
            let namespace = names::namespace(&deployment.project.slug, &deployment.environment);
            let app = names::app(&deployment.project.slug);
            let looked = Looked {
                deployment: &deployment.id.to_string(),
                namespace: &namespace,
                app: &app,
                replicas: deployment.spec.replicas,
                is_settled: is_settled(deployment),
            };
            Ok((kubernetes::live_state(target.place(), &looked, judged).await?, 0))
        }
    }
}

async fn on_docker(tools: &Tools, deployment: &Deployment) -> Result<(LiveState, u32), StageError> {
    let (place, asked) = (Place::of(deployment), deployment.spec.replicas);
    let size = size(tools.backend.autoscalers.as_ref(), &place, asked).await?;
    let engine = docker::Engine::connect(&tools.settings.docker.engine)?;
    let scope = Scope::new(deployment.project.slug.as_str(), deployment.environment.as_str())?;
    let seen = docker::observe(&engine, &scope, docker::observe::Usage::Skip).await?;
    let id = deployment.id.to_string();
    let own = || seen.replicas.iter().filter(|replica| replica.deployment == id);
    let leaving = own().filter(|replica| replica.routing == RoutingState::Draining).count();
    let replicas: Vec<LiveReplica> = own().map(view).collect();
    let serving = replicas.iter().filter(|replica| replica.serving).count();
    let live = LiveState {
        replicas_wanted: size.at_most(docker::REPLICAS_MAX),
        replicas_updated: None,
        replicas_serving: u32::try_from(serving).unwrap_or(u32::MAX),
        replicas,
        supports: seen.supports.iter().map(view).collect(),
        events: Vec::new(),
        drift: Vec::new(),
        observed_at: Timestamp::now(),
    };
    Ok((live, u32::try_from(leaving).unwrap_or(u32::MAX)))
}

fn view(replica: &docker::LiveReplica) -> LiveReplica {
    let running = replica.state == "running";
    LiveReplica {
        name: replica.name.clone(),
        state: replica.state.clone(),
        serving: running && replica.routing == RoutingState::Serving,
        started_at: replica.started_at,
        restarts: replica.restarts,
        exit_code: replica.exit_code,
        out_of_memory: replica.oom_killed,
        reason: None,
    }
}

#[cfg(test)]
mod tests;
