//! Questions to GitLab and to registries, each with a deadline. A host that does not answer makes the job wait, and is left
//! alone by other jobs too.

use std::time::Duration;

use slipway_gitlab::{CiSetup, Gitlab, GitlabError, Pipeline, PipelineJob, verdict};
use tokio::time::Instant;

use super::super::super::forge::is_away;
use super::super::super::{Run, StageError};
use super::super::away::Left;
use crate::registry::RegistryError;

/// Longest time for all that is asked of a host in one go.
const QUESTIONS_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Halt {
    /// Something outside must happen first.
    Waits {
        /// What.
        reason: String,
        /// When it is looked at again.
        again: Duration,
    },
    /// There will be none.
    Fails(StageError),
}

impl<E: Into<StageError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Fails(error.into())
    }
}

/// What GitLab says of the pipelines of one commit.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Newest first.
    pub(super) pipelines: Vec<Pipeline>,
    /// The jobs of the one that counts.
    pub(super) jobs: Vec<PipelineJob>,
    /// Whether there can be a pipeline; asked when there is none that counts.
    pub(super) ci: Option<CiSetup>,
}

impl Fetched {
    /// The pipeline that counts.
    pub(super) fn newest(&self) -> Option<&Pipeline> {
        verdict::newest(&self.pipelines)
    }
}

/// Asks for the pipelines of a commit, and what is needed to judge them by the job that pushes the image, or as a whole.
pub(super) async fn fetch(
    gitlab: &Gitlab,
    revision: &str,
    wanted: Option<&str>,
) -> Result<Fetched, GitlabError> {
    let mut pipelines = gitlab.pipelines(revision).await?;
    let (jobs, ci) = match verdict::newest(&pipelines).map(|newest| newest.id) {
        Some(newest) => (jobs(gitlab, newest, wanted).await?, None),
        None => (Vec::new(), Some(gitlab.has_ci(revision).await?)),
    };
    // One without jobs may be invalid, also when a status from outside keeps it running.
    let unexplained = verdict::newest(&pipelines).filter(|it| jobs.is_empty() && it.yaml_errors.is_none());
    if let Some(id) = unexplained.map(|it| it.id) {
        let read = gitlab.pipeline(id).await?;
        pipelines
            .iter_mut()
            .filter(|it| it.id == id)
            .for_each(|it| it.yaml_errors.clone_from(&read.yaml_errors));
    }
    Ok(Fetched { pipelines, jobs, ci })
}

/// The jobs of a pipeline; the one that is wanted may be in a child pipeline.
async fn jobs(gitlab: &Gitlab, pipeline: u64, wanted: Option<&str>) -> Result<Vec<PipelineJob>, GitlabError> {
    let mut jobs = gitlab.jobs(pipeline).await?;
    if let Some(wanted) = wanted.filter(|wanted| !jobs.iter().any(|job| job.name == **wanted)) {
        jobs.extend(gitlab.jobs_of_children(pipeline, wanted).await?);
    }
    Ok(jobs)
}

/// Has GitLab asked, unless it is away.
pub(super) async fn gitlab<T>(
    run: &Run<'_>,
    gitlab: &Gitlab,
    question: impl Future<Output = Result<T, GitlabError>>,
) -> Result<T, Halt> {
    let host = gitlab.host();
    let asking = run.tools.away.ask(host, Instant::now()).map_err(|left| left_alone(host, left))?;
    let answer = tokio::time::timeout(QUESTIONS_TIMEOUT, question).await;
    match answer.unwrap_or(Err(GitlabError::TimedOut)) {
        Err(error) if is_away(&error) => {
            let reason = error.message();
            let again = asking.failed(&reason, error.retry_after(), Instant::now());
            Err(Halt::Waits { reason: away(host, &reason), again })
        }
        answer => {
            asking.answered();
            Ok(answer?)
        }
    }
}

/// Has a registry asked, unless it is away.
pub(super) async fn registry<T>(
    run: &Run<'_>,
    server: &str,
    question: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, Halt> {
    let asking = run.tools.away.ask(server, Instant::now()).map_err(|left| left_alone(server, left))?;
    match question.await {
        Err(error @ (RegistryError::Unavailable { .. } | RegistryError::TimedOut { .. })) => {
            let reason = error.to_string();
            let again = asking.failed(&reason, None, Instant::now());
            Err(Halt::Waits { reason: away(server, &reason), again })
        }
        answer => {
            asking.answered();
            Ok(answer?)
        }
    }
}

fn left_alone(host: &str, left: Left) -> Halt {
    let reason = match left.reason {
        Some(reason) => away(host, &reason),
        None => format!("other jobs ask {host} at the moment"),
    };
    Halt::Waits { reason, again: left.pause }
}

fn away(host: &str, reason: &str) -> String {
    format!("{host} is asked again later: {reason}")
}
