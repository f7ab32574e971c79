//! The laws of the queue, Q1 to Q9.

use std::time::Duration;

use jiff::Timestamp;

use super::ledger::read_all;
use super::sample::deploy_job;
use super::{Fixture, eventually, later};
use crate::Backend;
use crate::model::{JobMessage, WorkerId};
use crate::queue::{Claim, JobQueue, QueueDepth, QueueError};
use crate::record::Record;

/// A claim long enough not to expire by itself within a law.
const LONG: Duration = Duration::from_secs(600);

async fn enqueue(backend: &Backend, name: &str) -> JobMessage {
    let message = deploy_job(name, Timestamp::now());
    backend.queue.enqueue(&message).await.expect("a job is accepted");
    message
}

/// Claims the next job; a broker may need a moment to deliver.
async fn claim(queue: &dyn JobQueue, now: Timestamp) -> Claim {
    claim_for(queue, LONG, now).await
}

async fn claim_for(queue: &dyn JobQueue, ttl: Duration, now: Timestamp) -> Claim {
    let worker = WorkerId::generate();
    eventually("a delivery", || async { queue.claim(worker, ttl, now).await.expect("the queue answers") })
        .await
}

async fn nothing_is_due(queue: &dyn JobQueue, now: Timestamp) {
    let claim = queue.claim(WorkerId::generate(), LONG, now).await.expect("the queue answers");
    assert!(
        claim.is_none(),
        "nothing is due, and yet {:?} was delivered",
        claim.map(|claim| claim.message.id)
    );
}

/// The counts may lag behind a little.
async fn depth_becomes(queue: &dyn JobQueue, expected: QueueDepth) {
    eventually("the expected depth", || async {
        // A broker that has just come back may refuse the question once.
        let depth = queue.depth(Timestamp::now()).await.ok();
        (depth == Some(expected)).then_some(())
    })
    .await;
}

fn is_lost<T>(result: &Result<T, QueueError>) -> bool {
    matches!(result, Err(QueueError::ClaimLost { .. }))
}

/// Q1: what `enqueue` acknowledged is delivered after a crash, and the ledger has its acceptance.
pub async fn q1_survives_restart(fixture: &dyn Fixture) {
    let before = fixture.backend().await;
    let message = enqueue(&before, "shop").await;
    let after = fixture.restart().await;
    let claim = claim(&*after.queue, Timestamp::now()).await;
    assert_eq!(claim.message, message, "the job comes back as it was");
    let records = read_all(&*after.ledger, 1).await;
    let accepted = records.iter().filter(|(_, record)| {
        matches!(record, Record::Event(event) if event.job == message.id && event.kind.name() == "accepted")
    });
    assert_eq!(accepted.count(), 1, "the ledger has one acceptance of the job");
}

/// Q2: a job is delivered again and again until it is completed, and never afterwards.
pub async fn q2_delivers_until_completed(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let message = enqueue(&backend, "shop").await;
    let start = Timestamp::now();
    let first = claim_for(&*backend.queue, Duration::from_secs(2), start).await;
    assert_eq!(first.message.id, message.id);
    // The worker dies: its claim runs out. Real time passes too, for queues that have their own clock.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let second = claim(&*backend.queue, later(start, 3)).await;
    assert_eq!(second.message, message, "the job is delivered again, unchanged");
    backend.queue.complete(&second, later(start, 4)).await.expect("the claim holds");
    nothing_is_due(&*backend.queue, later(start, 3_600)).await;
    let reopened = fixture.restart().await;
    nothing_is_due(&*reopened.queue, later(start, 3_600)).await;
}

/// Q2: a claimed job is delivered again after the crash of its worker, with or without a restart.
pub async fn q2_delivers_again_after_restart(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let message = enqueue(&backend, "shop").await;
    let start = Timestamp::now();
    claim_for(&*backend.queue, Duration::from_secs(2), start).await;
    let reopened = fixture.restart().await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let again = claim(&*reopened.queue, later(start, 3)).await;
    assert_eq!(again.message, message);
}

/// Q3: while a claim holds, nobody else gets the job; renewing makes it hold longer.
pub async fn q3_a_claim_is_exclusive(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    enqueue(&backend, "shop").await;
    let start = Timestamp::now();
    let claimed = claim_for(&*backend.queue, Duration::from_secs(30), start).await;
    nothing_is_due(&*backend.queue, later(start, 29)).await;
    backend.queue.renew(&claimed, Duration::from_secs(30), later(start, 29)).await.expect("the claim holds");
    nothing_is_due(&*backend.queue, later(start, 58)).await;
    backend.queue.complete(&claimed, later(start, 58)).await.expect("the claim still holds");
}

/// Q3: of many claims at the same moment, each job goes to exactly one.
pub async fn q3_concurrent_claims_share_nothing(fixture: &dyn Fixture) {
    const JOBS: usize = 20;
    let backend = fixture.backend().await;
    for number in 0..JOBS {
        enqueue(&backend, &format!("shop-{}", number % 3)).await;
    }
    let now = Timestamp::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..JOBS {
        let queue = backend.queue.clone();
        workers.spawn(async move { claim(&*queue, now).await.message.id });
    }
    let mut delivered = workers.join_all().await;
    delivered.sort_unstable();
    delivered.dedup();
    assert_eq!(delivered.len(), JOBS, "every job was delivered to one claimer");
    nothing_is_due(&*backend.queue, now).await;
}

/// Q3: a claim that expired and was taken over can do nothing, and does not disturb the new one.
pub async fn q3_a_lost_claim_is_powerless(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let queue = &*backend.queue;
    enqueue(&backend, "shop").await;
    let start = Timestamp::now();
    let old = claim_for(queue, Duration::from_secs(2), start).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let now = later(start, 3);
    let new = claim(queue, now).await;
    assert!(is_lost(&queue.renew(&old, LONG, now).await), "renew");
    assert!(is_lost(&queue.complete(&old, now).await), "complete");
    assert!(is_lost(&queue.park(&old, now, now).await), "park");
    assert!(is_lost(&queue.bury(&old, "no", now).await), "bury");
    queue.complete(&new, now).await.expect("the new claim is untouched");
    assert!(is_lost(&queue.complete(&new, now).await), "a claim ends once");
}

/// Q4: each claim of a job carries a larger token than all before, across parking and restarts.
pub async fn q4_tokens_grow(fixture: &dyn Fixture) {
    let mut backend = fixture.backend().await;
    enqueue(&backend, "shop").await;
    let mut newest = 0;
    for round in 0..4 {
        let now = Timestamp::now();
        let claimed = claim(&*backend.queue, now).await;
        assert!(claimed.token > newest, "token {} after {newest}", claimed.token);
        newest = claimed.token;
        backend.queue.park(&claimed, now, now).await.expect("the claim holds");
        if round == 1 {
            backend = fixture.restart().await;
        }
    }
}

/// Q5: a parked job is not delivered before its time, and then is; `wait` does not oversleep it.
pub async fn q5_parked_until_its_time(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let queue = &*backend.queue;
    enqueue(&backend, "shop").await;
    let claimed = claim(queue, Timestamp::now()).await;
    let now = Timestamp::now();
    let until = now.saturating_add(Duration::from_millis(1_500)).expect("a short time later");
    queue.park(&claimed, until, now).await.expect("the claim holds");
    let deadline = tokio::time::Instant::now() + super::EVENTUALLY_MAX;
    loop {
        let now = Timestamp::now();
        if let Some(again) = queue.claim(WorkerId::generate(), LONG, now).await.expect("the queue answers") {
            assert!(now >= until, "delivered {:?} too early", until.duration_since(now));
            assert_eq!(again.message, claimed.message);
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the parked job never came");
        queue.wait(Duration::from_millis(500)).await;
    }
}

/// Q5: a parked job stays parked across a restart.
pub async fn q5_stays_parked_across_restart(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    enqueue(&backend, "shop").await;
    let now = Timestamp::now();
    let claimed = claim(&*backend.queue, now).await;
    backend.queue.park(&claimed, later(now, 3_600), now).await.expect("the claim holds");
    let reopened = fixture.restart().await;
    nothing_is_due(&*reopened.queue, Timestamp::now()).await;
    depth_becomes(&*reopened.queue, QueueDepth { parked: 1, ..QueueDepth::default() }).await;
    assert!(reopened.queue.wake(claimed.message.id, Timestamp::now()).await.expect("the queue answers"));
    claim(&*reopened.queue, Timestamp::now()).await;
}

/// Q5: waking makes a parked job due at once; a job that is not parked cannot be woken.
pub async fn q5_woken_at_once(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let queue = &*backend.queue;
    let message = enqueue(&backend, "shop").await;
    let now = Timestamp::now();
    assert!(!queue.wake(message.id, now).await.expect("the queue answers"), "it is not parked yet");
    let claimed = claim(queue, now).await;
    assert!(!queue.wake(message.id, now).await.expect("the queue answers"), "it is claimed");
    queue.park(&claimed, later(now, 3_600), now).await.expect("the claim holds");
    nothing_is_due(queue, now).await;
    assert!(queue.wake(message.id, now).await.expect("the queue answers"), "it is parked");
    assert_eq!(claim(queue, now).await.message.id, message.id);
    assert!(!queue.wake(crate::model::JobId::generate(), now).await.expect("the queue answers"), "unknown");
}

/// Q6: enqueuing a known job changes nothing, whether it waits, is claimed, or is done.
pub async fn q6_enqueue_is_idempotent(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let message = enqueue(&backend, "shop").await;
    let now = Timestamp::now();
    backend.queue.enqueue(&message).await.expect("a repetition is fine");
    let claimed = claim(&*backend.queue, now).await;
    nothing_is_due(&*backend.queue, now).await;
    backend.queue.enqueue(&message).await.expect("a repetition is fine");
    nothing_is_due(&*backend.queue, now).await;
    backend.queue.complete(&claimed, now).await.expect("the claim holds");
    backend.queue.enqueue(&message).await.expect("a repetition is fine");
    nothing_is_due(&*backend.queue, now).await;
}

/// Q7: deliveries count the claims since the job was last parked.
pub async fn q7_counts_deliveries(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let queue = &*backend.queue;
    enqueue(&backend, "shop").await;
    let start = Timestamp::now();
    let first = claim_for(queue, Duration::from_secs(2), start).await;
    assert_eq!(first.deliveries, 1);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let now = later(start, 3);
    let second = claim(queue, now).await;
    assert_eq!(second.deliveries, 2, "a second delivery without parking means a crash");
    queue.park(&second, now, now).await.expect("the claim holds");
    assert_eq!(claim(queue, later(start, 4)).await.deliveries, 1, "parking starts the count again");
}

/// Q8: a buried job is kept with its reason, is never delivered again, and survives a restart.
pub async fn q8_buried_is_kept(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let now = Timestamp::now();
    let mut names = Vec::new();
    for reason in ["unknown version", "crashed five times"] {
        let message = enqueue(&backend, "shop").await;
        let claimed = claim(&*backend.queue, now).await;
        backend.queue.bury(&claimed, reason, now).await.expect("the claim holds");
        names.push((message.id, reason.to_owned()));
    }
    names.reverse();
    let reopened = fixture.restart().await;
    nothing_is_due(&*reopened.queue, later(now, 3_600)).await;
    let buried = reopened.queue.buried(10).await.expect("the queue answers");
    let found: Vec<_> = buried.into_iter().map(|buried| (buried.id, buried.reason)).collect();
    assert_eq!(found, names, "newest first, with the reasons");
    assert_eq!(reopened.queue.buried(1).await.expect("the queue answers").len(), 1, "no more than asked for");
    depth_becomes(&*reopened.queue, QueueDepth { buried: 2, ..QueueDepth::default() }).await;
}

/// Q8: a buried job that is requeued is delivered again with a fresh count; a discarded one never.
pub async fn q8_requeued_or_discarded(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let queue = &*backend.queue;
    let now = Timestamp::now();
    let (kept, dropped) = (enqueue(&backend, "shop").await, enqueue(&backend, "shop").await);
    for _ in 0..2 {
        let claimed = claim(queue, now).await;
        queue.bury(&claimed, "poison", now).await.expect("the claim holds");
    }
    depth_becomes(queue, QueueDepth { buried: 2, ..QueueDepth::default() }).await;
    assert!(queue.requeue(kept.id, now).await.expect("the queue answers"));
    assert!(!queue.requeue(kept.id, now).await.expect("the queue answers"), "it is not buried any more");
    assert!(queue.discard(dropped.id, now).await.expect("the queue answers"));
    assert!(!queue.discard(dropped.id, now).await.expect("the queue answers"), "it is gone");
    let reopened = fixture.restart().await;
    let again = claim(&*reopened.queue, now).await;
    assert_eq!((again.message, again.deliveries), (kept, 1));
    assert!(reopened.queue.buried(10).await.expect("the queue answers").is_empty());
    reopened.queue.enqueue(&dropped).await.expect("a repetition is fine");
    nothing_is_due(&*reopened.queue, now).await;
}

/// Q9: within one project the oldest job comes first.
pub async fn q9_oldest_first_in_a_project(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let mut enqueued = Vec::new();
    for _ in 0..5 {
        enqueued.push(enqueue(&backend, "shop").await.id);
    }
    let mut delivered = Vec::new();
    for _ in 0..5 {
        delivered.push(claim(&*backend.queue, Timestamp::now()).await.message.id);
    }
    assert_eq!(delivered, enqueued);
}

/// Q9: a project with many jobs does not keep another's single job waiting for all of them.
pub async fn q9_fair_between_projects(fixture: &dyn Fixture) {
    const MANY: usize = 30;
    let backend = fixture.backend().await;
    for _ in 0..MANY {
        enqueue(&backend, "busy").await;
    }
    let small = enqueue(&backend, "small").await;
    let mut before = 0;
    while claim(&*backend.queue, Timestamp::now()).await.message.id != small.id {
        before += 1;
        assert!(before < MANY, "the small project waited for all of the busy one");
    }
    assert!(before <= MANY / 3, "the small project waited for {before} jobs of the busy one");
}

/// `wait` comes back early for a new job, and after `longest` at the latest.
pub async fn wait_is_a_prompt_hint(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let began = tokio::time::Instant::now();
    backend.queue.wait(Duration::from_millis(50)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "an empty queue does not keep anyone");
    let queue = backend.queue.clone();
    let worker = tokio::spawn(async move {
        loop {
            let claimed = queue.claim(WorkerId::generate(), LONG, Timestamp::now()).await;
            if let Some(claim) = claimed.expect("the queue answers") {
                return claim.message.id;
            }
            queue.wait(Duration::from_secs(300)).await;
        }
    });
    let message = enqueue(&backend, "shop").await;
    let delivered = tokio::time::timeout(super::EVENTUALLY_MAX, worker).await;
    assert_eq!(delivered.expect("the waiting worker is told in time").expect("it ends well"), message.id);
}

/// The depth tells where the jobs are.
pub async fn depth_counts_every_place(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let queue = &*backend.queue;
    for _ in 0..4 {
        enqueue(&backend, "shop").await;
    }
    let now = Timestamp::now();
    let done = claim(queue, now).await;
    queue.complete(&done, now).await.expect("the claim holds");
    let parked = claim(queue, now).await;
    queue.park(&parked, later(now, 3_600), now).await.expect("the claim holds");
    let _kept = claim(queue, now).await;
    depth_becomes(queue, QueueDepth { ready: 1, parked: 1, claimed: 1, buried: 0 }).await;
}
