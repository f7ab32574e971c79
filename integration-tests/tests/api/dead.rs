//! Jobs that were set aside, and the rebuilding of the store.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_common::failure::Failure;
use slipway_common::model::{EventKind, JobMessage, Stage, WorkerId};

use crate::server::{Server, wish};

/// Claims the next job and sets it aside; as poison when its history is to say so.
async fn bury(server: &Server, is_poison: bool) -> JobMessage {
    let (queue, now) = (&server.backend.queue, Timestamp::now());
    let claim =
        queue.claim(WorkerId::generate(), Duration::from_secs(60), now).await.unwrap().expect("a job");
    if is_poison {
        let stage = claim.message.kind.stages()[0];
        server.report(&claim.message, EventKind::StageStarted { stage, attempt: 1 }).await;
        let failure = Failure::new(stage, "poison", "it crashed its workers");
        server.report(&claim.message, EventKind::Failed { failure }).await;
    }
    queue.bury(&claim, "crashed three times", now).await.unwrap();
    claim.message
}

async fn requeue(server: &Server, id: &str, key: &str) -> crate::server::Answer {
    let request = server.request("POST", &format!("/dead/{id}/requeue")).header("Idempotency-Key", key);
    server.send(request.json(&json!({}))).await
}

#[tokio::test]
async fn i10_dead_jobs_are_listed_shown_and_dropped() {
    let server = Server::start().await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        let mut body = wish("shop");
        body["env"] = json!({ "A": "hunter2" });
        server.post("/deployments", &body).await.expect(202);
        jobs.insert(0, bury(&server, false).await);
    }
    let list = server.get("/dead?limit=2").await.expect(200).json();
    assert_eq!((&list["total"], list["data"].as_array().unwrap().len()), (&json!(3), 2));
    let newest = &list["data"][0];
    assert_eq!(newest["id"].as_str().unwrap(), jobs[0].id.to_string());
    assert_eq!(newest["deployment"].as_str().unwrap(), jobs[0].deployment.to_string());
    assert_eq!((&newest["project"], &newest["environment"]), (&json!("team/shop"), &json!("default")));
    assert_eq!((&newest["reason"], &newest["readable"]), (&json!("crashed three times"), &json!(true)));
    let next = format!("/dead?cursor={}", list["next_cursor"].as_str().unwrap());
    let rest = server.get(&next).await.expect(200).json();
    assert_eq!(rest["data"][0]["id"].as_str().unwrap(), jobs[2].id.to_string());
    assert_eq!(rest["next_cursor"], Value::Null);
    let path = format!("/dead/{}", jobs[0].id);
    let shown = server.get(&path).await.expect(200);
    assert_eq!(shown.json()["spec"]["env"], json!({ "A": "***" }));
    assert!(!shown.text().contains("hunter2"));
    server.delete(&path).await.expect(204);
    server.delete(&path).await.expect_problem(404, "not_found");
    server.get(&path).await.expect_problem(404, "not_found");
    assert_eq!(server.get("/dead").await.json()["total"], 2);
    for bad in ["limit=0", "cursor=x", "nope=1"] {
        server.get(&format!("/dead?{bad}")).await.expect_problem(400, "invalid_query");
    }
    server.get("/dead/x").await.expect_problem(400, "invalid_path");
}

#[tokio::test]
async fn i10_a_dead_job_that_has_not_ended_is_queued_again() {
    let server = Server::start().await;
    server.deploy("shop").await;
    let job = bury(&server, false).await;
    let id = job.id.to_string();
    let accepted = requeue(&server, &id, "k").await.expect(202);
    assert_eq!(accepted.json()["job_id"].as_str().unwrap(), id);
    assert_eq!(accepted.header("location"), format!("/deployments/{}", job.deployment));
    assert_eq!(requeue(&server, &id, "k").await.expect(202).body, accepted.body, "a repetition");
    requeue(&server, &id, "other").await.expect_problem(404, "not_found");
    assert_eq!(server.carry_out(None).await, job);
    assert_eq!(server.get("/dead").await.json()["total"], 0);
}

#[tokio::test]
async fn i10_poison_is_tried_again_as_a_new_job() {
    let server = Server::start().await;
    let deployment = server.deploy("shop").await;
    let dead = bury(&server, true).await;
    let id = dead.id.to_string();
    let accepted = requeue(&server, &id, "k").await.expect(202);
    let job = accepted.json()["job_id"].as_str().unwrap().to_owned();
    assert_ne!(job, id);
    assert_eq!(requeue(&server, &id, "k").await.expect(202).body, accepted.body, "a repetition");
    let carried_out = server.carry_out(None).await;
    assert_eq!((carried_out.id.to_string(), carried_out.deployment), (job, dead.deployment));
    assert_eq!(server.get(&format!("/deployments/{deployment}")).await.json()["status"], "active");
    assert_eq!(server.get("/dead").await.json()["total"], 0, "the dead one is gone");
    assert_eq!(server.backend.queue.depth(Timestamp::now()).await.unwrap().ready, 0);
}

#[tokio::test]
async fn a_dead_job_whose_deployment_went_on_is_not_tried_again() {
    let server = Server::start().await;
    let deployment = server.deploy("shop").await;
    let dead = bury(&server, true).await;
    server.post(&format!("/deployments/{deployment}/retry"), &json!({})).await.expect(202);
    requeue(&server, &dead.id.to_string(), "k").await.expect_problem(409, "not_retryable");
    server.carry_out(Some(Stage::Clone)).await;
    requeue(&server, &dead.id.to_string(), "l").await.expect(202);
}

#[tokio::test]
async fn a_stop_that_was_poison_is_tried_again() {
    let server = Server::start().await;
    let deployment = server.deploy("shop").await;
    server.carry_out(None).await;
    server.delete(&format!("/deployments/{deployment}")).await.expect(202);
    let dead = bury(&server, true).await;
    let accepted = requeue(&server, &dead.id.to_string(), "k").await.expect(202);
    assert_eq!(accepted.json()["status"], "stopping");
    assert_eq!(requeue(&server, &dead.id.to_string(), "k").await.expect(202).body, accepted.body);
    assert_eq!(server.carry_out(None).await.kind.as_str(), "stop");
    assert_eq!(server.get(&format!("/deployments/{deployment}")).await.json()["status"], "stopped");
}

#[tokio::test]
async fn the_store_is_rebuilt_on_request_and_is_equal() {
    let server = Server::start().await;
    assert_eq!(server.get("/admin/rebuild-store").await.expect(200).json()["status"], "idle");
    server.deploy("shop").await;
    server.carry_out(None).await;
    let before = server.get("/deployments").await.expect(200).body;
    let request = server.request("POST", "/admin/rebuild-store").header("Idempotency-Key", "k");
    let rebuilt = server.send(request).await.expect(200).json();
    assert_eq!(rebuilt["status"], "done");
    assert!(rebuilt["records"].as_u64().unwrap() > 5, "{rebuilt}");
    let request = server.request("POST", "/admin/rebuild-store").header("Idempotency-Key", "k");
    assert_eq!(server.send(request).await.expect(200).json(), rebuilt, "a repetition");
    assert_eq!(server.get("/admin/rebuild-store").await.expect(200).json(), rebuilt);
    assert_eq!(server.get("/deployments").await.expect(200).body, before);
}
