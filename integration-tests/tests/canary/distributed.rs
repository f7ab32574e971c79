//! The same deployment over RabbitMQ and Redis, with a crash in it, and with the passwords of both among the canaries.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_integration_tests::distributed::{DistributedOptions, DistributedSlipway};
use slipway_integration_tests::docker_engine;
use slipway_integration_tests::git_server::{GitServer, TreeFile};
use slipway_integration_tests::rabbitmq::{RabbitMq, RabbitOptions};
use slipway_integration_tests::redis_server::{RedisOptions, RedisServer};
use std::path::Path;
use std::time::Duration;

use crate::search::{Canaries, ProcessWatch, is_in_files};
use crate::{BASE_IMAGE, CREDENTIAL, REPOSITORY_TOKEN, answers, request};

const BROKER_USER: &str = "canary-user";
const BROKER_PASSWORD: &str = "canary-broker/0c4e+91";
const REDIS_PASSWORD: &str = "canary-redis-5d37e2";
const HALT_TIMEOUT: Duration = Duration::from_secs(60);
const END_TIMEOUT: Duration = Duration::from_secs(120);

pub(crate) async fn deploy_and_search(host: &str, projects: &mut Vec<String>) -> anyhow::Result<()> {
    let docker = docker_engine::connect(host)?;
    docker_engine::base_image(&docker, BASE_IMAGE).await?;
    let git = GitServer::start().await?;
    git.require_token(Some(REPOSITORY_TOKEN));
    let path = format!("group/{}", docker_engine::unique_name("canary"));
    let url = git.create_repo(&path, &[TreeFile::new("index.html", "<p>canary\n")]).await?;
    let broker = broker().await?;
    let options = RedisOptions { password: Some(REDIS_PASSWORD.to_owned()), ..RedisOptions::default() };
    let redis = RedisServer::start(options).await?;
    let options = DistributedOptions::new(vec![broker_url(&broker)], redis.url())
        .with(1, 2)
        .variable("SLIPWAY__LOG__FILTER", "trace")
        .variable("SLIPWAY__DOCKER__HOST", host)
        .variable("SLIPWAY__DOCKER__DRAIN_MS", "100")
        .variable("SLIPWAY__DOCKER__STOP_GRACE_S", "1")
        .variable("SLIPWAY__TEMPLATES__BASE_IMAGES__STATIC", BASE_IMAGE);
    let watch = ProcessWatch::start();
    let slipway = DistributedSlipway::start_apis(options).await?;
    store_credential(&slipway).await?;
    let ids = deploy(&slipway, &git, &url, projects).await?;
    let address = slipway.api_process(0)?.base_url();
    let answers = answers(&address, slipway.token(), &[&ids[0], &ids[1]]).await?;
    let figures = figures(&slipway).await?;
    let processes = watch.stop().await?;
    ensure!(processes.arguments.contains("slipway-worker"), "the watch saw a worker");
    ensure!(processes.environments.contains("SLIPWAY__LOG__FILTER=trace"), "the watch saw its environment");

    let mut canaries = Canaries::of_requests();
    canaries.add_login(BROKER_USER, BROKER_PASSWORD);
    canaries.add_login("default", REDIS_PASSWORD);
    canaries.add(slipway.token());
    let data = slipway.api_process(0)?.data_folder();
    let key = data.parent().and_then(Path::parent).context("no common folder")?.join("secret.key");
    canaries.add(std::fs::read_to_string(&key).context("reading the sealing key")?.trim());
    for (what, text) in [
        ("a log", slipway.logs()),
        ("an answer", answers),
        ("a figure", figures),
        ("argv", processes.arguments),
        ("an environment", processes.environments),
        ("the broker's log", format!("read: {}", broker.log())),
        ("Redis' log", redis.log()),
    ] {
        canaries.search_text(what, &text)?;
    }
    for part in slipway.parts() {
        canaries.search_files(&part.data_folder(), &["admin.token"])?;
    }
    canaries.search_files(&git.directory(&path), &[])?;
    search_services(&canaries, &broker, &redis, &ids[0]).await
}

/// The broker's queues and stream, and everything Redis has in memory and on disk. That they can be searched is shown
/// by a deployment's id, which is in both.
async fn search_services(
    canaries: &Canaries,
    broker: &RabbitMq,
    redis: &RedisServer,
    known: &str,
) -> anyhow::Result<()> {
    redis.config_set("rdbcompression", "no").await?;
    redis.command(&["SAVE"]).await?;
    let dump = redis.dump().await?;
    ensure!(!dump.is_empty(), "Redis holds something");
    for (key, value) in dump {
        canaries.search_bytes("the name of a key", key.as_bytes())?;
        canaries.search_bytes(&key, &value)?;
    }
    for folder in [broker.folder().to_owned(), redis.folder()] {
        ensure!(is_in_files(&folder, known)?, "{known} is in {}", folder.display());
        canaries.search_files(&folder, &["redis.conf"])?;
    }
    for file in ["dump.rdb", "appendonlydir"] {
        ensure!(redis.folder().join(file).exists(), "Redis has {file}");
    }
    Ok(())
}

/// A broker with a user of its own; the password is never in a file of the broker but as a hash.
async fn broker() -> anyhow::Result<RabbitMq> {
    let broker = RabbitMq::start(RabbitOptions::default()).await?;
    broker.ctl(&["add_user", BROKER_USER, BROKER_PASSWORD]).await?;
    broker.ctl(&["set_permissions", BROKER_USER, ".*", ".*", ".*"]).await?;
    Ok(broker)
}

fn broker_url(broker: &RabbitMq) -> String {
    let password: String = url::form_urlencoded::byte_serialize(BROKER_PASSWORD.as_bytes()).collect();
    format!("amqp://{BROKER_USER}:{password}@{}/%2f", broker.address())
}

async fn store_credential(slipway: &DistributedSlipway) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let address = format!("{}/credentials/canary", slipway.api_process(0)?.base_url());
    let body = json!({ "secret": CREDENTIAL, "username": "robot" });
    let (status, stored) = slipway.api(0)?.request(client.put(address).json(&body)).await?;
    ensure!(status < 300, "PUT /credentials answered {status}: {stored}");
    Ok(())
}

/// A deployment through a crash, and one that fails; answers their ids.
async fn deploy(
    slipway: &DistributedSlipway,
    git: &GitServer,
    url: &str,
    projects: &mut Vec<String>,
) -> anyhow::Result<[String; 2]> {
    let halt = slipway.arm_workers("apply.inside").await?;
    let (id, _) = slipway.api(0)?.accept(&request(url), None).await?;
    halt.wait(slipway, HALT_TIMEOUT).await?.kill().await?;
    let deployment = slipway.api(0)?.wait_terminal(&id, END_TIMEOUT).await?;
    projects.extend(deployment["project_slug"].as_str().map(str::to_owned));
    ensure!(deployment["status"] == "active", "{deployment:#}");
    let mut wrong: Value = request(url);
    wrong["repository_url"] = json!(git.url("group/absent"));
    let (failed, _) = slipway.api(0)?.accept(&wrong, None).await?;
    slipway.api(0)?.wait_terminal(&failed, END_TIMEOUT).await?;
    Ok([id, failed])
}

/// What every process tells of itself.
async fn figures(slipway: &DistributedSlipway) -> anyhow::Result<String> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let mut all = String::new();
    for part in slipway.parts().filter(|part| part.is_running()) {
        for path in ["/metrics", "/readyz", "/livez"] {
            let request = client.get(format!("{}{path}", part.base_url())).bearer_auth(slipway.token());
            all += &request.send().await.with_context(|| path)?.text().await?;
        }
    }
    Ok(all)
}
