//! S5: lists are newest first and complete, with the true total.

use jiff::Timestamp;

use super::{Fixture, accepted, record, submit};
use crate::contract::sample::{course, deploy_job, event};
use crate::model::{DeploymentId, DeploymentState, EventKind};
use crate::store::{DeploymentFilter, Page, Store};

async fn ids(store: &dyn Store, filter: &DeploymentFilter, page: &Page) -> Vec<DeploymentId> {
    let page = store.deployments(filter, page).await.expect("the store answers");
    page.deployments.iter().map(|deployment| deployment.id).collect()
}

/// S5: walking the pages gives every deployment once, newest first, also while new ones arrive.
pub async fn s5_pages_are_complete_and_newest_first(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let mut made = Vec::new();
    for number in 0..7 {
        made.push(accepted(fixture, &backend, &format!("shop-{}", number % 2)).await.deployment);
    }
    made.reverse();
    let everything = DeploymentFilter::default();
    let (mut seen, mut cursor, mut total) = (Vec::new(), None, 7);
    loop {
        let page = Page { limit: 3, cursor, skip: 0 };
        let page = backend.store.deployments(&everything, &page).await.expect("the store answers");
        assert_eq!(page.total, total, "the total is the true one on every page");
        seen.extend(page.deployments.iter().map(|deployment| deployment.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
        accepted(fixture, &backend, "newcomer").await;
        total += 1;
    }
    assert_eq!(seen, made, "no page repeats or skips");
    let exact = Page { limit: u32::try_from(total).unwrap_or(u32::MAX), ..Page::default() };
    let page = backend.store.deployments(&everything, &exact).await.expect("the store answers");
    assert!(page.next.is_none(), "a page that holds the rest is the last one");
    let skipped = Page { limit: 2, cursor: None, skip: u32::try_from(total - 7 + 2).unwrap_or(u32::MAX) };
    assert_eq!(ids(&*backend.store, &everything, &skipped).await, made[2..4]);
}

/// S5: every filter selects what it names, and the counts agree with the lists.
pub async fn s5_filters_and_totals(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let shop = accepted(fixture, &backend, "shop").await;
    let mut blog = deploy_job("blog", Timestamp::now());
    blog.user = "grace".to_owned();
    blog.environment = "staging".parse().expect("a valid name");
    submit(fixture, &backend, &blog).await;
    for event in course(&blog, 1, blog.accepted_at) {
        record(&backend, &event).await;
    }
    let none = DeploymentFilter::default;
    let cases = [
        (DeploymentFilter { project: Some(shop.project.slug.as_str().to_owned()), ..none() }, &shop),
        (DeploymentFilter { project: Some(shop.project.path.clone()), ..none() }, &shop),
        (DeploymentFilter { project: Some("blog".to_owned()), ..none() }, &blog),
        (DeploymentFilter { environment: Some("staging".to_owned()), ..none() }, &blog),
        (DeploymentFilter { state: Some(DeploymentState::Active), ..none() }, &blog),
        (DeploymentFilter { state: Some(DeploymentState::Queued), ..none() }, &shop),
        (DeploymentFilter { user: Some("grace".to_owned()), ..none() }, &blog),
    ];
    for (filter, expected) in cases {
        let page = backend.store.deployments(&filter, &Page::default()).await.expect("the store answers");
        let found: Vec<_> = page.deployments.iter().map(|deployment| deployment.id).collect();
        assert_eq!((found, page.total), (vec![expected.deployment], 1), "{filter:?}");
        assert!(page.deployments.iter().all(|deployment| filter.matches(deployment)), "{filter:?}");
    }
    let hostile = DeploymentFilter { user: Some("' OR 1=1 --".to_owned()), ..none() };
    assert!(ids(&*backend.store, &hostile, &Page::default()).await.is_empty());
    let contradictory =
        DeploymentFilter { user: Some("grace".to_owned()), state: Some(DeploymentState::Queued), ..none() };
    assert!(ids(&*backend.store, &contradictory, &Page::default()).await.is_empty());
    let counts = backend.store.count_by_state().await.expect("the store answers");
    let count =
        |state| counts.iter().filter(|(known, _)| *known == state).map(|(_, count)| count).sum::<u64>();
    assert_eq!((count(DeploymentState::Active), count(DeploymentState::Queued)), (1, 1));
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), 2);
}

/// S5: the newest of a place is the one accepted last, and those in service are known.
pub async fn s5_newest_and_in_service(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let store = &backend.store;
    let first = accepted(fixture, &backend, "shop").await;
    let (slug, environment) = (first.project.slug.clone(), first.environment.clone());
    for event in course(&first, 1, first.accepted_at) {
        record(&backend, &event).await;
    }
    // Ids do not decide: the second one has the smaller id.
    let mut second = deploy_job("shop", Timestamp::now());
    second.deployment = DeploymentId::from(uuid::Uuid::from_u128(1));
    submit(fixture, &backend, &second).await;
    accepted(fixture, &backend, "blog").await;
    let newest = store.newest(&slug, &environment).await.expect("the store answers");
    assert_eq!(newest, Some(second.deployment), "the one accepted last");
    let in_service = store.in_service(&slug, &environment).await.expect("the store answers");
    assert_eq!(in_service, [first.deployment]);
    let degraded = EventKind::Degraded { reason: "one replica is gone".to_owned() };
    record(&backend, &event(&first, 0, Timestamp::now(), degraded)).await;
    for event in course(&second, 2, second.accepted_at) {
        record(&backend, &event).await;
    }
    let in_service = store.in_service(&slug, &environment).await.expect("the store answers");
    assert_eq!(in_service, [second.deployment, first.deployment], "newest first, degraded ones too");
    let replaced = EventKind::Replaced { by: second.deployment };
    record(&backend, &event(&first, 3, Timestamp::now(), replaced)).await;
    let in_service = store.in_service(&slug, &environment).await.expect("the store answers");
    assert_eq!(in_service, [second.deployment]);
    let elsewhere = "staging".parse().expect("a valid name");
    assert_eq!(store.newest(&slug, &elsewhere).await.expect("the store answers"), None);
    assert!(store.in_service(&slug, &elsewhere).await.expect("the store answers").is_empty());
}
