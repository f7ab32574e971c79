//! When the jobs of pushes were begun, as the history of their deployments says.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::model::EventKind;
use slipway_common::store::filter::PAGE_LIMIT_MAX;
use slipway_common::store::{DeploymentFilter, Page};
use tokio::time::Instant;

use super::load::{Load, Pushed, Shop};

/// Most events of one deployment that are looked through for the first stage.
const EVENTS_MAX: usize = 100;
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What became of the pushes.
#[derive(Debug, Default)]
pub(super) struct Starts {
    /// From each push to the first stage of the deployment of its commit, or of a later one of the same branch.
    pub(super) took: Vec<Duration>,
    /// From each push until that deployment was accepted: the part of it that is not the queue's.
    pub(super) accepted: Vec<Duration>,
    /// Pushes of which a later one was deployed in their place.
    pub(super) overtaken: usize,
    /// Pushes of which nothing came.
    pub(super) lost: usize,
}

/// A deployment whose job was begun.
#[derive(Debug, Clone, Copy)]
struct Begun {
    /// Which commit of the project.
    number: usize,
    at: Timestamp,
    /// When its deployment was accepted.
    accepted_at: Timestamp,
}

/// Waits until something came of every push, `longest` at most.
pub(super) async fn wait(backend: &Backend, load: &Load, longest: Duration) -> Result<Starts> {
    let deadline = Instant::now() + longest;
    let pushed = load.pushed();
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let mut begun = Vec::new();
        for shop in &load.shops {
            begun.push(begun_of(backend, shop).await?);
        }
        let starts = compare(&pushed, &begun);
        if starts.lost == 0 || Instant::now() > deadline {
            return Ok(starts);
        }
    }
}

async fn begun_of(backend: &Backend, shop: &Shop) -> Result<Vec<Begun>> {
    let filter = DeploymentFilter { project: Some(shop.slug.clone()), ..DeploymentFilter::default() };
    let page = Page { limit: PAGE_LIMIT_MAX, ..Page::default() };
    let mut begun = Vec::new();
    for deployment in backend.store.deployments(&filter, &page).await?.deployments {
        let revision = deployment.trigger.as_ref().map(|trigger| trigger.revision.as_str());
        let Some(number) = shop.commits.iter().position(|commit| Some(commit.as_str()) == revision) else {
            continue;
        };
        let events = backend.store.events(deployment.id, 0, EVENTS_MAX).await?;
        let first = events.iter().find(|(_, event)| matches!(event.kind, EventKind::StageStarted { .. }));
        let accepted_at = deployment.created_at;
        begun.extend(first.map(|(_, event)| Begun { number, at: event.at, accepted_at }));
    }
    Ok(begun)
}

/// What came of each push; `begun` is by project. Pure.
fn compare(pushed: &[Pushed], begun: &[Vec<Begun>]) -> Starts {
    let mut starts = Starts::default();
    for push in pushed {
        let of_shop = begun.get(push.shop).into_iter().flatten();
        let first = of_shop.filter(|begun| begun.number >= push.number).min_by_key(|begun| begun.at);
        match first {
            Some(first) => {
                starts.overtaken += usize::from(first.number != push.number);
                let since =
                    |at: Timestamp| Duration::try_from(at.duration_since(push.at)).unwrap_or_default();
                starts.took.push(since(first.at));
                starts.accepted.push(since(first.accepted_at));
            }
            None => starts.lost += 1,
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_begun_with_its_commit_or_a_later_one() {
        let at = Timestamp::from_second;
        let push = |number, second| Pushed { shop: 0, number, at: at(second).unwrap() };
        let begun = |number, second| {
            let at = at(second).unwrap();
            Begun { number, at, accepted_at: at - Duration::from_secs(1) }
        };
        let pushed = [push(1, 10), push(2, 20), push(3, 30), Pushed { shop: 1, ..push(1, 10) }];
        let starts = compare(&pushed, &[vec![begun(3, 34), begun(1, 11), begun(0, 1)], Vec::new()]);
        let seconds = |of: &[Duration]| of.iter().map(Duration::as_secs).collect::<Vec<_>>();
        assert_eq!((seconds(&starts.took), seconds(&starts.accepted)), (vec![1, 14, 4], vec![0, 13, 3]));
        assert_eq!((starts.overtaken, starts.lost), (1, 1));
    }
}
