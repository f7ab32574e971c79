//! Makes deployments of refs that moved. Their ids follow from where the ref stood before and where it stands, so that two
//! looks at once make one deployment.

use jiff::Timestamp;
use slipway_common::agenda::List;
use slipway_common::model::job::JOB_MESSAGE_VERSION;
use slipway_common::model::registered::{Head, NotifySwitches, RegisteredProject};
use slipway_common::model::request::RequestLimits;
use slipway_common::model::{
    BuildMode, CommitMode, DeploymentId, DeploymentSpec, Event, EventKind, Facts, JobId, JobKind, JobMessage,
    JobState, Reference, RevisionSpec, Trigger,
};
use slipway_common::record::Record;
use slipway_common::store::{DeploymentFilter, Page};
use slipway_common::submit::submit;
use slipway_common::telemetry::chain;

use super::decide::Wanted;
use super::fault::Fault;
use super::look::Look;
use super::rules;
use crate::git::GitError;
use crate::project_file::{ProjectFile, ProjectFileError};
use crate::registry;
use crate::stage::Tools;

/// Most ids that are tried for a ref that came back to where it stood.
const IDS_MAX: usize = 1_000;

/// Makes the deployment, from what is registered and what the commit's own file says. `false` when another look has made it.
pub(super) async fn deploy(
    look: &Look<'_>,
    wanted: &Wanted,
    notify: Option<NotifySwitches>,
) -> Result<bool, Fault> {
    let file = rules::file_at(look, &wanted.revision, wanted.branch.as_ref()).await?;
    let mut spec = spec_of(look.project, wanted, file.as_ref(), &look.tools().settings.sweeps.limits)?;
    if names_another_registry(&look.project.spec, &spec) && is_unbound(look, &spec).await? {
        tracing::info!(
            project = %look.slug(), revision = wanted.revision,
            "the credential for pulling is bound to no registry, and is not given to the one that the file names"
        );
        spec.pull_credential = None;
    }
    send(look, wanted, spec, notify).await
}

/// Makes a deployment that will fail: the commit's own file cannot be used, which its first stage finds and tells. `false`
/// when another look has made it.
pub(super) async fn refuse(
    look: &Look<'_>,
    wanted: &Wanted,
    notify: Option<NotifySwitches>,
) -> Result<bool, Fault> {
    let spec = spec_of(look.project, wanted, None, &look.tools().settings.sweeps.limits)?;
    send(look, wanted, spec, notify).await
}

/// Whether the image of the deployment may be at another registry than the one of the registered project. Pure.
fn names_another_registry(registered: &DeploymentSpec, spec: &DeploymentSpec) -> bool {
    let server = |spec: &DeploymentSpec| {
        let image = spec.pipeline.image.as_ref();
        image.map(|image| registry::server_of(image.as_str()))
    };
    server(registered) != server(spec)
}

/// Whether the credential with which the image is pulled goes to whichever registry that is at.
async fn is_unbound(look: &Look<'_>, spec: &DeploymentSpec) -> Result<bool, Fault> {
    let Some(name) = &spec.pull_credential else { return Ok(false) };
    let stored = look.tools().backend.store.credential(name).await?;
    Ok(stored.is_some_and(|stored| stored.host.is_none()))
}

async fn send(
    look: &Look<'_>,
    wanted: &Wanted,
    spec: DeploymentSpec,
    notify: Option<NotifySwitches>,
) -> Result<bool, Fault> {
    let Some((deployment, id)) = ids(look, wanted).await? else { return Ok(false) };
    let message = JobMessage {
        version: JOB_MESSAGE_VERSION,
        id,
        deployment,
        project: look.project.project.clone(),
        environment: wanted.environment.clone(),
        user: look.project.user.clone(),
        accepted_at: Timestamp::now(),
        request: None,
        trigger: Some(Trigger {
            reference: wanted.reference.clone(),
            revision: wanted.revision.clone(),
            merge_request: wanted.merge_request,
            delivered_at: look.delivered_at,
            notify,
        }),
        kind: JobKind::Deploy { spec: Box::new(spec), facts: Facts::default() },
    };
    announce(look.tools(), &message).await?;
    submit(&look.tools().backend, &message).await?;
    tracing::info!(
        project = %look.slug(), environment = %wanted.environment, reference = wanted.reference,
        revision = wanted.revision, deployment = %message.deployment, "a ref moved and is deployed"
    );
    supersede(look.tools(), &message).await;
    Ok(true)
}

/// Has the results of the deployment told, whatever becomes of this process.
pub(super) async fn announce(tools: &Tools, message: &JobMessage) -> Result<(), Fault> {
    let key = message.deployment.to_string();
    Ok(tools.backend.agenda.note(List::Reports, &[key], Timestamp::now()).await?)
}

/// The ids of the deployment and its job; `None` when another look has made it, or has seen more since. A ref that comes
/// back to where it stood long ago gets new ones.
async fn ids(look: &Look<'_>, wanted: &Wanted) -> Result<Option<(DeploymentId, JobId)>, Fault> {
    let backend = &look.tools().backend;
    let known = backend.projects.heads(look.slug()).await?;
    if known.into_iter().find(|head| is_of(head, wanted)) != wanted.before {
        return Ok(None);
    }
    let mut before = wanted.before.clone();
    for _ in 0..IDS_MAX {
        let (deployment, job) = derived(look, wanted, before.as_ref());
        if backend.store.deployment(deployment).await?.is_none() {
            return Ok(Some((deployment, job)));
        }
        before = Some(Head {
            environment: wanted.environment.clone(),
            reference: wanted.reference.clone(),
            revision: wanted.revision.clone(),
            deployment: Some(deployment),
        });
    }
    Ok(Some((DeploymentId::generate(), JobId::generate())))
}

fn is_of(head: &Head, wanted: &Wanted) -> bool {
    head.environment == wanted.environment && head.reference == wanted.reference
}

fn derived(look: &Look<'_>, wanted: &Wanted, before: Option<&Head>) -> (DeploymentId, JobId) {
    let deployment = before.and_then(|head| head.deployment).map(|id| id.to_string()).unwrap_or_default();
    let stood_at = before.map(|head| head.revision.as_str()).unwrap_or_default();
    // No part can hold a line break.
    let input = [
        look.slug().as_str(),
        wanted.environment.as_str(),
        wanted.reference.as_str(),
        wanted.revision.as_str(),
        stood_at,
        deployment.as_str(),
    ]
    .join("\n");
    let sealer = &look.tools().sealer;
    (
        sealer.derived_id("sweep deployment", input.as_bytes()).into(),
        sealer.derived_id("sweep job", input.as_bytes()).into(),
    )
}

/// What is deployed: the registered specification, what the commit's file says of it, then the rule. Pure.
fn spec_of(
    project: &RegisteredProject,
    wanted: &Wanted,
    file: Option<&ProjectFile>,
    limits: &RequestLimits,
) -> Result<DeploymentSpec, Fault> {
    let mut spec = project.spec.clone();
    if let Some(file) = file {
        file.apply(&mut spec, limits).map_err(|errors| ProjectFileError::Invalid { errors })?;
    }
    spec.environment = wanted.environment.clone();
    spec.reference = reference_of(wanted)?;
    if let Some(target) = &wanted.target
        && *target != spec.target
    {
        spec.target = target.clone();
        // It was given for the other one.
        spec.cluster_token = None;
    }
    spec.replicas = wanted.replicas.unwrap_or(spec.replicas);
    // Two environments cannot answer to the same name.
    if wanted.merge_request.is_some() || !wanted.hostnames.is_empty() {
        spec.hostnames = wanted.hostnames.clone();
    }
    if wanted.is_fork {
        confine(&mut spec);
    }
    Ok(spec)
}

/// A branch may get the files that are missing; tags and commits of others do not.
fn reference_of(wanted: &Wanted) -> Result<Reference, Fault> {
    let not_found = |_| GitError::RevisionNotFound { revision: wanted.revision.clone() };
    let revision = RevisionSpec::parse(&wanted.revision).map_err(not_found)?;
    Ok(match &wanted.branch {
        Some(branch) if !wanted.is_fork => Reference::Pinned { branch: branch.clone(), revision },
        Some(_) | None => Reference::Revision(revision),
    })
}

/// Takes from a deployment of other people's code whatever is secret or the project's own.
fn confine(spec: &mut DeploymentSpec) {
    spec.env.clear();
    spec.hostnames.clear();
    for support in &mut spec.supports {
        support.env.clear();
    }
    spec.cluster_token = None;
    spec.pull_credential = None;
    spec.foreign = true;
    spec.commit = CommitMode::None;
    if spec.build == BuildMode::Gitlab {
        spec.build = BuildMode::Auto;
    }
}

/// Ends what waits to be begun in the same environment: of many pushes one is under way, and the newest waits. What was begun
/// is woken, and gives way by itself, for only its worker knows what it leaves behind.
async fn supersede(tools: &Tools, message: &JobMessage) {
    let filter = DeploymentFilter {
        project: Some(message.project.slug.to_string()),
        environment: Some(message.environment.to_string()),
        ..DeploymentFilter::default()
    };
    let page = match tools.backend.store.deployments(&filter, &Page::default()).await {
        Ok(page) => page,
        Err(error) => {
            tracing::debug!(error = chain(&error), "older deployments give way when their turn comes");
            return;
        }
    };
    let older = page.deployments.iter().filter(|other| other.id != message.deployment);
    for job in older.flat_map(|other| &other.jobs) {
        if job.kind != message.kind.as_str() || job.accepted_at > message.accepted_at {
            continue;
        }
        match &job.state {
            JobState::Queued => {
                let kind = EventKind::Superseded { by: message.deployment };
                let event = Event::of_request(job.deployment, job.id, Timestamp::now(), kind);
                // Should it have begun meanwhile, this is refused, and it gives way by itself.
                if let Err(error) = tools.recorder.record(Record::Event(event)).await {
                    tracing::debug!(job = %job.id, error = chain(&error), "a job was not superseded");
                }
                wake(tools, job.id).await;
            }
            JobState::Waiting { .. } => wake(tools, job.id).await,
            JobState::Running { .. }
            | JobState::Succeeded
            | JobState::Failed { .. }
            | JobState::Cancelled
            | JobState::Superseded { .. } => {}
        }
    }
}

/// Has a parked job looked at now.
pub(super) async fn wake(tools: &Tools, job: JobId) {
    if let Err(error) = tools.backend.queue.wake(job, Timestamp::now()).await {
        tracing::debug!(%job, error = chain(&error), "a parked job could not be woken");
    }
}

#[cfg(test)]
mod tests;
