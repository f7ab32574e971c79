//! The surface of Kabernetes on real containers, as it is documented.

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use slipway_integration_tests::slipway_process::SlipwayProcess;
use slipway_integration_tests::{docker_engine, pace};
use tokio::time::Instant;

use super::burn::BASE_IMAGE;

/// Longest wait for a state or a count.
const PATIENCE: Duration = Duration::from_secs(90);

async fn ask(
    slipway: &SlipwayProcess,
    method: &str,
    path: &str,
    body: Value,
) -> anyhow::Result<(u16, Value)> {
    let body = Some(body).filter(|body| !body.is_null());
    slipway.request(method, path, body.as_ref()).await
}

/// Waits until `GET /client` answers so.
async fn client(slipway: &SlipwayProcess, is_so: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let deadline = Instant::now() + pace::allowed(PATIENCE);
    loop {
        let (status, stats) = ask(slipway, "GET", "/client", Value::Null).await?;
        if status == 200 && is_so(&stats) {
            return Ok(stats);
        }
        // One that has ended stays so.
        ensure!(stats["status"] != "DEAD" || is_so(&stats), "it is dead: {stats:#}\n{}", slipway.log());
        ensure!(Instant::now() < deadline, "it is {status}: {stats:#}\n{}", slipway.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn is_refused(
    slipway: &SlipwayProcess,
    (method, path, body): (&str, &str, Value),
    (status, text): (u16, &str),
) -> anyhow::Result<()> {
    let (answered, problem) = ask(slipway, method, path, body.clone()).await?;
    ensure!(
        answered == status && problem["message"].as_str().is_some_and(|message| message.contains(text)),
        "{method} {path} {body}: {answered}: {problem:#}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_kabernetes_lives_as_documented() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    pace::watch();
    let _turn = super::TURN.lock().await;
    let docker = docker_engine::connect(&host).expect("the engine answers");
    docker_engine::base_image(&docker, BASE_IMAGE).await.expect("the image is made");
    let first_port = 41_000 + u16::try_from(std::process::id() % 20_000).expect("it fits");
    let settings = format!(
        "[docker]\nhost = \"{host}\"\nname = \"docker\"\ndrain_ms = 200\nstop_grace_s = 1\n[gateway]\n\
         port_min = {first_port}\nport_max = {}\n",
        first_port + 20
    );
    let slipway = SlipwayProcess::start(&settings, &[]).await.expect("slipway up starts");
    let mut label = String::new();
    let outcome = live(&slipway, &docker, &mut label).await;
    drop(slipway);
    if !label.is_empty() {
        docker_engine::remove_all(&docker, &label).await.expect("cleaned up");
    }
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn live(slipway: &SlipwayProcess, docker: &bollard::Docker, label: &mut String) -> anyhow::Result<()> {
    let none = "There is no client instantiated";
    for call in [
        ("GET", "/client", Value::Null),
        ("PATCH", "/client", json!({})),
        ("DELETE", "/client", Value::Null),
        ("POST", "/client/containers", json!({ "amount": 1 })),
    ] {
        is_refused(slipway, call, (404, none)).await?;
    }
    is_refused(slipway, ("POST", "/client", json!({ "image": BASE_IMAGE })), (400, "Bad body format"))
        .await?;
    let start = json!({
        "image": BASE_IMAGE, "cpu_target": 50, "constants": { "kp": 0, "ki": 0, "kd": 0 }, "port": 8080,
    });
    let (status, answer) = ask(slipway, "POST", "/client", start.clone()).await?;
    ensure!(status == 200 && answer["message"] == "Client started", "{status}: {answer:#}");
    is_refused(slipway, ("POST", "/client", start.clone()), (409, "There is already a client running"))
        .await?;
    let stats = client(slipway, |stats| stats["status"] == "READY" && stats["containers"] == 1).await?;
    ensure!(stats["image"] == BASE_IMAGE && stats["cpu_target"] == 50.0, "{stats:#}");
    let (_, all) = ask(slipway, "GET", "/deployments?limit=1", Value::Null).await?;
    let slug = all["deployments"][0]["project_slug"].as_str().unwrap_or_default().to_owned();
    *label = format!("io.slipway.project={slug}");

    let (status, answer) = ask(slipway, "POST", "/client/containers", json!({ "amount": "2" })).await?;
    ensure!(status == 200 && answer["message"] == "Container pushed", "{status}: {answer:#}");
    client(slipway, |stats| stats["status"] == "READY" && stats["containers"] == 3).await?;
    for (amount, text) in [
        (json!(-1), "Expected a positive number of containers, but got -1"),
        (json!("many"), ""),
        (json!(null), ""),
    ] {
        is_refused(slipway, ("POST", "/client/containers", json!({ "amount": amount })), (400, text)).await?;
    }
    let few = "There is not enough containers to drop. The minimum active container amount is 1.";
    is_refused(slipway, ("DELETE", "/client/containers", json!({ "amount": 3 })), (400, few)).await?;
    let (status, answer) = ask(slipway, "DELETE", "/client/containers", json!({ "amount": 1.9 })).await?;
    ensure!(status == 200 && answer["message"] == "Container dropped", "{status}: {answer:#}");
    client(slipway, |stats| stats["status"] == "READY" && stats["containers"] == 2).await?;

    let (status, answer) = ask(slipway, "PATCH", "/client", json!({ "kp": 0.1 })).await?;
    ensure!(status == 200 && answer["message"] == "Constants updated", "{status}: {answer:#}");
    // Idle containers are far below the target: the old law takes them away, down to one.
    let stats = client(slipway, |stats| stats["containers"] == 1 && stats["status"] == "READY").await?;
    ensure!(stats["constants"] == json!({ "kp": 0.1, "ki": 0.0, "kd": 0.0 }), "{stats:#}");
    ensure!(stats["cpu_usage"].as_array().is_some(), "{stats:#}");

    let (status, answer) = ask(slipway, "DELETE", "/client", Value::Null).await?;
    ensure!(status == 200 && answer["message"] == "Client deleted", "{status}: {answer:#}");
    let dead = client(slipway, |stats| stats["status"] == "DEAD").await?;
    ensure!(dead["error"] == -50.0 && dead["cpu_usage"] == json!([]), "{dead:#}");
    docker_engine::assert_no_leftovers(docker, label).await?;
    let (status, answer) = ask(slipway, "POST", "/client", start).await?;
    ensure!(status == 200, "a dead client can be started again: {status}: {answer:#}");
    client(slipway, |stats| stats["status"] == "READY").await?;
    let (status, answer) = ask(slipway, "DELETE", "/client", Value::Null).await?;
    ensure!(status == 200, "{status}: {answer:#}");
    client(slipway, |stats| stats["status"] == "DEAD").await?;
    Ok(())
}
