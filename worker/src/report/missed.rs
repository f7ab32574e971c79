//! Results that nobody may have told: the agenda is kept in no ledger, and what of it was lost is noted again here, from the
//! deployments that are known.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::agenda::List;
use slipway_common::model::{Deployment, ProjectSlug};
use slipway_common::store::filter::PAGE_LIMIT_MAX;
use slipway_common::store::{DeploymentFilter, Page, StoreError};

use super::told::Told;
use crate::stage::Tools;

/// Who notes or tells what has just happened is at work on it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most deployments that are gone through: of those results are still told of, and in any case.
const RECENT_MAX: usize = 10_000;
const NEWEST_MAX: usize = 1_000;

/// Notes the deployments of registered projects to which something happened lately that may not have been told; answers how
/// many there were.
pub(crate) async fn note_missed(tools: &Tools, now: Timestamp) -> Result<usize, StoreError> {
    let reports = &tools.settings.reports;
    // What is older was given up.
    let since = now.checked_sub(reports.give_up.min(reports.keep)).unwrap_or(Timestamp::MIN);
    let until = now.checked_sub(PATIENCE).unwrap_or(Timestamp::MIN);
    let mut registered = HashMap::new();
    let mut page = Page { limit: PAGE_LIMIT_MAX, ..Page::default() };
    let (mut seen, mut noted) = (0, 0);
    loop {
        let found = tools.backend.store.deployments(&DeploymentFilter::default(), &page).await?;
        let mut missed = Vec::new();
        for deployment in &found.deployments {
            let is_lately = deployment.updated_at >= since && deployment.updated_at <= until;
            if is_lately && is_missed(tools, deployment, &mut registered).await? {
                missed.push(deployment.id.to_string());
            }
        }
        tools.backend.agenda.note(List::Reports, &missed, now).await?;
        noted += missed.len();
        seen += found.deployments.len();
        let is_recent = found.deployments.last().is_some_and(|last| last.created_at >= since);
        let seen_max = if is_recent { RECENT_MAX } else { NEWEST_MAX };
        page.cursor = found.next;
        if page.cursor.is_none() || seen >= seen_max {
            return Ok(noted);
        }
    }
}

/// Whether nobody has looked at the deployment since it changed, though somebody should have.
async fn is_missed(
    tools: &Tools,
    deployment: &Deployment,
    registered: &mut HashMap<ProjectSlug, Option<Timestamp>>,
) -> Result<bool, StoreError> {
    let slug = &deployment.project.slug;
    let since = match registered.get(slug) {
        Some(since) => *since,
        None => {
            let since = tools.backend.projects.project(slug).await?.map(|project| project.created_at);
            registered.insert(slug.clone(), since);
            since
        }
    };
    // What happened before its project was registered concerns nobody.
    if since.is_none_or(|since| deployment.updated_at < since) {
        return Ok(false);
    }
    let memo = tools.backend.agenda.memo(List::Reports, &deployment.id.to_string()).await?;
    Ok(Told::of(memo.as_deref()).is_behind(deployment.updated_at))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use slipway_common::agenda::{Due, Next};
    use slipway_common::contract::sample;
    use slipway_common::model::{Event, JobMessage};
    use slipway_common::record::Record;

    use super::*;
    use crate::testing::Installation;

    const TTL: Duration = Duration::from_secs(60);

    /// A deployment that is accepted at this time.
    async fn accepted(installation: &Installation, project: &str, at: Timestamp) -> JobMessage {
        let message = JobMessage { accepted_at: at, ..sample::deploy_job(project, at) };
        installation.backend.record(&Record::Event(Event::accepted(&message))).await.unwrap();
        message
    }

    /// The memo of somebody who looked at the deployment as it was then.
    fn memo(as_of: Timestamp) -> Option<String> {
        let mut told = Told::default();
        told.as_of = Some(as_of);
        told.memo()
    }

    async fn due(installation: &Installation, now: Timestamp) -> Vec<Due> {
        installation.backend.agenda.claim(List::Reports, 100, TTL, now).await.unwrap()
    }

    #[tokio::test]
    async fn what_of_the_agenda_was_lost_is_noted_again_and_what_was_told_is_not() {
        let installation = Installation::open();
        let tools = installation.tools();
        let now = Timestamp::now();
        let ago = |pause: SignedDuration| now - pause;
        let project = sample::registered("shop", ago(SignedDuration::from_hours(100)));
        installation.backend.record(&Record::ProjectStored(Box::new(project))).await.unwrap();
        let lost = accepted(&installation, "shop", ago(SignedDuration::from_mins(10))).await;
        accepted(&installation, "shop", now).await;
        accepted(&installation, "shop", ago(SignedDuration::from_hours(30))).await;
        accepted(&installation, "other", ago(SignedDuration::from_mins(10))).await;

        assert_eq!(note_missed(&tools, now).await.unwrap(), 1, "neither new, nor given up, nor unregistered");
        let claimed = due(&installation, now).await;
        assert_eq!(claimed.len(), 1);
        assert_eq!(claimed[0].key, lost.deployment.to_string());

        let (told, rest) = (memo(lost.accepted_at), Next::Rest(TTL));
        let agenda = &installation.backend.agenda;
        assert!(agenda.settle(List::Reports, &claimed[0], rest, told.as_deref(), now).await.unwrap());
        assert_eq!(note_missed(&tools, now).await.unwrap(), 0, "somebody has looked at it since");
        let told = memo(ago(SignedDuration::from_mins(11)));
        agenda.note(List::Reports, &[lost.deployment.to_string()], now).await.unwrap();
        let claimed = due(&installation, now).await;
        assert!(agenda.settle(List::Reports, &claimed[0], rest, told.as_deref(), now).await.unwrap());
        assert_eq!(note_missed(&tools, now).await.unwrap(), 1, "something has happened since");
    }

    #[tokio::test]
    async fn what_happened_before_its_project_was_registered_is_told_to_nobody() {
        let installation = Installation::open();
        let tools = installation.tools();
        let now = Timestamp::now();
        let ago = |minutes| now - SignedDuration::from_mins(minutes);
        accepted(&installation, "shop", ago(20)).await;
        let project = sample::registered("shop", ago(10));
        installation.backend.record(&Record::ProjectStored(Box::new(project))).await.unwrap();
        assert_eq!(note_missed(&tools, now).await.unwrap(), 0);
        accepted(&installation, "shop", ago(5)).await;
        assert_eq!(note_missed(&tools, now).await.unwrap(), 1);
    }
}
