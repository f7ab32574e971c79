//! The older service Kabernetes: its requests, its words, its states. What a scaler would do is done by hand.

use serde_json::{Value, json};
use slipway_common::model::Stage;
use slipway_common::model::autoscaler::{AutoscalerState, Place};
use uuid::Uuid;

use crate::autoscalers::{patch, place, state};
use crate::server::{Answer, Server};

const CONTAINERS: &str = "/client/containers";
const STARTING: &str = "Client not fully initialized, try again";
const NOT_AVAILABLE: &str = "Client not available, try again later";
const ABSENT: &str = "There is no client instantiated";

fn wanted() -> Value {
    json!({ "image": "registry.example.com/shop:1", "cpu_target": "50", "constants": { "kp": 0.1, "ki": "0.01" } })
}

/// Panics unless the answer is a problem in these words.
fn refused(answer: Answer, status: u16, words: &str) {
    let answer = answer.expect(status);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!((&answer.json()["message"], &answer.json()["detail"]), (&json!(words), &json!(words)));
}

fn done(answer: Answer, words: &str) {
    assert_eq!(answer.expect(200).json(), json!({ "message": words }));
}

async fn remove(server: &Server, amount: &Value) -> Answer {
    server.send(server.request("DELETE", CONTAINERS).json(&json!({ "amount": amount }))).await
}

async fn add(server: &Server, amount: &Value) -> Answer {
    server.post(CONTAINERS, &json!({ "amount": amount })).await
}

/// The id of the newest client's deployment.
async fn newest(server: &Server) -> String {
    let list = server.get("/deployments?project=client").await.expect(200).json();
    list["data"][0]["id"].as_str().unwrap().to_owned()
}

async fn wish(server: &Server, place: &Place) -> Option<(Uuid, u32)> {
    let entry = server.backend.autoscalers.autoscaler(place).await.unwrap().unwrap();
    entry.wish.map(|wish| (wish.id, wish.replicas))
}

/// What a scaler says once it has fulfilled the wish.
async fn fulfil(server: &Server, id: &str, fence: u64) {
    let place = place(server, id).await;
    let (wish, replicas) = wish(server, &place).await.unwrap();
    let state = AutoscalerState { wish: Some(wish), ..state(id, replicas, fence) };
    server.backend.autoscalers.put_states(&[(place, state)]).await.unwrap();
}

#[tokio::test]
async fn before_the_first_client_there_is_none() {
    let server = Server::start().await;
    refused(server.get("/client").await, 404, ABSENT);
    refused(patch(&server, "/client", &json!({ "kp": 1 })).await, 404, ABSENT);
    refused(server.delete("/client").await, 404, ABSENT);
    refused(add(&server, &json!(1)).await, 404, ABSENT);
    refused(remove(&server, &json!(-1)).await, 404, ABSENT);
    refused(server.send(server.request("PATCH", "/client")).await, 404, ABSENT);
    server.send(server.anonymous("GET", "/client")).await.expect_problem(401, "unauthorized");
    server.send(server.request("PUT", "/client")).await.expect_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn a_client_that_cannot_be_started_is_refused_with_the_reason() {
    let server = Server::start().await;
    let lacks = "Bad body format. Expected: ['image', 'cpu_target', 'constants'] attributes.";
    refused(server.send(server.request("POST", "/client")).await, 400, lacks);
    for name in ["image", "cpu_target", "constants"] {
        let mut body = wanted();
        body.as_object_mut().unwrap().remove(name);
        refused(server.post("/client", &body).await, 400, lacks);
    }
    for (name, value, words) in [
        ("cpu_target", json!("high"), "cpu_target must be of a numeric type"),
        ("cpu_target", json!(null), "cpu_target must be of a numeric type"),
        ("constants", json!({ "kp": "much" }), "kp must be of a numeric type"),
        ("constants", json!(null), lacks),
    ] {
        let mut body = wanted();
        body[name] = value;
        refused(server.post("/client", &body).await, 400, words);
    }
    for (name, value, field) in [
        ("cpu_target", json!(0), "cpu_target"),
        ("cpu_target", json!(101), "cpu_target"),
        ("image", json!("--privileged"), "image"),
        ("port", json!(0), "port"),
        ("constants", json!({ "kd": -1 }), "constants.kd"),
    ] {
        let mut body = wanted();
        body[name] = value;
        let answer = server.post("/client", &body).await.expect_problem(422, "invalid_fields").json();
        assert_eq!(answer["errors"][0]["field"], field);
    }
    refused(server.get("/client").await, 404, ABSENT);
    assert_eq!(server.get("/deployments").await.expect(200).json()["total"], 0);
    let server = Server::start_with(|settings| settings.clusters.clone_from(&settings.targets)).await;
    server.post("/client", &wanted()).await.expect_problem(409, "docker_target_absent");
}

#[tokio::test]
async fn a_client_that_starts_takes_no_orders_yet() {
    let server = Server::start().await;
    done(server.post("/client", &wanted()).await, "Client started");
    let starting = server.get("/client").await;
    assert!(!starting.header("retry-after").is_empty());
    refused(starting, 503, STARTING);
    refused(patch(&server, "/client", &json!({})).await, 503, NOT_AVAILABLE);
    refused(server.delete("/client").await, 503, NOT_AVAILABLE);
    refused(add(&server, &json!("x")).await, 503, NOT_AVAILABLE);
    refused(remove(&server, &json!(1)).await, 503, NOT_AVAILABLE);
    refused(server.post("/client", &json!({})).await, 409, "There is already a client running");
    let id = newest(&server).await;
    let deployment = server.get(&format!("/deployments/{id}")).await.expect(200).json();
    for (field, value) in [
        ("image", json!("registry.example.com/shop:1")),
        ("port", json!(5_000)),
        ("replicas", json!(1)),
        ("target", json!("docker")),
        ("environment", json!("default")),
    ] {
        assert_eq!(deployment["spec"][field], value, "{field}");
    }
    let settings = server.get(&format!("/deployments/{id}/autoscaler")).await.expect(200).json();
    for (field, value) in [
        ("law", json!("kabernetes")),
        ("cpu_target", json!(0.5)),
        ("constants", json!({ "kp": 0.1, "ki": 0.01, "kd": 0.0 })),
        ("replicas_min", json!(1)),
        ("replicas_max", json!(32)),
    ] {
        assert_eq!(settings["settings"][field], value, "{field}");
    }
    server.carry_out(Some(Stage::Apply)).await;
    let dead = server.get("/client").await.expect(200).json();
    assert_eq!((&dead["status"], &dead["error"]), (&json!("DEAD"), &json!(-50.0)));
    done(server.post("/client", &wanted()).await, "Client started");
}

#[tokio::test]
async fn constants_are_replaced_and_figures_shown_in_percent() {
    let server = Server::start().await;
    done(server.post("/client", &wanted()).await, "Client started");
    server.carry_out(None).await;
    let shown = server.get("/client").await.expect(200).json();
    assert_eq!(
        shown,
        json!({
            "status": "READY", "image": "registry.example.com/shop:1", "cpu_target": 50.0,
            "constants": { "kp": 0.1, "kd": 0.0, "ki": 0.01 }, "error": -50.0, "avg_cpu_usage": 0.0,
            "containers": 1, "cpu_usage": [],
        })
    );
    done(patch(&server, "/client", &json!({ "kd": "0.2", "other": 1 })).await, "Constants updated");
    let constants = server.get("/client").await.expect(200).json()["constants"].clone();
    assert_eq!(constants, json!({ "kp": 0.0, "kd": 0.2, "ki": 0.0 }));
    refused(patch(&server, "/client", &json!({ "kp": [1] })).await, 400, "kp must be of a numeric type");
    let answer =
        patch(&server, "/client", &json!({ "kp": 1_001 })).await.expect_problem(422, "invalid_fields");
    assert_eq!(answer.json()["errors"][0]["field"], "kp");
    done(server.send(server.request("PATCH", "/client")).await, "Constants updated");
    let constants = server.get("/client").await.expect(200).json()["constants"].clone();
    assert_eq!(constants, json!({ "kp": 0.0, "kd": 0.0, "ki": 0.0 }));
    let id = newest(&server).await;
    let said = (place(&server, &id).await, state(&id, 3, 1));
    server.backend.autoscalers.put_states(std::slice::from_ref(&said)).await.unwrap();
    let shown = server.get("/client").await.expect(200).json();
    for (field, value) in [
        ("status", json!("READY")),
        ("avg_cpu_usage", json!(75.0)),
        ("error", json!(25.0)),
        ("containers", json!(3)),
        ("cpu_usage", json!([75.0])),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    let busy = (said.0, AutoscalerState { busy: true, fence: 2, ..said.1 });
    server.backend.autoscalers.put_states(&[busy]).await.unwrap();
    assert_eq!(server.get("/client").await.expect(200).json()["status"], "BUSY");
    refused(server.delete("/client").await, 503, NOT_AVAILABLE);
}

#[tokio::test]
async fn containers_are_added_and_removed_but_for_the_last() {
    let server = Server::start().await;
    done(server.post("/client", &wanted()).await, "Client started");
    server.carry_out(None).await;
    let id = newest(&server).await;
    let place = place(&server, &id).await;
    let lacks = "Bad body format. Expected: ['amount'] attributes.";
    refused(server.send(server.request("POST", CONTAINERS)).await, 400, lacks);
    refused(server.post(CONTAINERS, &json!({ "count": 1 })).await, 400, lacks);
    let negative = "Expected a positive number of containers, but got -2";
    refused(add(&server, &json!("-2.5")).await, 400, negative);
    refused(remove(&server, &json!(-2)).await, 400, negative);
    refused(add(&server, &json!("two")).await, 400, "amount must be of a numeric type");
    let last = "There is not enough containers to drop. The minimum active container amount is 1.";
    refused(remove(&server, &json!(1)).await, 400, last);
    done(add(&server, &json!(0)).await, "Container pushed");
    done(remove(&server, &json!("0.9")).await, "Container dropped");
    assert_eq!(wish(&server, &place).await, None, "nothing was asked for");
    let answer = add(&server, &json!(32)).await.expect_problem(422, "invalid_fields").json();
    assert_eq!(answer["errors"][0]["field"], "amount");

    done(add(&server, &json!("4.9")).await, "Container pushed");
    assert_eq!(wish(&server, &place).await.unwrap().1, 5);
    assert_eq!(server.get("/client").await.expect(200).json()["status"], "BUSY");
    refused(add(&server, &json!(1)).await, 503, NOT_AVAILABLE);
    refused(patch(&server, "/client", &json!({})).await, 503, NOT_AVAILABLE);
    fulfil(&server, &id, 1).await;
    let shown = server.get("/client").await.expect(200).json();
    assert_eq!((&shown["status"], &shown["containers"]), (&json!("READY"), &json!(5)));
    refused(remove(&server, &json!(5)).await, 400, last);
    done(remove(&server, &json!(4)).await, "Container dropped");
    assert_eq!(wish(&server, &place).await.unwrap().1, 1);
    fulfil(&server, &id, 2).await;
    refused(remove(&server, &json!(1)).await, 400, last);
}

#[tokio::test]
async fn a_deleted_client_is_dead_and_leaves_room_for_another() {
    let server = Server::start().await;
    done(server.post("/client", &wanted()).await, "Client started");
    server.carry_out(None).await;
    let first = newest(&server).await;
    done(add(&server, &json!(1)).await, "Container pushed");
    fulfil(&server, &first, 1).await;
    done(server.delete("/client").await, "Client deleted");
    assert_eq!(server.get("/client").await.expect(200).json()["status"], "STOPPING");
    refused(server.delete("/client").await, 503, NOT_AVAILABLE);
    server.carry_out(None).await;
    let shown = server.get(&format!("/deployments/{first}")).await.expect(200).json();
    assert_eq!(shown["status"], "stopped");
    let dead = server.get("/client").await.expect(200).json();
    assert_eq!(
        dead,
        json!({
            "status": "DEAD", "image": "registry.example.com/shop:1", "cpu_target": 50.0,
            "constants": { "kp": 0.1, "kd": 0.0, "ki": 0.01 }, "error": -50.0, "avg_cpu_usage": 0.0,
            "containers": 0, "cpu_usage": [],
        })
    );
    refused(patch(&server, "/client", &json!({})).await, 503, NOT_AVAILABLE);
    refused(add(&server, &json!(1)).await, 503, NOT_AVAILABLE);
    let other =
        json!({ "image": "registry.example.com/other:2", "cpu_target": 30, "constants": {}, "port": 80 });
    done(server.post("/client", &other).await, "Client started");
    refused(server.get("/client").await, 503, STARTING);
    let second = newest(&server).await;
    assert_ne!(first, second);
    let anew = server.get(&format!("/deployments/{second}/autoscaler")).await.expect(200).json();
    assert_eq!((&anew["wish"], &anew["state"]), (&Value::Null, &Value::Null));
    assert_eq!(anew["settings"]["cpu_target"], 0.3);
    server.carry_out(None).await;
    let ready = server.get("/client").await.expect(200).json();
    assert_eq!((&ready["status"], &ready["image"]), (&json!("READY"), &other["image"]));
    assert_eq!(server.get(&format!("/deployments/{second}")).await.json()["spec"]["port"], 80);
}

#[tokio::test]
async fn requests_under_a_key_are_carried_out_once() {
    let server = Server::start().await;
    let keyed =
        |path: &str, body: &Value| server.request("POST", path).header("Idempotency-Key", "k").json(body);
    for _ in 0..2 {
        done(server.send(keyed("/client", &wanted())).await, "Client started");
    }
    assert_eq!(server.get("/deployments").await.expect(200).json()["total"], 1);
    server.send(keyed("/client", &json!({}))).await.expect_problem(422, "idempotency_key_reused");
    server.carry_out(None).await;
    let id = newest(&server).await;
    let (place, two) = (place(&server, &id).await, json!({ "amount": 2 }));
    done(server.send(keyed(CONTAINERS, &two)).await, "Container pushed");
    let first = wish(&server, &place).await;
    done(server.send(keyed(CONTAINERS, &two)).await, "Container pushed");
    fulfil(&server, &id, 1).await;
    done(server.send(keyed(CONTAINERS, &two)).await, "Container pushed");
    assert_eq!(wish(&server, &place).await, first);
}
