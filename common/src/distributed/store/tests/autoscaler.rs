//! Autoscalers in Redis: the ledger's order decides, and what stands beside an autoscaler ends with it.

use std::time::Duration;

use jiff::Timestamp;

use super::fixture::Installation;
use crate::Backend;
use crate::autoscaler::{Autoscalers, Entry};
use crate::contract::autoscaler::{autoscaler, decision, learned, observed, place, state, wish};
use crate::contract::{Fixture as _, eventually, later};
use crate::model::autoscaler::{AutoscalerState, Place};
use crate::record::Record;

const LONG: Duration = Duration::from_secs(600);
/// Every key of what stands beside autoscalers.
const BESIDE: &str = "KEYS test:scaled:*";

async fn store(backend: &Backend, place: &Place) -> Entry {
    let autoscaler = autoscaler(place, 9);
    backend.record(&Record::AutoscalerStored(Box::new(autoscaler.clone()))).await.unwrap();
    Entry { autoscaler, wish: None }
}

/// One state, decision and observation, and something learned; answers the state.
async fn say(autoscalers: &dyn Autoscalers, place: &Place) -> AutoscalerState {
    let state = state(7, 3);
    autoscalers.put_states(&[(place.clone(), state.clone())]).await.unwrap();
    autoscalers.append_decisions(&[(place.clone(), decision(3))]).await.unwrap();
    autoscalers.append_observed(place, &[observed(Timestamp::now(), 3)]).await.unwrap();
    autoscalers.put_learned(&[(place.clone(), learned(7, "a lot"))]).await.unwrap();
    state
}

/// How many decisions and observations there are.
async fn said(autoscalers: &dyn Autoscalers, place: &Place) -> (usize, usize) {
    let decisions = autoscalers.newest_decisions(place, 9).await.unwrap();
    (decisions.len(), autoscalers.observed(place, Timestamp::MIN).await.unwrap().len())
}

async fn rebuild(installation: &Installation) {
    installation.process().projector.rebuild(Duration::from_secs(20)).await.expect("it is rebuilt");
}

/// A wish is none before there is an autoscaler, and it is the ledger that knows what was before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_that_came_first_in_the_ledger_is_none() {
    let installation = Installation::make().await;
    let backend = installation.backend().await;
    let shop = place("shop");
    let (set, wish) = (autoscaler(&shop, 9), wish(&shop, 4));
    let (stored, wished) =
        (Record::AutoscalerStored(Box::new(set.clone())), Record::ReplicasWished(wish.clone()));
    for record in [&stored, &wished] {
        backend.store.apply(record).await.unwrap();
    }
    let ahead = backend.autoscalers.autoscaler(&shop).await.unwrap();
    assert_eq!(ahead, Some(Entry { autoscaler: set.clone(), wish: Some(wish) }));
    installation.ledger.add(wished);
    installation.ledger.add(stored);
    installation.settled().await;
    let settled = backend.autoscalers.autoscaler(&shop).await.unwrap();
    assert_eq!(settled, Some(Entry { autoscaler: set, wish: None }));
    rebuild(&installation).await;
    assert_eq!(backend.autoscalers.autoscaler(&shop).await.unwrap(), settled);
}

/// Settings that were only appended, because the store was away, are not lost behind a wish that was applied at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_does_not_hide_settings_the_ledger_brings() {
    let installation = Installation::make().await;
    let backend = installation.backend().await;
    let shop = place("shop");
    store(&backend, &shop).await;
    installation.settled().await;
    installation.ledger.slow(Duration::from_millis(300));
    let (set, wish) = (autoscaler(&shop, 3), wish(&shop, 2));
    installation.ledger.add(Record::AutoscalerStored(Box::new(set.clone())));
    backend.record(&Record::ReplicasWished(wish.clone())).await.unwrap();
    installation.settled().await;
    let expected = Entry { autoscaler: set, wish: Some(wish) };
    assert_eq!(backend.autoscalers.all().await.unwrap(), [expected]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_brings_back_what_the_ledger_knows() {
    let installation = Installation::make().await;
    let backend = installation.backend().await;
    let (shop, autoscalers) = (place("shop"), &*backend.autoscalers);
    store(&backend, &shop).await;
    backend.record(&Record::ReplicasWished(wish(&shop, 4))).await.unwrap();
    say(autoscalers, &shop).await;
    let before = autoscalers.all().await.unwrap();
    assert_eq!(installation.redis.control("FLUSHALL").await, "+OK\r\n");
    let after = eventually("the autoscalers coming back", || async { autoscalers.all().await.ok() }).await;
    assert_eq!(after, before, "never half of it");
    assert_eq!(autoscalers.state(&shop).await.unwrap(), None);
    assert_eq!(said(autoscalers, &shop).await, (0, 0));
    let state = say(autoscalers, &shop).await;
    assert_eq!(autoscalers.state(&shop).await.unwrap(), Some(state));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_beside_an_autoscaler_outlives_a_rebuild_and_ends_with_it() {
    let installation = Installation::make().await;
    let backend = installation.backend().await;
    let (shop, autoscalers) = (place("shop"), &*backend.autoscalers);
    let delete = || Record::AutoscalerDeleted { place: shop.clone(), at: Timestamp::now() };
    store(&backend, &shop).await;
    say(autoscalers, &shop).await;
    backend.record(&delete()).await.unwrap();
    assert_eq!(installation.redis.control(BESIDE).await, "*0\r\n", "nothing of it is left");
    let entry = store(&backend, &shop).await;
    let state = say(autoscalers, &shop).await;
    installation.settled().await;
    for _ in 0..2 {
        assert_eq!(autoscalers.all().await.unwrap(), std::slice::from_ref(&entry));
        assert_eq!(autoscalers.state(&shop).await.unwrap().as_ref(), Some(&state));
        assert_eq!(said(autoscalers, &shop).await, (1, 1), "the first one's end is not its end");
        assert_eq!(autoscalers.learned(&shop).await.unwrap(), Some(learned(7, "a lot")));
        rebuild(&installation).await;
    }
    // One that only the ledger has deleted ends with the projection of that.
    installation.ledger.add(delete());
    installation.settled().await;
    assert!(autoscalers.all().await.unwrap().is_empty());
    assert_eq!(installation.redis.control(BESIDE).await, "*0\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_beside_an_autoscaler_is_as_good_as_absent() {
    let installation = Installation::make().await;
    let backend = installation.backend().await;
    let (shop, autoscalers) = (place("shop"), &*backend.autoscalers);
    let entry = store(&backend, &shop).await;
    say(autoscalers, &shop).await;
    let keys = installation.redis.control(BESIDE).await;
    let keys: Vec<&str> = keys.lines().filter(|line| line.starts_with("test:")).collect();
    assert_eq!(keys.len(), 4, "{keys:?}");
    for kind in ["SET", "LPUSH", "SADD", "ZADD"] {
        for key in keys.iter().copied().chain(["test:scalers"]) {
            installation.redis.control(&format!("DEL {key}")).await;
            let garbage = if kind == "ZADD" { "1 garbage" } else { "garbage" };
            installation.redis.control(&format!("{kind} {key} {garbage}")).await;
        }
        assert_eq!(autoscalers.state(&shop).await.unwrap(), None);
        assert_eq!(autoscalers.learned(&shop).await.unwrap(), None);
        assert_eq!(said(autoscalers, &shop).await, (0, 0));
        autoscalers.withdraw("one").await.unwrap();
        assert_eq!(autoscalers.announce("one", LONG, Timestamp::now()).await.unwrap(), ["one"]);
        let state = say(autoscalers, &shop).await;
        assert_eq!(autoscalers.state(&shop).await.unwrap(), Some(state));
        assert_eq!(autoscalers.learned(&shop).await.unwrap(), Some(learned(7, "a lot")));
        assert_eq!(said(autoscalers, &shop).await, (1, 1));
        assert_eq!(autoscalers.all().await.unwrap(), std::slice::from_ref(&entry));
    }
}

/// An autoscaler that cannot be read is said, and made good from the ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_autoscaler_comes_back() {
    let installation = Installation::make().await;
    let backend = installation.backend().await;
    let entry = store(&backend, &place("shop")).await;
    installation.settled().await;
    installation.redis.control("HSET test:s:autoscaler shop/default garbage").await;
    assert!(backend.autoscalers.all().await.is_err());
    let back = || async { backend.autoscalers.all().await.ok() };
    assert_eq!(eventually("the autoscaler coming back", back).await, [entry]);
}

/// Who is gone by a clock that is ahead is there by the others, and is not made to flicker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_ahead_takes_nobody_from_the_others() {
    let installation = Installation::make().await;
    let (autoscalers, now) = (installation.backend().await.autoscalers, Timestamp::now());
    let announce =
        async |name: &str, ttl, now| autoscalers.announce(name, ttl, now).await.expect("it is taken");
    announce("one", Duration::from_secs(6), now).await;
    assert_eq!(announce("two", LONG, later(now, 30)).await, ["two"]);
    assert_eq!(announce("three", LONG, now).await, ["one", "three", "two"]);
    assert_eq!(announce("two", LONG, later(now, 90)).await, ["three", "two"], "it has been gone for long");
    assert_eq!(announce("three", LONG, now).await, ["three", "two"]);
}
