//! Registered projects: stored, listed, shown, changed and deleted; every wrong field named; no secret shown twice.

use futures_util::future::join_all;
use serde_json::{Value, json};
use slipway_common::agenda::{List, Next};
use slipway_common::model::registered::Head;
use slipway_common::model::registered::state::{SweepError, SweepState};
use slipway_common::model::{DeploymentId, JobId, Trigger};
use slipway_common::record::Record;
use slipway_common::submit::submit;

use crate::doubles::Mood;
use crate::server::{Answer, Server, wish};

/// A text that must come back nowhere.
const CANARY: &str = "canary-0123456789-abcdef";

/// Registers `name` with these fields and answers its slug and the answer.
pub(crate) async fn register(server: &Server, name: &str, fields: &Value) -> (String, Value) {
    let mut body = wish(name);
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let answer = server.post("/projects", &body).await.expect(201).json();
    (answer["slug"].as_str().unwrap().to_owned(), answer)
}

async fn patch(server: &Server, path: &str, body: &Value) -> Answer {
    let request = server.request("PATCH", path).header("content-type", "application/merge-patch+json");
    server.send(request.json(body)).await
}

fn fields(answer: &Answer) -> Vec<String> {
    let errors = answer.json()["errors"].clone();
    errors.as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}

async fn store_credential(server: &Server, name: &str) {
    let secret = json!({ "secret": CANARY });
    server.send(server.request("PUT", &format!("/credentials/{name}")).json(&secret)).await.expect(201);
}

#[tokio::test]
async fn a_project_is_registered_shown_changed_and_deleted() {
    let server = Server::start().await;
    store_credential(&server, "forge").await;
    let body = json!({
        "repository_url": "https://git.example.com/team/shop.git", "credential": "forge", "build": "gitlab",
        "pipeline": { "job": "image" }, "port": 8080, "env": { "A": CANARY },
        "supports": [{ "name": "db", "image": "postgres:18", "env": { "P": CANARY } }],
        "environments": [{ "name": "live", "tag": "v*" }, { "name": "staging", "default_branch": true }],
        "review": { "ttl_h": 5 }, "notify": { "webhooks": [{ "url": "https://a.example/x" }] },
        "made": { "hook": 7, "variables": ["SLIPWAY_URL"] },
    });
    let created = server.post("/projects", &body).await.expect(201);
    let stored = created.json();
    let path = format!("/projects/{}", stored["slug"].as_str().unwrap());
    assert_eq!(created.header("location"), path);
    assert_eq!((&stored["forge"], &stored["env"]["A"]), (&json!("gitlab"), &json!("***")));
    let hook = &stored["hook"];
    let address = format!("http://{}/webhooks/gitlab/{}", server.addr(), hook["id"].as_str().unwrap());
    assert_eq!(hook["url"], address);
    assert!(stored["secrets"]["signing_secret"].as_str().unwrap().starts_with("whsec_"));
    assert!(stored["secrets"]["token"].is_string());
    assert_eq!(stored["secrets"]["webhooks"][0]["url"], "https://a.example/x");

    let shown = server.get(&path).await.expect(200).json();
    assert!(shown.get("secrets").is_none() && shown.get("state").is_none());
    assert_eq!((&shown["review"]["ttl_h"], &shown["pipeline"]["job"]), (&json!(5), &json!("image")));
    assert_eq!(shown["heads"], json!([]));
    let by_place = server.get("/projects/git.example.com%2Fteam%2Fshop").await.expect(200).json();
    assert_eq!(by_place, shown);

    let changes = json!({ "port": null, "env": { "B": "x" }, "review": null, "replicas": 2 });
    let changed = patch(&server, &path, &changes).await.expect(200).json();
    assert!(changed.get("secrets").is_none(), "nothing was made");
    assert_eq!((&changed["port"], &changed["review"]), (&Value::Null, &Value::Null));
    assert_eq!(changed["env"], json!({ "A": "***", "B": "***" }));
    assert_eq!((&changed["replicas"], &changed["created_at"]), (&json!(2), &stored["created_at"]));
    assert_eq!(changed["made"], stored["made"]);

    server.delete(&path).await.expect(204);
    server.get(&path).await.expect_problem(404, "not_found");
    server.delete(&path).await.expect_problem(404, "not_found");
    patch(&server, &path, &json!({})).await.expect_problem(404, "not_found");
    assert_eq!(server.get("/projects").await.json()["total"], 0);
}

#[tokio::test]
async fn projects_page_in_order_and_count_truly() {
    let server = Server::start().await;
    for n in 0..7 {
        register(&server, &format!("shop-{n}"), &json!({})).await;
    }
    let mut seen: Vec<String> = Vec::new();
    let mut path = "/projects?limit=3".to_owned();
    loop {
        let page = server.get(&path).await.expect(200).json();
        assert_eq!(page["total"], 7);
        let slug = |one: &Value| one["slug"].as_str().unwrap().to_owned();
        seen.extend(page["data"].as_array().unwrap().iter().map(slug));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/projects?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
    let all = server.get("/projects?limit=7").await.expect(200).json();
    assert_eq!(all["next_cursor"], Value::Null, "a full page need not be followed by another");
    for bad in ["limit=0", "limit=101", "limit=x", "cursor=A%2F", "nope=1"] {
        server.get(&format!("/projects?{bad}")).await.expect_problem(400, "invalid_query");
    }
}

#[tokio::test]
async fn a_repository_is_registered_once() {
    let server = Server::start().await;
    let (slug, _) = register(&server, "shop", &json!({})).await;
    for spelling in ["https://git.example.com/team/shop.git", "https://GIT.example.com/team/shop/"] {
        let again = server.post("/projects", &json!({ "repository_url": spelling })).await;
        let refused = again.expect_problem(409, "project_registered").json();
        assert!(refused["detail"].as_str().unwrap().contains(&slug), "{refused}");
    }
    let body = wish("other");
    let many = join_all((0..10).map(|_| server.post("/projects", &body))).await;
    let created = many.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "of many at once one wins");
    assert!(many.iter().all(|answer| matches!(answer.status, 201 | 409 | 503)));
}

#[tokio::test]
async fn a_repeated_registration_gets_the_same_answer() {
    let server = Server::start().await;
    let body = wish("shop");
    let post = |key: &str, body: &Value| {
        let request = server.request("POST", "/projects").header("Idempotency-Key", key).json(body);
        server.send(request)
    };
    let first = post("k", &body).await.expect(201);
    assert_eq!(post("k", &body).await.expect(201).body, first.body);
    post("k", &wish("other")).await.expect_problem(422, "idempotency_key_reused");
    post("l", &body).await.expect_problem(409, "project_registered");
    post("m", &json!({ "repository_url": "nope" })).await.expect_problem(422, "invalid_fields");
    post("m", &wish("third")).await.expect(201);
    assert_eq!(server.get("/projects").await.json()["total"], 2);
}

#[tokio::test]
async fn every_wrong_field_is_named_and_no_value_repeated() {
    let server = Server::start().await;
    let with = |fields: Value| {
        let mut body = wish("shop");
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    for (field, fields_of_it) in [
        ("repository_url", json!({ "repository_url": CANARY })),
        ("credential", json!({ "credential": "nobody" })),
        ("pull_credential", json!({ "pull_credential": "nobody" })),
        ("target", json!({ "target": CANARY })),
        ("forge", json!({ "forge": CANARY })),
        ("build", json!({ "build": "gitlab" })),
        ("pipeline.jbo", json!({ "pipeline": { "jbo": CANARY } })),
        ("environments[0].name", json!({ "environments": [{ "name": "review-7", "branch": "main" }] })),
        ("environments[0].branhc", json!({ "environments": [{ "name": "a", "branhc": "x" }] })),
        ("review.ttl_h", json!({ "review": { "ttl_h": 0 } })),
        ("notify.webhooks[0].url", json!({ "notify": { "webhooks": [{ "url": CANARY }] } })),
        ("hook.signing_secret", json!({ "hook": { "signing_secret": CANARY } })),
        ("hook.token", json!({ "forge": "gitea", "hook": { "token": CANARY } })),
        ("nope", json!({ "nope": CANARY })),
    ] {
        let answer = server.post("/projects", &with(fields_of_it)).await;
        let refused = answer.expect_problem(422, "invalid_fields");
        assert_eq!(fields(&refused), [field], "{}", refused.text());
        assert!(!refused.text().contains(CANARY), "{}", refused.text());
    }
    assert_eq!(server.get("/projects").await.json()["total"], 0);
    let (slug, _) = register(&server, "shop", &json!({})).await;
    let path = format!("/projects/{slug}");
    for (field, change) in [
        ("repository_url", json!({ "repository_url": "https://git.example.com/a/b" })),
        ("credential", json!({ "credential": "nobody" })),
        ("environments[0]", json!({ "environments": [{ "name": "a" }] })),
        ("port", json!({ "port": 0 })),
    ] {
        let refused = patch(&server, &path, &change).await.expect_problem(422, "invalid_fields");
        assert_eq!(fields(&refused), [field], "{}", refused.text());
    }
    for bad in ["/projects/Not%20A%20Slug", "/projects/..%2Fx"] {
        server.get(bad).await.expect_problem(400, "invalid_path");
    }
}

#[tokio::test]
async fn s11_secrets_of_a_project_are_shown_once_or_never() {
    let server = Server::start().await;
    store_credential(&server, "forge").await;
    let token = format!("token-{CANARY}");
    let given = json!({
        "credential": "forge", "env": { "A": CANARY }, "hook": { "token": token },
        "notify": { "webhooks": [{ "url": "https://a.example/x" }] },
    });
    let mut body = wish("shop");
    body.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
    let created = server.post("/projects", &body).await.expect(201);
    let stored = created.json();
    let path = format!("/projects/{}", stored["slug"].as_str().unwrap());
    let rotated = patch(&server, &path, &json!({ "rotate_hook": true })).await.expect(200);
    let mut secrets = vec![CANARY.to_owned()];
    for made in [&stored["secrets"], &rotated.json()["secrets"]] {
        for secret in [&made["signing_secret"], &made["token"], &made["webhooks"][0]["secret"]] {
            secrets.extend(secret.as_str().map(str::to_owned));
        }
    }
    assert_eq!(secrets.len(), 5, "a signing secret and a webhook's, then a signing secret and a token");
    assert!(!created.text().contains(CANARY) && !rotated.text().contains(CANARY));
    let kinds: Vec<Value> = rotated.json()["hook"]["secrets"].as_array().unwrap().clone();
    let until: Vec<bool> = kinds.iter().map(|secret| secret["until"].is_string()).collect();
    assert_eq!(until, [false, false, true, true]);
    let mut answers = Vec::new();
    for path in [path.as_str(), "/projects", "/metrics", "/deployments"] {
        answers.push(server.get(path).await.expect(200));
    }
    answers.push(patch(&server, &path, &json!({ "port": 1 })).await.expect(200));
    for answer in &answers {
        assert!(secrets.iter().all(|secret| !answer.text().contains(secret)), "{}", answer.text());
    }
    for entry in std::fs::read_dir(server.folder.path().join("data")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in &secrets {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }
}

#[tokio::test]
async fn what_was_seen_of_a_project_is_shown() {
    let server = Server::start().await;
    let (slug, _) = register(&server, "shop", &json!({})).await;
    let (list, now) = (List::Sweeps, jiff::Timestamp::now());
    let sweep = server.post(&format!("/projects/{slug}/sweep"), &json!({})).await.expect(202);
    assert_eq!(sweep.json()["project"], slug);
    let agenda = &server.backend.agenda;
    let ttl = std::time::Duration::from_secs(60);
    let due = agenda.claim(list, 10, ttl, jiff::Timestamp::now()).await.unwrap();
    assert_eq!(due.iter().map(|due| due.key.as_str()).collect::<Vec<_>>(), [slug.as_str()]);
    let error = SweepError { code: "unreachable".to_owned(), reason: "The host was not reached.".to_owned() };
    let state = SweepState { refs: 3, error: Some(error), ..SweepState::at(now) };
    let memo = serde_json::to_string(&state).unwrap();
    let rest = Next::Rest(std::time::Duration::from_secs(3_600));
    assert!(agenda.settle(list, &due[0], rest, Some(&memo), now).await.unwrap());
    let head = Head {
        environment: "default".parse().unwrap(),
        reference: "refs/heads/main".to_owned(),
        revision: "a".repeat(40),
        deployment: Some(DeploymentId::generate()),
    };
    let seen = Record::HeadsSeen { slug: slug.parse().unwrap(), seen: vec![head], gone: Vec::new(), at: now };
    server.backend.record(&seen).await.unwrap();
    let shown = server.get(&format!("/projects/{slug}")).await.expect(200).json();
    let state = &shown["state"];
    assert_eq!((&state["refs"], &state["error"]["code"]), (&json!(3), &json!("unreachable")));
    assert_eq!(shown["heads"][0]["reference"], "refs/heads/main");
    server.post("/projects/nobody-000000/sweep", &json!({})).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_deployment_shows_the_push_that_made_it() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    let path = format!("/deployments/{id}");
    assert!(server.get(&path).await.expect(200).json().get("trigger").is_none());
    let mut message = server.carry_out(None).await;
    message.id = JobId::generate();
    message.deployment = DeploymentId::generate();
    message.trigger = Some(Trigger {
        reference: "refs/heads/main".to_owned(),
        revision: "b".repeat(40),
        merge_request: None,
        delivered_at: None,
        notify: None,
    });
    submit(&server.backend, &message).await.unwrap();
    let shown = server.get(&format!("/deployments/{}", message.deployment)).await.expect(200).json();
    assert_eq!(shown["trigger"]["reference"], "refs/heads/main");
}

#[tokio::test]
async fn the_address_of_a_hook_is_the_public_one() {
    let server = Server::start_with(|settings| {
        settings.public_url = "https://slipway.example.com".to_owned();
    })
    .await;
    let (_, stored) = register(&server, "shop", &json!({})).await;
    let address = stored["hook"]["url"].as_str().unwrap();
    assert!(address.starts_with("https://slipway.example.com/webhooks/gitlab/"), "{address}");
}

#[tokio::test]
async fn f6_projects_are_not_there_while_the_store_is_away() {
    let server = Server::start().await;
    let (slug, _) = register(&server, "shop", &json!({})).await;
    let path = format!("/projects/{slug}");
    server.faults.store(Mood::Away);
    for path in ["/projects", &path] {
        server.get(path).await.expect_problem(503, "store_unavailable");
    }
    server.post("/projects", &wish("other")).await.expect_problem(503, "store_unavailable");
    server.faults.store(Mood::Well);
    assert_eq!(server.get("/projects").await.json()["total"], 1);
}
