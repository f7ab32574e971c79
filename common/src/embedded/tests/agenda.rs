//! The agenda and registered projects in the tables: rebuilds, owners, retention and waits.

use super::*;
use crate::agenda::{Agenda, Next};
use crate::contract::sample::{pushed_job, registered};
use crate::model::registered::RegisteredProject;

const TTL: Duration = Duration::from_secs(60);

async fn store(backend: &Backend, name: &str) -> RegisteredProject {
    let project = registered(name, Timestamp::now());
    backend.record(&Record::ProjectStored(Box::new(project.clone()))).await.unwrap();
    project
}

/// Claims all that is due, and settles it.
async fn settle_all(agenda: &dyn Agenda, next: Next, memo: Option<&str>, now: Timestamp) -> Vec<String> {
    let claimed = agenda.claim(List::Sweeps, 100, TTL, now).await.unwrap();
    for due in &claimed {
        assert!(agenda.settle(List::Sweeps, due, next, memo, now).await.unwrap());
    }
    claimed.into_iter().map(|due| due.key).collect()
}

#[tokio::test]
async fn a_rebuild_gives_the_same_projects_and_looks_at_all_of_them() {
    let (_folder, embedded) = fresh();
    let backend = embedded.backend();
    let (shop, blog) = (store(&backend, "shop").await, store(&backend, "blog").await);
    backend.queue.enqueue(&pushed_job("shop", "refs/heads/main", "a1", Timestamp::now())).await.unwrap();
    let gone = Record::ProjectDeleted { slug: blog.project.slug.clone(), at: Timestamp::now() };
    backend.record(&gone).await.unwrap();
    let heads = backend.projects.heads(&shop.project.slug).await.unwrap();
    assert_eq!(heads.len(), 1);
    let now = later(Timestamp::now(), 5);
    settle_all(&*backend.agenda, Next::Rest(LONG), Some("memo"), now).await;
    meddle(&embedded, "UPDATE projects SET body = 'damaged'; DELETE FROM heads").await;
    let damaged = backend.projects.project(&shop.project.slug).await;
    assert!(matches!(damaged, Err(StoreError::Corrupt { what: "project", .. })), "{damaged:?}");

    embedded.rebuild().await.unwrap();
    assert_eq!(backend.projects.page(None, 9).await.unwrap(), std::slice::from_ref(&shop));
    assert_eq!(backend.projects.heads(&shop.project.slug).await.unwrap(), heads);
    let slug = shop.project.slug.as_str();
    assert_eq!(backend.agenda.memo(List::Sweeps, slug).await.unwrap().as_deref(), Some("memo"));
    let due = settle_all(&*backend.agenda, Next::Gone, None, now).await;
    assert_eq!(due, [slug], "what was deleted is not looked at");
}

#[tokio::test]
async fn a_new_owner_voids_what_the_old_one_had_claimed() {
    let (_folder, embedded) = fresh();
    let agenda = embedded.backend().agenda;
    let now = Timestamp::now();
    agenda.note(List::Reports, &["one".to_owned()], now).await.unwrap();
    let old = agenda.claim(List::Reports, 9, LONG, now).await.unwrap();
    embedded.release_all_claims(now).await.unwrap();
    let new = agenda.claim(List::Reports, 9, LONG, now).await.unwrap();
    assert_eq!((old.len(), new.len()), (1, 1));
    assert!(new[0].token > old[0].token);
    assert!(!agenda.settle(List::Reports, &old[0], Next::Gone, None, now).await.unwrap());
}

#[tokio::test]
async fn memos_at_rest_go_when_their_time_is_over() {
    let (_folder, embedded) = fresh();
    let agenda = embedded.backend().agenda;
    let now = Timestamp::now();
    agenda.note(List::Sweeps, &["shop".to_owned(), "blog".to_owned()], now).await.unwrap();
    settle_all(&*agenda, Next::Rest(TTL), Some("memo"), now).await;
    agenda.note(List::Sweeps, &["blog".to_owned()], now).await.unwrap();
    assert_eq!(embedded.prune(later(now, 59)).await.unwrap(), Pruned::default());
    assert_eq!(agenda.memo(List::Sweeps, "shop").await.unwrap().as_deref(), Some("memo"));
    assert_eq!(embedded.prune(later(now, 61)).await.unwrap(), Pruned { memos: 1, ..Pruned::default() });
    assert_eq!(agenda.memo(List::Sweeps, "shop").await.unwrap(), None);
    assert_eq!(agenda.memo(List::Sweeps, "blog").await.unwrap().as_deref(), Some("memo"), "it is due");
}

#[tokio::test]
async fn a_wait_ends_when_the_time_of_an_entry_comes() {
    let (_folder, embedded) = fresh();
    let agenda = embedded.backend().agenda;
    let at = Timestamp::now().saturating_add(Duration::from_millis(300)).unwrap();
    agenda.note(List::Sweeps, &["shop".to_owned()], at).await.unwrap();
    agenda.wait(List::Sweeps, LONG).await;
    let late = Timestamp::now().duration_since(at);
    assert!(late >= jiff::SignedDuration::from_millis(-1), "woke {late:?} before the time");
    assert!(late < jiff::SignedDuration::from_secs(2), "woke {late:?} after the time");
}
