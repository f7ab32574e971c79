//! Autoscalers: set, changed, shown and deleted; and what becomes of wishes.

use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_common::model::autoscaler::{
    AutoscalerFault, AutoscalerState, ContainerUse, Decision, DecisionEntry, DroppedCounts, Evidence,
    Observed, Place, Reason, Silence, Terms,
};
use slipway_common::model::{DeploymentId, Stage};

use crate::server::{Answer, DEADLINE, Server, wish};

pub(crate) fn settings() -> Value {
    json!({ "cpu_target": 0.5, "replicas_max": 8 })
}

pub(crate) async fn put(server: &Server, path: &str, body: &Value) -> Answer {
    server.send(server.request("PUT", path).json(body)).await
}

pub(crate) async fn patch(server: &Server, path: &str, body: &Value) -> Answer {
    server.send(server.request("PATCH", path).json(body)).await
}

pub(crate) async fn place(server: &Server, id: &str) -> Place {
    let found = server.backend.store.deployment(id.parse().unwrap()).await.unwrap();
    Place::of(&found.unwrap())
}

pub(crate) fn state(id: &str, replicas: u32, fence: u64) -> AutoscalerState {
    AutoscalerState {
        deployment: id.parse().unwrap(),
        at: now(),
        fence,
        scaler: "scaler-1".to_owned(),
        replicas,
        ready: replicas,
        evidence: Some(evidence()),
        decision: Some(Decision::Hold(Reason::OnTarget)),
        terms: Some(Terms::default()),
        startup_s: Some(4.5),
        wish: None,
        busy: false,
        containers: vec![ContainerUse { name: "shop-1".to_owned(), utilisation: 0.75 }],
        dropped: DroppedCounts::default(),
        fault: None,
    }
}

fn evidence() -> Evidence {
    Evidence {
        at_s: 10.0,
        window_s: 5.0,
        utilisation: 0.75,
        saturated_share: 0.0,
        demand_replicas: 2.25,
        counting: 3,
        young: 0,
    }
}

/// The time as every store keeps it.
fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap()
}

fn decided(deployment: DeploymentId, decision: Decision) -> DecisionEntry {
    let fault = AutoscalerFault { code: "target_changed".to_owned(), reason: "it was changed".to_owned() };
    DecisionEntry {
        at: now(),
        deployment,
        replicas: 1,
        ready: 1,
        evidence: Some(evidence()),
        decision,
        terms: None,
        fault: matches!(decision, Decision::Scale { .. }).then_some(fault),
    }
}

pub(crate) fn scale(to: u32) -> Decision {
    Decision::Scale { from: 1, to, terms: Terms::default() }
}

/// A deployment with an autoscaler: its id, and the path of the autoscaler.
pub(crate) async fn with_autoscaler(server: &Server) -> (String, String) {
    let id = server.deploy("shop").await;
    let path = format!("/deployments/{id}/autoscaler");
    put(server, &path, &settings()).await.expect(201);
    (id, path)
}

pub(crate) async fn append(server: &Server, id: &str, decisions: &[Decision]) {
    let place = place(server, id).await;
    let entries: Vec<_> =
        decisions.iter().map(|one| (place.clone(), decided(id.parse().unwrap(), *one))).collect();
    server.backend.autoscalers.append_decisions(&entries).await.unwrap();
}

#[tokio::test]
async fn an_autoscaler_is_set_changed_shown_and_deleted() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    let path = format!("/deployments/{id}/autoscaler");
    server.get(&path).await.expect_problem(404, "autoscaler_absent");
    patch(&server, &path, &json!({})).await.expect_problem(404, "autoscaler_absent");
    server.delete(&path).await.expect_problem(404, "autoscaler_absent");
    let made = put(&server, &path, &settings()).await.expect(201).json();
    for (field, value) in [
        ("deployment", json!(id)),
        ("project", json!("shop")),
        ("environment", json!("default")),
        ("updated_by", json!("tester")),
        ("wish", Value::Null),
        ("state", Value::Null),
        ("stale", json!(false)),
        ("decisions", json!([])),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    assert_eq!(
        (&made["settings"]["law"], &made["settings"]["replicas_min"]),
        (&json!("standard"), &json!(1))
    );
    assert!(made["settings"]["constants"]["kp"].is_number() && made["settings"]["hold_s"].is_number());
    let shown = server.get(&path).await.expect(200).json();
    assert_eq!(shown, made);
    let again = put(&server, &path, &shown["settings"]).await.expect(200).json();
    assert_eq!(again["settings"], shown["settings"], "what was read can be sent back");
    let change = json!({ "constants": { "kp": 0.5 }, "replicas_min": 2 });
    let changed = patch(&server, &path, &change).await.expect(200).json();
    let mut wanted = shown["settings"].clone();
    wanted["constants"]["kp"] = json!(0.5);
    wanted["replicas_min"] = json!(2);
    assert_eq!(changed["settings"], wanted);
    assert_eq!(server.get(&path).await.expect(200).json()["settings"], wanted);
    let merge = server.request("PATCH", &path).header("content-type", "application/merge-patch+json");
    let merge = merge.body(r#"{ "constants": null, "replicas_min": null }"#);
    assert_eq!(server.send(merge).await.expect(200).json()["settings"], shown["settings"]);
    server.delete(&path).await.expect(204);
    server.get(&path).await.expect_problem(404, "autoscaler_absent");
    put(&server, &path, &settings()).await.expect(201);
}

#[tokio::test]
async fn an_autoscaler_belongs_to_a_project_and_an_environment() {
    let server = Server::start().await;
    let (_, path) = with_autoscaler(&server).await;
    let shown = server.get(&path).await.expect(200).json();
    let next = server.deploy("shop").await;
    let of_next = server.get(&format!("/deployments/{next}/autoscaler")).await.expect(200).json();
    assert_eq!((&of_next["settings"], &of_next["deployment"]), (&shown["settings"], &json!(next)));
    let mut elsewhere = wish("shop");
    elsewhere["environment"] = json!("staging");
    let staging = server.post("/deployments", &elsewhere).await.expect(202).json();
    let of_staging = format!("/deployments/{}/autoscaler", staging["id"].as_str().unwrap());
    server.get(&of_staging).await.expect_problem(404, "autoscaler_absent");
    assert_eq!(staging["links"]["autoscaler"], of_staging);
    let server = server.restart().await;
    assert_eq!(server.get(&path).await.expect(200).json()["settings"], shown["settings"]);
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_by_their_field() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    let path = format!("/deployments/{id}/autoscaler");
    for (change, field) in [
        (json!({ "cpu_target": null }), "cpu_target"),
        (json!({ "cpu_target": 0 }), "cpu_target"),
        (json!({ "cpu_target": 1.01 }), "cpu_target"),
        (json!({ "cpu_target": "50" }), "cpu_target"),
        (json!({ "replicas_max": null }), "replicas_max"),
        (json!({ "replicas_max": 33 }), "replicas_max"),
        (json!({ "replicas_max": 10_001 }), "replicas_max"),
        (json!({ "replicas_min": 0 }), "replicas_min"),
        (json!({ "replicas_min": 9 }), "replicas_min"),
        (json!({ "replicas_min": 1.5 }), "replicas_min"),
        (json!({ "window_s": 60 }), "stale_after_s"),
        (json!({ "constants": { "kp": 3, "ki": 0, "kd": 0 } }), "constants.kp"),
        (json!({ "constants": { "kp": 1, "ki": 0, "kd": 0, "kx": 0 } }), "constants.kx"),
        (json!({ "law": "newton" }), "law"),
        (json!({ "mode": "wild" }), "mode"),
        (json!({ "nope": 1 }), "nope"),
    ] {
        let mut whole = settings();
        for (name, value) in change.as_object().unwrap() {
            if value.is_null() {
                whole.as_object_mut().unwrap().remove(name)
            } else {
                whole.as_object_mut().unwrap().insert(name.clone(), value.clone())
            };
        }
        let refused = put(&server, &path, &whole).await.expect_problem(422, "invalid_fields").json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    let partly = json!({ "cpu_target": 0.5, "replicas_max": 8, "constants": { "kp": 1 } });
    let refused = put(&server, &path, &partly).await.expect_problem(422, "invalid_fields").json();
    assert_eq!(refused["errors"][0]["field"], "constants.ki");
    server.get(&path).await.expect_problem(404, "autoscaler_absent");
    put(&server, &path, &settings()).await.expect(201);
    let before = server.get(&path).await.expect(200).json();
    for (change, field) in [
        (json!({ "replicas_max": 33 }), "replicas_max"),
        (json!({ "replicas_min": 9 }), "replicas_min"),
        (json!({ "cpu_target": null }), "cpu_target"),
        (json!({ "constants": { "kp": 3 } }), "constants.kp"),
        (json!({ "nope": 1 }), "nope"),
    ] {
        let refused = patch(&server, &path, &change).await.expect_problem(422, "invalid_fields").json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    for no_patch in [json!([]), json!(null), json!(5)] {
        patch(&server, &path, &no_patch).await.expect_problem(422, "invalid_fields");
    }
    let text = server.request("PATCH", &path).header("content-type", "text/plain").body("{}");
    server.send(text).await.expect_problem(415, "unsupported_media_type");
    let broken = server.request("PUT", &path).header("content-type", "application/json").body("{");
    server.send(broken).await.expect_problem(400, "malformed_json");
    assert_eq!(server.get(&path).await.expect(200).json()["settings"], before["settings"]);
}

#[tokio::test]
async fn what_is_unknown_or_over_has_no_autoscaler_to_set() {
    let server = Server::start().await;
    let replicas = json!({ "replicas": 2 });
    let requests = [
        ("GET", "autoscaler", None),
        ("PUT", "autoscaler", Some(settings())),
        ("PATCH", "autoscaler", Some(json!({}))),
        ("DELETE", "autoscaler", None),
        ("GET", "autoscaler/events", None),
        ("GET", "autoscaler/observed", None),
        ("PUT", "replicas", Some(replicas.clone())),
    ];
    for (id, status, code) in
        [("01890a5d-ac96-774b-bcce-b302099a8057", 404, "not_found"), ("x", 400, "invalid_path")]
    {
        for (method, rest, body) in &requests {
            let request = server.request(method, &format!("/deployments/{id}/{rest}"));
            let request = body.iter().fold(request, |request, body| request.json(body));
            server.send(request).await.expect_problem(status, code);
        }
    }
    let id = server.deploy("shop").await;
    let of = |rest: &str| format!("/deployments/{id}/{rest}");
    for (method, rest) in [("GET", "autoscaler/events"), ("GET", "autoscaler/observed")] {
        server.send(server.request(method, &of(rest))).await.expect_problem(404, "autoscaler_absent");
    }
    put(&server, &of("replicas"), &replicas).await.expect_problem(404, "autoscaler_absent");
    server.send(server.request("POST", &of("autoscaler"))).await.expect_problem(405, "method_not_allowed");
    server.carry_out(Some(Stage::Build)).await;
    put(&server, &of("autoscaler"), &settings()).await.expect_problem(409, "deployment_over");
    patch(&server, &of("autoscaler"), &json!({})).await.expect_problem(409, "deployment_over");
    put(&server, &of("replicas"), &replicas).await.expect_problem(409, "deployment_over");
    server.get(&of("autoscaler")).await.expect_problem(404, "autoscaler_absent");
}

#[tokio::test]
async fn a_replica_count_is_wished_for_within_the_settings() {
    let server = Server::start().await;
    let (id, path) = with_autoscaler(&server).await;
    let replicas = format!("/deployments/{id}/replicas");
    for (body, field) in [
        (json!({ "replicas": 0 }), "replicas"),
        (json!({ "replicas": 9 }), "replicas"),
        (json!({ "replicas": -1 }), "replicas"),
        (json!({}), "replicas"),
        (json!({ "replicas": 1, "now": true }), "now"),
    ] {
        let refused = put(&server, &replicas, &body).await.expect_problem(422, "invalid_fields").json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    assert_eq!(server.get(&path).await.expect(200).json()["wish"], Value::Null);
    let accepted = put(&server, &replicas, &json!({ "replicas": 3 })).await.expect(202).json();
    let wish = server.get(&path).await.expect(200).json()["wish"].clone();
    assert_eq!((&accepted["replicas"], &accepted["wish"]), (&json!(3), &wish["id"]));
    assert_eq!(
        (&wish["replicas"], &wish["user"], &wish["fulfilled"]),
        (&json!(3), &json!("tester"), &json!(false))
    );
    let fulfilled = accepted["wish"].as_str().unwrap().parse().unwrap();
    let state = AutoscalerState { wish: Some(fulfilled), ..state(&id, 3, 1) };
    server.backend.autoscalers.put_states(&[(place(&server, &id).await, state)]).await.unwrap();
    assert_eq!(server.get(&path).await.expect(200).json()["wish"]["fulfilled"], true);
    patch(&server, &path, &json!({ "cpu_target": 0.6 })).await.expect(200);
    assert_eq!(server.get(&path).await.expect(200).json()["wish"]["replicas"], 3, "settings are no wish");
}

#[tokio::test]
async fn what_a_scaler_says_decides_and_sees_is_shown() {
    let server = Server::start().await;
    let (id, path) = with_autoscaler(&server).await;
    let place = place(&server, &id).await;
    let autoscalers = &server.backend.autoscalers;
    let fresh = state(&id, 3, 1);
    autoscalers.put_states(&[(place.clone(), fresh.clone())]).await.unwrap();
    let silence = Decision::Hold(Reason::Silence { silence: Silence::Stale });
    let adopted = Decision::Hold(Reason::Adopted { expected: 2, found: 3 });
    append(&server, &id, &[silence, adopted]).await;
    append(&server, &id, &(1..=25).map(scale).collect::<Vec<_>>()).await;
    let shown = server.get(&path).await.expect(200).json();
    for (field, value) in [
        ("replicas", json!(3)),
        ("utilisation", json!(0.75)),
        ("demand_replicas", json!(2.25)),
        ("startup_s", json!(4.5)),
        ("busy", json!(false)),
        ("scaler", json!("scaler-1")),
        ("decision", json!({ "decision": "hold", "reason": "on_target" })),
        ("containers", json!([{ "name": "shop-1", "utilisation": 0.75 }])),
        ("fault", Value::Null),
    ] {
        assert_eq!(shown["state"][field], value, "{field}");
    }
    assert_eq!(shown["stale"], false);
    let numbers: Vec<u64> =
        shown["decisions"].as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (8..=27).collect::<Vec<u64>>());
    assert_eq!(shown["decisions"][19]["decision"]["to"], 25);
    assert_eq!(shown["decisions"][19]["fault"]["code"], "target_changed");
    let long_ago = now() - jiff::SignedDuration::from_secs(31);
    let stale = AutoscalerState { at: long_ago, evidence: None, fence: 2, ..fresh };
    autoscalers.put_states(&[(place.clone(), stale)]).await.unwrap();
    let shown = server.get(&path).await.expect(200).json();
    assert_eq!((&shown["stale"], &shown["state"]["utilisation"]), (&json!(true), &Value::Null));
    let seen = |at, replicas| Observed {
        at,
        replicas,
        ready: replicas,
        evidence: Some(evidence()),
        arrivals_per_s: None,
        inflight: Some(2.0),
    };
    let (first, second) = (now(), now() + jiff::SignedDuration::from_secs(5));
    autoscalers.append_observed(&place, &[seen(first, 1), seen(second, 2)]).await.unwrap();
    let all = server.get(&format!("{path}/observed")).await.expect(200).json();
    assert_eq!((&all["settings"], all["observed"].as_array().unwrap().len()), (&shown["settings"], 2));
    let since = server.get(&format!("{path}/observed?since={second}")).await.expect(200).json();
    assert_eq!(
        (since["observed"].as_array().unwrap().len(), &since["observed"][0]["replicas"]),
        (1, &json!(2))
    );
    for bad in ["since=yesterday", "until=2026-11-27T12:00:00Z"] {
        server.get(&format!("{path}/observed?{bad}")).await.expect_problem(400, "invalid_query");
    }
}

#[tokio::test]
async fn changes_are_made_one_after_the_other() {
    let server = Server::start().await;
    let (id, path) = with_autoscaler(&server).await;
    let changes = [
        json!({ "replicas_min": 2 }),
        json!({ "cpu_target": 0.7 }),
        json!({ "interval_s": 7 }),
        json!({ "window_s": 9 }),
    ];
    for answer in join_all(changes.iter().map(|change| patch(&server, &path, change))).await {
        answer.expect(200);
    }
    let settings = server.get(&path).await.expect(200).json()["settings"].clone();
    for change in &changes {
        let (name, value) = change.as_object().unwrap().iter().next().unwrap();
        assert_eq!(&settings[name], value, "{name}");
    }
    let key = format!("autoscaler/{}", place(&server, &id).await);
    let lease = server.backend.store.acquire_lease(&key, "somebody", DEADLINE, Timestamp::now()).await;
    let lease = lease.unwrap().unwrap();
    for refused in [
        put(&server, &path, &settings).await,
        patch(&server, &path, &changes[0]).await,
        server.delete(&path).await,
    ] {
        let refused = refused.expect_problem(503, "autoscaler_busy");
        assert!(!refused.header("retry-after").is_empty());
    }
    server.backend.store.release_lease(&lease).await.unwrap();
    patch(&server, &path, &changes[0]).await.expect(200);
}
