//! Messages that are no jobs, in every queue (B7).

use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use slipway_integration_tests::ground::{Ground, Plan, publish_all, turn};

/// Messages in each queue; 10,000 in the requirement.
const EACH: usize = 60;
/// Kinds of bad messages.
const KINDS: usize = 6;
const VERSION: &str = "\"version\":1";
const ENDS_MAX: Duration = Duration::from_secs(60);

/// The n-th bad message, made from a good one. No two are equal, and those of the future are other jobs.
fn bad(good: &[u8], n: usize) -> Vec<u8> {
    let text = String::from_utf8_lossy(good);
    match n % KINDS {
        // Bytes that are neither text nor anything else.
        0 => (0..200_usize).map(|at| u8::try_from((at * 167 + n * (at % 7 + 31)) % 256).unwrap()).collect(),
        1 => good[..n + 1].to_vec(),
        2 => {
            assert!(text.contains(VERSION), "{VERSION} is not in {text}");
            let job = serde_json::from_slice::<serde_json::Value>(good).unwrap()["job"].clone();
            let other = uuid::Uuid::now_v7().to_string();
            text.replacen(VERSION, "\"version\":9", 1).replace(job.as_str().unwrap(), &other).into_bytes()
        }
        3 => format!("{{\"record\":\"event\",\"event\":\"from_the_future\",\"n\":{n}}}").into_bytes(),
        4 => b" ".repeat(n / KINDS),
        _ => b"[".repeat(100 + n),
    }
}

/// Some with the headers of a job, some with nonsense in their place, some without any.
fn properties(n: usize) -> BasicProperties {
    let mut headers = FieldTable::default();
    match n % 3 {
        0 => {}
        1 => {
            headers
                .insert("slipway-job".into(), AMQPValue::LongString(uuid::Uuid::now_v7().to_string().into()));
            headers.insert("slipway-generation".into(), AMQPValue::LongLongInt(i64::try_from(n).unwrap()));
        }
        _ => {
            headers.insert("slipway-job".into(), AMQPValue::Boolean(true));
            headers.insert("slipway-generation".into(), AMQPValue::LongLongInt(-1));
            headers.insert("slipway-until".into(), AMQPValue::LongString("tomorrow".into()));
        }
    }
    BasicProperties::default().with_delivery_mode(2).with_headers(headers)
}

/// B7: bad messages in every queue. Each is set aside with a reason, none stops a consumer, and good jobs before, between
/// and after them are carried out.
#[tokio::test(flavor = "multi_thread")]
async fn b7_messages_that_are_no_jobs() {
    let _turn = turn().await;
    let ground = Ground::start(Plan::new(8)).await.unwrap();
    let mut jobs = vec![ground.accept(0, &ground.request(0)).await.unwrap()];
    ground.expect_all_good(&jobs, ENDS_MAX).await.unwrap();
    let ledger = ground.broker.read_stream(&ground.queue("ledger")).await.unwrap();
    let good =
        ledger.into_iter().find(|record| record.routing_key.starts_with("job.")).expect("an acceptance").body;

    let exchange = format!("{}.jobs", ground.slipway.prefix());
    let keys = ["front", "backlog", "delay.250", "delay.1000", "dead"];
    let mut bodies = Vec::new();
    for n in 0..EACH * keys.len() {
        bodies.push((exchange.clone(), keys[n % keys.len()].to_owned(), properties(n), bad(&good, n)));
    }
    // The ledger too: it cannot set anything aside, and must be read past it.
    let intake = format!("{}.intake", ground.slipway.prefix());
    bodies.extend((0..EACH).map(|n| (intake.clone(), "record".to_owned(), properties(n), bad(&good, n))));
    let published = publish_all(&ground.broker.url(), bodies).await.unwrap();
    jobs.push(ground.accept(1, &ground.request(1)).await.unwrap());
    ground.expect_all_good(&jobs, ENDS_MAX).await.unwrap();

    let asker = ground.asker(0).unwrap();
    let total = || async { asker.get("/dead?limit=100").await.body()["total"].as_u64().unwrap_or(0) };
    let expected = u64::try_from(EACH * keys.len()).unwrap();
    let aside =
        ground.wait("all of them to be set aside", ENDS_MAX, || async { total().await >= expected }).await;
    let total = total().await;
    println!("B7: {published} bad messages, {total} set aside ({expected} expected) after {aside:?}");
    aside.unwrap();
    let page = asker.get("/dead?limit=100").await.body();
    for dead in page["data"].as_array().expect("a page") {
        assert!(dead["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{dead}");
    }
    assert_eq!(ground.consumers().await, 1);
    for part in ground.slipway.parts() {
        assert!(part.is_running() && part.is_ready().await, "{}", part.log());
    }
    jobs.push(ground.accept(2, &ground.request(2)).await.unwrap());
    ground.expect_all_good(&jobs, ENDS_MAX).await.unwrap();
}
