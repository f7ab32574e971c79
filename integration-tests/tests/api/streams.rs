//! Streams: events resume without gap or repetition, logs are followed, and both end.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use slipway_common::model::{EventKind, Stage, WorkerId};
use slipway_common::store::LogLine;

use crate::server::{DEADLINE, Server};

/// An event as it was received.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) id: Option<u64>,
    pub(crate) event: String,
    pub(crate) data: Value,
}

pub(crate) fn messages(text: &str) -> Vec<Message> {
    let complete = text.rsplit_once("\n\n").map_or("", |(complete, _)| complete);
    complete.split("\n\n").filter_map(message).collect()
}

fn message(block: &str) -> Option<Message> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    Some(Message {
        id: field("id: ").map(|id| id.parse().unwrap()),
        event: field("event: ")?.to_owned(),
        data: serde_json::from_str(field("data: ")?).unwrap(),
    })
}

/// Reads from the stream until `enough` holds.
pub(crate) async fn read_until(response: reqwest::Response, enough: impl Fn(&str) -> bool) -> String {
    let mut stream = response.bytes_stream();
    let mut text = String::new();
    let reading = async {
        while !enough(&text) {
            let chunk = stream.next().await.expect("the stream goes on").unwrap();
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("in time");
    text
}

#[tokio::test]
async fn a_stream_that_was_cut_resumes_without_gap_or_repetition() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    let path = format!("/deployments/{id}/events");
    let first = server.request("GET", &path).send().await.unwrap();
    assert_eq!(first.headers()["content-type"], "text/event-stream");
    let follower = tokio::spawn(read_until(first, |text| messages(text).len() >= 4));
    server.carry_out(None).await;
    let mut seen = messages(&follower.await.unwrap());
    let last = seen.last().unwrap().id.unwrap();
    let rest = server.send(server.request("GET", &path).header("Last-Event-ID", last)).await.expect(200);
    seen.extend(messages(&rest.text()));
    let end = seen.pop().unwrap();
    assert_eq!((end.event.as_str(), &end.data["status"]), ("end", &"active".into()));
    let numbers: Vec<u64> = seen.iter().map(|message| message.id.unwrap()).collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<u64>>());
    assert_eq!(seen[0].event, "accepted");
    assert_eq!(seen[11].event, "succeeded");
    let after = server.get(&format!("{path}?after=11")).await.expect(200).text();
    assert_eq!(messages(&after).len(), 2);
    let schema = serde_json::json!({ "components": server.conformity.document()["components"],
        "$ref": "#/components/schemas/EventView" });
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for message in seen {
        assert_eq!(message.data["sequence"], message.id.unwrap());
        assert!(validator.is_valid(&message.data), "{message:?}");
    }
    let bad = server.request("GET", &path).header("Last-Event-ID", "x");
    server.send(bad).await.expect_problem(400, "invalid_header");
    server.get(&format!("{path}?after=x")).await.expect_problem(400, "invalid_query");
}

#[tokio::test]
async fn streams_are_limited_kept_alive_and_ended_at_the_stop() {
    let server = Server::start_with(|settings| {
        settings.streams_max = 1;
        settings.stream_keep_alive = Duration::from_millis(200);
    })
    .await;
    let id = server.deploy("shop").await;
    let path = format!("/deployments/{id}/events");
    let open = server.request("GET", &path).send().await.unwrap();
    let refused = server.get(&path).await.expect_problem(503, "too_many_streams");
    assert!(!refused.header("retry-after").is_empty());
    read_until(open, |text| text.contains(": keep-alive")).await;
    // The first client has left: its place becomes free.
    let begun = std::time::Instant::now();
    let again = loop {
        let response = server.request("GET", &path).send().await.unwrap();
        if response.status() == 200 {
            break response;
        }
        assert!(begun.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let follower = tokio::spawn(again.text());
    tokio::time::timeout(DEADLINE, server.stop()).await.expect("the open stream does not hold the stop up");
    follower.await.unwrap().expect("the stream was ended, not cut");
}

#[tokio::test]
async fn logs_are_read_whole_in_part_and_followed() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    let now = jiff::Timestamp::now();
    let claim = server.backend.queue.claim(WorkerId::generate(), DEADLINE, now).await.unwrap().unwrap();
    let job = claim.message;
    let write = |stage, text: &'static str| {
        let (store, line) = (&server.backend.store, LogLine::new(now, text));
        async move { store.append_log(job.deployment, stage, &[line], 1_000_000).await.unwrap() }
    };
    server.report(&job, EventKind::StageStarted { stage: Stage::Clone, attempt: 1 }).await;
    write(Stage::Clone, "one").await;
    write(Stage::Clone, "two").await;
    let path = format!("/deployments/{id}/logs");
    assert_eq!(server.get(&format!("{path}?stage=clone")).await.expect(200).text(), "one\ntwo\n");
    assert_eq!(server.get(&format!("{path}?stage=clone&after=1")).await.expect(200).text(), "two\n");
    assert_eq!(server.get(&format!("{path}?stage=clone&tail=1")).await.expect(200).text(), "two\n");
    let followed = server.request("GET", &format!("{path}?follow=true&stage=clone")).send().await.unwrap();
    let follower = tokio::spawn(followed.text());
    write(Stage::Clone, "three").await;
    let failure = slipway_common::failure::Failure::new(Stage::Clone, "gone", "it is gone");
    server.report(&job, EventKind::Failed { failure }).await;
    let text = tokio::time::timeout(DEADLINE, follower).await.expect("it ends with the stage").unwrap();
    assert_eq!(text.unwrap(), "one\ntwo\nthree\n");
    write(Stage::Build, "four").await;
    assert_eq!(server.get(&path).await.expect(200).text(), "one\ntwo\nthree\nfour\n");
    let request = server.request("GET", &path).header("Accept", "application/x-ndjson");
    let lines = server.send(request).await.expect(200);
    let last: Value = serde_json::from_str(lines.text().lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["stage"], &last["number"], &last["text"]),
        (&"build".into(), &1.into(), &"four".into())
    );
    for bad in ["stage=x", "follow=x", "tail=1", "after=1", "stage=clone&tail=x"] {
        server.get(&format!("{path}?{bad}")).await.expect_problem(400, "invalid_query");
    }
}
