//! The image that the repository's GitLab pipeline builds. The pipeline of exactly the commit is waited for without a slot:
//! the job is parked, a delivery of the forge wakes it, and a slow poll backs that up. Then the registry is asked for the
//! image's digest.

mod abandon;
mod ask;
mod image;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipway_common::failure::FAILURE_LOG_LINES_MAX;
use slipway_common::model::{CommitFact, DeploymentSpec, Facts, ImageFact, Stage};
use slipway_gitlab::verdict::{Seen, Verdict, judge};
use slipway_gitlab::{Gitlab, PipelineStatus};

pub(in crate::stage) use self::abandon::abandon;
use self::ask::{Fetched, Halt};
pub(super) use self::image::pull_again;
use super::super::apply::open_env;
use super::super::source_of::Source;
use super::super::{Outcome, PipelineFailure, Run, StageError, StageResult, forge, required};
use crate::failpoint::{self, Moment, Place};
use crate::settings::PipelineSettings;
use crate::text::Redactor;

/// The job of the generated CI file.
const GENERATED_JOB: &str = "build-image";
/// The generated CI file.
const GENERATED_FILE: &str = ".gitlab-ci.yml";
/// How often a pipeline is looked for that has not appeared yet.
const APPEAR_POLL: Duration = Duration::from_secs(5);
/// Shortest time a job is parked.
const PARKED_MIN: Duration = Duration::from_secs(1);

pub(super) async fn perform(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
) -> Result<Outcome, StageError> {
    let commit = required(facts.commit.as_ref(), Stage::Commit)?;
    check_is_pushed(commit)?;
    let wait = Wait::of(&run.tools.settings.pipelines, spec, since(run).await?);
    failpoint::reach(Place::Build, Moment::Inside).await;
    match look(run, spec, facts, &commit.revision, &wait).await {
        Ok(fact) => {
            run.say(&format!("Image {} is {}", fact.tag, fact.digest));
            Ok(Outcome::done(StageResult::of(Facts { image: Some(fact), ..Facts::default() })))
        }
        Err(Halt::Fails(error)) => Err(error),
        Err(Halt::Waits { reason, again }) => {
            let left = wait.left(Timestamp::now()).ok_or_else(|| wait.is_over(&reason))?;
            if run.said != Some(reason.as_str()) {
                run.say(&reason);
            }
            Ok(Outcome::Waits { reason, longest: again.min(left).max(PARKED_MIN) })
        }
    }
}

/// A commit nobody but Slipway has is built by no pipeline.
fn check_is_pushed(commit: &CommitFact) -> Result<(), StageError> {
    if !commit.generated || commit.branch.is_some() {
        return Ok(());
    }
    Err(StageError::Refused {
        code: "pipeline_commit_not_pushed",
        reason:
            "the generated files were kept out of the repository, so that no pipeline can build with them"
                .to_owned(),
        hint: "Set `commit` to `push` or `merge_request`, or let the image be built with `docker`.",
    })
}

/// Since when the stage has been waiting.
async fn since(run: &Run<'_>) -> Result<Timestamp, StageError> {
    let found =
        run.tools.backend.store.deployment(run.message.deployment).await.map_err(StageError::Store)?;
    let begun = found.and_then(|deployment| deployment.stage(Stage::Build)?.started_at);
    Ok(begun.unwrap_or_else(Timestamp::now))
}

/// How long is waited, and how often looked.
#[derive(Debug)]
struct Wait {
    since: Timestamp,
    timeout: Duration,
    poll: Duration,
    appear_max: Duration,
}

impl Wait {
    fn of(settings: &PipelineSettings, spec: &DeploymentSpec, since: Timestamp) -> Self {
        let timeout = spec.pipeline.timeout_s.map_or(settings.timeout, Duration::from_secs);
        let (poll, appear_max) = (settings.poll_interval, settings.appear_max.min(timeout));
        Self { since, timeout, poll, appear_max }
    }

    /// How long may still be waited; `None` when that is over.
    fn left(&self, now: Timestamp) -> Option<Duration> {
        let waited = Duration::try_from(now.duration_since(self.since).max(SignedDuration::ZERO));
        let left = self.timeout.checked_sub(waited.unwrap_or_default())?;
        (!left.is_zero()).then_some(left)
    }

    fn is_over(&self, reason: &str) -> StageError {
        let waited = self.timeout.as_secs();
        StageError::Refused {
            code: "pipeline_timeout",
            reason: format!("the image was not there after {waited} s: {reason}"),
            hint: "Look at the pipeline on GitLab; raise `pipeline.timeout_s` if it needs longer.",
        }
    }
}

/// Looks once how far the pipeline is; what it built is the image.
async fn look(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
    revision: &str,
    wait: &Wait,
) -> Result<ImageFact, Halt> {
    let gitlab = forge::gitlab(run, spec).await?;
    let wanted = job_of(spec, facts);
    let fetched = ask::gitlab(run, &gitlab, ask::fetch(&gitlab, revision, wanted)).await?;
    let is_silent = fetched.newest().is_none_or(|newest| newest.status == PipelineStatus::Skipped);
    let message = if is_silent { message_of(run, spec, revision).await } else { None };
    match verdict(&fetched, wanted, message.as_deref(), wait, Timestamp::now()) {
        Verdict::Waits(reason) => {
            let again = if fetched.newest().is_none() { APPEAR_POLL.min(wait.poll) } else { wait.poll };
            Err(Halt::Waits { reason, again })
        }
        Verdict::Built { pipeline } => {
            run.say(&format!("Pipeline {pipeline} has built {revision}"));
            image::of_commit(run, spec, &gitlab, revision).await
        }
        Verdict::Failed { code, reason, hint, job } => {
            let log = log_of(run, spec, &gitlab, job).await;
            log.iter().for_each(|line| run.say(line));
            Err(StageError::Pipeline(Box::new(PipelineFailure { code, reason, hint, log })).into())
        }
    }
}

fn verdict(
    fetched: &Fetched,
    job: Option<&str>,
    commit_message: Option<&str>,
    wait: &Wait,
    now: Timestamp,
) -> Verdict {
    let seen = Seen {
        pipelines: &fetched.pipelines,
        jobs: &fetched.jobs,
        job,
        ci: fetched.ci.as_ref(),
        commit_message,
        since: wait.since,
        appear_max: wait.appear_max,
    };
    judge(&seen, now)
}

/// The job that pushes the image: the one that was named, or the one of the CI file that was generated.
fn job_of<'a>(spec: &'a DeploymentSpec, facts: &Facts) -> Option<&'a str> {
    let generated =
        facts.template.as_ref().is_some_and(|fact| fact.generated.iter().any(|path| path == GENERATED_FILE));
    spec.pipeline.job.as_deref().or_else(|| generated.then_some(GENERATED_JOB))
}

/// The commit's message, if this worker has the commit: it may say that there is to be no pipeline.
async fn message_of(run: &Run<'_>, spec: &DeploymentSpec, revision: &str) -> Option<String> {
    let read = async {
        let source = Source::open(run, spec).await?;
        Ok::<_, StageError>(source.mirror.commit_info(revision).await?.message)
    };
    tokio::time::timeout(forge::CALL_TIMEOUT, read).await.ok()?.ok()
}

/// The last lines of the job that failed, without the secrets that are known. A pipeline that failed has failed without
/// them, too.
async fn log_of(run: &Run<'_>, spec: &DeploymentSpec, gitlab: &Gitlab, job: Option<u64>) -> Vec<String> {
    let Some(job) = job else { return Vec::new() };
    let asked = tokio::time::timeout(forge::CALL_TIMEOUT, gitlab.log_tail(job, FAILURE_LOG_LINES_MAX)).await;
    let lines = asked.ok().and_then(Result::ok).unwrap_or_default();
    let of_supports = spec.supports.iter().map(|support| &support.env);
    let envs = [&spec.env].into_iter().chain(of_supports);
    let opened: Result<Vec<_>, StageError> = envs.map(|env| open_env(run, env)).collect();
    let Ok(opened) = opened else { return Vec::new() };
    let redactor = Redactor::new(opened.iter().flat_map(BTreeMap::values));
    lines.iter().map(|line| redactor.shown(line)).collect()
}

#[cfg(test)]
mod tests;
