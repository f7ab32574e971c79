//! The service: reads who is to be kept, listens to metric events, decides, and has targets changed.
//!
//! ```text
//! shards ── which places are this scaler's ──▶ roster ── who is kept ──▶ rounds ──▶ notes
//! samplers of targets ──▶ metric events ─────────────────────────────────▶  │
//! looks at targets ──────────────────────────────────────────────────────▶  └─▶ actions ──▶ targets
//! ```

mod actions;
mod figures;
mod kept;
mod measure;
mod notes;
mod roster;
mod rounds;
mod settings;
mod shards;
mod targets;

use std::sync::Arc;
use std::time::Duration;

use slipway_common::Backend;
use slipway_common::health::Liveness;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use settings::ScalerSettings;

use crate::target::Subject;
use figures::Figures;
use roster::Roster;
use rounds::Rounds;
use shards::Shards;
use targets::Targets;

/// A loop that does not move for so long has stalled.
const STALL: Duration = Duration::from_secs(30);
/// Looks and lists that wait for the loop.
const WAITING: usize = 16;

/// The scaler.
#[derive(Debug)]
pub struct Scaler;

/// A running scaler.
#[derive(Debug)]
pub struct ScalerHandle {
    tasks: JoinSet<()>,
    liveness: Liveness,
    figures: Arc<Figures>,
}

impl Scaler {
    /// Starts the scaler; it ends after `shutdown`. Targets that cannot be reached are no error: their counts are held.
    #[must_use]
    pub fn start(settings: &ScalerSettings, backend: Backend, shutdown: &CancellationToken) -> ScalerHandle {
        let (figures, liveness) = (Arc::new(Figures::default()), Liveness::default());
        let shards = Shards::new(&settings.name, settings.shards, settings.lease_ttl);
        let targets = Arc::new(Targets::new(settings));
        let (subjects, seen_subjects) = watch::channel(Arc::<[Subject]>::from([]));
        let (lists, list) = mpsc::channel(WAITING);
        let (looks, look) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        let events = backend.metrics.subscribe();
        let metrics = Arc::clone(&backend.metrics);
        targets.start(&mut tasks, &seen_subjects, &looks, (&metrics, &shards), shutdown);
        tasks.spawn(Roster::new(backend.clone(), shards.clone()).keep(lists, subjects, shutdown.clone()));
        let progress = liveness.watch("scaler", STALL);
        let rounds = Rounds::new(
            backend.clone(),
            &settings.name,
            shards.clone(),
            targets,
            Arc::clone(&figures),
            shutdown.clone(),
        );
        // What is being done ends before the right to do it is given up.
        tasks.spawn(async move {
            let gone = CancellationToken::new();
            let keeping = tokio::spawn(shards.keep(backend, gone.clone()));
            rounds.run(events, list, look, progress).await;
            gone.cancel();
            if let Err(error) = keeping.await {
                tracing::error!(%error, "the shards of the scaler were left to expire");
            }
        });
        ScalerHandle { tasks, liveness, figures }
    }
}

impl ScalerHandle {
    /// The progress of the scaler's loop.
    #[must_use]
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// A reader of the scaler's metrics, in the text form of Prometheus.
    pub fn metrics(&self) -> impl Fn() -> String + Send + Sync + use<> {
        let figures = Arc::clone(&self.figures);
        move || figures.text()
    }

    /// Waits until every part has ended.
    pub async fn stopped(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the scaler ended unexpectedly");
            }
        }
    }
}
