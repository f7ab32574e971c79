//! The life of a deployment through the HTTP API of a real `slipway up`: deploy, redeploy, roll back, stop, start
//! again, with its events and logs, in front of a gateway port that never changes.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_integration_tests::docker_engine;
use slipway_integration_tests::git_server::{GitServer, TreeFile};
use slipway_integration_tests::slipway_process::SlipwayProcess;

const TOKEN: &str = "glpat-lifecycle";
const BASE_IMAGE: &str = "slipway-test/static:lifecycle";

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_lives_and_is_rolled_back_and_stopped() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let mut project = String::new();
    let outcome = live(&host, &mut project).await;
    let docker = docker_engine::connect(&host).expect("the engine answers");
    docker_engine::remove_all(&docker, &format!("io.slipway.project={project}")).await.expect("cleaned up");
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn live(host: &str, project: &mut String) -> anyhow::Result<()> {
    let docker = docker_engine::connect(host)?;
    docker_engine::base_image(&docker, BASE_IMAGE).await?;
    let git = GitServer::start().await?;
    git.require_token(Some(TOKEN));
    let path = format!("group/{}", docker_engine::unique_name("life"));
    let url = git.create_repo(&path, &[page("one")]).await?;
    let slipway = SlipwayProcess::start(&settings(host), &[]).await?;
    let request = json!({ "repository_url": url, "repository_token": TOKEN, "environment": "staging" });

    let first = deploy(&slipway, &request).await?;
    *project = first["project_slug"].as_str().unwrap_or_default().to_owned();
    let address = first["url"].as_str().context("no address")?.to_owned();
    served(&slipway, &address, "one").await?;
    git.commit(&path, "main", &[page("two")], "Second").await?;
    let second = deploy(&slipway, &request).await?;
    ensure!(second["url"] == address.as_str(), "the address is stable: {second:#}");
    served(&slipway, &address, "two").await?;

    let back = roll_back(&slipway, &id(&second)?).await?;
    ensure!(back["facts"]["image"] == first["facts"]["image"], "the same image: {back:#}");
    ensure!(back["url"] == address.as_str(), "the address is stable: {back:#}");
    served(&slipway, &address, "one").await?;
    ensure!(git.effects(&path).await?.len() == 1, "nothing was committed again");
    let replaced = slipway.deployment(&id(&second)?).await?;
    ensure!(replaced["status"] == "stopped", "{replaced:#}");

    let stopped = act(&slipway, "DELETE", &id(&back)?, "").await?;
    ensure!(stopped["status"] == "stopped", "{stopped:#}");
    docker_engine::assert_no_leftovers(&docker, &format!("io.slipway.project={project}")).await?;
    let again = act(&slipway, "POST", &id(&back)?, "/retry").await?;
    ensure!(again["status"] == "active", "a stopped deployment can be started again: {again:#}");
    served(&slipway, &address, "one").await?;
    history_is_complete(&slipway, &id(&again)?).await?;
    list_is_true(&slipway, 3).await?;
    let metrics = reqwest::get(format!("{}/metrics", slipway.address())).await?.text().await?;
    for family in ["slipway_gateway", "slipway_deployments", "slipway_queue", "slipway_scaler"] {
        ensure!(metrics.contains(family), "{family} is not in {metrics}");
    }
    act(&slipway, "DELETE", &id(&again)?, "").await?;
    Ok(())
}

fn settings(host: &str) -> String {
    format!(
        "[docker]\nhost = \"{host}\"\ndrain_ms = 200\nstop_grace_s = 1\n\
         [templates.base_images]\nstatic = \"{BASE_IMAGE}\"\n[log]\nfilter = \"info,slipway_gateway=debug\"\n[gateway]\nport_min = 16600\nport_max = 17599\n"
    )
}

fn page(text: &str) -> TreeFile {
    TreeFile::new("index.html", format!("<!doctype html><p>page {text}\n"))
}

fn id(deployment: &Value) -> anyhow::Result<String> {
    Ok(deployment["id"].as_str().context("no id")?.to_owned())
}

async fn deploy(slipway: &SlipwayProcess, request: &Value) -> anyhow::Result<Value> {
    let id = slipway.deploy(request).await?;
    let deployment = slipway.wait_resting(&id).await?;
    ensure!(deployment["status"] == "active", "{deployment:#}\n{}", slipway.log());
    Ok(deployment)
}

async fn roll_back(slipway: &SlipwayProcess, id: &str) -> anyhow::Result<Value> {
    let (status, accepted) = slipway.request("POST", &format!("/deployments/{id}/rollback"), None).await?;
    ensure!(status == 202, "{status}: {accepted}");
    let made = accepted["id"].as_str().context("no id")?;
    ensure!(made != id, "a rollback is a new deployment");
    let deployment = slipway.wait_resting(made).await?;
    ensure!(deployment["status"] == "active", "{deployment:#}\n{}", slipway.log());
    Ok(deployment)
}

/// Does something to a deployment and waits until its newest job has ended.
async fn act(slipway: &SlipwayProcess, method: &str, id: &str, action: &str) -> anyhow::Result<Value> {
    let (status, accepted) = slipway.request(method, &format!("/deployments/{id}{action}"), None).await?;
    ensure!(status == 202, "{method} {action} answered {status}: {accepted}");
    let job = accepted["job_id"].as_str().context("no job")?;
    let ended = ["succeeded", "failed", "cancelled", "superseded"];
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let (_, body) = slipway.request("GET", &format!("/jobs/{job}"), None).await?;
        if ended.iter().any(|state| body["state"]["status"] == *state) {
            return slipway.deployment(id).await;
        }
        ensure!(tokio::time::Instant::now() < deadline, "the job does not end: {body:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The gateway learns of a change within its listing interval.
async fn served(slipway: &SlipwayProcess, address: &str, text: &str) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let body = match reqwest::get(address).await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        if body.contains(&format!("page {text}")) {
            return Ok(());
        }
        ensure!(tokio::time::Instant::now() < deadline, "{address} answers {body}\n{}", slipway.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The event stream ends by itself once all is quiet; its ids are 1, 2, 3 …, and it resumes where it is told to.
async fn history_is_complete(slipway: &SlipwayProcess, id: &str) -> anyhow::Result<()> {
    let all = event_ids(slipway, id, None).await?;
    let wanted: Vec<u64> = (1..).take(all.len()).collect();
    ensure!(all.len() > 10 && all == wanted, "{all:?}");
    let rest = event_ids(slipway, id, Some(5)).await?;
    ensure!(rest == all[5..], "{rest:?}");
    Ok(())
}

async fn event_ids(slipway: &SlipwayProcess, id: &str, last: Option<u64>) -> anyhow::Result<Vec<u64>> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?;
    let mut request =
        client.get(format!("{}/deployments/{id}/events", slipway.address())).bearer_auth(slipway.token());
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last.to_string());
    }
    let text = request.send().await?.error_for_status()?.text().await?;
    Ok(text.lines().filter_map(|line| line.strip_prefix("id:")?.trim().parse().ok()).collect())
}

async fn list_is_true(slipway: &SlipwayProcess, total: u64) -> anyhow::Result<()> {
    let (_, list) = slipway.request("GET", "/deployments?environment=staging&limit=2", None).await?;
    ensure!(
        list["total"] == total && list["data"].as_array().is_some_and(|data| data.len() == 2),
        "{list:#}"
    );
    let cursor = list["next_cursor"].as_str().context("no cursor")?;
    let (_, rest) = slipway
        .request("GET", &format!("/deployments?environment=staging&limit=2&cursor={cursor}"), None)
        .await?;
    ensure!(rest["data"].as_array().is_some_and(|data| data.len() == 1), "{rest:#}");
    Ok(())
}
