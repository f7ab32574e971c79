//! What the store does when Redis loses, damages or refuses things.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::fixture::{Installation, KEPT};
use crate::contract::sample::{course, deploy_job};
use crate::contract::{Fixture as _, eventually};
use crate::model::job::JobMessage;
use crate::model::{DeploymentId, Event, JobId, RequestKey, Stage};
use crate::record::Record;
use crate::store::{DeploymentFilter, LogLine, Page, Reservation, Store, StoreError};

async fn fill(installation: &Installation, count: usize) -> Vec<JobMessage> {
    let backend = installation.backend().await;
    let mut made = Vec::new();
    for number in 0..count {
        let mut message = deploy_job(&format!("shop-{number}"), Timestamp::now());
        let (scope, fingerprint) = (format!("ada/key-{number}"), "a".to_owned());
        message.request = Some(RequestKey { scope, fingerprint });
        crate::submit::submit(&backend, &message).await.expect("accepted");
        for event in course(&message, 1, message.accepted_at) {
            backend.record(&Record::Event(event)).await.expect("taken");
        }
        made.push(message);
    }
    installation.settled().await;
    made
}

fn reservation(scope: &str) -> Reservation {
    Reservation {
        scope: scope.to_owned(),
        fingerprint: "a".to_owned(),
        deployment: DeploymentId::generate(),
        job: JobId::generate(),
        at: Timestamp::now(),
    }
}

/// D6 at the store: a flush is noticed, no answer is made up meanwhile, and everything is back, twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_is_noticed_and_made_good() {
    let installation = Installation::make().await;
    let made = fill(&installation, 10).await;
    let store = installation.store();
    let page = Page { limit: 100, ..Page::default() };
    let before = store.deployments(&DeploymentFilter::default(), &page).await.expect("answers");
    for _ in 0..2 {
        assert_eq!(installation.redis.control("FLUSHALL").await, "+OK\r\n");
        let flushed = Instant::now();
        loop {
            match store.deployments(&DeploymentFilter::default(), &page).await {
                Ok(after) => {
                    assert_eq!(after, before, "never half of it");
                    break;
                }
                Err(StoreError::Unavailable { reason }) => {
                    assert!(reason.contains("rebuilt"), "{reason}");
                    assert!(flushed.elapsed() < Duration::from_secs(30), "it takes too long");
                }
                Err(other) => panic!("a flushed store gave {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // The idempotency keys are bound as before.
    let again = store.reserve(&reservation("ada/key-3"), KEPT, Timestamp::now()).await.expect("answers");
    assert_eq!((again.job, again.deployment), (made[3].id, made[3].deployment));
    assert!(installation.process().projector.figures().begun >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_in_the_middle_of_a_rebuild_starts_again() {
    let installation = Installation::make().await;
    let message = deploy_job("shop", Timestamp::now());
    installation.ledger.add(Record::Event(Event::accepted(&message)));
    for number in 0..3_000 {
        let other = deploy_job(&format!("shop-{}", number % 40), Timestamp::UNIX_EPOCH);
        installation.ledger.add(Record::Event(Event::accepted(&other)));
    }
    installation.settled().await;
    installation.ledger.slow(Duration::from_millis(300));
    let store = installation.store();
    installation.redis.control("FLUSHALL").await;
    let projector = &installation.process().projector;
    let half = || async { (500..2_500).contains(&projector.figures().projected).then_some(()) };
    eventually("half of the rebuild", half).await;
    let early = store.deployment(message.deployment).await;
    assert!(matches!(early, Err(StoreError::Unavailable { .. })), "half a store gave {early:?}");
    installation.redis.control("FLUSHALL").await;
    installation.ledger.slow(Duration::ZERO);
    installation.works().await;
    let page = store.deployments(&DeploymentFilter::default(), &Page::default()).await.expect("answers");
    assert_eq!(page.total, 3_001);
}

/// What 30 s are for: 14,000 records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_ledger_is_projected_in_time() {
    let installation = Installation::make().await;
    let now = Timestamp::now();
    for number in 0..800 {
        let message = deploy_job(&format!("shop-{}", number % 100), now);
        installation.ledger.add(Record::Event(Event::accepted(&message)));
        for event in course(&message, 1, now) {
            installation.ledger.add(Record::Event(event));
        }
    }
    installation.settled().await;
    let begun = Instant::now();
    let rebuilt = installation.process().projector.rebuild(Duration::from_secs(30)).await;
    rebuilt.expect("it is rebuilt in time");
    eprintln!("{} records were projected in {:?}", installation.ledger.len(), begun.elapsed());
    let page = installation.store().deployments(&DeploymentFilter::default(), &Page::default()).await;
    assert_eq!(page.expect("answers").total, 800);
}

/// B9: whatever stands in the keys, nothing panics, and what the ledger knows comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_the_keys_gives_way() {
    let installation = Installation::make().await;
    let made = fill(&installation, 3).await;
    let store = installation.store();
    let first = made[0].deployment;
    let page = Page { limit: 100, ..Page::default() };
    let before = store.deployments(&DeploymentFilter::default(), &page).await.expect("answers");
    for name in [
        "s:deployment",
        "s:confirmed",
        "s:ordinal",
        "s:state",
        "s:event",
        "s:known",
        "s:refused",
        "s:job",
        "s:all",
        "s:keys",
        "s:ordinals",
        "s:pending",
        "s:seen",
        "s:credential",
        "s:token",
        "s:autoscaler",
        "s:autoscaler:confirmed",
        "s:wish",
        "s:wish:confirmed",
        "dead",
        "dead:at",
        "epoch",
        "projected",
        "ready",
        "rebuilding",
        "projector",
        "healed",
        "s:i:state:active",
        "s:i:user:ada",
    ] {
        for kind in ["SET", "LPUSH", "SADD"] {
            installation.redis.control("DEL test:healed").await;
            installation.redis.control(&format!("DEL test:{name}")).await;
            installation.redis.control(&format!("{kind} test:{name} garbage")).await;
            use_everything(&store, &made[0]).await;
        }
        installation.redis.control("DEL test:healed").await;
        use_everything(&store, &made[0]).await;
        // Not every damage shows by itself: an index may be gone without a trace. The command for that is a rebuild.
        let rebuilt = installation.process().projector.rebuild(Duration::from_secs(20)).await;
        rebuilt.unwrap_or_else(|error| panic!("after garbage in {name}: {error}"));
        let after = store.deployments(&DeploymentFilter::default(), &page).await;
        assert_eq!(after.expect("answers"), before, "after garbage in {name}");
    }
    installation.redis.control(&format!("HSET test:s:deployment {first} garbage")).await;
    installation.redis.control("DEL test:healed").await;
    assert!(store.deployment(first).await.is_err());
    let back =
        eventually("the deployment coming back", || async { store.deployment(first).await.ok() }).await;
    assert_eq!(back.map(|deployment| deployment.id), Some(first));
}

/// Calls what reads and writes; any answer will do.
async fn use_everything(store: &dyn Store, message: &JobMessage) {
    let (id, now) = (message.deployment, Timestamp::now());
    drop(store.deployment(id).await);
    drop(store.job(message.id).await);
    drop(store.events(id, 0, 10).await);
    drop(store.deployments(&DeploymentFilter::default(), &Page::default()).await);
    let filter = DeploymentFilter {
        user: Some("ada".to_owned()),
        state: Some(crate::model::DeploymentState::Active),
        ..DeploymentFilter::default()
    };
    drop(store.deployments(&filter, &Page::default()).await);
    drop(store.count_by_state().await);
    drop(store.newest(&message.project.slug, &message.environment).await);
    drop(store.in_service(&message.project.slug, &message.environment).await);
    drop(store.credentials().await);
    drop(store.tokens().await);
    drop(store.token("ab").await);
    drop(store.apply(&Record::Event(Event::accepted(message))).await);
    drop(store.reserve(&reservation("ada/key-9"), KEPT, now).await);
    drop(store.check().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_beside_the_projection_is_as_good_as_absent() {
    let installation = Installation::make().await;
    let made = fill(&installation, 1).await;
    let (store, id, now) = (installation.store(), made[0].deployment, Timestamp::now());
    for kind in ["SET", "LPUSH", "SADD"] {
        for name in ["lease:shop", "reserve:bob/1", &format!("live:{id}"), &format!("log:{id}:build")] {
            installation.redis.control(&format!("DEL test:{name}")).await;
            installation.redis.control(&format!("{kind} test:{name} garbage")).await;
        }
        installation.redis.control(&format!("{kind} test:log:{id}:build:head garbage")).await;
        assert_eq!(store.live(id).await.expect("answers"), None);
        let page = store.read_log(id, Stage::Build, 0, 10).await.expect("answers");
        assert!(page.lines.is_empty());
        let line = LogLine::new(now, "building");
        store.append_log(id, Stage::Build, std::slice::from_ref(&line), 1_000).await.expect("taken");
        assert_eq!(store.log_tail(id, Stage::Build, 1).await.expect("answers"), [line]);
        let lease = store.acquire_lease("shop", "one", KEPT, now).await.expect("answers");
        assert!(lease.expect("it is free").fence >= u64::try_from(now.as_microsecond()).unwrap());
        let wanted = reservation("bob/1");
        assert_eq!(store.reserve(&wanted, KEPT, now).await.expect("answers"), wanted);
    }
    installation.redis.control("HSET test:lease:shop holder x fence nan expires inf").await;
    drop(store.acquire_lease("shop", "one", KEPT, now).await.expect("answers"));
    installation.redis.control("HSET test:reserve:eve/1 expires 9e15 body garbage").await;
    let wanted = reservation("eve/1");
    assert_eq!(store.reserve(&wanted, KEPT, now).await.expect("answers"), wanted);
}
