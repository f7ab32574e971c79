//! Autoscalers in the tables: how they get there, and how much is kept beside them.

use super::*;
use crate::autoscaler::Entry;
use crate::contract::autoscaler::{autoscaler, decision, learned, observed, place, state, wish};
use crate::model::autoscaler::{OBSERVED_KEPT_MAX, Observed, Place};

async fn number(embedded: &Embedded, sql: &'static str) -> i64 {
    let read = move |connection: &Connection| Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?);
    embedded.shared.read(read).await.unwrap()
}

async fn store(backend: &Backend, place: &Place) -> Entry {
    let (autoscaler, wish) = (autoscaler(place, 5), wish(place, 2));
    backend.record(&Record::AutoscalerStored(Box::new(autoscaler.clone()))).await.unwrap();
    backend.record(&Record::ReplicasWished(wish.clone())).await.unwrap();
    Entry { autoscaler, wish: Some(wish) }
}

#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(DATABASE_FILE);
    let connection = Connection::open(&file).unwrap();
    connection.execute_batch(include_str!("../schema/001.sql")).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    let accepted = Record::Event(Event::accepted(&deploy_job("shop", Timestamp::now())));
    let body = serde_json::to_string(&accepted).unwrap();
    connection.execute("INSERT INTO ledger (body) VALUES (?1)", [body]).unwrap();
    drop(connection);

    let embedded = open(folder.path(), |_| {});
    assert_eq!(number(&embedded, "PRAGMA user_version").await, 4);
    let backend = embedded.backend();
    assert!(backend.autoscalers.all().await.unwrap().is_empty());
    assert_eq!(backend.projects.count().await.unwrap(), 0);
    let entry = store(&backend, &place("shop")).await;
    assert_eq!(embedded.rebuild().await.unwrap(), 3, "what the ledger had is there");
    assert_eq!(everything(&backend).await.total, 1);
    drop((embedded, backend));
    let backend = reopen(&folder, |_| {}).await.backend();
    assert_eq!(backend.autoscalers.all().await.unwrap(), [entry], "and is not made anew");
}

#[tokio::test]
async fn a_rebuild_keeps_what_stands_beside_the_autoscalers_there_are() {
    let (_folder, embedded) = fresh();
    let backend = embedded.backend();
    let shop = place("shop");
    store(&backend, &shop).await;
    backend.record(&Record::AutoscalerDeleted { place: shop.clone(), at: Timestamp::now() }).await.unwrap();
    let entry = store(&backend, &shop).await;
    let (state, decision) = (state(3, 2), decision(2));
    let seen = observed(Timestamp::now(), 2);
    backend.autoscalers.put_states(&[(shop.clone(), state.clone())]).await.unwrap();
    backend.autoscalers.append_decisions(&[(shop.clone(), decision.clone())]).await.unwrap();
    backend.autoscalers.append_observed(&shop, &[seen]).await.unwrap();
    backend.autoscalers.put_learned(&[(shop.clone(), learned(3, "a lot"))]).await.unwrap();
    meddle(&embedded, "INSERT INTO autoscaler_states VALUES ('nowhere', 'default', 1, '{}')").await;
    meddle(&embedded, "INSERT INTO autoscaler_learned VALUES ('nowhere', 'default', 1, '{}')").await;
    meddle(&embedded, "UPDATE autoscalers SET body = 'damaged'").await;
    let damaged = backend.autoscalers.all().await;
    assert!(matches!(damaged, Err(StoreError::Corrupt { what: "autoscaler", .. })), "{damaged:?}");

    embedded.rebuild().await.unwrap();
    assert_eq!(backend.autoscalers.all().await.unwrap(), [entry]);
    assert_eq!(backend.autoscalers.state(&shop).await.unwrap(), Some(state));
    assert_eq!(backend.autoscalers.newest_decisions(&shop, 9).await.unwrap(), [(1, decision)]);
    assert_eq!(backend.autoscalers.observed(&shop, Timestamp::MIN).await.unwrap(), [seen]);
    assert_eq!(backend.autoscalers.learned(&shop).await.unwrap(), Some(learned(3, "a lot")));
    let tables = ["SELECT COUNT(*) FROM autoscaler_states", "SELECT COUNT(*) FROM autoscaler_learned"];
    for rows in tables {
        assert_eq!(number(&embedded, rows).await, 1, "what stands beside no autoscaler goes: {rows}");
    }
}

#[tokio::test]
async fn rows_of_old_observations_go() {
    const EACH: usize = 100;
    let (_folder, embedded) = fresh();
    let backend = embedded.backend();
    let shop = place("shop");
    store(&backend, &shop).await;
    let some: Vec<Observed> = (0..).map(|replicas| observed(Timestamp::now(), replicas)).take(EACH).collect();
    for _ in 0..OBSERVED_KEPT_MAX.div_ceil(EACH) + 10 {
        backend.autoscalers.append_observed(&shop, &some).await.unwrap();
    }
    let rows = number(&embedded, "SELECT COUNT(*) FROM autoscaler_observed").await;
    assert_eq!(usize::try_from(rows).unwrap(), OBSERVED_KEPT_MAX.div_ceil(EACH));
    let found = backend.autoscalers.observed(&shop, Timestamp::MIN).await.unwrap();
    assert_eq!(found.len(), OBSERVED_KEPT_MAX, "the oldest row holds some that are not among the newest");
}

#[tokio::test]
async fn a_new_owner_knows_of_no_scaler_of_the_old_one() {
    let (_folder, embedded) = fresh();
    let (autoscalers, now) = (embedded.backend().autoscalers, Timestamp::now());
    assert_eq!(autoscalers.announce("old", LONG, now).await.unwrap(), ["old"]);
    embedded.release_all_claims(now).await.unwrap();
    assert_eq!(autoscalers.announce("new", LONG, now).await.unwrap(), ["new"]);
}
