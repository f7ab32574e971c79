//! Nobody waits for a pipeline any more: it is cancelled, so that no runner works in vain.

use std::time::Duration;

use slipway_common::model::{BuildMode, Deployment, DeploymentSpec, Facts, Reference};
use slipway_common::store::{DeploymentFilter, Page, filter::PAGE_LIMIT_MAX};
use slipway_common::telemetry::chain;
use slipway_gitlab::{Gitlab, GitlabError, PipelineStatus};

use super::super::super::{Run, StageError, forge};
use super::ask::{self, Halt};

/// Longest time it may take: a job that is cancelled waits for it.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Most pipelines of one commit that are cancelled.
const PIPELINES_MAX: usize = 8;

/// Cancels the pipelines of the deployment's commit, unless another deployment waits for them. That is best effort: a
/// pipeline that goes on only costs time.
pub(in crate::stage) async fn abandon(run: &Run<'_>, spec: &DeploymentSpec, facts: &Facts) {
    let waits = spec.image.is_none() && spec.build == BuildMode::Gitlab && facts.image.is_none();
    let Some(commit) = facts.commit.as_ref().filter(|_| waits) else { return };
    let deployment = run.message.deployment;
    match tokio::time::timeout(TIMEOUT, cancel(run, spec, &commit.revision)).await {
        Ok(Ok(())) => {}
        Ok(Err(Halt::Waits { reason, .. })) => {
            tracing::debug!(%deployment, reason, "pipelines that nobody waits for go on");
        }
        Ok(Err(Halt::Fails(error))) => {
            tracing::debug!(%deployment, error = chain(&error), "pipelines that nobody waits for go on");
        }
        Err(_elapsed) => tracing::debug!(%deployment, "pipelines that nobody waits for go on: no time left"),
    }
}

async fn cancel(run: &Run<'_>, spec: &DeploymentSpec, revision: &str) -> Result<(), Halt> {
    if is_wanted_elsewhere(run, revision).await? {
        return Ok(());
    }
    let gitlab = forge::gitlab(run, spec).await?;
    let cancelled = ask::gitlab(run, &gitlab, cancel_all(&gitlab, revision)).await?;
    for pipeline in cancelled {
        run.say(&format!("Cancelled pipeline {pipeline}"));
    }
    Ok(())
}

async fn cancel_all(gitlab: &Gitlab, revision: &str) -> Result<Vec<u64>, GitlabError> {
    let mut cancelled = Vec::new();
    let pipelines = gitlab.pipelines(revision).await?;
    let live = pipelines.iter().filter(|pipeline| pipeline.sha == revision && goes_on(pipeline.status));
    for pipeline in live.take(PIPELINES_MAX) {
        gitlab.cancel_pipeline(pipeline.id).await?;
        cancelled.push(pipeline.id);
    }
    Ok(cancelled)
}

/// Whether a pipeline works or will by itself.
fn goes_on(status: PipelineStatus) -> bool {
    match status {
        PipelineStatus::Created
        | PipelineStatus::WaitingForResource
        | PipelineStatus::Preparing
        | PipelineStatus::WaitingForCallback
        | PipelineStatus::Pending
        | PipelineStatus::Running
        | PipelineStatus::Scheduled => true,
        PipelineStatus::Success
        | PipelineStatus::Failed
        | PipelineStatus::Canceling
        | PipelineStatus::Canceled
        | PipelineStatus::Skipped
        | PipelineStatus::Manual
        | PipelineStatus::Other => false,
    }
}

/// Whether another deployment of the project, in whichever environment, needs the pipeline of this commit.
async fn is_wanted_elsewhere(run: &Run<'_>, revision: &str) -> Result<bool, StageError> {
    let filter = DeploymentFilter {
        project: Some(run.message.project.slug.to_string()),
        ..DeploymentFilter::default()
    };
    let page = Page { limit: PAGE_LIMIT_MAX, ..Page::default() };
    let found = run.tools.backend.store.deployments(&filter, &page).await.map_err(StageError::Store)?;
    let own = run.message.deployment;
    Ok(found.deployments.iter().any(|other| other.id != own && may_want(other, revision)))
}

/// Whether a deployment on its way needs the pipeline of `revision`, or may: which commit it is of may not be known yet.
fn may_want(deployment: &Deployment, revision: &str) -> bool {
    let is_on_its_way = deployment
        .jobs
        .iter()
        .any(|job| job.kind == "deploy" && !job.state.is_terminal() && !job.cancel_requested);
    let waits = deployment.spec.build == BuildMode::Gitlab && deployment.facts.image.is_none();
    let chosen = match &deployment.spec.reference {
        Reference::Pinned { revision, .. } | Reference::Revision(revision) => revision.sha(),
        Reference::DefaultBranch | Reference::Branch(_) => None,
    };
    let pushed = deployment.trigger.as_ref().map(|trigger| trigger.revision.as_str());
    let known = deployment.facts.revision().or(chosen).or(pushed);
    is_on_its_way && waits && known.is_none_or(|known| known == revision)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use slipway_common::contract::sample;
    use slipway_common::model::{Event, JobKind, RevisionSpec, SourceFact};
    use slipway_common::state::begin;

    use super::*;

    fn deployment(change: impl FnOnce(&mut DeploymentSpec)) -> Deployment {
        let mut message = sample::deploy_job("shop", Timestamp::UNIX_EPOCH);
        let JobKind::Deploy { spec, .. } = &mut message.kind else { panic!("a deploy job") };
        spec.build = BuildMode::Gitlab;
        change(spec.as_mut());
        begin(&Event::accepted(&message)).unwrap()
    }

    #[test]
    fn a_pipeline_others_wait_for_goes_on() {
        let (own, other) = ("1".repeat(40), "2".repeat(40));
        let pinned = |revision: &str| Reference::Pinned {
            branch: "main".parse().unwrap(),
            revision: RevisionSpec::parse(revision).unwrap(),
        };
        assert!(may_want(&deployment(|_| ()), &own), "which commit is not known yet");
        assert!(may_want(&deployment(|spec| spec.reference = pinned(&own)), &own));
        assert!(!may_want(&deployment(|spec| spec.reference = pinned(&other)), &own));
        assert!(!may_want(&deployment(|spec| spec.build = BuildMode::Docker), &own));
        let mut cloned = deployment(|_| ());
        cloned.facts.source = Some(SourceFact { revision: other.clone(), branch: None });
        assert!(!may_want(&cloned, &own) && may_want(&cloned, &other));
        cloned.jobs[0].cancel_requested = true;
        assert!(!may_want(&cloned, &other), "it is on its way no more");
    }
}
