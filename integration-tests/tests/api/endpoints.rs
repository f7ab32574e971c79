//! Every operation, as it should be used and as it should not.

use serde_json::{Value, json};
use slipway_common::model::{EventKind, LiveReplica, LiveState, Stage, TargetName};

use crate::server::{Server, wish};

#[tokio::test]
async fn a_deployment_is_accepted_worked_on_and_shown() {
    let server = Server::start().await;
    let body = json!({
        "repository_url": "https://git.example.com/team/shop.git", "branch": "main", "environment": "staging",
        "port": 8080, "replicas": 2, "env": { "MODE": "x", "NUMBER": 5 },
        "supports": [{ "name": "db", "image": "postgres:18", "port": 5432, "env": { "P": "y" } }],
        "health": { "path": "/up", "interval_ms": 100 }, "resources": { "memory_bytes": 67_108_864 },
    });
    let accepted = server.post("/deployments", &body).await.expect(202);
    let (id, job) = (accepted.json()["id"].clone(), accepted.json()["job_id"].clone());
    let path = format!("/deployments/{}", id.as_str().unwrap());
    assert_eq!(accepted.header("location"), path);
    assert_eq!(accepted.json()["status"], "queued");
    let job_path = format!("/jobs/{}", job.as_str().unwrap());
    assert_eq!(server.get(&job_path).await.expect(200).json()["state"]["status"], "queued");
    let message = server.carry_out(None).await;
    let replica = LiveReplica {
        name: "shop-1".to_owned(),
        state: "running".to_owned(),
        serving: true,
        started_at: None,
        restarts: 0,
        exit_code: None,
        out_of_memory: false,
        reason: None,
    };
    let live = LiveState {
        replicas_wanted: 2,
        replicas_updated: None,
        replicas_serving: 1,
        replicas: vec![replica],
        supports: Vec::new(),
        events: Vec::new(),
        drift: Vec::new(),
        observed_at: jiff::Timestamp::now(),
    };
    server.backend.store.put_live(message.deployment, &live).await.unwrap();
    let shown = server.get(&path).await.expect(200).json();
    assert_eq!((&shown["status"], &shown["environment"]), (&json!("active"), &json!("staging")));
    assert_eq!(shown["spec"]["env"], json!({ "MODE": "***", "NUMBER": "***" }));
    assert_eq!(shown["spec"]["supports"][0]["env"], json!({ "P": "***" }));
    assert_eq!(shown["live"]["replicas_serving"], 1);
    assert_eq!(shown["progress"]["stages_done"], 5);
    assert_eq!(shown["stages"][3]["stage"], "build");
    assert!(shown["stages"][3]["duration_ms"].is_number());
    assert_eq!(server.get(&job_path).await.expect(200).json()["state"]["status"], "succeeded");
}

#[tokio::test]
async fn lists_filter_and_page_and_count_truly() {
    let server = Server::start().await;
    for n in 0..7 {
        server.deploy(if n % 2 == 0 { "even" } else { "odd" }).await;
    }
    let list = server.get("/deployments/?project=even&limit=2&skip=1").await.expect(200).json();
    assert_eq!((&list["total"], &list["count"]), (&json!(4), &json!(4)));
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    assert_eq!(server.get("/deployments?status=active").await.expect(200).json()["total"], 0);
    assert_eq!(server.get("/deployments?user=tester").await.expect(200).json()["total"], 7);
    assert_eq!(server.get("/deployments?environment=none").await.expect(200).json()["total"], 0);
    let mut seen = Vec::new();
    let mut path = "/deployments?limit=2".to_owned();
    loop {
        let page = server.get(&path).await.expect(200).json();
        let ids = page["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned());
        seen.extend(ids);
        // What is accepted meanwhile must not move the pages that follow.
        server.deploy("late").await;
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/deployments?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    let mut unique = seen.clone();
    unique.sort();
    unique.dedup();
    assert_eq!((seen.len(), unique.len()), (7, 7));
    for bad in
        ["limit=0", "limit=101", "limit=x", "skip=-1", "cursor=x", "status=x", "nope=1", "limit=1&limit=2"]
    {
        server.get(&format!("/deployments?{bad}")).await.expect_problem(400, "invalid_query");
    }
}

#[tokio::test]
async fn the_older_form_is_understood() {
    let server = Server::start().await;
    let good =
        "username=ada&repository_url=http://git.example.com/team/shop&repository_name=shop&container_port=80";
    let request = server.request("POST", &format!("/deployments/?{good}&replicas=3&branch=main"));
    let accepted = server.send(request.header("gitlab-token", "glpat-x")).await.expect(202).json();
    for (field, value) in [
        ("user", json!("ada")),
        ("project", json!("shop")),
        ("service_url", json!("")),
        ("port", json!(80)),
        ("replicas", json!(3)),
        ("status", json!("queued")),
        ("stopped_at", Value::Null),
    ] {
        assert_eq!(accepted[field], value, "{field}");
    }
    let list = server.get("/deployments/?user=ada&project=shop&skip=0&limit=10").await.expect(200).json();
    assert_eq!(list["data"][0]["id"], accepted["id"]);
    let shown = server.get(&format!("/deployments/{}", accepted["id"].as_str().unwrap())).await.json();
    assert_eq!(shown["spec"]["credential"], json!({ "source": "inline" }));
    assert_eq!(shown["spec"]["repository_url"], "https://git.example.com/team/shop");
    let request = server.request("POST", &format!("/deployments/?{good}")).header("k8s-token", "t");
    let refused = server.send(request).await.expect_problem(422, "invalid_fields").json();
    assert_eq!(refused["errors"][0]["field"], "k8s-token", "the default target is no cluster");
    assert_eq!(refused["message"], refused["detail"]);
    server
        .send(server.request("POST", "/deployments/?username=ada"))
        .await
        .expect_problem(422, "invalid_fields");
}

#[tokio::test]
async fn a_cluster_is_named_by_an_address_that_is_configured() {
    let server = Server::start_with(|settings| {
        let edge: TargetName = "edge".parse().unwrap();
        settings.targets.push(edge.clone());
        settings.clusters.push(edge.clone());
        settings.servers.push((edge, "https://edge.example:6443".parse().unwrap()));
    })
    .await;
    let older =
        "username=ada&repository_url=https://git.example.com/t/shop&repository_name=shop&container_port=80";
    let post = |url: &str| {
        server.request("POST", &format!("/deployments/?{older}&k8s_url={url}")).header("k8s-token", "t0ken")
    };
    let accepted = server.send(post("https://Edge.example:6443/")).await.expect(202).json();
    let mut wanted = wish("shop");
    wanted["cluster"] = json!({ "server": "https://edge.example:6443", "token": "t0ken" });
    let newer = server.post("/deployments", &wanted).await.expect(202).json();
    for id in [&accepted["id"], &newer["id"]] {
        let shown = server.get(&format!("/deployments/{}", id.as_str().unwrap())).await.expect(200);
        assert_eq!(shown.json()["spec"]["target"], "edge");
        assert!(!shown.text().contains("t0ken"), "{}", shown.text());
    }
    let refused = server.send(post("https://169.254.169.254")).await.expect_problem(422, "invalid_fields");
    assert_eq!(refused.json()["errors"][0]["field"], "k8s_url");
    assert!(refused.json()["errors"][0]["reason"].as_str().unwrap().contains("`server`"));
    for (field, cluster) in [
        ("cluster.server", json!({ "server": "https://elsewhere.example" })),
        ("cluster.token", json!({ "token": "t0ken" })),
        ("cluster.kubeconfig", json!({ "kubeconfig": "x" })),
    ] {
        wanted["cluster"] = cluster;
        let refused = server.post("/deployments", &wanted).await.expect_problem(422, "invalid_fields");
        assert_eq!(refused.json()["errors"][0]["field"], field);
        assert!(!refused.text().contains("t0ken"), "{}", refused.text());
    }
}

#[tokio::test]
async fn actions_do_what_fits_and_refuse_what_does_not() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    let path = format!("/deployments/{id}");
    let nothing = json!({});
    server.post(&format!("{path}/retry"), &nothing).await.expect_problem(409, "not_retryable");
    server.post(&format!("{path}/rollback"), &nothing).await.expect_problem(409, "nothing_to_roll_back_to");
    let cancelled = server.send(server.request("POST", &format!("{path}/cancel"))).await.expect(202).json();
    assert_eq!(server.get(&path).await.json()["jobs"][0]["cancel_requested"], true);
    assert_eq!(cancelled["job_id"], server.get(&path).await.json()["jobs"][0]["id"]);
    server.post(&format!("{path}/cancel"), &nothing).await.expect(202);
    server.carry_out(Some(Stage::Build)).await;
    server.post(&format!("{path}/cancel"), &nothing).await.expect_problem(409, "nothing_to_cancel");
    assert_eq!(server.get(&path).await.json()["failure"]["code"], "did_not_work");
    let retried = server.post(&format!("{path}/retry"), &nothing).await.expect(202).json();
    assert_eq!(retried["id"].as_str(), Some(id.as_str()));
    server.carry_out(None).await;
    let second = server.deploy("shop").await;
    server.carry_out(None).await;
    let back = server.post(&format!("/deployments/{second}/rollback"), &nothing).await.expect(202).json();
    let third =
        server.get(&format!("/deployments/{}", back["id"].as_str().unwrap())).await.expect(200).json();
    assert_eq!(third["facts"]["image"]["tag"], "t:1");
    assert!(third["facts"].get("inventory").is_none());
    let other = server.deploy("other").await;
    let to_other = json!({ "to": other });
    server
        .post(&format!("/deployments/{second}/rollback"), &to_other)
        .await
        .expect_problem(422, "invalid_fields");
    let stopping = server.delete(&path).await.expect(202);
    assert_eq!(stopping.json()["status"], "stopping");
    let again = server.delete(&path).await.expect(202);
    assert_eq!(again.json()["job_id"], stopping.json()["job_id"], "one stop job");
}

#[tokio::test]
async fn what_is_stopped_already_is_answered_as_it_is() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    let path = format!("/deployments/{id}");
    server.carry_out(None).await;
    server.delete(&path).await.expect(202);
    server.carry_out(None).await;
    assert_eq!(server.delete(&path).await.expect(200).json()["status"], "stopped");
}

#[tokio::test]
async fn a_rollback_needs_an_image() {
    let server = Server::start().await;
    let without_image = server.deploy("shop").await;
    let job = server
        .backend
        .queue
        .claim(
            slipway_common::model::WorkerId::generate(),
            std::time::Duration::from_secs(60),
            jiff::Timestamp::now(),
        )
        .await
        .unwrap()
        .unwrap()
        .message;
    server.report(&job, EventKind::StageStarted { stage: Stage::Apply, attempt: 1 }).await;
    server.report(&job, EventKind::Succeeded).await;
    let second = server.deploy("shop").await;
    let path = format!("/deployments/{second}/rollback");
    server.post(&path, &json!({})).await.expect_problem(409, "no_image");
    server.post(&path, &json!({ "to": without_image })).await.expect_problem(409, "no_image");
    server.post(&path, &json!({ "too": 1 })).await.expect_problem(422, "invalid_fields");
}

#[tokio::test]
async fn credentials_go_in_and_never_come_out() {
    let server = Server::start().await;
    let put = |body: Value| server.send(server.request("PUT", "/credentials/forge").json(&body));
    put(json!({ "secret": "hunter2", "username": "ada", "host": "Git.Example.com:8443" })).await.expect(201);
    let shown = server.get("/credentials/forge").await.expect(200);
    assert_eq!(
        (&shown.json()["username"], &shown.json()["host"]),
        (&json!("ada"), &json!("git.example.com:8443"))
    );
    put(json!({ "secret": "hunter3" })).await.expect(200);
    assert_eq!(server.get("/credentials").await.expect(200).json()["total"], 1);
    for bad in [
        json!({}),
        json!({ "secret": "" }),
        json!({ "secret": "a", "host": "a/b" }),
        json!({ "secret": "a\nb" }),
        json!({ "secret": "a", "username": "a:b" }),
        json!({ "secret": "a", "x": 1 }),
    ] {
        put(bad).await.expect_problem(422, "invalid_fields");
    }
    let mut named = wish("shop");
    named["credential"] = json!("forge");
    server.post("/deployments", &named).await.expect(202);
    named["credential"] = json!("absent");
    let refused = server.post("/deployments", &named).await.expect_problem(422, "invalid_fields");
    assert_eq!(refused.json()["errors"][0]["field"], "credential");
    server.delete("/credentials/forge").await.expect(204);
    server.delete("/credentials/forge").await.expect_problem(404, "not_found");
    server.get("/credentials/forge").await.expect_problem(404, "not_found");
    server.get("/credentials/-x").await.expect_problem(400, "invalid_path");
}

#[tokio::test]
async fn a_revoked_token_stops_working() {
    let server = Server::start().await;
    server.delete("/tokens/tester").await.expect_problem(409, "last_token");
    let created = server.post("/tokens", &json!({ "name": "ci" })).await.expect(201).json();
    let token = created["token"].as_str().unwrap().to_owned();
    let with_token = || server.send(server.anonymous("GET", "/tokens").bearer_auth(&token));
    let listed = with_token().await.expect(200);
    assert!(!listed.text().contains(&token));
    assert_eq!(listed.json()["total"], 2);
    server.post("/tokens", &json!({ "name": "ci" })).await.expect_problem(409, "token_exists");
    for bad in ["", "a b", "local", "-a"] {
        server.post("/tokens", &json!({ "name": bad })).await.expect_problem(422, "invalid_fields");
    }
    server.delete("/tokens/absent").await.expect_problem(404, "not_found");
    server.delete("/tokens/ci").await.expect(204);
    with_token().await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn nothing_is_served_without_a_token_but_what_is_open() {
    let server = Server::start().await;
    for (method, path) in [
        ("GET", "/deployments"),
        ("POST", "/deployments"),
        ("GET", "/tokens"),
        ("GET", "/credentials"),
        ("GET", "/nowhere"),
        ("DELETE", "/deployments/x"),
    ] {
        let refused = server.send(server.anonymous(method, path)).await.expect_problem(401, "unauthorized");
        assert!(refused.header("www-authenticate").starts_with("Bearer"));
    }
    for bad in ["Bearer", "Bearer ", "Bearer slw_wrong", "Basic dGVzdDp0ZXN0", "slw_x"] {
        let request = server.anonymous("GET", "/deployments").header("Authorization", bad);
        server.send(request).await.expect_problem(401, "unauthorized");
    }
    for open in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        server.send(server.anonymous("GET", open)).await.expect(200);
    }
    let proxied = server.anonymous("GET", "/metrics").header("X-Forwarded-For", "127.0.0.1");
    server.send(proxied).await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn this_machine_is_let_in_only_when_opened_and_never_through_a_proxy() {
    let server = Server::start_with(|settings| settings.open_loopback = true).await;
    let list = || server.anonymous("GET", "/deployments");
    server.send(list()).await.expect(200);
    server.send(list().header("X-Forwarded-For", "10.0.0.1")).await.expect_problem(401, "unauthorized");
    server.send(list().header("Origin", "http://evil.example")).await.expect_problem(401, "unauthorized");
    server.send(list().header("Host", "evil.example")).await.expect_problem(401, "unauthorized");
    server.send(list().bearer_auth("slw_wrong")).await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn what_is_in_service_can_be_repaired_once_at_a_time() {
    let server = Server::start().await;
    let id = server.deploy("shop").await;
    let (path, nothing) = (format!("/deployments/{id}"), json!({}));
    let repair = format!("{path}/repair");
    server.post(&repair, &nothing).await.expect_problem(409, "not_repairable");
    server.carry_out(None).await;
    let accepted = server.post(&repair, &nothing).await.expect(202).json();
    assert_eq!((&accepted["id"], &accepted["status"]), (&json!(id), &json!("active")));
    server.post(&repair, &nothing).await.expect_problem(409, "not_repairable");
    let shown = server.get(&path).await.expect(200).json();
    assert_eq!((&shown["status"], &shown["jobs"][1]["kind"]), (&json!("active"), &json!("repair")));
    let carried_out = server.carry_out(None).await;
    assert_eq!(accepted["job_id"], carried_out.id.to_string());
    let shown = server.get(&path).await.expect(200).json();
    assert_eq!(
        (&shown["status"], &shown["jobs"][1]["state"]["status"]),
        (&json!("active"), &json!("succeeded"))
    );
    server.post(&repair, &nothing).await.expect(202);
    server.carry_out(Some(Stage::Apply)).await;
    let shown = server.get(&path).await.expect(200).json();
    assert_eq!((&shown["status"], &shown["failure"]["code"]), (&json!("degraded"), &json!("did_not_work")));
}

#[tokio::test]
async fn paths_methods_and_ids_that_do_not_exist_are_problems() {
    let server = Server::start().await;
    server.get("/nowhere").await.expect_problem(404, "no_such_path");
    let refused = server.send(server.request("PATCH", "/deployments")).await;
    assert_eq!(refused.expect_problem(405, "method_not_allowed").header("allow"), "GET, POST");
    let absent = "/deployments/01890a5d-ac96-774b-bcce-b302099a8057";
    for (method, rest) in [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("POST", "/repair"),
        ("POST", "/rollback"),
        ("GET", "/events"),
        ("GET", "/logs"),
    ] {
        server
            .send(server.request(method, &format!("{absent}{rest}")))
            .await
            .expect_problem(404, "not_found");
        let path = format!("/deployments/not-an-id{rest}");
        server.send(server.request(method, &path)).await.expect_problem(400, "invalid_path");
    }
    server.get("/jobs/01890a5d-ac96-774b-bcce-b302099a8057").await.expect_problem(404, "not_found");
    server.get("/jobs/1").await.expect_problem(400, "invalid_path");
}

#[tokio::test]
async fn operation_is_described_and_measured() {
    let server = Server::start().await;
    server.deploy("shop").await;
    assert_eq!(server.get("/healthz").await.expect(200).json()["version"], "1.2.3");
    let served = server.get("/openapi.json").await.expect(200).json();
    assert_eq!(&served, server.conformity.document());
    let metrics = server.get("/metrics").await.expect(200).text();
    for line in [
        "slipway_http_requests_total{method=\"POST\",route=\"/deployments\",status=\"202\"} 1",
        "slipway_deployments{state=\"queued\"} 1",
        "slipway_queue_jobs{state=\"ready\"} 1",
        "slipway_process_resident_memory_bytes ",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert_eq!(server.get("/docs").await.expect(302).header("location"), "/docs/index.html");
    assert!(server.get("/docs/index.html").await.expect(200).text().contains("swagger-ui"));
    assert!(server.get("/docs/swagger-initializer.js").await.expect(200).text().contains("/openapi.json"));
    server.get("/docs/absent.js").await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn what_does_not_work_is_named_and_a_full_queue_asks_for_patience() {
    let server = Server::start_ailing().await;
    server.get("/healthz").await.expect(200);
    let refused = server.get("/readyz").await.expect_problem(503, "not_ready");
    assert_eq!(refused.json()["errors"][0]["field"], "docker");
    assert!(server.get("/metrics").await.expect(200).text().contains("companion_metric 1\n# EOF"));
    let keyed = || server.request("POST", "/deployments").header("Idempotency-Key", "k").json(&wish("shop"));
    let first = server.send(keyed()).await.expect(202);
    let refused = server.post("/deployments", &wish("other")).await.expect_problem(503, "queue_full");
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(server.send(keyed()).await.expect(202).body, first.body, "a repetition needs no room");
}
