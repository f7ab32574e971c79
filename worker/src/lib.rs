//! Slipway's worker: claims jobs and moves each through its stages.
//!
//! `consume` claims, `pipeline` sequences, `policy` decides what a failure does, `stage` does the work with
//! `git`, `template`, `docker` and `kubernetes`, `journal` writes what happened, `observe` looks at what runs,
//! `inquiry` answers questions about it, `sweep` deploys what was pushed.

mod condition;
mod consume;
mod disk;
pub mod docker;
pub mod failpoint;
mod figures;
pub mod git;
mod hold;
mod inquiry;
mod journal;
pub mod kubernetes;
mod observe;
mod pipeline;
pub mod policy;
pub mod project_file;
mod recorder;
mod registry;
mod report;
pub mod settings;
pub mod source;
mod stage;
mod sweep;
mod targets;
pub mod template;
#[cfg(test)]
mod testing;
mod text;

use std::sync::Arc;

use slipway_common::Backend;
use slipway_common::health::{Liveness, Unready};
use slipway_common::model::WorkerId;
use slipway_common::secrets::Sealer;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use figures::Figures;

pub use settings::{SetupError, WorkerSettings};

/// A running worker.
#[derive(Debug)]
pub struct WorkerHandle {
    tasks: JoinSet<()>,
    engine: Option<docker::Engine>,
    figures: Arc<Figures>,
    liveness: Liveness,
    disk: Arc<disk::Disk>,
}

/// The worker.
#[derive(Debug)]
pub struct Worker;

impl Worker {
    /// Starts the slots, the observer and whoever answers questions; they end after `shutdown`.
    ///
    /// # Errors
    /// When the settings cannot be used. An engine that cannot be reached is no error: jobs for it are retried.
    pub async fn start(
        settings: WorkerSettings,
        backend: Backend,
        sealer: Sealer,
        shutdown: CancellationToken,
    ) -> Result<WorkerHandle, SetupError> {
        let engine = docker::Engine::connect(&settings.docker.engine).ok();
        let slots = settings.slots;
        let tools = Arc::new(stage::Tools::new(settings, backend, sealer));
        let (figures, liveness) = (Arc::clone(&tools.figures), tools.liveness.clone());
        let disk = Arc::clone(&tools.disk);
        let worker = WorkerId::generate();
        let mut tasks = JoinSet::new();
        for _ in 0..slots {
            tasks.spawn(consume::consume(Arc::clone(&tools), worker, shutdown.clone()));
        }
        let (recorder, until) = (Arc::clone(&tools.recorder), shutdown.clone());
        tasks.spawn(async move { recorder.keep_catching_up(&until).await });
        tools.targets.watch(&mut tasks, &shutdown);
        tasks.spawn(inquiry::answer_questions(Arc::clone(&tools), shutdown.clone()));
        tasks.spawn(report::report(Arc::clone(&tools), shutdown.clone()));
        tasks.spawn(sweep::sweep(Arc::clone(&tools), shutdown.clone()));
        tasks.spawn(observe::observe(tools, worker, shutdown));
        Ok(WorkerHandle { tasks, engine, figures, liveness, disk })
    }
}

impl WorkerHandle {
    /// The engine of the Docker target, when its address can be used.
    #[must_use]
    pub fn engine(&self) -> Option<&docker::Engine> {
        self.engine.as_ref()
    }

    /// The progress of the worker's loops.
    #[must_use]
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// A reader of what keeps the worker itself from taking jobs.
    pub fn unready(&self) -> impl Fn() -> Vec<Unready> + Send + Sync + use<> {
        let disk = Arc::clone(&self.disk);
        move || {
            let full = disk.was_full().then(|| Unready::new("disk", "the disk of the mirrors is full"));
            full.into_iter().collect()
        }
    }

    /// A reader of the worker's metrics, in the text form of Prometheus.
    pub fn metrics(&self) -> impl Fn() -> String + Send + Sync + use<> {
        let figures = Arc::clone(&self.figures);
        move || figures.text()
    }

    /// Waits until every slot has ended.
    pub async fn stopped(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the worker ended unexpectedly");
            }
        }
    }
}
