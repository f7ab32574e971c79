//! S6 and S7: leases exclude each other and fence; reservations bind a key once.

use std::time::Duration;

use jiff::Timestamp;

use super::Fixture;
use crate::contract::later;
use crate::model::{DeploymentId, JobId};
use crate::store::Reservation;

/// A lease short enough to outlive in a law, for stores that have their own clock.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(600);
/// Longer than [`SHORT`] in real time.
const SHORT_IS_OVER: Duration = Duration::from_millis(1_200);

/// S6: while one holds the lease nobody else gets it; released or expired, the next one does.
pub async fn s6_one_holder_at_a_time(fixture: &dyn Fixture) {
    let store = fixture.backend().await.store;
    let now = Timestamp::now();
    let acquire = async |key: &str, holder: &str, ttl, now| {
        store.acquire_lease(key, holder, ttl, now).await.expect("the store answers")
    };
    let held = acquire("shop/default", "one", LONG, now).await.expect("a free lease is given");
    assert_eq!((held.key.as_str(), held.holder.as_str()), ("shop/default", "one"));
    assert_eq!(acquire("shop/default", "two", LONG, now).await, None, "it is held");
    assert!(acquire("shop/staging", "two", LONG, now).await.is_some(), "another key is another lease");
    assert!(store.renew_lease(&held, LONG, now).await.expect("the store answers"), "still held");
    store.release_lease(&held).await.expect("the store answers");
    assert!(!store.renew_lease(&held, LONG, now).await.expect("the store answers"), "it was given up");
    let short = acquire("shop/default", "two", SHORT, now).await.expect("it is free again");
    tokio::time::sleep(SHORT_IS_OVER).await;
    let then = later(now, 2);
    let third = acquire("shop/default", "three", LONG, then).await.expect("it has expired");
    assert!(!store.renew_lease(&short, LONG, then).await.expect("the store answers"), "it was lost");
    store.release_lease(&short).await.expect("releasing a lost lease is harmless");
    assert!(store.renew_lease(&third, LONG, then).await.expect("the store answers"), "and takes no other's");
}

/// S6: each time the lease is given, its fencing token is larger: after release, expiry and restart, and
/// when the holder itself takes it again.
pub async fn s6_fences_grow(fixture: &dyn Fixture) {
    let mut backend = fixture.backend().await;
    let mut now = Timestamp::now();
    let mut newest = 0;
    for round in 0..6 {
        let holder = if round == 3 { "2" } else { &round.to_string() };
        let ttl = if round == 4 { SHORT } else { LONG };
        let lease = backend.store.acquire_lease("shop/default", holder, ttl, now).await;
        let lease = lease.expect("the store answers").expect("it is free or the holder's own");
        assert!(lease.fence > newest, "fence {} after {newest}", lease.fence);
        newest = lease.fence;
        match round {
            2 => {}
            4 => {
                tokio::time::sleep(SHORT_IS_OVER).await;
                now = later(now, 2);
            }
            _ => backend.store.release_lease(&lease).await.expect("the store answers"),
        }
        if round == 1 {
            backend = fixture.restart().await;
        }
    }
}

/// S6: of many that ask at the same moment, one gets the lease.
pub async fn s6_concurrent_holders_exclude_each_other(fixture: &dyn Fixture) {
    let store = fixture.backend().await.store;
    let now = Timestamp::now();
    let mut holders = tokio::task::JoinSet::new();
    for number in 0..20 {
        let store = store.clone();
        holders.spawn(async move {
            let lease = store.acquire_lease("shop/default", &number.to_string(), LONG, now).await;
            lease.expect("the store answers").is_some()
        });
    }
    let winners = holders.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(winners, 1);
}

fn reservation(scope: &str, fingerprint: &str) -> Reservation {
    Reservation {
        scope: scope.to_owned(),
        fingerprint: fingerprint.to_owned(),
        deployment: DeploymentId::generate(),
        job: JobId::generate(),
        at: Timestamp::now(),
    }
}

/// S7: the first reservation of a key is what all later ones get, across restarts, until it expires.
pub async fn s7_the_first_reservation_wins(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let now = Timestamp::now();
    let first = reservation("ada/key-1", "a");
    let given = backend.store.reserve(&first, LONG, now).await.expect("the store answers");
    assert_eq!(given, first);
    let second = reservation("ada/key-1", "b");
    let given = backend.store.reserve(&second, LONG, now).await.expect("the store answers");
    assert_eq!(given, first, "with the fingerprint of the first, so that the difference shows");
    let other = reservation("grace/key-1", "a");
    let given = backend.store.reserve(&other, SHORT, now).await.expect("the store answers");
    assert_eq!(given, other, "another scope is another key");
    let reopened = fixture.restart().await;
    let given = reopened.store.reserve(&second, LONG, now).await.expect("the store answers");
    assert_eq!(given, first);
    tokio::time::sleep(SHORT_IS_OVER).await;
    let late = reservation("grace/key-1", "c");
    let given = reopened.store.reserve(&late, LONG, later(now, 2)).await.expect("the store answers");
    assert_eq!(given, late, "an expired key is free");
}

/// S7: of many reservations at the same moment, all get the ids of one.
pub async fn s7_concurrent_reservations_agree(fixture: &dyn Fixture) {
    let store = fixture.backend().await.store;
    let now = Timestamp::now();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        requests.spawn(async move {
            store.reserve(&reservation("ada/key-1", "a"), LONG, now).await.expect("the store answers").job
        });
    }
    let mut jobs = requests.join_all().await;
    jobs.dedup();
    assert_eq!(jobs.len(), 1, "everybody got the same job");
}
