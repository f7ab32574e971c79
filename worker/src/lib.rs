//! Slipway's worker: claims jobs and moves each through its stages.
//!
//! `consume` claims, `pipeline` sequences, `policy` decides what a failure does, `stage` does the work with
//! `git`, `template` and `docker`, `journal` writes what happened, `observe` looks at what runs.

mod consume;
pub mod docker;
pub mod failpoint;
pub mod git;
mod journal;
mod observe;
mod pipeline;
pub mod policy;
pub mod settings;
pub mod source;
mod stage;
pub mod template;

use std::sync::Arc;

use slipway_common::Backend;
use slipway_common::model::WorkerId;
use slipway_common::secrets::Sealer;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use settings::{SetupError, WorkerSettings};

/// A running worker.
#[derive(Debug)]
pub struct WorkerHandle {
    tasks: JoinSet<()>,
    engine: Option<docker::Engine>,
}

/// The worker.
#[derive(Debug)]
pub struct Worker;

impl Worker {
    /// Starts the slots and the observer; they end after `shutdown`.
    ///
    /// # Errors
    /// When the settings cannot be used. An engine that cannot be reached is no error: jobs for it are retried.
    pub async fn start(
        settings: WorkerSettings,
        backend: Backend,
        sealer: Sealer,
        shutdown: CancellationToken,
    ) -> Result<WorkerHandle, SetupError> {
        let mirrors = git::MirrorStore::new(settings.mirrors.clone(), settings.git.clone());
        let engine = docker::Engine::connect(&settings.docker.engine).ok();
        let slots = settings.slots;
        let tools = Arc::new(stage::Tools { settings, backend, sealer, mirrors });
        let worker = WorkerId::generate();
        let mut tasks = JoinSet::new();
        for _ in 0..slots {
            tasks.spawn(consume::consume(Arc::clone(&tools), worker, shutdown.clone()));
        }
        tasks.spawn(observe::observe(tools, shutdown));
        Ok(WorkerHandle { tasks, engine })
    }
}

impl WorkerHandle {
    /// The engine of the Docker target, when its address can be used.
    #[must_use]
    pub fn engine(&self) -> Option<&docker::Engine> {
        self.engine.as_ref()
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
