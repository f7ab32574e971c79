//! What has to be known before anything is told: the deployment, its project, its events and its last words, without the
//! secrets that are known.

use jiff::Timestamp;
use slipway_common::failure::Failure;
use slipway_common::model::registered::RegisteredProject;
use slipway_common::model::{Deployment, DeploymentId, Event};
use slipway_common::store::{DeploymentFilter, Page, StoreError};

use super::note::LOG_LINES_MAX;
use super::noted::is_told;
use super::shown::{clean_deployment, clean_event};
use super::wanted::{Seen, is_same_commit};
use crate::inquiry::redactor;
use crate::stage::{StageError, Tools};
use crate::text::Redactor;

/// Events read at once, and most that are kept of one look.
const EVENTS_PAGE: usize = 500;
const EVENTS_MAX: usize = 4_000;

/// What is known of a deployment whose results are told.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) project: RegisteredProject,
    pub(super) deployment: Deployment,
    pub(super) events: Vec<(u64, Event)>,
    /// Number of the last event that was read.
    pub(super) last: u64,
    /// Whether there are more events after it.
    pub(super) more: bool,
    /// Whether no newer deployment of its environment was accepted.
    pub(super) is_newest: bool,
    log: Vec<String>,
}

/// Why nothing is told of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// The store does not know it.
    Unknown,
    /// Its project is not registered.
    NotRegistered,
}

impl Looked {
    /// The same for whoever decides what is wanted.
    pub(super) fn seen<'a>(&'a self, public_url: Option<&'a str>, forgotten_before: Timestamp) -> Seen<'a> {
        Seen {
            project: &self.project,
            deployment: &self.deployment,
            events: &self.events,
            log: &self.log,
            is_newest: self.is_newest,
            public_url,
            forgotten_before,
        }
    }

    /// Whether nothing can happen to any of its jobs any more.
    pub(super) fn is_settled(&self) -> bool {
        self.deployment.jobs.iter().all(|job| job.state.is_terminal())
    }
}

/// Whether a newer deployment of the same commit into the same environment is known, whose status the commit has.
pub(super) async fn is_repeated(tools: &Tools, deployment: &Deployment) -> Result<bool, StoreError> {
    let filter = DeploymentFilter {
        project: Some(deployment.project.slug.to_string()),
        environment: Some(deployment.environment.to_string()),
        ..DeploymentFilter::default()
    };
    let newest = tools.backend.store.deployments(&filter, &Page::default()).await?.deployments;
    let is_newer = |other: &&Deployment| {
        other.id != deployment.id
            && other.project.slug == deployment.project.slug
            && other.created_at >= deployment.created_at
    };
    Ok(newest.iter().filter(is_newer).any(|other| is_same_commit(other, deployment)))
}

/// Reads what is known of the deployment, and its events after number `after`.
pub(super) async fn look(
    tools: &Tools,
    id: DeploymentId,
    after: u64,
) -> Result<Result<Looked, Silence>, StoreError> {
    let store = &tools.backend.store;
    // Before the deployment: it must know of everything its events tell.
    let (mut events, last, more) = match events(tools, id, after).await {
        Err(StoreError::UnknownDeployment { .. }) => return Ok(Err(Silence::Unknown)),
        read => read?,
    };
    let Some(mut deployment) = store.deployment(id).await? else { return Ok(Err(Silence::Unknown)) };
    let Some(project) = tools.backend.projects.project(&deployment.project.slug).await? else {
        return Ok(Err(Silence::NotRegistered));
    };
    let newest = store.newest(&deployment.project.slug, &deployment.environment).await?;
    let (redactor, may_show_log) = match redactor(tools, &deployment).await {
        Ok(redactor) => (redactor, true),
        Err(StageError::Store(error)) => return Err(error),
        // Whose secrets cannot be opened has not come far enough to print them; its log is kept back all the same.
        Err(_) => (Redactor::new([]), false),
    };
    let log = match &deployment.failure {
        Some(failure) if may_show_log => log(tools, id, failure, &redactor).await?,
        Some(_) | None => Vec::new(),
    };
    clean_deployment(&mut deployment, &redactor);
    events.iter_mut().for_each(|(_, event)| clean_event(event, &redactor));
    let is_newest = newest.is_none_or(|newest| newest == id);
    Ok(Ok(Looked { project, deployment, events, last, more, log, is_newest }))
}

/// Events after number `after` of which somebody may be told, the number of the last that was read, and whether there
/// are more.
async fn events(
    tools: &Tools,
    id: DeploymentId,
    after: u64,
) -> Result<(Vec<(u64, Event)>, u64, bool), StoreError> {
    let (mut read, mut last) = (Vec::new(), after);
    while read.len() < EVENTS_MAX {
        let page = tools.backend.store.events(id, last, EVENTS_PAGE).await?;
        let is_last = page.len() < EVENTS_PAGE;
        last = page.last().map_or(last, |(number, _)| *number);
        read.extend(page.into_iter().filter(|(_, event)| is_told(&event.kind)));
        if is_last {
            return Ok((read, last, false));
        }
    }
    Ok((read, last, true))
}

/// The last log lines of what failed.
async fn log(
    tools: &Tools,
    id: DeploymentId,
    failure: &Failure,
    redactor: &Redactor,
) -> Result<Vec<String>, StoreError> {
    let lines: Vec<String> = if failure.log_tail.is_empty() {
        let stored = tools.backend.store.log_tail(id, failure.stage, LOG_LINES_MAX).await?;
        stored.into_iter().map(|line| line.text).collect()
    } else {
        failure.log_tail.clone()
    };
    Ok(lines.iter().map(|line| redactor.shown(line)).collect())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use slipway_common::contract::sample;
    use slipway_common::submit::submit;

    use super::*;
    use crate::testing::Installation;

    #[tokio::test]
    async fn a_commit_that_is_deployed_again_has_the_status_of_the_newer_deployment() {
        let installation = Installation::open();
        let (tools, store) = (installation.tools(), &installation.backend.store);
        let mut all = Vec::new();
        for (minutes, revision) in [(3, "1"), (2, "2"), (1, "1")] {
            let at = Timestamp::now() - SignedDuration::from_mins(minutes);
            let message = sample::pushed_job("shop", "refs/heads/main", &revision.repeat(40), at);
            submit(&installation.backend, &message).await.unwrap();
            all.push(store.deployment(message.deployment).await.unwrap().unwrap());
        }
        assert!(is_repeated(&tools, &all[0]).await.unwrap());
        assert!(!is_repeated(&tools, &all[1]).await.unwrap(), "what came later is another commit");
        assert!(!is_repeated(&tools, &all[2]).await.unwrap(), "it is the newest");
    }
}
