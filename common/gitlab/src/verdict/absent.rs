//! Why a commit has no pipeline, or one in which nothing ran.

use jiff::Timestamp;

use super::{Seen, Verdict, elapsed, said};
use crate::Pipeline;

/// Judges a commit without a pipeline.
pub(super) fn judge(input: &Seen<'_>, now: Timestamp) -> Verdict {
    let waited = elapsed(input.since, now);
    if waited < input.appear_max {
        return Verdict::Waits(format!(
            "There is no pipeline of this commit yet; one is waited for since {} s.",
            waited.as_secs()
        ));
    }
    let after = format!("No pipeline of this commit appeared within {} s", input.appear_max.as_secs());
    let asks_to_skip = input.commit_message.is_some_and(asks_to_skip);
    match input.ci {
        Some(ci) if !ci.jobs_enabled => Verdict::failed(
            "pipeline_disabled",
            format!("{after}: CI/CD is disabled in this project."),
            "Enable CI/CD in the project's settings, or let Slipway build the image.",
        ),
        Some(ci) if !ci.file_exists && !ci.auto_devops => Verdict::failed(
            "pipeline_missing",
            format!("{after}: it has no file {}, and Auto DevOps is off.", said::name(&ci.file)),
            "Add a configuration with a job that pushes the image, or let Slipway build it.",
        ),
        Some(_) | None if asks_to_skip => Verdict::failed(
            "pipeline_skipped",
            format!("{after}: the message of the commit asks for none by `[skip ci]`."),
            "Run a pipeline of this branch by hand and deploy again, or push a commit without it.",
        ),
        Some(_) => Verdict::failed(
            "pipeline_filtered",
            format!("{after}, although it has a configuration: its rules admit no job for this push."),
            "Check `workflow:rules` and the `rules` of the jobs; a branch needs a job that pushes its image.",
        ),
        None => Verdict::failed(
            "pipeline_missing",
            format!("{after}."),
            "Check that the project has a configuration for pipelines whose rules admit this branch.",
        ),
    }
}

/// Judges a pipeline that was skipped.
pub(super) fn skipped(pipeline: &Pipeline, commit_message: Option<&str>) -> Verdict {
    let id = pipeline.id;
    let why = if commit_message.is_some_and(asks_to_skip) {
        "because the message of the commit asks for it by `[skip ci]`"
    } else {
        "by an option of the push, or because none of its jobs was to run"
    };
    Verdict::failed(
        "pipeline_skipped",
        format!("Pipeline {id} was skipped, {why}."),
        "Run a pipeline of this branch by hand and deploy again, or push a commit that does not skip it.",
    )
}

/// Whether a commit's message asks for no pipeline: `[skip ci]` or `[ci skip]`, also with `-` or `_`, in any case.
fn asks_to_skip(message: &str) -> bool {
    let message: String = message
        .chars()
        .map(|character| if matches!(character, '-' | '_') { ' ' } else { character })
        .collect();
    let message = message.to_ascii_lowercase();
    message.contains("[skip ci]") || message.contains("[ci skip]")
}
