//! What a pipeline means for the image a deployment waits for. Pure: from what was seen to a verdict.

mod absent;
mod said;

use std::time::Duration;

use jiff::Timestamp;

use crate::{CiSetup, Pipeline, PipelineJob, PipelineStatus};

/// A job that waits longer than this for a runner is said to.
const NO_RUNNER_AFTER: Duration = Duration::from_secs(60);
/// What makes pipelines that say nothing about a push: statuses set from outside, parents of child pipelines, scans and
/// policies that GitLab runs by itself.
const OTHER_SOURCES: [&str; 8] = [
    "external",
    "parent_pipeline",
    "ondemand_dast_scan",
    "ondemand_dast_validation",
    "security_orchestration_policy",
    "pipeline_execution_policy_schedule",
    "container_registry_push",
    "duo_workflow",
];

/// What is known of the pipelines of one commit.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The pipelines of the commit.
    pub pipelines: &'a [Pipeline],
    /// The jobs of the one that [`newest`] chooses.
    pub jobs: &'a [PipelineJob],
    /// The job that pushes the image; the whole pipeline when none is named.
    pub job: Option<&'a str>,
    /// Whether the commit can have a pipeline, if that was asked.
    pub ci: Option<&'a CiSetup>,
    /// The message of the commit.
    pub commit_message: Option<&'a str>,
    /// Since when a pipeline is waited for.
    pub since: Timestamp,
    /// How long one may take to appear.
    pub appear_max: Duration,
}

/// What the pipelines of a commit mean for the image that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is too early to say; why.
    Waits(String),
    /// The image was pushed.
    Built {
        /// The pipeline that did it.
        pipeline: u64,
    },
    /// There will be no image.
    Failed {
        /// The stable code of what happened.
        code: &'static str,
        /// What happened, in full sentences.
        reason: String,
        /// What a person can do about it.
        hint: &'static str,
        /// The job to be blamed, if there is one.
        job: Option<u64>,
    },
}

impl Verdict {
    fn failed(code: &'static str, reason: String, hint: &'static str) -> Self {
        Self::Failed { code, reason, hint, job: None }
    }

    fn failed_in(job: &PipelineJob, code: &'static str, reason: String, hint: &'static str) -> Self {
        Self::Failed { code, reason, hint, job: Some(job.id) }
    }
}

/// The pipeline that counts: the newest that says something about the push.
#[must_use]
pub fn newest(pipelines: &[Pipeline]) -> Option<&Pipeline> {
    pipelines
        .iter()
        .filter(|pipeline| !OTHER_SOURCES.contains(&pipeline.source.as_str()))
        .max_by_key(|pipeline| pipeline.id)
}

/// Judges what was seen: by the pipeline's own jobs, where they tell. The state of a pipeline is that of all statuses of
/// its commit together, those set from outside included, so that one which Slipway itself has set to `running` keeps it
/// from ever ending, and one that is `failed` makes it fail.
#[must_use]
pub fn judge(input: &Seen<'_>, now: Timestamp) -> Verdict {
    let Some(pipeline) = newest(input.pipelines) else { return absent::judge(input, now) };
    if pipeline.yaml_errors.is_some() {
        return failed(pipeline, input);
    }
    if let Some(verdict) = by_jobs(pipeline, input) {
        return verdict;
    }
    match pipeline.status {
        PipelineStatus::Created
        | PipelineStatus::WaitingForResource
        | PipelineStatus::Preparing
        | PipelineStatus::WaitingForCallback
        | PipelineStatus::Pending
        | PipelineStatus::Running
        | PipelineStatus::Canceling
        | PipelineStatus::Other => under_way(pipeline, input, now),
        PipelineStatus::Manual | PipelineStatus::Scheduled => blocked(pipeline, input),
        PipelineStatus::Success => succeeded(pipeline, input),
        PipelineStatus::Failed => failed(pipeline, input),
        PipelineStatus::Canceled => cancelled(pipeline),
        PipelineStatus::Skipped => absent::skipped(pipeline, input.commit_message),
    }
}

/// What the jobs say by themselves: the one that is named has ended, or all have.
fn by_jobs(pipeline: &Pipeline, input: &Seen<'_>) -> Option<Verdict> {
    if let Some(job) = image_job(input) {
        if job.status == PipelineStatus::Success {
            return Some(Verdict::Built { pipeline: pipeline.id });
        }
        if job.status == PipelineStatus::Failed && !job.allow_failure {
            return Some(failed(pipeline, input));
        }
    }
    // A job that is only run by hand, if anybody wants it, holds up nothing.
    let is_optional = |job: &PipelineJob| job.status == PipelineStatus::Manual && job.allow_failure;
    let is_settled = |job: &PipelineJob| job.status.is_over() || is_optional(job);
    let any_over = input.jobs.iter().any(|job| job.status.is_over());
    if !any_over || !input.jobs.iter().all(is_settled) {
        return None;
    }
    let counts = |status| input.jobs.iter().any(|job| job.status == status && !job.allow_failure);
    if counts(PipelineStatus::Failed) {
        return Some(failed(pipeline, input));
    }
    if counts(PipelineStatus::Canceled) {
        return Some(cancelled(pipeline));
    }
    let any_ran = input.jobs.iter().any(|job| job.status != PipelineStatus::Skipped && !is_optional(job));
    Some(if any_ran { succeeded(pipeline, input) } else { absent::skipped(pipeline, input.commit_message) })
}

fn cancelled(pipeline: &Pipeline) -> Verdict {
    Verdict::failed(
        "pipeline_cancelled",
        format!("Pipeline {} was cancelled.", pipeline.id),
        "Run the pipeline again and deploy again. GitLab cancels pipelines by itself when a newer commit arrives.",
    )
}

fn under_way(pipeline: &Pipeline, input: &Seen<'_>, now: Timestamp) -> Verdict {
    let id = pipeline.id;
    // A pipeline is made with all of its jobs. One without any was skipped, and only a status from outside says otherwise.
    if input.jobs.is_empty() && elapsed(input.since, now) >= input.appear_max {
        return absent::skipped(pipeline, input.commit_message);
    }
    if let Some((job, waited_s)) = without_runner(input, now) {
        return Verdict::Waits(format!(
            "Job {} of pipeline {id} has waited {waited_s} s for a runner, and none has taken it yet.",
            said::name(&job.name)
        ));
    }
    Verdict::Waits(format!("Pipeline {id} {}.", said::state(pipeline.status)))
}

/// A pipeline in which nothing happens until somebody starts a job, or the time of one comes.
fn blocked(pipeline: &Pipeline, input: &Seen<'_>) -> Verdict {
    let id = pipeline.id;
    let Some(wanted) = input.job else { return Verdict::Waits(said::blocked(pipeline, input.jobs)) };
    let Some(job) = image_job(input) else { return said::no_image_job(id, wanted) };
    match job.status {
        PipelineStatus::Success => Verdict::Built { pipeline: id },
        PipelineStatus::Failed | PipelineStatus::Canceled => said::image_job_useless(id, job),
        PipelineStatus::Created
        | PipelineStatus::WaitingForResource
        | PipelineStatus::Preparing
        | PipelineStatus::WaitingForCallback
        | PipelineStatus::Pending
        | PipelineStatus::Running
        | PipelineStatus::Canceling
        | PipelineStatus::Skipped
        | PipelineStatus::Manual
        | PipelineStatus::Scheduled
        | PipelineStatus::Other => Verdict::Waits(said::blocked(pipeline, input.jobs)),
    }
}

fn succeeded(pipeline: &Pipeline, input: &Seen<'_>) -> Verdict {
    let id = pipeline.id;
    let Some(wanted) = input.job else { return Verdict::Built { pipeline: id } };
    let Some(job) = image_job(input) else { return said::no_image_job(id, wanted) };
    match job.status {
        PipelineStatus::Success => Verdict::Built { pipeline: id },
        PipelineStatus::Failed | PipelineStatus::Canceled | PipelineStatus::Skipped => {
            said::image_job_useless(id, job)
        }
        // A job that may be left out does not hold up its pipeline, but somebody may still start it.
        PipelineStatus::Manual | PipelineStatus::Scheduled => Verdict::Waits(said::blocked_job(id, job)),
        PipelineStatus::Created
        | PipelineStatus::WaitingForResource
        | PipelineStatus::Preparing
        | PipelineStatus::WaitingForCallback
        | PipelineStatus::Pending
        | PipelineStatus::Running
        | PipelineStatus::Canceling
        | PipelineStatus::Other => Verdict::Waits(format!(
            "Pipeline {id} succeeded, but its job {} {}.",
            said::name(&job.name),
            said::state(job.status)
        )),
    }
}

fn failed(pipeline: &Pipeline, input: &Seen<'_>) -> Verdict {
    let id = pipeline.id;
    if let Some(errors) = &pipeline.yaml_errors {
        return Verdict::failed(
            "pipeline_invalid",
            format!("The configuration of pipeline {id} is invalid: {}", said::ended(errors)),
            "Correct the configuration; the pipeline editor of GitLab checks it.",
        );
    }
    let Some(job) = culprit(input) else {
        return Verdict::failed(
            "pipeline_failed",
            format!("Pipeline {id} failed, but none of its own jobs did."),
            "Open the pipeline in GitLab: a pipeline it started may have failed, or it was refused as a whole.",
        );
    };
    if said::is_no_runner(job) {
        return Verdict::failed_in(
            job,
            "pipeline_no_runner",
            format!("Job {} of pipeline {id} failed because no runner took it.", said::name(&job.name)),
            "Give the project a runner that is online and has the tags of the job.",
        );
    }
    Verdict::failed_in(
        job,
        "pipeline_failed",
        format!(
            "Job {} in stage {} of pipeline {id} failed: {}.",
            said::name(&job.name),
            said::name(&job.stage),
            said::cause(job.failure_reason.as_deref())
        ),
        "See the last lines of the job's log; push a fix, or run the job again and deploy again.",
    )
}

/// The job that pushes the image.
fn image_job<'a>(input: &Seen<'a>) -> Option<&'a PipelineJob> {
    let name = input.job?;
    input.jobs.iter().filter(|job| job.name == name).max_by_key(|job| job.id)
}

/// The job that made the pipeline fail: the image's own, else the first.
fn culprit<'a>(input: &Seen<'a>) -> Option<&'a PipelineJob> {
    let counts = |job: &&PipelineJob| job.status == PipelineStatus::Failed && !job.allow_failure;
    image_job(input).filter(counts).or_else(|| input.jobs.iter().filter(counts).min_by_key(|job| job.id))
}

/// A job that no runner has taken for long, and for how many seconds; the image's own, else the longest.
fn without_runner<'a>(input: &Seen<'a>, now: Timestamp) -> Option<(&'a PipelineJob, u64)> {
    let waits = |job: &'a PipelineJob| {
        let pending =
            job.status == PipelineStatus::Pending && job.runner.is_none() && job.started_at.is_none();
        let waited = elapsed(pending_since(job, input.jobs)?, now);
        (pending && waited >= NO_RUNNER_AFTER).then_some((job, waited.as_secs()))
    };
    let longest = || input.jobs.iter().filter_map(waits).max_by_key(|(_, waited_s)| *waited_s);
    image_job(input).and_then(waits).or_else(longest)
}

/// Since when a job can be taken. A version of GitLab that does not say it leaves only the time the pipeline was made,
/// which is right as long as no job has run.
fn pending_since(job: &PipelineJob, jobs: &[PipelineJob]) -> Option<Timestamp> {
    let nothing_ran = || jobs.iter().all(|job| job.started_at.is_none());
    job.queued_at.or_else(|| job.created_at.filter(|_| nothing_ran()))
}

/// How long ago `since` was; nothing when a clock says it is yet to come.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
