//! The laws of registered projects and their heads, P1 to P5.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Fixture;
use super::sample::{pushed_job, registered};
use crate::Backend;
use crate::ledger::Offset;
use crate::model::registered::{Head, HookEntry, RegisteredProject};
use crate::model::{
    DeploymentId, EnvironmentName, Event, EventId, EventKind, HookId, JobMessage, ProjectSlug,
};
use crate::projects::{PROJECTS_PAGE_MAX, Projects};
use crate::record::Record;
use crate::submit::submit;

const MAIN: &str = "refs/heads/main";

pub(super) fn stored(project: &RegisteredProject) -> Record {
    Record::ProjectStored(Box::new(project.clone()))
}

pub(super) fn deleted(project: &RegisteredProject) -> Record {
    Record::ProjectDeleted { slug: project.project.slug.clone(), at: Timestamp::now() }
}

/// Keeps records the way the product does.
pub(super) async fn keep(backend: &Backend, records: &[Record]) {
    for record in records {
        backend.record(record).await.expect("the record is taken");
    }
}

fn environment(name: &str) -> EnvironmentName {
    name.parse().expect("the sample name is one of an environment")
}

fn head(place: &str, reference: &str, revision: &str) -> Head {
    let (reference, revision) = (reference.to_owned(), revision.to_owned());
    Head { environment: environment(place), reference, revision, deployment: None }
}

fn accepted_head(message: &JobMessage) -> Head {
    let trigger = message.trigger.as_ref().expect("a push made it");
    let deployment: Option<DeploymentId> = Some(message.deployment);
    Head { deployment, ..head("default", &trigger.reference, &trigger.revision) }
}

fn seen(project: &RegisteredProject, heads: &[Head], gone: &[(&str, &str)]) -> Record {
    let gone = gone.iter().map(|(place, reference)| (environment(place), (*reference).to_owned()));
    Record::HeadsSeen {
        slug: project.project.slug.clone(),
        seen: heads.to_vec(),
        gone: gone.collect(),
        at: Timestamp::now(),
    }
}

async fn one(projects: &dyn Projects, project: &RegisteredProject) -> Option<RegisteredProject> {
    projects.project(&project.project.slug).await.expect("it answers")
}

async fn all(projects: &dyn Projects) -> Vec<RegisteredProject> {
    projects.page(None, PROJECTS_PAGE_MAX).await.expect("it answers")
}

async fn heads(projects: &dyn Projects, project: &RegisteredProject) -> Vec<Head> {
    projects.heads(&project.project.slug).await.expect("it answers")
}

async fn hook(projects: &dyn Projects, id: HookId) -> Option<HookEntry> {
    projects.hook(id).await.expect("it answers")
}

/// P1: the last record of a slug counts, now and after a restart; an old record that is applied again changes nothing.
pub async fn p1_a_project_is_what_was_recorded_last(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let now = Timestamp::now();
    let (first, blog) = (registered("shop", now), registered("blog", now));
    let second = RegisteredProject { user: "grace".to_owned(), ..registered("shop", now) };
    assert_eq!(one(&*backend.projects, &first).await, None);
    keep(&backend, &[stored(&first), stored(&blog)]).await;
    assert_eq!(one(&*backend.projects, &first).await.as_ref(), Some(&first));
    keep(&backend, &[stored(&second), deleted(&blog)]).await;
    for old in [stored(&first), stored(&blog)] {
        backend.store.apply(&old).await.expect("a late repetition is harmless");
    }
    assert_eq!(all(&*backend.projects).await, std::slice::from_ref(&second));
    fixture.settled().await;
    let settled = all(&*backend.projects).await;
    assert_eq!(settled, std::slice::from_ref(&second), "when the ledger has been read too");
    let projects = fixture.restart().await.projects;
    fixture.settled().await;
    assert_eq!(one(&*projects, &first).await, Some(second));
    assert_eq!(one(&*projects, &blog).await, None);
    assert_eq!(projects.count().await.expect("it answers"), 1);
}

/// P1: a project that is registered again begins without heads.
pub async fn p1_deleting_it_deletes_its_heads(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let projects = &*backend.projects;
    let (shop, blog) = (registered("shop", Timestamp::now()), registered("blog", Timestamp::now()));
    let main = [head("default", MAIN, "a1")];
    keep(&backend, &[stored(&shop), stored(&blog)]).await;
    keep(&backend, &[seen(&shop, &main, &[]), seen(&blog, &main, &[]), deleted(&shop)]).await;
    assert!(heads(projects, &shop).await.is_empty());
    keep(&backend, &[seen(&shop, &[head("default", MAIN, "b2")], &[]), stored(&shop)]).await;
    assert!(heads(projects, &shop).await.is_empty(), "what is not registered has none");
    fixture.settled().await;
    assert!(heads(projects, &shop).await.is_empty());
    assert_eq!(heads(projects, &blog).await, main, "its neighbour keeps its own");
}

/// P2: pages of any size give every project once, by slug, and no more than may be in one.
pub async fn p2_pages_are_complete_and_in_order(fixture: &dyn Fixture) {
    const MANY: usize = 130;
    let backend = fixture.backend().await;
    let projects = &*backend.projects;
    assert!(all(projects).await.is_empty() && projects.count().await.expect("it answers") == 0);
    let mut made: Vec<RegisteredProject> =
        (0..MANY).map(|number| registered(&format!("shop-{number}"), Timestamp::now())).collect();
    let records: Vec<Record> = made.iter().map(stored).collect();
    for some in records.chunks(50) {
        backend.ledger.append_all(some).await.expect("the ledger takes them");
        backend.store.apply_all(some).await.expect("the store takes them");
    }
    made.sort_by(|one, other| one.project.slug.cmp(&other.project.slug));
    let count = projects.count().await.expect("it answers");
    assert_eq!(count, u64::try_from(MANY).expect("a small number"));
    for limit in [7, PROJECTS_PAGE_MAX, usize::MAX] {
        let mut found: Vec<RegisteredProject> = Vec::new();
        loop {
            let after = found.last().map(|project| &project.project.slug);
            let page = projects.page(after, limit).await.expect("it answers");
            assert!(page.len() <= limit.min(PROJECTS_PAGE_MAX));
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert!(found == made, "{} of {MANY} were found {limit} at a time", found.len());
    }
    assert!(projects.page(None, 0).await.expect("it answers").is_empty());
}

/// P3: the hook a project has now is found, and no other.
pub async fn p3_every_hook_is_found(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let projects = &*backend.projects;
    let (old, blog) = (registered("shop", Timestamp::now()), registered("blog", Timestamp::now()));
    let shop = registered("shop", Timestamp::now());
    assert_eq!(hook(projects, old.hook.id).await, None);
    keep(&backend, &[stored(&old), stored(&blog)]).await;
    assert_eq!(hook(projects, old.hook.id).await, Some(old.hook_entry()));
    keep(&backend, &[stored(&shop)]).await;
    for _ in 0..2 {
        assert_eq!(hook(projects, old.hook.id).await, None, "it has another one");
        assert_eq!(hook(projects, shop.hook.id).await, Some(shop.hook_entry()));
        assert_eq!(hook(projects, blog.hook.id).await, Some(blog.hook_entry()));
        let hooks = projects.hooks().await.expect("it answers");
        assert_eq!(hooks.len(), 2, "{hooks:?}");
        assert!(hooks.contains(&shop.hook_entry()) && hooks.contains(&blog.hook_entry()), "{hooks:?}");
        fixture.settled().await;
    }
    keep(&backend, &[deleted(&shop)]).await;
    assert_eq!(hook(projects, shop.hook.id).await, None);
    assert_eq!(projects.hooks().await.expect("it answers"), [blog.hook_entry()]);
    assert_eq!(hook(projects, HookId::generate()).await, None);
}

/// P4: sightings and acceptances move heads in the order they come; an acceptance that is repeated moves none.
pub async fn p4_heads_are_what_was_seen_or_accepted_last(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let projects = &*backend.projects;
    let shop = registered("shop", Timestamp::now());
    keep(&backend, &[stored(&shop)]).await;
    assert!(heads(projects, &shop).await.is_empty());
    let tag = head("production", "refs/tags/v1.0.0", "a1");
    let base = [tag.clone(), head("default", "refs/heads/next", "c3"), head("default", MAIN, "a1")];
    keep(&backend, &[seen(&shop, &base, &[])]).await;
    let in_order = [base[2].clone(), base[1].clone(), tag.clone()];
    assert_eq!(heads(projects, &shop).await, in_order, "by environment and ref");
    let pushed = pushed_job("shop", MAIN, "b2", Timestamp::now());
    submit(&backend, &pushed).await.expect("a job is accepted");
    fixture.settled().await;
    assert_eq!(heads(projects, &shop).await[0], accepted_head(&pushed));
    let main = [head("default", MAIN, "d4")];
    keep(&backend, &[seen(&shop, &main, &[("default", "refs/heads/next")])]).await;
    let expected = [main[0].clone(), tag];
    assert_eq!(heads(projects, &shop).await, expected);
    submit(&backend, &pushed).await.expect("a repetition is harmless");
    let stranger = pushed_job("blog", MAIN, "b2", Timestamp::now());
    submit(&backend, &stranger).await.expect("a job is accepted");
    fixture.settled().await;
    assert_eq!(heads(projects, &shop).await, expected);
    let nobody = projects.heads(&stranger.project.slug).await.expect("it answers");
    assert!(nobody.is_empty(), "its project is not registered");
    keep(&backend, &[stored(&shop)]).await;
    fixture.settled().await;
    let projects = fixture.restart().await.projects;
    fixture.settled().await;
    assert_eq!(heads(&*projects, &shop).await, expected, "a change of the project leaves them");
}

/// P5: folding the ledger's records by hand gives what is answered, and applying all of them again changes nothing.
pub async fn p5_a_replay_gives_the_same_projects_and_heads(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let now = Timestamp::now();
    let (shop, blog, wiki) = (registered("shop", now), registered("blog", now), registered("wiki", now));
    let early = [head("default", MAIN, "a0")];
    keep(&backend, &[seen(&blog, &early, &[]), stored(&shop), stored(&blog)]).await;
    for (name, revision) in [("shop", "a1"), ("blog", "b1"), ("wiki", "c1"), ("shop", "a2")] {
        submit(&backend, &pushed_job(name, MAIN, revision, now)).await.expect("a job is accepted");
    }
    fixture.settled().await;
    let tags = [head("production", "refs/tags/v1", "a1"), head("production", "refs/tags/v2", "a2")];
    keep(
        &backend,
        &[
            seen(&shop, &tags, &[]),
            stored(&wiki),
            deleted(&blog),
            seen(&shop, &[head("default", MAIN, "a3")], &[("production", "refs/tags/v1")]),
            stored(&registered("shop", now)),
            stored(&blog),
            deleted(&wiki),
            seen(&wiki, &tags, &[]),
        ],
    )
    .await;
    fixture.settled().await;
    let ledger = backend.ledger.read(Offset(1), 10_000).await.expect("the ledger answers");
    let replayed = replay(&ledger);
    assert_eq!(replayed.len(), 2, "shop with its heads, blog without");
    is_so(&*backend.projects, &replayed, "after the ledger").await;
    for (_, record) in &ledger {
        backend.store.apply(record).await.expect("a replayed record is harmless");
    }
    is_so(&*backend.projects, &replayed, "after a second replay").await;
    let projects = fixture.restart().await.projects;
    fixture.settled().await;
    is_so(&*projects, &replayed, "after a restart").await;
}

/// A project with its heads, by environment and ref.
type Folded = (RegisteredProject, BTreeMap<(EnvironmentName, String), Head>);

fn replay(ledger: &[(Offset, Record)]) -> BTreeMap<ProjectSlug, Folded> {
    let mut folded: BTreeMap<ProjectSlug, Folded> = BTreeMap::new();
    let mut known: BTreeSet<EventId> = BTreeSet::new();
    for (_, record) in ledger {
        match record {
            Record::ProjectStored(project) => {
                let heads = folded.remove(&project.project.slug).map(|(_, heads)| heads).unwrap_or_default();
                folded.insert(project.project.slug.clone(), ((**project).clone(), heads));
            }
            Record::ProjectDeleted { slug, .. } => drop(folded.remove(slug)),
            Record::HeadsSeen { slug, seen, gone, .. } => {
                let Some((_, heads)) = folded.get_mut(slug) else { continue };
                heads.extend(seen.iter().map(|head| (place(head), head.clone())));
                gone.iter().for_each(|place| drop(heads.remove(place)));
            }
            Record::Event(Event { id, kind: EventKind::Accepted { message }, .. }) if known.insert(*id) => {
                let Some((_, heads)) = folded.get_mut(&message.project.slug) else { continue };
                let head = accepted_head(message);
                heads.insert(place(&head), head);
            }
            Record::Event(_)
            | Record::CredentialStored(_)
            | Record::CredentialDeleted { .. }
            | Record::TokenCreated(_)
            | Record::TokenRevoked { .. }
            | Record::AutoscalerStored(_)
            | Record::AutoscalerDeleted { .. }
            | Record::ReplicasWished(_)
            | Record::DeliveryReceived(_)
            | Record::JobBuried(_)
            | Record::JobUnburied { .. } => {}
        }
    }
    folded
}

fn place(head: &Head) -> (EnvironmentName, String) {
    (head.environment.clone(), head.reference.clone())
}

async fn is_so(projects: &dyn Projects, expected: &BTreeMap<ProjectSlug, Folded>, when: &str) {
    let found = all(projects).await;
    assert!(found.iter().eq(expected.values().map(|(project, _)| project)), "{when}: {found:?}");
    for (project, expected) in expected.values() {
        let found = heads(projects, project).await;
        assert!(found.iter().eq(expected.values()), "{when}: {found:?}");
    }
}
