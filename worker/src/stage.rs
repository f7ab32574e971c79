//! The stages of a job. `perform` picks one; each stage reads the facts it needs and returns the fact it establishes.

mod apply;
mod build;
mod clone;
mod commit;
mod source_of;
mod stop;
mod template;
mod turn;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use slipway_common::Backend;
use slipway_common::failure::{Failure, FailureClass};
use slipway_common::health::Liveness;
use slipway_common::model::{DeploymentSpec, Facts, JobMessage, Stage, TargetName};
use slipway_common::plant::Plant;
use slipway_common::secrets::{Sealer, SecretError};
use slipway_common::store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::condition::Condition;
use crate::consume::Contradictions;
use crate::disk::Disk;
use crate::docker::{DockerError, Engine};
use crate::figures::Figures;
use crate::git::{GitError, MirrorStore};
use crate::journal::Journal;
use crate::kubernetes::KubernetesError;
use crate::recorder::{Recorder, is_away};
use crate::registry::RegistryError;
use crate::settings::WorkerSettings;
use crate::targets::{Target, Targets};
use crate::template::TemplateError;

pub(crate) use self::apply::replicas::size;

/// Pause before a stage that waits for what does not depend on it is taken up again.
pub(crate) const OPEN_PAUSE: Duration = Duration::from_secs(5);

/// Trailers that mark a generated commit, so that a later run finds it.
pub(crate) mod trailer {
    /// The job that made it.
    pub(crate) const JOB: &str = "Slipway-Job";
    /// The deployment it was made for.
    pub(crate) const DEPLOYMENT: &str = "Slipway-Deployment";
}

/// What every stage is given: the parts of the worker it may use.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) settings: WorkerSettings,
    pub(crate) backend: Backend,
    pub(crate) sealer: Sealer,
    pub(crate) mirrors: MirrorStore,
    pub(crate) targets: Targets,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) queue: Condition,
    pub(crate) liveness: Liveness,
    pub(crate) disk: Arc<Disk>,
    pub(crate) contradictions: Contradictions,
}

impl Tools {
    pub(crate) fn new(settings: WorkerSettings, backend: Backend, sealer: Sealer) -> Self {
        let figures = Arc::new(Figures::default());
        Self {
            targets: Targets::new(&settings, &backend.queue),
            mirrors: MirrorStore::new(settings.mirrors.clone(), settings.git.clone()),
            recorder: Arc::new(Recorder::new(backend.clone(), Arc::clone(&figures))),
            figures,
            queue: Condition::of("the queue"),
            liveness: Liveness::default(),
            disk: Arc::new(Disk::of(settings.mirrors.clone())),
            contradictions: Contradictions::default(),
            settings,
            backend,
            sealer,
        }
    }

    /// The target of this name.
    pub(crate) fn target(&self, name: &TargetName) -> Result<Target<'_>, StageError> {
        self.targets.get(name).ok_or_else(|| StageError::Refused {
            code: "target_unknown",
            reason: format!("this worker has no target `{name}`"),
            hint: "Give every worker the same targets as the API.",
        })
    }

    /// The Docker engine: the target, or what builds for others.
    pub(crate) fn engine(&self) -> Result<Engine, StageError> {
        Engine::connect(&self.settings.docker.engine).map_err(StageError::Docker)
    }
}

/// One run of one job: what the stages read besides their tools.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) message: &'a JobMessage,
    pub(crate) fence: u64,
    pub(crate) journal: &'a Journal,
    pub(crate) cancel: &'a CancellationToken,
    /// What the stage the job is at said last, such as why it waits.
    pub(crate) said: Option<&'a str>,
}

impl Run<'_> {
    /// A line for the stage's log.
    pub(crate) fn say(&self, line: &str) {
        crate::docker::LogSink::line(self.journal, line);
    }
}

/// What a stage established.
#[derive(Debug, Default)]
pub(crate) struct StageResult {
    pub(crate) facts: Facts,
    /// Why there was nothing to do, if so.
    pub(crate) skipped: Option<String>,
}

impl StageResult {
    fn of(facts: Facts) -> Self {
        Self { facts, skipped: None }
    }

    fn skipped(why: impl Into<String>) -> Self {
        Self { facts: Facts::default(), skipped: Some(why.into()) }
    }
}

/// What came of an attempt at a stage that did not fail.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is done.
    Done(Box<StageResult>),
    /// Something outside must happen first. Nobody holds the job meanwhile: it is parked, and costs no attempt.
    Waits {
        /// What is waited for.
        reason: String,
        /// When it is looked at again, unless it is woken before.
        longest: Duration,
    },
}

impl Outcome {
    fn done(result: StageResult) -> Self {
        Self::Done(Box::new(result))
    }
}

/// Why a stage failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    /// Git.
    #[error("git")]
    Git(#[source] GitError),
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
            Self::Template(_) | Self::Refused { .. } | Self::Secret(_) => FailureClass::Permanent,
            Self::Interrupted => FailureClass::Stale,
            Self::Store(_) | Self::TimedOut { .. } | Self::Crashed => FailureClass::Transient,
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
            | Self::Template(_)
            | Self::Docker(_)
            | Self::Kubernetes(_)
            | Self::Registry(_)
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
            | Self::Template(_)
            | Self::Docker(_)
            | Self::Kubernetes(_)
            | Self::Registry(_)
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
        if self.is_open() { OPEN_PAUSE } else { Duration::ZERO }
    }

    /// What the user is told.
    pub(crate) fn failure(&self, stage: Stage, log: Vec<String>) -> Failure {
        let of = |code: &str, reason: &dyn fmt::Display| Failure::new(stage, code, reason.to_string());
        let failure = match self {
            Self::Git(error) => of(error.code(), error).with_hint(error.hint()),
            Self::PushUnknown(_) => of("push_outcome_unknown", self)
                .with_hint("The host is asked again; check that it can be reached."),
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
        };
        let own = match self {
            Self::Docker(error) => error.log_tail(),
            Self::Kubernetes(error) => error.log_tail(),
            Self::Git(_)
            | Self::PushUnknown(_)
            | Self::Template(_)
            | Self::Registry(_)
            | Self::Store(_)
            | Self::Secret(_)
            | Self::Refused { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted
            | Self::Crashed => &[],
        };
        failure.with_log_tail(if own.is_empty() { log } else { own.to_vec() })
    }
}

/// What comes of `stage` of a deploy job in which, by what is known before, there is nothing to do. Pure.
pub(crate) fn nothing_to_do(stage: Stage, spec: &DeploymentSpec, facts: &Facts) -> Option<StageResult> {
    let image_given = |what: &str| {
        let skipped = || StageResult::skipped(format!("an image was given; there is nothing to {what}"));
        spec.image.is_some().then(skipped)
    };
    match stage {
        Stage::Clone => image_given("clone"),
        Stage::Template => image_given("generate"),
        Stage::Commit => image_given("commit").or_else(|| commit::nothing_generated(facts)),
        Stage::Build | Stage::Apply | Stage::Stop => None,
    }
}

/// Performs `stage` of a deploy job.
pub(crate) async fn perform(
    stage: Stage,
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
) -> Result<Outcome, StageError> {
    let result = match stage {
        Stage::Clone => clone::perform(run, spec).await?,
        Stage::Template => template::perform(run, spec, facts).await?,
        Stage::Commit => commit::perform(run, spec, facts).await?,
        Stage::Build => build::perform(run, spec, facts).await?,
        Stage::Apply => return apply::perform(run, spec, facts).await,
        Stage::Stop => stop::perform(run, &spec.target).await?,
    };
    Ok(Outcome::done(result))
}

/// Performs the one stage of a stop job.
pub(crate) async fn perform_stop(run: &Run<'_>, target: &TargetName) -> Result<Outcome, StageError> {
    stop::perform(run, target).await.map(Outcome::done)
}

/// Removes what an interrupted apply left of this deployment.
pub(crate) async fn clean_up(run: &Run<'_>, target: &TargetName) -> Result<(), StageError> {
    stop::clean_up(run, target).await
}

/// A fact an earlier stage must have established.
fn required<T>(fact: Option<&T>, stage: Stage) -> Result<&T, StageError> {
    fact.ok_or_else(|| StageError::Refused {
        code: "fact_missing",
        reason: format!("the {stage} stage left no fact"),
        hint: "This is a fault in Slipway; please report it.",
    })
}
