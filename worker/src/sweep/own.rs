//! Tells Slipway's own commits from those of people: what it has pushed itself must not make it deploy again.

use slipway_common::model::{Deployment, DeploymentId, EnvironmentName, ProjectSlug};
use slipway_common::store::{DeploymentFilter, Page};

use super::decide::Question;
use super::fault::Fault;
use super::look::Look;
use crate::git::CommitInfo;
use crate::stage::{Tools, trailer};

/// Most own commits on top of each other that are gone through.
const OWN_MAX: usize = 5;

/// The deployment whose commit the ref was moved by, when it was moved by Slipway alone: the environment has that commit, or
/// needs nothing of it.
pub(super) async fn maker(
    look: &Look<'_>,
    question: &Question,
    before: &str,
) -> Result<Option<DeploymentId>, Fault> {
    let branch = question.branch.as_ref();
    look.fetch(&question.revision, branch).await?;
    let mirror = &look.source.mirror;
    let mut info = mirror.commit_info(&question.revision).await?;
    let Some(maker) = made_by(look, &info, &question.revision).await? else { return Ok(None) };
    let newest = newest_triggered(look.tools(), look.slug(), &question.environment).await?;
    let commit = newest.as_ref().and_then(|newest| newest.facts.commit.as_ref());
    if commit.is_some_and(|commit| commit.revision == question.revision) {
        return Ok(newest.map(|newest| newest.id));
    }
    for _ in 0..OWN_MAX {
        let Some(parent) = info.first_parent.take() else { return Ok(None) };
        if parent == before {
            return Ok(Some(maker));
        }
        look.fetch(&parent, branch).await?;
        info = mirror.commit_info(&parent).await?;
        if made_by(look, &info, &parent).await?.is_none() {
            return Ok(None);
        }
    }
    Ok(None)
}

/// The deployment of this project that has made the commit. That a commit says so is not enough: a commit that somebody has
/// changed says the same.
async fn made_by(look: &Look<'_>, info: &CommitInfo, revision: &str) -> Result<Option<DeploymentId>, Fault> {
    let named = info.trailer(trailer::DEPLOYMENT).and_then(|text| text.parse::<DeploymentId>().ok());
    let Some(named) = named else { return Ok(None) };
    let deployment = look.tools().backend.store.deployment(named).await?;
    Ok(deployment.filter(|found| has_made(found, look.slug(), revision)).map(|found| found.id))
}

/// Whether the deployment has made the commit, or may have and has not said so yet. Pure.
fn has_made(deployment: &Deployment, slug: &ProjectSlug, revision: &str) -> bool {
    let commit = deployment.facts.commit.as_ref();
    deployment.project.slug == *slug && commit.is_none_or(|commit| commit.revision == revision)
}

/// The deployment of the environment that was made last of a ref that moved.
async fn newest_triggered(
    tools: &Tools,
    slug: &ProjectSlug,
    environment: &EnvironmentName,
) -> Result<Option<Deployment>, Fault> {
    let filter = DeploymentFilter {
        project: Some(slug.to_string()),
        environment: Some(environment.to_string()),
        ..DeploymentFilter::default()
    };
    let page = tools.backend.store.deployments(&filter, &Page::default()).await?;
    Ok(page.deployments.into_iter().find(|deployment| deployment.trigger.is_some()))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use slipway_common::contract::sample;
    use slipway_common::model::{CommitFact, Event};
    use slipway_common::state::begin;

    use super::*;

    #[test]
    fn a_commit_that_somebody_has_changed_is_not_slipways_own() {
        let message = sample::deploy_job("shop", Timestamp::UNIX_EPOCH);
        let mut deployment = begin(&Event::accepted(&message)).unwrap();
        let (own, other) = ("a".repeat(40), "b".repeat(40));
        let slug = deployment.project.slug.clone();
        assert!(has_made(&deployment, &slug, &own), "pushed, and not said yet");
        deployment.facts.commit =
            Some(CommitFact { revision: own.clone(), generated: true, branch: None, merge_request: None });
        assert!(has_made(&deployment, &slug, &own));
        assert!(!has_made(&deployment, &slug, &other));
        assert!(!has_made(&deployment, &"elsewhere".parse().unwrap(), &own));
    }
}
