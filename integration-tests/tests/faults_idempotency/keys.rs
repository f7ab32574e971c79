//! Idempotency keys (I1, I2, I4), and one job many times in the queue (I5).

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::BasicProperties;
use serde_json::{Value, json};
use slipway_integration_tests::ground::{Accepted, Answer, Ground, Plan, publish_all, steps, turn};

/// I1: requests at once, as in the requirement.
const AT_ONCE: usize = 50;
/// I5: deliveries of one and the same job, as in the requirement.
const DELIVERIES: usize = 100;
const ENDS_MAX: Duration = Duration::from_secs(60);

/// Jobs the ledger has acceptances of.
async fn accepted_jobs(ground: &Ground) -> BTreeSet<String> {
    let records = ground.broker.read_stream(&ground.queue("ledger")).await.unwrap();
    steps(&records).into_iter().filter(|step| step.event == "accepted").map(|step| step.job).collect()
}

/// I1: fifty requests at once under one key, at two processes, are one job; each is told the same, or that it comes too
/// early. When the job is done, the answer is still the same, byte by byte.
#[tokio::test(flavor = "multi_thread")]
async fn i1_fifty_at_once_under_one_key() {
    let _turn = turn().await;
    let ground = Ground::start(Plan::new(4).with(2, 1)).await.unwrap();
    let askers = [ground.asker(0).unwrap(), ground.asker(1).unwrap()];
    let body = ground.request(0);
    let asking = (0..AT_ONCE).map(|n| askers[n % 2].post("/deployments", &body, Some("one-key")));
    let answers = join_all(asking).await;
    let told: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 202).collect();
    let first = told.first().unwrap_or_else(|| panic!("{answers:?}"));
    assert!(answers.iter().all(|answer| [202, 409].contains(&answer.status)), "{answers:?}");
    assert!(told.iter().all(|answer| answer.text == first.text), "{told:?}");
    let job = Accepted::of(first);
    ground.expect_all_good(std::slice::from_ref(&job), ENDS_MAX).await.unwrap();
    for asker in &askers {
        let replayed = asker.post("/deployments", &body, Some("one-key")).await;
        assert_eq!((replayed.status, &replayed.text), (202, &first.text));
    }
    ground.expect_all_good(std::slice::from_ref(&job), ENDS_MAX).await.unwrap();
    assert_eq!(accepted_jobs(&ground).await, BTreeSet::from([job.job]));
    println!("I1: {} of {AT_ONCE} told the same, one job", told.len());
}

/// I2: the key of one request under another body is refused and makes no job; under another token it is another key.
#[tokio::test(flavor = "multi_thread")]
async fn i2_a_key_under_another_body_or_token() {
    let _turn = turn().await;
    let ground = Ground::start(Plan::new(4)).await.unwrap();
    let asker = ground.asker(0).unwrap();
    let first = asker.post("/deployments", &ground.request(0), Some("shared")).await;
    assert_eq!(first.status, 202, "{first:?}");
    let other = asker.post("/deployments", &ground.request(1), Some("shared")).await;
    assert_eq!(other.status, 422, "{other:?}");
    assert_eq!(other.field("code"), "idempotency_key_reused", "{other:?}");
    assert!(other.kind.starts_with("application/problem+json"), "{other:?}");

    let made = asker.post("/tokens", &json!({ "name": "somebody-else" }), None).await;
    assert_eq!(made.status, 201, "{made:?}");
    let foreign = asker.with_token(&made.field("token"));
    let independent = foreign.post("/deployments", &ground.request(2), Some("shared")).await;
    assert_eq!(independent.status, 202, "{independent:?}");
    assert_ne!(independent.field("job_id"), first.field("job_id"));
    let jobs = [first, Answer { index: 2, ..independent }].map(|answer| Accepted::of(&answer));
    ground.expect_all_good(&jobs, ENDS_MAX).await.unwrap();
    assert_eq!(accepted_jobs(&ground).await, jobs.into_iter().map(|job| job.job).collect());
}

/// Removes every key with this beginning from Redis; answers how many there were.
async fn forget(ground: &Ground, beginning: &str) -> usize {
    let prefix = format!("{}:{beginning}", ground.slipway.prefix());
    let keys = ground.redis.dump().await.unwrap().into_iter().map(|(key, _)| key);
    let mut count = 0;
    for key in keys.filter(|key| key.starts_with(&prefix)) {
        ground.redis.command(&["DEL", &key]).await.unwrap();
        count += 1;
    }
    count
}

/// I4: a key is asked under again after the API was started anew, after Redis lost everything, and after seven days.
/// Each time it is the same job, and it is not carried out again. Seven days are what they come to: reservations and the
/// queue's knowledge of finished jobs, which are kept that long, are gone from Redis.
#[tokio::test(flavor = "multi_thread")]
async fn i4_a_key_long_after() {
    let _turn = turn().await;
    let ground = Ground::start(Plan::new(4)).await.unwrap();
    let (body, key) = (ground.request(0), Some("long-after"));
    let first = ground.asker(0).unwrap().post("/deployments", &body, key).await;
    let job = Accepted::of(&first);
    ground.expect_all_good(std::slice::from_ref(&job), ENDS_MAX).await.unwrap();
    let replay = async |when: &str| {
        let asker = ground.asker(0).unwrap();
        let replayed = || async { asker.post("/deployments", &body, key).await.status == 202 };
        let took = ground.wait("the key to be known", ENDS_MAX, replayed).await.unwrap();
        let answer = asker.post("/deployments", &body, key).await;
        assert_eq!((answer.status, &answer.text), (202, &first.text), "{when}");
        let reused = asker.post("/deployments", &ground.request(1), key).await;
        assert_eq!(reused.status, 422, "{when}: {reused:?}");
        println!("I4: the same answer {took:?} after {when}");
    };
    ground.slipway.api_process(0).unwrap().kill().await.unwrap();
    ground.slipway.api_process(0).unwrap().start_again().await.unwrap();
    replay("a restart").await;
    ground.redis.flush_all().await.unwrap();
    replay("a flush").await;
    let (reservations, finished) = (forget(&ground, "reserve:").await, forget(&ground, "q:job:").await);
    assert!(
        reservations > 0 && finished > 0,
        "{reservations} reservations and {finished} finished jobs forgotten"
    );
    replay("seven days").await;
    // If the key made the job run again, another one behind it would be done later than that.
    let next = ground.accept(2, &ground.request(2)).await.unwrap();
    ground.expect_all_good(&[job.clone(), next.clone()], ENDS_MAX).await.unwrap();
    assert_eq!(accepted_jobs(&ground).await, BTreeSet::from([job.job, next.job]));
}

/// I5, as far as it is the queue's: one and the same job is delivered a hundred times, under way and afterwards, as copies
/// of one message and as messages of their own. It is carried out once.
#[tokio::test(flavor = "multi_thread")]
async fn i5_one_job_delivered_a_hundred_times() {
    let _turn = turn().await;
    let ground = Ground::start(Plan::new(4).with(1, 2)).await.unwrap();
    ground.git_line.blackhole();
    let job = ground.accept(0, &ground.slow_request(0)).await.unwrap();
    ground.wait_running(&job.job, ENDS_MAX).await.unwrap();
    let records = ground.broker.read_stream(&ground.queue("ledger")).await.unwrap();
    let accepted =
        records.into_iter().find(|record| record.routing_key.starts_with("job.")).expect("an acceptance");
    let copies = |exchange: &str, key: &str, count: usize, same: bool| {
        let (exchange, key) = (format!("{}.{exchange}", ground.slipway.prefix()), key.to_owned());
        let (original, body) = (accepted.properties.clone(), accepted.body.clone());
        let copy = move |_| {
            let anew = original.clone().with_message_id(uuid::Uuid::now_v7().to_string().into());
            let properties: BasicProperties = if same { original.clone() } else { anew };
            (exchange.clone(), key.clone(), properties, body.clone())
        };
        (0..count).map(copy).collect::<Vec<_>>()
    };
    let half = DELIVERIES / 4;
    let under_way =
        [copies("jobs", "front", half, true), copies("intake", "job.front", half, false)].concat();
    publish_all(&ground.broker.url(), under_way).await.unwrap();
    ground.git_line.heal().await.unwrap();
    ground.expect_all_good(std::slice::from_ref(&job), ENDS_MAX).await.unwrap();
    let later = [copies("jobs", "front", half, false), copies("intake", "job.backlog", half, true)].concat();
    publish_all(&ground.broker.url(), later).await.unwrap();

    let empty = || async {
        let mut left = 0;
        for queue in ["jobs.front", "jobs.backlog", "jobs.delay.250", "jobs.delay.1000", "jobs.delay.4000"] {
            left += ground.ready(queue).await;
        }
        left == 0
    };
    let drained = ground.wait("the queues to be empty", ENDS_MAX, empty).await.unwrap();
    let next = ground.accept(1, &ground.request(1)).await.unwrap();
    ground.expect_all_good(&[job.clone(), next], ENDS_MAX).await.unwrap();
    let state: Value = ground.job(&job.job).await.unwrap();
    assert_eq!(state["state"]["status"], "succeeded");
    let records = ground.broker.read_stream(&ground.queue("ledger")).await.unwrap();
    let ends =
        steps(&records).into_iter().filter(|step| step.job == job.job && step.event == "succeeded").count();
    println!("I5: {DELIVERIES} further deliveries of one job gone after {drained:?}; it ended {ends} time");
    assert_eq!(ends, 1);
}
