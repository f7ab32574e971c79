//! Deployments of which something happened, on their way to the agenda: gathered for a moment, so that a deployment that
//! moves quickly is noted once, and only those of registered projects.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use slipway_common::agenda::List;
use slipway_common::model::{DeploymentId, EventKind, ProjectSlug};
use slipway_common::record::Record;
use slipway_common::store::StoreError;
use slipway_common::telemetry::chain;
use tokio_util::sync::CancellationToken;

use crate::stage::Tools;

/// How long is gathered.
const GATHER: Duration = Duration::from_millis(200);
/// Most deployments that are gathered. Others are found by their next event, or by the next look at an open job.
const GATHERED_MAX: usize = 10_000;
/// How long it is believed that a project is registered, or is not.
const BELIEVED: Duration = Duration::from_secs(15);
/// Most deployments and projects that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// Deployments of which something happened.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    gathered: Mutex<HashSet<DeploymentId>>,
}

impl Noted {
    /// Something happened to the deployment.
    pub(crate) fn note(&self, deployment: DeploymentId) {
        let mut gathered = self.gathered();
        if gathered.len() < GATHERED_MAX {
            gathered.insert(deployment);
        }
    }

    /// The same, of a record that was kept; most say nothing that is told.
    pub(crate) fn note_record(&self, record: &Record) {
        if let Record::Event(event) = record
            && is_told(&event.kind)
        {
            self.note(event.deployment);
        }
    }

    fn take(&self) -> HashSet<DeploymentId> {
        std::mem::take(&mut *self.gathered())
    }

    fn gathered(&self) -> MutexGuard<'_, HashSet<DeploymentId>> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether anybody outside may see something of the event.
pub(super) fn is_told(kind: &EventKind) -> bool {
    match kind {
        EventKind::StageProgress { .. } | EventKind::CancelRequested { .. } => false,
        EventKind::Accepted { .. }
        | EventKind::StageStarted { .. }
        | EventKind::StageFinished { .. }
        | EventKind::StageWaiting { .. }
        | EventKind::Succeeded
        | EventKind::Failed { .. }
        | EventKind::Cancelled
        | EventKind::Superseded { .. }
        | EventKind::Replaced { .. }
        | EventKind::Degraded { .. }
        | EventKind::Recovered => true,
    }
}

/// Brings what was gathered to the agenda until `stop`; then once more.
pub(super) async fn keep_noting(tools: &Tools, stop: &CancellationToken) {
    let mut known = Known::default();
    loop {
        let ends = tokio::select! {
            () = tokio::time::sleep(GATHER) => false,
            () = stop.cancelled() => true,
        };
        bring(tools, &mut known).await;
        if ends {
            return;
        }
    }
}

/// Notes what was gathered. What cannot be noted now is kept.
async fn bring(tools: &Tools, known: &mut Known) {
    let noted = tools.recorder.noted();
    let gathered = noted.take();
    if gathered.is_empty() {
        return;
    }
    if let Err(error) = note_those_told(tools, known, &gathered).await {
        tracing::debug!(error = chain(&error), "results wait to be noted");
        gathered.into_iter().for_each(|deployment| noted.note(deployment));
    }
}

async fn note_those_told(
    tools: &Tools,
    known: &mut Known,
    gathered: &HashSet<DeploymentId>,
) -> Result<(), StoreError> {
    let mut keys = Vec::new();
    for deployment in gathered {
        if known.is_reported(tools, *deployment).await? {
            keys.push(deployment.to_string());
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    tools.backend.agenda.note(List::Reports, &keys, Timestamp::now()).await
}

/// What was found out about deployments and projects.
#[derive(Debug, Default)]
struct Known {
    /// Whose each deployment is.
    projects: HashMap<DeploymentId, ProjectSlug>,
    /// Whether each project is registered, and when that was found.
    registered: HashMap<ProjectSlug, (bool, Instant)>,
}

impl Known {
    async fn is_reported(&mut self, tools: &Tools, deployment: DeploymentId) -> Result<bool, StoreError> {
        let slug = match self.projects.get(&deployment) {
            Some(slug) => slug.clone(),
            None => {
                let found = tools.backend.store.deployment(deployment).await?;
                // The store may only be behind: whoever takes the entry up looks for the deployment again.
                let Some(found) = found else { return Ok(true) };
                forget_if_full(&mut self.projects);
                self.projects.insert(deployment, found.project.slug.clone());
                found.project.slug
            }
        };
        self.is_registered(tools, &slug).await
    }

    async fn is_registered(&mut self, tools: &Tools, slug: &ProjectSlug) -> Result<bool, StoreError> {
        if let Some((is_registered, found_at)) = self.registered.get(slug)
            && found_at.elapsed() < BELIEVED
        {
            return Ok(*is_registered);
        }
        let is_registered = tools.backend.projects.project(slug).await?.is_some();
        forget_if_full(&mut self.registered);
        self.registered.insert(slug.clone(), (is_registered, Instant::now()));
        Ok(is_registered)
    }
}

/// What was found can be found again.
fn forget_if_full<K, V>(known: &mut HashMap<K, V>) {
    if known.len() >= REMEMBERED_MAX {
        known.clear();
    }
}

#[cfg(test)]
mod tests {
    use slipway_common::contract::sample;
    use slipway_common::model::Stage;

    use super::*;

    #[test]
    fn what_happens_to_one_deployment_is_noted_once() {
        let noted = Noted::default();
        let (one, other) = (DeploymentId::generate(), DeploymentId::generate());
        for deployment in [one, other, one, one] {
            noted.note(deployment);
        }
        assert_eq!(noted.take(), HashSet::from([one, other]));
        assert!(noted.take().is_empty());
    }

    #[test]
    fn more_than_can_be_gathered_are_left_out() {
        let noted = Noted::default();
        for _ in 0..=GATHERED_MAX {
            noted.note(DeploymentId::generate());
        }
        assert_eq!(noted.take().len(), GATHERED_MAX);
    }

    #[test]
    fn progress_within_a_stage_is_not_noted() {
        let message = sample::deploy_job("shop", Timestamp::UNIX_EPOCH);
        let record = |kind| Record::Event(sample::event(&message, 1, Timestamp::UNIX_EPOCH, kind));
        let noted = Noted::default();
        noted.note_record(&record(EventKind::StageProgress { stage: Stage::Build, message: String::new() }));
        assert!(noted.take().is_empty());
        noted.note_record(&record(EventKind::StageStarted { stage: Stage::Build, attempt: 1 }));
        assert_eq!(noted.take(), HashSet::from([message.deployment]));
    }

    #[tokio::test]
    async fn what_the_store_does_not_know_yet_is_noted_all_the_same() {
        let installation = crate::testing::Installation::open();
        let tools = installation.tools();
        let unregistered = installation.accept().await;
        let gathered = HashSet::from([DeploymentId::generate(), unregistered.deployment]);
        note_those_told(&tools, &mut Known::default(), &gathered).await.unwrap();
        let depth = tools.backend.agenda.depth(List::Reports, Timestamp::now()).await.unwrap();
        assert_eq!(depth.0 + depth.1, 1, "not that of a project nobody registered");
    }
}
