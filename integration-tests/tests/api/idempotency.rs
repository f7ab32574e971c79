//! Idempotency keys: one job per key, the same bytes for everybody who uses it, for as long as it is kept.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use slipway_common::model::Stage;

use crate::server::{Answer, Server, wish};

async fn post(server: &Server, path: &str, key: &str, body: &Value) -> Answer {
    server.send(server.request("POST", path).header("Idempotency-Key", key).json(body)).await
}

#[tokio::test]
async fn i1_fifty_requests_at_once_are_one_job() {
    let server = Server::start().await;
    let body = wish("shop");
    let answers = join_all((0..50).map(|_| post(&server, "/deployments", "k1", &body))).await;
    let bodies: BTreeSet<_> = answers.into_iter().map(|answer| answer.expect(202).body).collect();
    assert_eq!(bodies.len(), 1);
    assert_eq!(server.get("/deployments").await.json()["total"], 1);
    let depth = server.backend.queue.depth(jiff::Timestamp::now()).await.unwrap();
    assert_eq!(depth.ready, 1);
}

#[tokio::test]
async fn i2_a_key_is_bound_to_its_request_and_its_sender() {
    let server = Server::start().await;
    let first = post(&server, "/deployments", "k", &wish("shop")).await.expect(202).json();
    post(&server, "/deployments", "k", &wish("other")).await.expect_problem(422, "idempotency_key_reused");
    assert_eq!(server.get("/deployments").await.json()["total"], 1);
    let token = server.post("/tokens", &json!({ "name": "bob" })).await.json()["token"].clone();
    let request = server.anonymous("POST", "/deployments").bearer_auth(token.as_str().unwrap());
    let second =
        server.send(request.header("Idempotency-Key", "k").json(&wish("other"))).await.expect(202).json();
    assert_ne!(first["id"], second["id"]);
}

#[tokio::test]
async fn i3_a_key_that_is_none_is_refused() {
    let server = Server::start().await;
    for bad in ["", "a b", &"k".repeat(256)] {
        post(&server, "/deployments", bad, &wish("shop")).await.expect_problem(400, "invalid_header");
    }
    assert_eq!(server.get("/deployments").await.json()["total"], 0);
}

#[tokio::test]
async fn i4_a_repetition_after_a_restart_gets_the_same_bytes() {
    let server = Server::start().await;
    let body = wish("shop");
    let first = post(&server, "/deployments", "k", &body).await.expect(202);
    let id = first.json()["id"].as_str().unwrap().to_owned();
    server.carry_out(Some(Stage::Build)).await;
    let retry = format!("/deployments/{id}/retry");
    let retried = post(&server, &retry, "k", &json!({})).await.expect(202);
    let cancel = format!("/deployments/{id}/cancel");
    let cancelled = post(&server, &cancel, "k", &json!({})).await.expect(202);
    let created = post(&server, "/tokens", "k", &json!({ "name": "ci" })).await.expect(201);
    server.carry_out(None).await;
    post(&server, "/deployments", "other", &body).await.expect(202);
    server.carry_out(None).await;
    let newest = server.get("/deployments").await.json()["data"][0]["id"].as_str().unwrap().to_owned();
    let rollback = format!("/deployments/{newest}/rollback");
    let rolled_back = post(&server, &rollback, "k", &json!({})).await.expect(202);
    let server = server.restart().await;
    for (path, sent, before) in [
        ("/deployments", body, first),
        (&retry, json!({}), retried),
        (&cancel, json!({}), cancelled),
        ("/tokens", json!({ "name": "ci" }), created),
        (&rollback, json!({}), rolled_back),
    ] {
        let after = post(&server, path, "k", &sent).await;
        assert_eq!((after.status, after.text()), (before.status, before.text()), "{path}");
    }
    assert_eq!(server.get("/deployments").await.json()["total"], 3, "nothing was done twice");
    let depth = server.backend.queue.depth(jiff::Timestamp::now()).await.unwrap();
    assert_eq!(depth.ready, 1, "the rollback");
    server.delete("/tokens/ci").await.expect(204);
    let gone = post(&server, "/tokens", "k", &json!({ "name": "ci" })).await;
    gone.expect_problem(409, "token_gone");
}
