//! The stages of a job. `perform` picks one; each stage reads the facts it needs and returns the fact it establishes.

mod apply;
mod build;
mod clone;
mod commit;
mod error;
mod forge;
mod pull;
mod source_of;
mod stop;
mod template;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use slipway_common::Backend;
use slipway_common::health::Liveness;
use slipway_common::model::{DeploymentSpec, Facts, JobMessage, Stage, TargetName};
use slipway_common::secrets::Sealer;
use tokio_util::sync::CancellationToken;

use crate::condition::Condition;
use crate::consume::Contradictions;
use crate::disk::Disk;
use crate::docker::Engine;
use crate::figures::Figures;
use crate::git::MirrorStore;
use crate::journal::Journal;
use crate::recorder::Recorder;
use crate::settings::WorkerSettings;
use crate::targets::{Target, Targets};

pub(crate) use self::apply::replicas::size;
use self::build::Away;
pub(crate) use self::error::{PipelineFailure, StageError};
pub(crate) use self::source_of::{Source, secret_of};

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
    /// Hosts of pipelines and registries that do not answer.
    pub(crate) away: Away,
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
            away: Away::new(settings.slots),
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
    /// Whether a push made the deployment. A job that tries one again does not say so itself.
    pub(crate) is_pushed: bool,
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
        Stage::Build => return build::perform(run, spec, facts).await,
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

/// Ends outside what only this deployment waited for, when it is cancelled or overtaken. Best effort, and soon over.
pub(crate) async fn abandon(run: &Run<'_>, spec: &DeploymentSpec, facts: &Facts) {
    build::abandon(run, spec, facts).await;
}

/// A fact an earlier stage must have established.
fn required<T>(fact: Option<&T>, stage: Stage) -> Result<&T, StageError> {
    fact.ok_or_else(|| StageError::Refused {
        code: "fact_missing",
        reason: format!("the {stage} stage left no fact"),
        hint: "This is a fault in Slipway; please report it.",
    })
}
