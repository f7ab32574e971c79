//! Parts that are away, silent, full or unsure: every answer is quick, honest, and says when to come back; questions are
//! answered as long as the store can be asked.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use slipway_common::model::Stage;

use crate::doubles::Mood;
use crate::server::{Answer, DEADLINE, Server, wish};

/// No answer takes longer: 3 s is promised (F2), and 5 s where the machine itself is short of time.
const ANSWER_MAX: Duration = Duration::from_secs(5);

async fn in_time(server: &Server, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let request = server.request(method, path).header("Idempotency-Key", "pressure");
    let request = body.iter().fold(request, |request, body| request.json(body));
    let begun = Instant::now();
    let answer = server.send(request).await;
    assert!(begun.elapsed() < ANSWER_MAX, "{method} {path} took {:?}", begun.elapsed());
    answer
}

fn is_patient(answer: &Answer) {
    let seconds: u64 = answer.header("retry-after").parse().expect("Retry-After in seconds");
    assert!((1..=60).contains(&seconds));
}

#[tokio::test]
async fn f1_work_is_refused_and_questions_answered_while_the_queue_is_away_or_full() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    for (mood, code) in [(Mood::Away, "queue_unavailable"), (Mood::Full, "queue_full")] {
        server.faults.queue(mood);
        is_patient(
            &in_time(&server, "POST", "/deployments", Some(&wish("shop"))).await.expect_problem(503, code),
        );
        let stop = in_time(&server, "DELETE", &format!("/deployments/{id}"), None).await;
        is_patient(&stop.expect_problem(503, code));
        for path in ["/deployments", &format!("/deployments/{id}"), "/tokens", "/healthz"] {
            in_time(&server, "GET", path, None).await.expect(200);
        }
    }
    server.faults.queue(Mood::Well);
    in_time(&server, "POST", "/deployments", Some(&wish("shop"))).await.expect(202);
    assert_eq!(server.get("/deployments").await.json()["total"], 2, "what was refused was not done");
}

/// What was sent of a log or a history is not taken for all of it when the store fails midway.
#[tokio::test]
async fn f6_a_stream_that_cannot_go_on_is_cut_and_not_ended() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    for path in
        [format!("/deployments/{id}/logs?follow=true&stage=clone"), format!("/deployments/{id}/events")]
    {
        let open = server.request("GET", &path).send().await.unwrap();
        assert_eq!(open.status(), 200);
        server.faults.store(Mood::Away);
        let read = tokio::time::timeout(DEADLINE, open.text()).await.expect("it does not hang");
        assert!(read.is_err(), "{path} looks complete: {read:?}");
        server.faults.store(Mood::Well);
    }
}

#[tokio::test]
async fn f2_no_answer_takes_longer_than_3_s_whatever_is_silent() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    let one = format!("/deployments/{id}");
    let body = wish("shop");
    server.faults.queue(Mood::Silent);
    let requests = [
        ("POST", "/deployments", Some(&body), 503),
        ("DELETE", &one, None, 503),
        ("GET", "/dead", None, 503),
        ("GET", &one, None, 200),
        ("GET", "/readyz", None, 503),
        ("GET", "/metrics", None, 200),
    ];
    let asked = requests.iter().map(|(method, path, body, _)| in_time(&server, method, path, *body));
    for (answer, (method, path, _, status)) in join_all(asked).await.into_iter().zip(&requests) {
        let answer = answer.expect(*status);
        if *status == 503 && *path != "/readyz" {
            let code = if *method == "GET" { "timeout" } else { "outcome_unknown" };
            is_patient(&answer.expect_problem(503, code));
        }
    }
    server.faults.queue(Mood::Well);
    server.faults.store(Mood::Silent);
    let requests = [
        ("POST", "/deployments", Some(&body), "outcome_unknown"),
        ("GET", "/deployments", None, "timeout"),
        ("GET", &one, None, "timeout"),
        ("GET", "/readyz", None, "not_ready"),
    ];
    let asked = requests.iter().map(|(method, path, body, _)| in_time(&server, method, path, *body));
    for (answer, (.., code)) in join_all(asked).await.into_iter().zip(&requests) {
        is_patient(&answer.expect_problem(503, code));
    }
    in_time(&server, "GET", "/healthz", None).await.expect(200);
}

#[tokio::test]
async fn i7_an_unknown_outcome_is_said_and_the_repetition_is_the_same_job() {
    for mood in [Mood::SilentAfterwards, Mood::Unsure] {
        let server = Server::start().await;
        server.faults.queue(mood);
        let first = in_time(&server, "POST", "/deployments", Some(&wish("shop"))).await;
        let first = first.expect_problem(503, "outcome_unknown");
        assert!(first.json()["detail"].as_str().unwrap().contains("same Idempotency-Key"));
        server.faults.queue(Mood::Well);
        let again = in_time(&server, "POST", "/deployments", Some(&wish("shop"))).await.expect(202).json();
        let list = server.get("/deployments").await.json();
        assert_eq!((&list["total"], &list["data"][0]["id"]), (&json!(1), &again["id"]));
        assert_eq!(server.backend.queue.depth(jiff::Timestamp::now()).await.unwrap().ready, 1);
    }
}

#[tokio::test]
async fn f6_without_the_store_nothing_wrong_is_said() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    server.faults.store(Mood::Away);
    let paths = [
        "/deployments",
        &format!("/deployments/{id}"),
        "/deployments/01890a5d-ac96-774b-bcce-b302099a8057",
        &format!("/deployments/{id}/logs"),
        "/jobs/01890a5d-ac96-774b-bcce-b302099a8057",
        "/tokens",
        "/credentials",
    ];
    for path in paths {
        let begun = Instant::now();
        is_patient(&server.get(path).await.expect_problem(503, "store_unavailable"));
        assert!(begun.elapsed() < Duration::from_secs(1), "{path}");
    }
    let unknown = server.anonymous("GET", "/deployments").bearer_auth("slw_nobody");
    server.send(unknown).await.expect_problem(503, "store_unavailable");
    is_patient(
        &in_time(&server, "POST", "/deployments", Some(&wish("shop")))
            .await
            .expect_problem(503, "store_unavailable"),
    );
    server.faults.store(Mood::Well);
    assert_eq!(server.get("/deployments").await.json()["total"], 1);
}

#[tokio::test]
async fn readiness_tells_questions_from_work() {
    let server = Server::start().await;
    let ready = server.send(server.anonymous("GET", "/readyz")).await.expect(200).json();
    assert_eq!(
        (&ready["status"], &ready["reads"], &ready["writes"]),
        (&json!("ready"), &json!(true), &json!(true))
    );
    assert_eq!(ready["parts"], json!([]));
    for (queue, store, reads, parts) in [
        (Mood::Away, Mood::Well, true, vec!["queue"]),
        (Mood::Well, Mood::Away, false, vec!["store"]),
        (Mood::Silent, Mood::Silent, false, vec!["store", "queue"]),
    ] {
        server.faults.queue(queue);
        server.faults.store(store);
        let refused = server.send(server.anonymous("GET", "/readyz")).await.expect_problem(503, "not_ready");
        let refused = refused.json();
        assert_eq!((&refused["reads"], &refused["writes"]), (&json!(reads), &json!(false)));
        let named: Vec<&str> =
            refused["parts"].as_array().unwrap().iter().map(|part| part["part"].as_str().unwrap()).collect();
        assert_eq!(named, parts);
        server.send(server.anonymous("GET", "/healthz")).await.expect(200);
    }
}

#[tokio::test]
async fn i4_a_key_outlives_its_reservation() {
    let server = Server::start().await;
    server.faults.store(Mood::Forgetful);
    let keyed = |path: &str, body: &Value| {
        let request = server.request("POST", path).header("Idempotency-Key", "k").json(body);
        server.send(request)
    };
    let body = wish("shop");
    let answers = join_all((0..50).map(|_| keyed("/deployments", &body))).await;
    let mut ids: Vec<Value> =
        answers.into_iter().map(|answer| answer.expect(202).json()["job_id"].clone()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "the ids follow from the key");
    assert_eq!(server.backend.queue.depth(jiff::Timestamp::now()).await.unwrap().ready, 1);
    let first = keyed("/deployments", &body).await.expect(202);
    server.carry_out(Some(Stage::Build)).await;
    let retry = format!("/deployments/{}/retry", first.json()["id"].as_str().unwrap());
    let retried = keyed(&retry, &json!({})).await.expect(202);
    server.carry_out(None).await;
    assert_eq!(keyed("/deployments", &body).await.expect(202).body, first.body);
    assert_eq!(keyed(&retry, &json!({})).await.expect(202).body, retried.body);
    keyed("/deployments", &wish("other")).await.expect_problem(422, "idempotency_key_reused");
    assert_eq!(server.get("/deployments").await.json()["total"], 1);
    assert_eq!(server.backend.queue.depth(jiff::Timestamp::now()).await.unwrap().ready, 0);
}
