//! What runs, asked of a worker: what it says is passed on, and that it says nothing is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use slipway_common::inquiry::{Answer, Asked, Inquiry};
use slipway_common::model::LiveEvent;
use slipway_common::secrets::Sealer;
use tokio::task::JoinHandle;

use crate::server::{DEADLINE, Server};

/// The key of the server under test.
const KEY: [u8; 32] = [7; 32];

/// A worker that answers every question so, with this key.
fn answering_with(
    server: &Server,
    key: [u8; 32],
    reply: impl Fn(&Inquiry) -> Answer + Send + 'static,
) -> JoinHandle<()> {
    let inquiries = Arc::clone(&server.backend.inquiries);
    tokio::spawn(async move {
        let sealer = Sealer::new(&key);
        loop {
            let Some(taken) = inquiries.next(DEADLINE).await.unwrap() else { continue };
            let sealed = reply(&taken.inquiry).seal(&sealer, taken.inquiry.id).unwrap();
            inquiries.answer(&taken, &sealed).await.unwrap();
        }
    })
}

/// The same with the key of the server.
pub(crate) fn answering(
    server: &Server,
    reply: impl Fn(&Inquiry) -> Answer + Send + 'static,
) -> JoinHandle<()> {
    answering_with(server, KEY, reply)
}

/// Answers a question by repeating it.
fn repeated(inquiry: &Inquiry) -> Answer {
    match &inquiry.what {
        Asked::Log { container, previous, tail_lines } => Answer::Log {
            container: container.clone().unwrap_or_else(|| "main".to_owned()),
            lines: vec![format!("{tail_lines} lines of {}", inquiry.pod)],
            truncated: *previous,
        },
        Asked::Events => Answer::Events(vec![LiveEvent {
            about: format!("Pod {}", inquiry.pod),
            reason: "Scheduled".to_owned(),
            message: format!("for {}", inquiry.deployment),
            at: None,
        }]),
    }
}

#[tokio::test]
async fn what_a_worker_finds_is_shown() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    let worker = answering(&server, repeated);
    let pod = format!("/deployments/{id}/pods/shop-7d9f8b6c5-x2x9z");
    let log = server.get(&format!("{pod}/logs")).await.expect(200).json();
    let lines = ["100 lines of shop-7d9f8b6c5-x2x9z"];
    assert_eq!(
        log,
        json!({ "pod": "shop-7d9f8b6c5-x2x9z", "container": "main", "lines": lines, "truncated": false })
    );
    let log = server.get(&format!("{pod}/logs?container=db&previous=true&tail_lines=7")).await.expect(200);
    assert_eq!((&log.json()["container"], &log.json()["truncated"]), (&json!("db"), &json!(true)));
    assert_eq!(log.json()["lines"][0], "7 lines of shop-7d9f8b6c5-x2x9z");
    let events = server.get(&format!("{pod}/events")).await.expect(200).json();
    assert_eq!(events["pod"], "shop-7d9f8b6c5-x2x9z");
    assert_eq!(events["events"][0]["message"], format!("for {id}"));
    let anonymous = server.anonymous("GET", &format!("{pod}/logs"));
    server.send(anonymous).await.expect_problem(401, "unauthorized");
    worker.abort();
}

#[tokio::test]
async fn what_cannot_be_is_refused_without_asking() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let worker = answering(&server, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Answer::UnknownPod
    });
    let long = "a".repeat(300);
    for pod in ["..%2F..%2Fsecrets", "a%2Fb", "shop%00", "Shop", "-shop", "shop%0A", "a%3Fb", "%C3%A9", &long]
    {
        for what in ["logs", "events"] {
            let path = format!("/deployments/{id}/pods/{pod}/{what}");
            server.get(&path).await.expect_problem(404, "pod_unknown");
        }
    }
    let logs = format!("/deployments/{id}/pods/shop-1/logs");
    for (query, status, code) in [
        ("tail_lines=0", 422, "invalid_fields"),
        ("tail_lines=1001", 422, "invalid_fields"),
        ("tail_lines=x", 400, "invalid_query"),
        ("previous=x", 400, "invalid_query"),
        ("follow=true", 400, "invalid_query"),
        ("container=..%2Fx", 404, "container_unknown"),
    ] {
        server.get(&format!("{logs}?{query}")).await.expect_problem(status, code);
    }
    server
        .get(&format!("/deployments/{id}/pods/shop-1/events?x=1"))
        .await
        .expect_problem(400, "invalid_query");
    let absent = "/deployments/01890a5d-ac96-774b-bcce-b302099a8057/pods/shop-1/logs";
    server.get(absent).await.expect_problem(404, "not_found");
    server.get("/deployments/x/pods/shop-1/logs").await.expect_problem(400, "invalid_path");
    server.send(server.request("POST", &logs)).await.expect_problem(405, "method_not_allowed");
    assert_eq!(asked.load(Ordering::Relaxed), 0, "a worker was asked");
    server.get(&logs).await.expect_problem(404, "pod_unknown");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    worker.abort();
}

#[tokio::test]
async fn what_a_worker_does_not_find_is_told() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    let logs = format!("/deployments/{id}/pods/shop-1/logs");
    let failed = Answer::Failed { code: "cluster_unreachable".to_owned(), reason: "no way there".to_owned() };
    for (answer, status, code, words) in [
        (Answer::UnknownPod, 404, "pod_unknown", "no such pod"),
        (
            Answer::UnknownContainer { known: vec!["shop".to_owned()] },
            404,
            "container_unknown",
            "it has shop",
        ),
        (failed, 502, "target_unreadable", "no way there (cluster_unreachable)"),
        (Answer::Events(Vec::new()), 500, "internal_error", "error"),
    ] {
        let worker = answering(&server, move |_| answer.clone());
        let refused = server.get(&logs).await.expect_problem(status, code);
        assert!(refused.json()["detail"].as_str().unwrap().contains(words), "{}", refused.text());
        worker.abort();
        worker.await.unwrap_err();
    }
    let worker = answering_with(&server, [8; 32], repeated);
    server.get(&logs).await.expect_problem(500, "internal_error");
    worker.abort();
}

#[tokio::test]
async fn a_silent_worker_is_told_in_time() {
    let server = Server::start_with(|settings| settings.answer_timeout = Duration::from_secs(2)).await;
    let id = server.deploy("shop").await;
    let begun = Instant::now();
    let logs = format!("/deployments/{id}/pods/shop-1/logs");
    server.get(&logs).await.expect_problem(504, "worker_silent");
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    assert!(server.backend.inquiries.next(Duration::ZERO).await.unwrap().is_none(), "nobody waits any more");
}
