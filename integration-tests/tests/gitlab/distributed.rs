//! The distributed form: a delivery is durable once it is answered, also while Redis is away, and is deployed when
//! that is back; several workers that look at one project make one deployment of a push.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_integration_tests::distributed::{DistributedOptions, DistributedSlipway};
use slipway_integration_tests::gitlab::delivery::{self, Delivery};
use slipway_integration_tests::gitlab::{GitlabServer, MAINTAINER, samples};
use slipway_integration_tests::pace;
use slipway_integration_tests::rabbitmq::RabbitMq;
use slipway_integration_tests::redis_server::{RedisOptions, RedisServer};

use crate::world::{TIMEOUT, files, page, text};

const PATH: &str = "group/distributed";
/// Longest answer to a delivery (p99.9 in the requirement).
const ANSWER_MAX: Duration = Duration::from_millis(500);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

struct Ground {
    gitlab: GitlabServer,
    slipway: DistributedSlipway,
    redis: RedisServer,
    slug: String,
    hook_url: String,
    signing_secret: String,
}

impl Ground {
    async fn start() -> anyhow::Result<Self> {
        pace::watch();
        let gitlab = GitlabServer::start().await?;
        let url = gitlab.create_project(PATH, &files("one")).await?.clone_url();
        let token = gitlab.add_token("slipway", &["api"], MAINTAINER);
        let broker = RabbitMq::shared().await?;
        let redis = RedisServer::start(RedisOptions::default()).await?;
        let options = DistributedOptions::new(vec![broker.url()], redis.url())
            .with(2, 2)
            .variable("SLIPWAY_LAST_STAGE", "commit")
            .variable("SLIPWAY__DOCKER__HOST", "unix:///nonexistent/docker.sock")
            .variable("SLIPWAY__SWEEPS__INTERVAL_S", "3600");
        let slipway = DistributedSlipway::start(options).await?;
        let credential = json!({ "username": "oauth2", "secret": token });
        let (status, answer) = slipway.api(0)?.send("PUT", "/credentials/gitlab", &credential).await?;
        ensure!(status < 300, "PUT /credentials answered {status}: {answer}");
        let signing_secret = delivery::signing_secret();
        let body = json!({
            "repository_url": url, "forge": "gitlab", "credential": "gitlab", "commit": "none",
            "environments": [{ "name": "production", "default_branch": true }],
            "hook": { "signing_secret": signing_secret },
        });
        let (status, answer) = slipway.api(0)?.send("POST", "/projects", &body).await?;
        ensure!(status == 201, "POST /projects answered {status}: {answer}");
        let slug = text(&answer["slug"])?.to_owned();
        let hook_url = text(&answer["hook"]["url"])?.to_owned();
        Ok(Self { gitlab, slipway, redis, slug, hook_url, signing_secret })
    }

    async fn deployments(&self) -> anyhow::Result<Vec<Value>> {
        let path = format!("/deployments?limit=100&project={}", self.slug);
        let (status, answer) = self.slipway.api(0)?.get(&path).await?;
        ensure!(status == 200, "GET {path} answered {status}: {answer}");
        Ok(answer["data"].as_array().cloned().unwrap_or_default())
    }

    /// Waits for a deployment of the commit; answers how many there are then.
    async fn wait_commit(&self, commit: &str) -> anyhow::Result<usize> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            // The store may be on its way back.
            let found = self.deployments().await.unwrap_or_default();
            if found.iter().any(|it| it["revision"] == commit) {
                return Ok(found.len());
            }
            if Instant::now() > deadline {
                bail!("no deployment of {commit}: {found:#?}\n{}", self.slipway.logs());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Pushes, and sends what GitLab would, to the API of this number.
    async fn push_and_tell(&self, words: &str, api: usize, times: usize) -> anyhow::Result<String> {
        let commit = self.gitlab.push(PATH, "main", &page(words), words).await?;
        let project = self.gitlab.project(PATH)?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let (_, path) = self.hook_url.split_once("/webhooks/").context("an inbox")?;
        let url = format!("{}/webhooks/{path}", self.slipway.api_process(api)?.base_url());
        let payload = samples::gitlab_push(&project, "main", &commit);
        for _ in 0..times {
            let delivery = Delivery::gitlab("Push Hook", self.gitlab.url(), &payload);
            let signed = delivery.signed(&self.signing_secret, Timestamp::now())?;
            let told = signed.send(&client, &url).await?;
            ensure!((200..300).contains(&told.status), "{told:?}\n{}", self.slipway.logs());
            let allowed = pace::allowed(ANSWER_MAX);
            ensure!(told.took <= allowed, "answered after {:?}, allowed {allowed:?}", told.took);
        }
        Ok(commit)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_kept_while_redis_is_away_and_makes_one_deployment() {
    kept().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn kept() -> anyhow::Result<()> {
    let ground = Ground::start().await?;
    let first = ground.gitlab.git().tip(PATH, "main").await?.context("a first commit")?;
    ground.wait_commit(&first).await?;
    // The same push told by many deliveries, to both processes of the API.
    let second = ground.push_and_tell("two", 0, 10).await?;
    ground.push_again(&second).await?;
    ensure!(ground.wait_commit(&second).await? == 2, "two workers, one deployment");

    ground.redis.stop().await?;
    let third = ground.push_and_tell("three", 0, 3).await?;
    ground.redis.start_again().await?;
    let back = Instant::now();
    let made = ground.wait_commit(&third).await?;
    println!("deployed {:?} after Redis was back", back.elapsed());
    ensure!(made == 3, "{made} deployments of three pushes");
    Ok(())
}

impl Ground {
    /// Tells of a push again, through the other process of the API.
    async fn push_again(&self, commit: &str) -> anyhow::Result<()> {
        let project = self.gitlab.project(PATH)?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let (_, path) = self.hook_url.split_once("/webhooks/").context("an inbox")?;
        let url = format!("{}/webhooks/{path}", self.slipway.api_process(1)?.base_url());
        let payload = samples::gitlab_push(&project, "main", commit);
        let delivery = Delivery::gitlab("Push Hook", self.gitlab.url(), &payload);
        let told = delivery.signed(&self.signing_secret, Timestamp::now())?.send(&client, &url).await?;
        ensure!((200..300).contains(&told.status), "{told:?}\n{}", self.slipway.logs());
        Ok(())
    }
}
