//! The sentences of verdicts. What comes from outside is made plain before it is repeated.

use super::Verdict;
use crate::{Pipeline, PipelineJob, PipelineStatus, text};

/// Longest name that is repeated.
const NAME_MAX_BYTES: usize = 100;
/// Longest complaint that is repeated.
const ERRORS_MAX_BYTES: usize = 500;
const IMAGE_JOB_MISSING: &str = "image_job_missing";

/// A name, in quotes.
pub(super) fn name(name: &str) -> String {
    format!("`{}`", text::plain(&name.replace('`', "'"), NAME_MAX_BYTES))
}

/// A complaint of several lines as one that ends a sentence.
pub(super) fn ended(complaint: &str) -> String {
    let complaint = text::plain(&text::without_tokens(complaint, ""), ERRORS_MAX_BYTES);
    if complaint.ends_with('.') { complaint } else { format!("{complaint}.") }
}

/// What a pipeline or job does in this state.
pub(super) fn state(status: PipelineStatus) -> &'static str {
    match status {
        PipelineStatus::Created => "has not begun yet",
        PipelineStatus::WaitingForResource => "waits for a resource that others use",
        PipelineStatus::Preparing => "is being prepared",
        PipelineStatus::WaitingForCallback => "waits for another service",
        PipelineStatus::Pending => "waits for a runner",
        PipelineStatus::Running => "is running",
        PipelineStatus::Success => "succeeded",
        PipelineStatus::Failed => "failed",
        PipelineStatus::Canceling => "is being cancelled",
        PipelineStatus::Canceled => "was cancelled",
        PipelineStatus::Skipped => "was skipped",
        PipelineStatus::Manual => "waits until somebody starts it by hand",
        PipelineStatus::Scheduled => "waits for the time it is planned for",
        PipelineStatus::Other => "is in a state that is not known here",
    }
}

/// What a blocked pipeline waits for.
pub(super) fn blocked(pipeline: &Pipeline, jobs: &[PipelineJob]) -> String {
    let holds_up = |job: &&PipelineJob| job.status == pipeline.status && !job.allow_failure;
    let holding = jobs.iter().filter(holds_up).min_by_key(|job| job.id);
    let any = || jobs.iter().filter(|job| job.status == pipeline.status).min_by_key(|job| job.id);
    match holding.or_else(any) {
        Some(job) => blocked_job(pipeline.id, job),
        None if pipeline.status == PipelineStatus::Manual => {
            format!("Pipeline {} waits until somebody starts a job by hand.", pipeline.id)
        }
        None => format!("Pipeline {} {}.", pipeline.id, state(pipeline.status)),
    }
}

/// What a job waits for that is started by hand or by a clock.
pub(super) fn blocked_job(pipeline: u64, job: &PipelineJob) -> String {
    format!("Job {} of pipeline {pipeline} {}.", name(&job.name), state(job.status))
}

/// The job that is named is not in the pipeline.
pub(super) fn no_image_job(pipeline: u64, wanted: &str) -> Verdict {
    Verdict::failed(
        IMAGE_JOB_MISSING,
        format!("Pipeline {pipeline} has no job {}, which was to push the image.", name(wanted)),
        "Name the job that pushes the image in `slipway.yml`, and check that its `rules` admit this branch.",
    )
}

/// The job that is named ended without an image, and its pipeline went on.
pub(super) fn image_job_useless(pipeline: u64, job: &PipelineJob) -> Verdict {
    let called = name(&job.name);
    let what = match job.status {
        PipelineStatus::Failed => format!("failed: {}", cause(job.failure_reason.as_deref())),
        PipelineStatus::Canceled => "was cancelled".to_owned(),
        PipelineStatus::Skipped => "was skipped".to_owned(),
        PipelineStatus::Created
        | PipelineStatus::WaitingForResource
        | PipelineStatus::Preparing
        | PipelineStatus::WaitingForCallback
        | PipelineStatus::Pending
        | PipelineStatus::Running
        | PipelineStatus::Success
        | PipelineStatus::Canceling
        | PipelineStatus::Manual
        | PipelineStatus::Scheduled
        | PipelineStatus::Other => state(job.status).to_owned(),
    };
    Verdict::failed_in(
        job,
        IMAGE_JOB_MISSING,
        format!(
            "Pipeline {pipeline} did not fail, but its job {called}, which was to push the image, {what}."
        ),
        "Run the job again and deploy again. Without `allow_failure` the pipeline would say so itself.",
    )
}

/// Whether a job failed for want of a runner. A job that was stuck and one that took too long have the same reason.
pub(super) fn is_no_runner(job: &PipelineJob) -> bool {
    let never_began = job.runner.is_none() && job.started_at.is_none();
    match job.failure_reason.as_deref() {
        Some("no_matching_runner") => true,
        Some("stuck_or_timeout_failure") => never_began,
        Some(_) | None => false,
    }
}

/// Why a job failed, as the end of a sentence.
pub(super) fn cause(reason: Option<&str>) -> String {
    let known = match reason {
        None | Some("unknown_failure") => "GitLab does not say why",
        Some("script_failure") => "its script failed",
        Some("stuck_or_timeout_failure") => "it was stuck or took too long",
        Some("job_execution_timeout") => "it took longer than it may",
        Some("no_matching_runner") => "no runner took it",
        Some("runner_system_failure") => "its runner failed",
        Some("runner_unsupported") => "its runner is too old for it",
        Some("runner_provisioning_failed") => "no runner could be provided",
        Some("missing_dependency_failure") => "artifacts it needs are missing",
        Some("image_pull_failure") => "the image it runs in could not be pulled",
        Some("api_failure") => "the API of GitLab failed",
        Some("scheduler_failure") => "GitLab could not schedule it",
        Some("stale_schedule") => "it was planned for a time that passed",
        Some("data_integrity_failure") => "GitLab found its data damaged",
        Some("unmet_prerequisites") => "something it needs could not be made ready",
        Some("archived_failure") => "it is archived",
        Some("forward_deployment_failure" | "failed_outdated_deployment_job") => {
            "a newer deployment was there before it"
        }
        Some("ci_quota_exceeded") => "the quota of compute minutes is used up",
        Some("user_blocked") => "the user who started it is blocked",
        Some("user_not_verified") => "the user who started it must verify an identity",
        Some("project_deleted") => "its project was deleted",
        Some("builds_disabled") => "CI/CD is disabled in the project",
        Some("protected_environment_failure") => "its environment is protected",
        Some("deployment_rejected") => "its deployment was rejected",
        Some("config_error") => "its configuration is wrong",
        Some("trace_size_exceeded") => "it printed more than it may",
        Some("secrets_provider_not_found") => "where its secrets are is not set",
        Some("environment_creation_failure") => "its environment could not be made",
        Some(other) => return name(other),
    };
    known.to_owned()
}
