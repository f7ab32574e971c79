//! What a container has printed, read through the API: what it really printed, without the secret it was given.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_common::model::Deployment;
use slipway_common::secrets::SecretText;
use slipway_integration_tests::docker_engine;
use slipway_integration_tests::git_server::TreeFile;
use tokio::time::Instant;

use crate::world::{BASE_IMAGE, World, page};

/// The value of a variable that the application prints.
const SECRET: &str = "log-canary-51d2";
/// Longest wait for one answer, and for the observer to have looked.
const WAIT_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_container_tells_what_it_printed() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let world = World::start(&host, &[]).await.expect("the world starts");
    let outcome = read_logs(&world).await;
    let cleaned = world.clean_up().await;
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
    cleaned.expect("the engine is cleaned up");
}

/// Deploys an application that prints three lines; answers the deployment and the name of its replica.
async fn deploy_printing(world: &World) -> anyhow::Result<(Deployment, String)> {
    let script =
        "echo one; echo the key is $API_KEY; echo three; exec httpd -f -p 8080 -h /usr/share/nginx/html";
    let command = format!("CMD [\"/bin/busybox\", \"sh\", \"-c\", \"{script}\"]");
    let dockerfile = format!("FROM {BASE_IMAGE}\nCOPY index.html /usr/share/nginx/html/\n{command}\n");
    let ci_file = TreeFile::new(".gitlab-ci.yml", "build:\n  script: [\"true\"]\n");
    let files = [page("printing"), TreeFile::new("Dockerfile", dockerfile), ci_file];
    let (_, url) = world.repository(&files).await?;
    let mut request = world.request(&url);
    request.env.insert("API_KEY".to_owned(), SecretText::from(SECRET.to_owned()));
    let deployment = world.deploy(&request).await?;
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        let live = world.backend.store.live(deployment.id).await?;
        if let Some(replica) = live.and_then(|live| live.replicas.into_iter().next()) {
            return Ok((deployment, replica.name));
        }
        ensure!(Instant::now() < deadline, "the replica is never seen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn get(url: &str) -> anyhow::Result<(u16, Value)> {
    let client = reqwest::Client::builder().no_proxy().timeout(WAIT_MAX).build()?;
    let answer = client.get(url).send().await?;
    let status = answer.status().as_u16();
    let body = answer.text().await?;
    ensure!(!body.contains(SECRET), "{url} tells the secret");
    Ok((status, serde_json::from_str(&body).with_context(|| format!("{url}: {status}: {body}"))?))
}

async fn read_logs(world: &World) -> anyhow::Result<()> {
    let (deployment, replica) = deploy_printing(world).await?;
    let (_, of_other) = deploy_printing(world).await?;
    let api = world.start_api()?;
    let pods = format!("http://{}/deployments/{}/pods", api.addr(), deployment.id);
    let (status, log) = get(&format!("{pods}/{replica}/logs")).await?;
    let lines = ["one", "the key is [secret]", "three"];
    let wanted = json!({ "pod": replica, "container": replica, "lines": lines, "truncated": false });
    ensure!(status == 200 && log == wanted, "{status}: {log:#}");
    let (status, log) = get(&format!("{pods}/{replica}/logs?tail_lines=1&container={replica}")).await?;
    ensure!(status == 200 && log["lines"] == json!(["three"]), "{status}: {log:#}");
    let (status, events) = get(&format!("{pods}/{replica}/events")).await?;
    ensure!(status == 200 && events == json!({ "pod": replica, "events": [] }), "{status}: {events:#}");
    let (status, refused) = get(&format!("{pods}/{replica}/logs?container=other")).await?;
    ensure!(status == 404 && refused["code"] == "container_unknown", "{status}: {refused:#}");
    let absent = format!("{replica}0");
    let long = "a".repeat(300);
    for name in [of_other.as_str(), &absent, "..%2F..%2Fsecrets", "a%00b", &long] {
        for what in ["logs", "events"] {
            let (status, refused) = get(&format!("{pods}/{name}/{what}")).await?;
            ensure!(status == 404 && refused["code"] == "pod_unknown", "{name}: {status}: {refused:#}");
        }
    }
    api.stop(false).await;
    Ok(())
}
