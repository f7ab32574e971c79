//! Why a stage failed: what that means for the job, and what the user is told.

use std::fmt;
use std::time::Duration;

use slipway_common::failure::{Failure, FailureClass};
use slipway_common::model::Stage;
use slipway_common::plant::Plant;
use slipway_common::secrets::SecretError;
use slipway_common::store::StoreError;
use slipway_gitlab::GitlabError;

use super::OPEN_PAUSE;
use crate::docker::DockerError;
use crate::git::GitError;
use crate::kubernetes::KubernetesError;
use crate::project_file::ProjectFileError;
use crate::recorder::is_away;
use crate::registry::RegistryError;
use crate::template::TemplateError;

/// What a pipeline did instead of building the image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PipelineFailure {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
    pub(crate) hint: &'static str,
    /// The last lines of the job that failed.
    pub(crate) log: Vec<String>,
}

/// Why a stage failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    /// Git.
    #[error("git")]
    Git(#[source] GitError),
    /// The repository's own file.
    #[error("the file of the project cannot be used")]
    ProjectFile(#[source] ProjectFileError),
    /// Template.
    #[error("template")]
    Template(#[source] TemplateError),
    /// The push may have reached the host or not, and the host cannot be asked now.
    #[error("it is not known whether the push reached the host")]
    PushUnknown(#[source] GitError),
    /// The Docker engine.
    #[error("docker")]
    Docker(#[source] DockerError),
    /// The Kubernetes cluster.
    #[error("kubernetes")]
    Kubernetes(#[source] KubernetesError),
    /// A registry.
    #[error("registry")]
    Registry(#[source] RegistryError),
    /// GitLab.
    #[error("gitlab")]
    Gitlab(#[source] GitlabError),
    /// The pipeline of the commit built no image.
    #[error("{}", .0.reason)]
    Pipeline(Box<PipelineFailure>),
    /// The pipeline succeeded, and its registry does not know the image, or not yet.
    #[error("the pipeline succeeded, but the registry has no image {image}")]
    ImageLate { image: String },
    /// The store.
    #[error("store")]
    Store(#[source] StoreError),
    /// A secret could not be opened.
    #[error("secret")]
    Secret(#[source] SecretError),
    /// The stage cannot be done as asked.
    #[error("{reason}")]
    Refused { code: &'static str, reason: String, hint: &'static str },
    /// The stage took too long.
    #[error("took longer than {limit_s} s")]
    TimedOut { limit_s: u64 },
    /// The run was told to stop.
    #[error("interrupted")]
    Interrupted,
    /// The task behind the stage ended without an answer.
    #[error("the stage crashed")]
    Crashed,
}

impl From<GitError> for StageError {
    fn from(error: GitError) -> Self {
        Self::Git(error)
    }
}

impl From<ProjectFileError> for StageError {
    fn from(error: ProjectFileError) -> Self {
        Self::ProjectFile(error)
    }
}

impl From<DockerError> for StageError {
    fn from(error: DockerError) -> Self {
        Self::Docker(error)
    }
}

impl From<RegistryError> for StageError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<TemplateError> for StageError {
    fn from(error: TemplateError) -> Self {
        Self::Template(error)
    }
}

impl From<GitlabError> for StageError {
    fn from(error: GitlabError) -> Self {
        Self::Gitlab(error)
    }
}

impl StageError {
    /// What the failure means for the job. What is not known, or waits for a part of Slipway itself, is no failure
    /// of the job: it costs no attempt.
    pub(crate) fn class(&self) -> FailureClass {
        if self.is_open() && Plant::TimeoutIsFailure.is_planted() {
            return FailureClass::Permanent;
        }
        match self {
            Self::PushUnknown(_) => FailureClass::Stale,
            Self::Store(error) if is_away(error) => FailureClass::Stale,
            Self::Git(error) => error.class(),
            Self::Docker(error) => error.class(),
            Self::Kubernetes(error) => error.class(),
            Self::Registry(error) => error.class(),
            Self::ProjectFile(error) => error.class(),
            Self::Gitlab(error) if error.is_transient() => FailureClass::Transient,
            Self::Template(_)
            | Self::Refused { .. }
            | Self::Secret(_)
            | Self::Gitlab(_)
            | Self::Pipeline(_) => FailureClass::Permanent,
            Self::Interrupted => FailureClass::Stale,
            Self::Store(_) | Self::TimedOut { .. } | Self::ImageLate { .. } | Self::Crashed => {
                FailureClass::Transient
            }
        }
    }

    /// Whether what was begun outside may have been done.
    pub(crate) fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::PushUnknown(_))
    }

    /// Whether the Git host could not be asked anything.
    pub(crate) fn is_host_away(&self) -> bool {
        match self {
            Self::Git(error) => error.is_host_away(),
            Self::TimedOut { .. } => true,
            Self::PushUnknown(_)
            | Self::ProjectFile(_)
            | Self::Template(_)
            | Self::Docker(_)
            | Self::Kubernetes(_)
            | Self::Registry(_)
            | Self::Gitlab(_)
            | Self::Pipeline(_)
            | Self::ImageLate { .. }
            | Self::Store(_)
            | Self::Secret(_)
            | Self::Refused { .. }
            | Self::Interrupted
            | Self::Crashed => false,
        }
    }

    /// Whether a disk was full; which one is not said.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Git(GitError::DiskFull { .. }))
    }

    /// Whether it is open what happened, or the job only waits for a part of Slipway.
    fn is_open(&self) -> bool {
        match self {
            Self::PushUnknown(_) => true,
            Self::Store(error) => is_away(error),
            Self::Git(_)
            | Self::ProjectFile(_)
            | Self::Template(_)
            | Self::Docker(_)
            | Self::Kubernetes(_)
            | Self::Registry(_)
            | Self::Gitlab(_)
            | Self::Pipeline(_)
            | Self::ImageLate { .. }
            | Self::Secret(_)
            | Self::Refused { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted
            | Self::Crashed => false,
        }
    }

    /// Shortest pause before the stage is taken up again.
    pub(crate) fn pause_min(&self) -> Duration {
        if let Self::Kubernetes(error) = self {
            return error.retry_after().unwrap_or_default();
        }
        if let Self::Git(error) = self
            && let Some(pause) = error.retry_after()
        {
            return pause;
        }
        if self.is_open() { OPEN_PAUSE } else { Duration::ZERO }
    }

    /// What the user is told; the lines of `log` when the error brings none of its own.
    pub(crate) fn failure(&self, stage: Stage, log: Vec<String>) -> Failure {
        let own = self.log_tail();
        self.told(stage).with_log_tail(if own.is_empty() { log } else { own.to_vec() })
    }

    fn told(&self, stage: Stage) -> Failure {
        let of = |code: &str, reason: &dyn fmt::Display| Failure::new(stage, code, reason.to_string());
        match self {
            Self::Git(error) => of(error.code(), error).with_hint(error.hint()),
            Self::PushUnknown(_) => of("push_outcome_unknown", self)
                .with_hint("The host is asked again; check that it can be reached."),
            Self::ProjectFile(error) => of(error.code(), error).with_hint(error.hint()),
            Self::Template(error) => of(error.code(), error).with_hint(error.hint()),
            Self::Docker(error) => {
                let reason = if let DockerError::Context { source } = error {
                    source.to_string()
                } else {
                    error.to_string()
                };
                let failure = of(error.code(), &reason);
                match error.hint() {
                    Some(hint) => failure.with_hint(hint),
                    None => failure,
                }
            }
            Self::Kubernetes(error) => {
                let failure = of(error.code(), error);
                match error.hint() {
                    Some(hint) => failure.with_hint(hint),
                    None => failure,
                }
            }
            Self::Registry(error) => of(error.code(), error).with_hint(error.hint()),
            Self::Gitlab(error) => of(error.code(), error).with_hint(error.hint()),
            Self::Pipeline(failure) => of(failure.code, &failure.reason).with_hint(failure.hint),
            Self::ImageLate { .. } => of("pipeline_image_missing", self).with_hint(
                "The pipeline must push the image under the whole commit id as its tag ($CI_COMMIT_SHA); set \
                 `pipeline.image` if its name is not the project's own.",
            ),
            Self::Store(error) => of("store_unavailable", error),
            Self::Secret(error) => of("secret_unreadable", error)
                .with_hint("The key file may have been replaced. Store the credential again and retry."),
            Self::Refused { code, reason, hint } => of(code, reason).with_hint(*hint),
            Self::TimedOut { .. } => of("stage_timeout", self)
                .with_hint("Raise the stage's timeout in the [worker] settings if it needs longer."),
            Self::Interrupted => of("interrupted", self),
            Self::Crashed => {
                of("stage_crashed", self).with_hint("This is a fault in Slipway; please report it.")
            }
        }
    }

    /// The last lines of what failed, when the error knows them.
    fn log_tail(&self) -> &[String] {
        match self {
            Self::Docker(error) => error.log_tail(),
            Self::Kubernetes(error) => error.log_tail(),
            Self::Pipeline(failure) => &failure.log,
            Self::Git(_)
            | Self::PushUnknown(_)
            | Self::ProjectFile(_)
            | Self::Template(_)
            | Self::Registry(_)
            | Self::Gitlab(_)
            | Self::ImageLate { .. }
            | Self::Store(_)
            | Self::Secret(_)
            | Self::Refused { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted
            | Self::Crashed => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_that_failed_is_told_with_the_log_of_its_job() {
        let failed = PipelineFailure {
            code: "pipeline_failed",
            reason: "Job build failed.".to_owned(),
            hint: "Push a fix.",
            log: vec!["error: no such file".to_owned()],
        };
        let error = StageError::Pipeline(Box::new(failed));
        let failure = error.failure(Stage::Build, vec!["a line of the stage".to_owned()]);
        let told = (failure.code.as_str(), failure.reason.as_str());
        assert_eq!(told, ("pipeline_failed", "Job build failed."));
        assert_eq!(failure.log_tail, ["error: no such file"]);
        assert_eq!(error.class(), FailureClass::Permanent);
    }

    #[test]
    fn an_image_that_is_late_is_asked_for_again() {
        let error = StageError::ImageLate { image: "registry.example.com/shop:1".to_owned() };
        assert_eq!(error.class(), FailureClass::Transient);
        assert_eq!(error.failure(Stage::Build, Vec::new()).code, "pipeline_image_missing");
    }

    #[test]
    fn what_gitlab_refuses_for_good_fails_the_job() {
        for (error, class) in [
            (GitlabError::Unauthorized, FailureClass::Permanent),
            (GitlabError::NotFound, FailureClass::Permanent),
            (GitlabError::TimedOut, FailureClass::Transient),
        ] {
            let (code, error) = (error.code(), StageError::from(error));
            assert_eq!((error.class(), error.failure(Stage::Build, Vec::new()).code.as_str()), (class, code));
        }
    }
}
