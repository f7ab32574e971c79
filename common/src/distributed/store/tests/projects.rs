//! Registered projects and the agenda in Redis: the ledger's order decides, and what Redis loses is noted again.

use std::time::Duration;

use jiff::Timestamp;

use super::fixture::Installation;
use crate::Backend;
use crate::agenda::{Agenda, List, Next};
use crate::contract::sample::{pushed_job, registered};
use crate::contract::{Fixture as _, eventually, later};
use crate::model::registered::{Head, HookEntry, RegisteredProject};
use crate::model::{EnvironmentName, Event, JobMessage};
use crate::record::Record;

const MAIN: &str = "refs/heads/main";
const TTL: Duration = Duration::from_secs(600);

fn stored(project: &RegisteredProject) -> Record {
    Record::ProjectStored(Box::new(project.clone()))
}

fn seen(project: &RegisteredProject, reference: &str, revision: &str) -> Record {
    let head = Head {
        environment: EnvironmentName::default_name(),
        reference: reference.to_owned(),
        revision: revision.to_owned(),
        deployment: None,
    };
    let slug = project.project.slug.clone();
    Record::HeadsSeen { slug, seen: vec![head], gone: Vec::new(), at: Timestamp::now() }
}

fn accepted(message: &JobMessage) -> Record {
    Record::Event(Event::accepted(message))
}

/// Refs and revisions of a project's heads.
async fn heads(backend: &Backend, project: &RegisteredProject) -> Vec<(String, String)> {
    let heads = backend.projects.heads(&project.project.slug).await.unwrap();
    heads.into_iter().map(|head| (head.reference, head.revision)).collect()
}

fn at(reference: &str, revision: &str) -> (String, String) {
    (reference.to_owned(), revision.to_owned())
}

async fn register(backend: &Backend, name: &str) -> RegisteredProject {
    let project = registered(name, Timestamp::now());
    backend.record(&stored(&project)).await.unwrap();
    project
}

/// What is due, each with its memo; it is left as it is said.
async fn swept(agenda: &dyn Agenda, next: Next, memo: Option<&str>) -> Vec<(String, Option<String>)> {
    let now = later(Timestamp::now(), 5);
    let claimed = agenda.claim(List::Sweeps, 100, TTL, now).await.unwrap();
    for due in &claimed {
        assert!(agenda.settle(List::Sweeps, due, next, memo, now).await.unwrap());
    }
    claimed.into_iter().map(|due| (due.key, due.memo)).collect()
}

async fn rebuild(installation: &Installation) {
    installation.process().projector.rebuild(Duration::from_secs(20)).await.expect("it is rebuilt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_were_moved_ahead_are_put_in_the_ledgers_order() {
    let installation = Installation::make().await;
    let backend = installation.backend().await;
    let shop = register(&backend, "shop").await;
    installation.settled().await;
    let (early, late) = (seen(&shop, MAIN, "a1"), seen(&shop, MAIN, "b2"));
    let pushed = accepted(&pushed_job("shop", "refs/heads/next", "c3", Timestamp::now()));
    for record in [&pushed, &late, &early] {
        backend.store.apply(record).await.unwrap();
    }
    let ahead = [at(MAIN, "a1"), at("refs/heads/next", "c3")];
    assert_eq!(heads(&backend, &shop).await, ahead);
    // One that nobody has applied comes in between, on another ref.
    for record in [early, seen(&shop, "refs/heads/old", "d4"), pushed, late] {
        installation.ledger.add(record);
    }
    installation.settled().await;
    let settled = [at(MAIN, "b2"), at("refs/heads/next", "c3"), at("refs/heads/old", "d4")];
    assert_eq!(heads(&backend, &shop).await, settled);
    installation.ledger.add(seen(&shop, MAIN, "e5"));
    installation.settled().await;
    let settled = [at(MAIN, "e5"), settled[1].clone(), settled[2].clone()];
    assert_eq!(heads(&backend, &shop).await, settled);
    rebuild(&installation).await;
    assert_eq!(heads(&backend, &shop).await, settled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_the_ledger_refuses_moves_no_head() {
    let installation = Installation::make().await;
    let backend = installation.backend().await;
    let shop = register(&backend, "shop").await;
    installation.settled().await;
    let one = pushed_job("shop", MAIN, "a1", Timestamp::now());
    let other = JobMessage {
        deployment: one.deployment,
        ..pushed_job("shop", "refs/heads/next", "b2", Timestamp::now())
    };
    backend.store.apply(&accepted(&one)).await.unwrap();
    assert_eq!(heads(&backend, &shop).await, [at(MAIN, "a1")]);
    for message in [&other, &one] {
        installation.ledger.add(accepted(message));
    }
    installation.settled().await;
    assert_eq!(heads(&backend, &shop).await, [at("refs/heads/next", "b2")]);
    rebuild(&installation).await;
    assert_eq!(heads(&backend, &shop).await, [at("refs/heads/next", "b2")]);
}

/// A project that was deleted in the ledger only takes its heads along, also those that were seen ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_only_the_ledger_deleted_is_gone() {
    let installation = Installation::make().await;
    let backend = installation.backend().await;
    let shop = register(&backend, "shop").await;
    installation.settled().await;
    let ahead = seen(&shop, MAIN, "a1");
    backend.store.apply(&ahead).await.unwrap();
    let slug = shop.project.slug.clone();
    installation.ledger.add(Record::ProjectDeleted { slug, at: Timestamp::now() });
    installation.ledger.add(ahead);
    installation.settled().await;
    assert_eq!(backend.projects.project(&shop.project.slug).await.unwrap(), None);
    assert_eq!(backend.projects.hook(shop.hook.id).await.unwrap(), None);
    assert!(heads(&backend, &shop).await.is_empty());
    assert_eq!(backend.projects.count().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_flush_every_registered_project_is_looked_at() {
    let installation = Installation::make().await;
    let backend = installation.backend().await;
    let (shop, blog) = (register(&backend, "shop").await, register(&backend, "blog").await);
    backend.record(&seen(&shop, MAIN, "a1")).await.unwrap();
    let slug = blog.project.slug.clone();
    backend.record(&Record::ProjectDeleted { slug, at: Timestamp::now() }).await.unwrap();
    installation.settled().await;
    let resting = Next::At(later(Timestamp::now(), 9_000));
    assert_eq!(swept(&*backend.agenda, resting, Some("memo")).await.len(), 2);
    let slug = shop.project.slug.as_str().to_owned();
    rebuild(&installation).await;
    let due = swept(&*backend.agenda, resting, Some("memo")).await;
    assert!(due.contains(&(slug.clone(), Some("memo".to_owned()))), "a rebuild leaves memos: {due:?}");
    installation.redis.control("FLUSHALL").await;
    let due = eventually("the project being due", || async {
        let due = swept(&*backend.agenda, resting, None).await;
        (!due.is_empty()).then_some(due)
    });
    assert_eq!(due.await, [(slug, None)]);
    assert_eq!(heads(&backend, &shop).await, [at(MAIN, "a1")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_project_comes_back() {
    let installation = Installation::make().await;
    let backend = installation.backend().await;
    let shop = register(&backend, "shop").await;
    installation.settled().await;
    let slug = &shop.project.slug;
    installation.redis.control(&format!("HSET test:s:project {slug} garbage")).await;
    assert!(backend.projects.project(slug).await.is_err());
    let back = || async { backend.projects.hooks().await.ok().filter(|hooks| !hooks.is_empty()) };
    assert_eq!(eventually("the project coming back", back).await, [shop.hook_entry()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_the_place_of_an_agenda_gives_way() {
    let installation = Installation::make().await;
    let agenda = installation.backend().await.agenda;
    let now = Timestamp::now();
    let shop = ["shop".to_owned()];
    for kind in ["SET", "LPUSH", "SADD"] {
        for key in ["sweeps:due", "sweeps:claimed", "sweeps:of:shop", "tokens"] {
            installation.redis.control(&format!("DEL test:agenda:{key}")).await;
            installation.redis.control(&format!("{kind} test:agenda:{key} garbage")).await;
        }
        assert_eq!(agenda.memo(List::Sweeps, "shop").await.unwrap(), None);
        assert_eq!(agenda.depth(List::Sweeps, now).await.unwrap(), (0, 0));
        agenda.note(List::Sweeps, &shop, now).await.unwrap();
        let claimed = agenda.claim(List::Sweeps, 9, TTL, now).await.unwrap();
        assert_eq!(claimed.len(), 1);
        let least = u64::try_from(now.as_microsecond()).unwrap();
        assert!(claimed[0].token > least, "whatever Redis forgets, tokens grow");
        assert!(agenda.settle(List::Sweeps, &claimed[0], Next::Gone, None, now).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_of_many_projects_are_read_in_few_steps() {
    const MANY: usize = 2_300;
    let installation = Installation::make().await;
    let backend = installation.backend().await;
    let mut made: Vec<HookEntry> = Vec::new();
    for number in 0..MANY {
        let project = registered(&format!("shop-{number}"), Timestamp::now());
        made.push(project.hook_entry());
        installation.ledger.add(stored(&project));
    }
    installation.settled().await;
    made.sort_by(|one, other| one.project.cmp(&other.project));
    let found = backend.projects.hooks().await.unwrap();
    assert!(found == made, "{} of {MANY} were found", found.len());
    assert_eq!(backend.projects.count().await.unwrap(), u64::try_from(MANY).unwrap());
    assert_eq!(backend.agenda.depth(List::Sweeps, later(Timestamp::now(), 5)).await.unwrap().0, 2_300);
}

/// Memos at rest are kept no longer than was said, and a little.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memos_at_rest_have_a_lifetime() {
    let installation = Installation::make().await;
    let agenda = installation.backend().await.agenda;
    let now = Timestamp::now();
    let keeps = async |expected: bool| {
        let left = installation.redis.control("PTTL test:agenda:sweeps:of:shop").await;
        let left: i64 = left.trim().trim_start_matches(':').parse().unwrap();
        assert_eq!(left > 0, expected, "{left} ms");
    };
    agenda.note(List::Sweeps, &["shop".to_owned()], now).await.unwrap();
    let claimed = agenda.claim(List::Sweeps, 9, TTL, now).await.unwrap();
    assert!(agenda.settle(List::Sweeps, &claimed[0], Next::Rest(TTL), Some("memo"), now).await.unwrap());
    keeps(true).await;
    agenda.note(List::Sweeps, &["shop".to_owned()], now).await.unwrap();
    keeps(false).await;
    assert_eq!(agenda.memo(List::Sweeps, "shop").await.unwrap().as_deref(), Some("memo"));
}
