//! Which events are told, in which order, and what a message says.

use serde_json::Value;
use slipway_common::contract::sample;
use slipway_common::model::Facts;

use super::super::testing::{REVISION, Story, URL, another, at, failed, finished, repair_of, started};
use super::*;

fn words(story: &Story) -> Vec<&'static str> {
    story.wanted().messages.iter().map(|message| message.kind.as_str()).collect()
}

fn body(story: &Story, place: usize) -> Value {
    serde_json::from_str(&story.wanted().messages[place].body).unwrap()
}

fn degraded() -> EventKind {
    EventKind::Degraded { reason: "1 of 2 replicas serve".to_owned() }
}

#[test]
fn a_deployment_is_told_from_its_acceptance_to_its_end() {
    let served = || Story::of_push().then_served();
    let running = || Story::of_push().then(started(Stage::Clone));
    let by = another();
    for (story, expected) in [
        (Story::of_push(), vec!["queued"]),
        (Story::of_request(), vec!["queued"]),
        (running().then(started(Stage::Template)), vec!["queued", "started"]),
        (served(), vec!["queued", "started", "succeeded"]),
        (running().then(failed(Stage::Clone)), vec!["queued", "started", "failed"]),
        (Story::of_push().then(EventKind::Cancelled), vec!["queued", "cancelled"]),
        (Story::of_push().then(EventKind::Superseded { by }), vec!["queued", "superseded"]),
        (served().then(degraded()), vec!["queued", "started", "succeeded", "degraded"]),
        (
            served().then(degraded()).then(EventKind::Recovered),
            vec!["queued", "started", "succeeded", "degraded", "recovered"],
        ),
        (served().then(EventKind::Replaced { by }), vec!["queued", "started", "succeeded", "stopped"]),
        (served().then_stopped(), vec!["queued", "started", "succeeded", "stopped"]),
        (
            running().then(failed(Stage::Clone)).then_retried().then(started(Stage::Clone)),
            vec!["queued", "started", "failed", "queued", "started"],
        ),
    ] {
        assert_eq!(words(&story), expected);
    }
}

#[test]
fn what_a_repair_or_a_stop_does_not_achieve_is_told_as_what_is_left() {
    let served = || Story::of_push().then_served();
    let repair = || served().then_job(|message| repair_of(message, at(50))).then(started(Stage::Apply));
    let repaired = repair().then(finished(Stage::Apply, Facts::default())).then(EventKind::Succeeded);
    assert_eq!(words(&repaired), ["queued", "started", "succeeded"], "a repair that works tells nothing");
    assert_eq!(words(&repair().then(failed(Stage::Apply)))[3..], ["degraded"]);
    let stop = || served().then_job(|message| sample::stop_job(message, at(50)));
    assert_eq!(words(&stop().then(started(Stage::Stop)).then(failed(Stage::Stop)))[3..], ["degraded"]);
    assert_eq!(words(&stop().then(EventKind::Cancelled))[3..], ["degraded"]);
}

#[test]
fn messages_have_ids_of_their_own_that_stay() {
    let story = Story::of_push().then_served().then(degraded());
    let ids = || story.wanted().messages.into_iter().map(|message| message.id).collect::<Vec<_>>();
    let first = ids();
    assert_eq!(first, ids());
    let distinct: std::collections::BTreeSet<&String> = first.iter().collect();
    assert_eq!(distinct.len(), first.len());
    let numbers: Vec<u64> = story.wanted().messages.iter().map(|message| message.number).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[test]
fn a_message_says_what_is_known() {
    let story = Story::of_push().then_served();
    let told = body(&story, 2);
    assert_eq!(told["type"], "deployment.succeeded");
    assert_eq!(told["timestamp"], at(6).to_string());
    let data = &told["data"];
    assert_eq!(data["deployment"], story.deployment.id.to_string());
    assert_eq!(data["project"], story.deployment.project.slug.as_str());
    assert_eq!(data["job"]["id"], story.message.id.to_string());
    for (field, expected) in [
        ("environment", "default"),
        ("target", "local"),
        ("state", "active"),
        ("url", URL),
        ("reference", "refs/heads/main"),
        ("revision", REVISION),
    ] {
        assert_eq!(data[field], expected, "{field}");
    }
    assert_eq!(data["job"]["kind"], "deploy");
    assert_eq!(data["failure"], Value::Null);
    assert_eq!(data["details"], format!("https://slipway.example.com/deployments/{}", story.deployment.id));
    assert_eq!(body(&story, 0)["data"]["url"], Value::Null, "it did not serve yet");
}

#[test]
fn a_failure_is_told_without_its_log_and_bounded() {
    let failure = Failure::new(Stage::Build, "build_failed", "r".repeat(9_000))
        .with_hint("Look at the log.")
        .with_log_tail(vec!["a line of the log".to_owned()]);
    let story = Story::of_push().then(EventKind::Failed { failure });
    let told = body(&story, 1);
    let failure = &told["data"]["failure"];
    assert_eq!(failure["stage"], "build");
    assert_eq!(failure["code"], "build_failed");
    assert_eq!(failure["hint"], "Look at the log.");
    assert_eq!(failure["reason"].as_str().unwrap().chars().count(), REASON_MAX_CHARS);
    assert!(!told.to_string().contains("a line of the log"));
}
