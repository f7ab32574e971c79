//! Environments of merge requests: which are open, what became of those there are, and how one is stopped.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::SecretString;
use slipway_common::model::job::{JOB_MESSAGE_VERSION, STOP};
use slipway_common::model::registered::Head;
use slipway_common::model::{
    BranchName, Deployment, EnvironmentName, Event, EventId, EventKind, Job, JobId, JobKind, JobMessage,
    ProjectSlug,
};
use slipway_common::record::Record;
use slipway_common::store::{DeploymentFilter, Page};
use slipway_common::submit::submit;
use slipway_common::telemetry::chain;
use slipway_gitlab::{Access, Gitlab, GitlabError, MergeRequest};

use super::decide::{OpenRequest, ReviewPlace, iid_of};
use super::fault::Fault;
use super::look::Look;
use super::submit::{announce, wake};
use crate::stage::{Tools, secret_of};

/// Who stops these environments.
const USER: &str = "slipway";

/// The open merge requests, as GitLab's API names them.
pub(super) async fn open_requests(look: &Look<'_>) -> Result<Vec<OpenRequest>, Fault> {
    let secret = secret_of(look.tools(), &look.project.project, &look.project.spec).await?;
    // That there is no token is told as GitLab would tell it.
    let token = secret.map_or(SecretString::from(String::new()), |(_, secret)| secret);
    let timeout = look.tools().settings.sweeps.timeout;
    let gitlab = Gitlab::new(Access::of(look.project.repository(), token, timeout))?;
    look.ask();
    let found: Result<Vec<MergeRequest>, GitlabError> = gitlab.open_merge_requests().await;
    Ok(found?.into_iter().map(request).collect())
}

fn request(found: MergeRequest) -> OpenRequest {
    let is_fork = found.is_fork();
    OpenRequest {
        iid: found.iid,
        source: BranchName::parse(&found.source_branch).ok().filter(|_| !is_fork),
        target: found.target_branch,
        is_fork,
    }
}

/// What became of the environments of the merge requests that are known.
pub(super) async fn places(
    tools: &Tools,
    slug: &ProjectSlug,
    known: &[Head],
) -> Result<BTreeMap<u64, ReviewPlace>, Fault> {
    let mut places = BTreeMap::new();
    for head in known {
        let Some(iid) = iid_of(&head.reference) else { continue };
        let found = deployments_in(tools, slug, &head.environment).await?;
        places.insert(iid, place(&found));
    }
    Ok(places)
}

/// What deployments of one environment, newest first, say of it. Pure.
fn place(deployments: &[Deployment]) -> ReviewPlace {
    let is_alive = |found: &Deployment| found.state.in_service() || jobs_at_work(found).next().is_some();
    ReviewPlace {
        is_alive: deployments.iter().any(is_alive),
        deployed_at: deployments.first().map(|newest| newest.created_at),
    }
}

fn jobs_at_work(deployment: &Deployment) -> impl Iterator<Item = &Job> {
    deployment.jobs.iter().filter(|job| !job.state.is_terminal())
}

/// The newest deployments of an environment, and all that serve there.
async fn deployments_in(
    tools: &Tools,
    slug: &ProjectSlug,
    environment: &EnvironmentName,
) -> Result<Vec<Deployment>, Fault> {
    let store = &tools.backend.store;
    let filter = DeploymentFilter {
        project: Some(slug.to_string()),
        environment: Some(environment.to_string()),
        ..DeploymentFilter::default()
    };
    let mut found = store.deployments(&filter, &Page::default()).await?.deployments;
    found.retain(|deployment| deployment.project.slug == *slug);
    for id in store.in_service(slug, environment).await? {
        if found.iter().all(|deployment| deployment.id != id) {
            found.extend(store.deployment(id).await?);
        }
    }
    Ok(found)
}

/// Stops an environment: what serves is taken out of service, what is on its way there is cancelled.
pub(super) async fn stop(
    tools: &Tools,
    slug: &ProjectSlug,
    environment: &EnvironmentName,
) -> Result<(), Fault> {
    for deployment in deployments_in(tools, slug, environment).await? {
        let is_stopping = jobs_at_work(&deployment).any(|job| job.kind == STOP);
        if is_stopping {
            continue;
        }
        if deployment.state.in_service() {
            tracing::info!(project = %slug, %environment, deployment = %deployment.id, "it is stopped");
            let message = stop_message(tools, &deployment);
            announce(tools, &message).await?;
            submit(&tools.backend, &message).await?;
            for job in jobs_at_work(&deployment) {
                wake(tools, job.id).await;
            }
            continue;
        }
        for job in jobs_at_work(&deployment).filter(|job| !job.cancel_requested) {
            match tools.recorder.record(Record::Event(cancel_event(tools, job))).await.map_err(Fault::from) {
                Ok(()) => wake(tools, job.id).await,
                Err(fault) if fault.is_slipways() => return Err(fault),
                Err(fault) => tracing::debug!(job = %job.id, error = chain(&fault), "it has ended meanwhile"),
            }
        }
    }
    Ok(())
}

/// The job that stops a deployment. Its id follows from the deployment and what was done to it before, so that two looks at
/// once stop it once.
fn stop_message(tools: &Tools, deployment: &Deployment) -> JobMessage {
    let input = format!("{}\n{}", deployment.id, deployment.jobs.len());
    JobMessage {
        version: JOB_MESSAGE_VERSION,
        id: JobId::from(tools.sealer.derived_id("review stop", input.as_bytes())),
        deployment: deployment.id,
        project: deployment.project.clone(),
        environment: deployment.environment.clone(),
        user: USER.to_owned(),
        accepted_at: Timestamp::now(),
        request: None,
        trigger: None,
        kind: JobKind::Stop { target: deployment.target.clone() },
    }
}

/// The wish to cancel a job. Its id follows from the job's, so that wishing twice is wishing once.
fn cancel_event(tools: &Tools, job: &Job) -> Event {
    let kind = EventKind::CancelRequested { by: USER.to_owned() };
    let id = EventId::from(tools.sealer.derived_id("review cancel", job.id.as_uuid().as_bytes()));
    Event { id, ..Event::of_request(job.deployment, job.id, Timestamp::now(), kind) }
}

#[cfg(test)]
mod tests;
