//! Reading the ledger's stream.

use bytes::Bytes;
use tokio::time::Instant;

use super::{PATIENCE, ready, settings};
use crate::distributed::broker::{Broker, Publication};
use crate::distributed::ledger::StreamLedger;
use crate::distributed::testing::{TestRabbit, rabbit_shared, unique_prefix};
use crate::ledger::{Ledger, LedgerError, Offset};

/// Publications under way at once: more than the broker takes in time on a busy machine are refused.
const FLIGHTS_MAX: usize = 256;

async fn append(broker: &Broker, numbers: std::ops::Range<u64>, size_bytes: usize) {
    let mut flights = tokio::task::JoinSet::new();
    for number in numbers {
        if flights.len() >= FLIGHTS_MAX
            && let Some(landed) = flights.join_next().await
        {
            landed.unwrap();
        }
        let (broker, body) = (broker.clone(), format!("{number:0size_bytes$}"));
        flights.spawn(async move { broker.publish(Publication::record(Bytes::from(body))).await.unwrap() });
    }
    flights.join_all().await;
}

fn offsets(entries: &[(u64, Bytes)]) -> Vec<u64> {
    entries.iter().map(|(offset, _)| *offset).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_exactly_what_is_there() {
    let broker = ready(settings(&rabbit_shared().await.url(), &unique_prefix())).await;
    assert!(broker.read_stream(0, 10).await.unwrap().is_empty(), "an empty stream");
    for round in 0..20 {
        append(&broker, round * 10..round * 10 + 10, 20).await;
        let read = broker.read_stream(0, 10_000).await.unwrap();
        assert!(offsets(&read).into_iter().eq(0..round * 10 + 10), "all that was confirmed is read at once");
    }
    assert_eq!(offsets(&broker.read_stream(195, 3).await.unwrap()), [195, 196, 197]);
    assert_eq!(offsets(&broker.read_stream(195, 30).await.unwrap()), [195, 196, 197, 198, 199]);
    assert!(broker.read_stream(195, 0).await.unwrap().is_empty());
    let begun = Instant::now();
    for _ in 0..10 {
        assert!(broker.read_stream(200, 10).await.unwrap().is_empty());
        assert!(broker.read_stream(5_000, 10).await.unwrap().is_empty());
    }
    println!("nothing new: {:?} each", begun.elapsed() / 20);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_reads_are_whole() {
    let broker = ready(settings(&rabbit_shared().await.url(), &unique_prefix())).await;
    append(&broker, 0..5_000, 600).await;
    let begun = Instant::now();
    let read = broker.read_stream(0, 10_000).await.unwrap();
    println!("5,000 records: {:?}", begun.elapsed());
    assert!(offsets(&read).into_iter().eq(0..5_000));
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_beginning_is_skipped() {
    let mut settings = settings(&rabbit_shared().await.url(), &unique_prefix());
    settings.ledger_max_bytes = Some(256 * 1_024);
    let broker = ready(settings).await;
    for round in 0..40 {
        append(&broker, round * 50..round * 50 + 50, 1_000).await;
    }
    let read = broker.read_stream(0, 10_000).await.unwrap();
    let first = read.first().unwrap().0;
    assert!(first > 0, "retention removed nothing: the test shows nothing");
    let numbers: Vec<u64> =
        read.iter().map(|(_, body)| String::from_utf8_lossy(body).parse().unwrap()).collect();
    let whole = (numbers[0] / 50 + 1) * 50;
    assert!((whole..2_000).all(|number| numbers.contains(&number)), "all after the beginning are there");
    // The broker's own entry at the start of each segment takes one offset.
    assert!(offsets(&read).windows(2).all(|pair| pair[1] - pair[0] <= 2));
    assert_eq!(numbers.len(), numbers.iter().collect::<std::collections::HashSet<_>>().len(), "each once");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_after_the_broker_was_killed() {
    let rabbit = TestRabbit::start().await;
    let broker = ready(settings(&rabbit.url(), "p")).await;
    append(&broker, 0..50, 20).await;
    let mut seen = offsets(&broker.read_stream(0, 1_000).await.unwrap());
    assert!(broker.read_stream(50, 20).await.unwrap().is_empty());
    rabbit.settle().await;
    rabbit.kill().await;
    assert!(broker.read_stream(50, 20).await.is_err(), "silence is not the head");
    rabbit.start_again().await;
    broker.wait_ready(PATIENCE).await.unwrap();
    append(&broker, 50..100, 20).await;
    seen.extend(offsets(&broker.read_stream(50, 1_000).await.unwrap()));
    assert!(seen.into_iter().eq(0..100), "each once, in order");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_record_is_corrupt_at_its_offset() {
    let broker = ready(settings(&rabbit_shared().await.url(), &unique_prefix())).await;
    let ledger = StreamLedger::new(broker.clone());
    broker.publish(Publication::record(Bytes::from_static(b"garbage"))).await.unwrap();
    let error = ledger.read(Offset(1), 10).await.unwrap_err();
    assert!(matches!(error, LedgerError::Corrupt { offset: 1, .. }), "{error}");
    broker.close().await;
}
