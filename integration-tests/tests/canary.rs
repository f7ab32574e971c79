//! Token canaries: a whole deployment with logs at trace level, and then a search for its secrets in every place
//! they could have reached: logs, the database, the work folder, the process list, API answers, the repository; in the
//! distributed form the broker's and Redis' files too.

#[path = "canary/distributed.rs"]
mod distributed;
#[path = "canary/search.rs"]
mod search;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use search::{Canaries, ProcessWatch};
use serde_json::{Value, json};
use slipway_integration_tests::docker_engine;
use slipway_integration_tests::git_server::{GitServer, TreeFile};
use slipway_integration_tests::slipway_process::SlipwayProcess;

const REPOSITORY_TOKEN: &str = "glpat-canary-repository/8d1+f7";
const ENV_VALUE: &str = "canary-variable=5b90 &e2";
const CREDENTIAL: &str = "canary-credential/41c7+aa";
const BASE_IMAGE: &str = "slipway-test/static:canary";

#[tokio::test(flavor = "multi_thread")]
async fn s11_no_secret_is_found_anywhere() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let mut project = String::new();
    let outcome = deploy_and_search(&host, &mut project).await;
    let docker = docker_engine::connect(&host).expect("the engine answers");
    docker_engine::remove_all(&docker, &format!("io.slipway.project={project}")).await.expect("cleaned up");
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_no_secret_is_found_anywhere_in_the_distributed_form() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let mut projects = Vec::new();
    let outcome = distributed::deploy_and_search(&host, &mut projects).await;
    let docker = docker_engine::connect(&host).expect("the engine answers");
    for project in projects {
        let label = format!("io.slipway.project={project}");
        docker_engine::remove_all(&docker, &label).await.expect("cleaned up");
    }
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn deploy_and_search(host: &str, project: &mut String) -> anyhow::Result<()> {
    let docker = docker_engine::connect(host)?;
    docker_engine::base_image(&docker, BASE_IMAGE).await?;
    let git = GitServer::start().await?;
    git.require_token(Some(REPOSITORY_TOKEN));
    let path = format!("group/{}", docker_engine::unique_name("canary"));
    let url = git.create_repo(&path, &[TreeFile::new("index.html", "<p>canary\n")]).await?;
    let settings = format!(
        "[docker]\nhost = \"{host}\"\ndrain_ms = 100\nstop_grace_s = 1\n\
         [templates.base_images]\nstatic = \"{BASE_IMAGE}\"\n[log]\nfilter = \"trace\"\n[gateway]\nport_min = 14600\nport_max = 15599\n"
    );
    let slipway = SlipwayProcess::start(&settings, &[]).await?;
    let watch = ProcessWatch::start();
    let body = json!({ "secret": CREDENTIAL, "username": "robot" });
    let (status, stored) = slipway.request("PUT", "/credentials/canary", Some(&body)).await?;
    ensure!(status < 300, "PUT /credentials answered {status}: {stored}");
    let request = request(&url);
    let id = slipway.deploy(&request).await?;
    let deployment = slipway.wait_resting(&id).await?;
    *project = deployment["project_slug"].as_str().unwrap_or_default().to_owned();
    ensure!(deployment["status"] == "active", "{deployment:#}\n{}", slipway.log());
    let mut wrong = request.clone();
    wrong["repository_url"] = json!(git.url("group/absent"));
    let failed = slipway.deploy(&wrong).await?;
    slipway.wait_resting(&failed).await?;
    let answers = answers(slipway.address(), slipway.token(), &[&id, &failed]).await?;
    let processes = watch.stop().await?;
    ensure!(processes.arguments.contains("git"), "the watch saw Git run");
    let canaries = Canaries::of_requests();
    for (what, text) in [("the log", slipway.log()), ("an answer", answers), ("argv", processes.arguments)] {
        canaries.search_text(what, &text)?;
    }
    canaries.search_files(&slipway.data_folder(), &[])?;
    canaries.search_files(&git.directory(&path), &[])
}

/// A request with a secret wherever one can be.
fn request(url: &str) -> Value {
    json!({
        "repository_url": url, "repository_token": REPOSITORY_TOKEN, "env": { "CANARY": ENV_VALUE },
        "supports": [{ "name": "side", "image": BASE_IMAGE, "port": 8080, "env": { "CANARY": ENV_VALUE } }],
    })
}

/// Everything the API says about these deployments.
async fn answers(address: &str, token: &str, ids: &[&str]) -> anyhow::Result<String> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let mut paths: Vec<String> =
        ["/deployments", "/credentials", "/credentials/canary", "/tokens", "/metrics"]
            .map(str::to_owned)
            .to_vec();
    for id in ids {
        paths.push(format!("/deployments/{id}"));
        paths.push(format!("/deployments/{id}/events"));
        for stage in ["clone", "template", "commit", "build", "apply"] {
            paths.push(format!("/deployments/{id}/logs?stage={stage}"));
        }
    }
    let mut all = String::new();
    for path in paths {
        let request = client.get(format!("{address}{path}")).bearer_auth(token);
        let answer = request.send().await.with_context(|| path.clone())?;
        ensure!(answer.status().is_success(), "{path} answered {}", answer.status());
        all.push_str(&answer.text().await.with_context(|| path.clone())?);
    }
    Ok(all)
}
