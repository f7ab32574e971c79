//! The pipeline of a request: which image it pushes, which job is waited for, and how long.

use super::Errors;
use crate::model::request::PipelineRequest;
use crate::model::{BuildMode, ImageReference, PipelineSpec};

/// Longest name of a job (GitLab keeps no longer ones).
pub const PIPELINE_JOB_MAX_BYTES: usize = 255;
/// Longest wait for a pipeline that a request may ask for.
pub const PIPELINE_TIMEOUT_MAX_S: u64 = 24 * 3_600;

/// What is waited for, every field checked.
pub(super) fn resolve(
    request: Option<&PipelineRequest>,
    build: BuildMode,
    errors: &mut Errors,
) -> PipelineSpec {
    let Some(request) = request else { return PipelineSpec::default() };
    errors.check("pipeline", build == BuildMode::Gitlab, || {
        "is for `\"build\": \"gitlab\"`; nothing else waits for a pipeline".to_owned()
    });
    let image = request.image.as_ref().and_then(|text| image(text, errors));
    let fits = |job: &String| {
        (1..=PIPELINE_JOB_MAX_BYTES).contains(&job.len()) && !job.chars().any(char::is_control)
    };
    errors.check("pipeline.job", request.job.as_ref().is_none_or(fits), || {
        format!("must be 1 to {PIPELINE_JOB_MAX_BYTES} bytes without control characters")
    });
    let timeout = 1..=PIPELINE_TIMEOUT_MAX_S;
    errors.check(
        "pipeline.timeout_s",
        request.timeout_s.is_none_or(|timeout_s| timeout.contains(&timeout_s)),
        || format!("must be from 1 to {PIPELINE_TIMEOUT_MAX_S}"),
    );
    PipelineSpec { image, job: request.job.clone(), timeout_s: request.timeout_s }
}

/// A name without tag and digest: the tag is the commit's.
fn image(text: &str, errors: &mut Errors) -> Option<ImageReference> {
    const FIELD: &str = "pipeline.image";
    let image: ImageReference = errors.take(FIELD, text.parse())?;
    let last = text.rsplit('/').next().unwrap_or_default();
    errors.check(FIELD, !last.contains([':', '@']), || {
        "must have no tag and no digest: the tag is the commit".to_owned()
    });
    Some(image)
}
