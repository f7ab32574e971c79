//! The distributed form beside a GitLab, with processes and lines that can be taken away: what fault tests begin with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use redis::FromRedisValue as _;
use serde_json::{Value, json};
use slipway_integration_tests::distributed::{DistributedOptions, DistributedSlipway};
use slipway_integration_tests::gitlab::delivery::{self, Delivery, Told};
use slipway_integration_tests::gitlab::{GitlabServer, MAINTAINER, samples};
use slipway_integration_tests::line::Line;
use slipway_integration_tests::pace;
use slipway_integration_tests::rabbitmq::RabbitMq;
use slipway_integration_tests::redis_server::{RedisOptions, RedisServer};
use tokio::time::Instant;

use crate::world::{TIMEOUT, files, page, text};

/// Set where claims of processes that died are waited for, rather than made to run out.
const LONG_VARIABLE: &str = "SLIPWAY_TEST_LONG";
/// Longest wait there: a claim of a sweep or a report, and a look.
const LONG_TIMEOUT: Duration = Duration::from_secs(300);
/// A claim that is still there after this long is of a process that died: nothing here takes so long.
const STILL: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Longest wait for the answer to a delivery.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Lists of the agenda.
const SWEEPS: &str = "sweeps";
const REPORTS: &str = "reports";

/// A GitLab, and two processes of the API and two workers beside it. Jobs end after the commit; projects are looked at
/// when they are told of, and otherwise not while a test lasts.
pub(crate) struct Installation {
    pub(crate) gitlab: GitlabServer,
    pub(crate) slipway: DistributedSlipway,
    /// Shared with other tests; the processes reach it by the line.
    pub(crate) broker: Arc<RabbitMq>,
    pub(crate) broker_line: Line,
    pub(crate) redis: RedisServer,
    client: reqwest::Client,
}

/// A registered project. GitLab itself sends nothing of it: the tests do.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    pub(crate) path: String,
    pub(crate) slug: String,
    /// The path of its hook.
    pub(crate) inbox: String,
    pub(crate) signing_secret: String,
}

/// Whether the long variants are wanted.
pub(crate) fn is_long() -> bool {
    std::env::var_os(LONG_VARIABLE).is_some()
}

impl Installation {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        pace::watch();
        let gitlab = GitlabServer::start().await?;
        let token = gitlab.add_token("slipway", &["api"], MAINTAINER);
        let broker = RabbitMq::shared().await?;
        let broker_line = Line::start(broker.address().to_string()).await?;
        let redis = RedisServer::start(RedisOptions::default()).await?;
        let urls = vec![broker.url_at(broker_line.address())];
        let options = DistributedOptions::new(urls, redis.url())
            .with(2, 2)
            .variable("SLIPWAY_LAST_STAGE", "commit")
            .variable("SLIPWAY__DOCKER__HOST", "unix:///nonexistent/docker.sock")
            .variable("SLIPWAY__SWEEPS__INTERVAL_S", "3600")
            // A job of a worker that was killed is soon taken up, and is not set aside for having been killed often.
            .variable("SLIPWAY__WORKER__CLAIM_TTL_MS", "3000")
            .variable("SLIPWAY__WORKER__CLAIM_RENEW_MS", "1000")
            .variable("SLIPWAY__WORKER__CRASHES_MAX", "40")
            .variable("SLIPWAY__LOG__FILTER", "info,slipway=debug,actix_server=warn");
        let slipway = DistributedSlipway::start(options).await?;
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT).build()?;
        let credential = json!({ "username": "oauth2", "secret": token });
        let (status, answer) = slipway.api(0)?.send("PUT", "/credentials/gitlab", &credential).await?;
        ensure!(status < 300, "PUT /credentials answered {status}: {answer}");
        Ok(Self { gitlab, slipway, broker, broker_line, redis, client })
    }

    /// A new project with one commit, registered and deployed; answers that commit too.
    pub(crate) async fn connect(&self, path: &str, more: Value) -> anyhow::Result<(Connected, String)> {
        self.gitlab.create_project(path, &files("one")).await?;
        let project = self.register(path, more).await?;
        let first = self.gitlab.git().tip(path, "main").await?.context("a first commit")?;
        self.ended(&project, "production", &first).await?;
        Ok((project, first))
    }

    /// Registers a project that is on GitLab, with these fields over the usual ones.
    pub(crate) async fn register(&self, path: &str, more: Value) -> anyhow::Result<Connected> {
        let signing_secret = delivery::signing_secret();
        let mut body = json!({
            "repository_url": self.gitlab.project(path)?.clone_url(), "forge": "gitlab",
            "credential": "gitlab", "commit": "none",
            "environments": [{ "name": "production", "default_branch": true }],
            "hook": { "signing_secret": signing_secret },
        });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        let (status, answer) = self.slipway.api(0)?.send("POST", "/projects", &body).await?;
        ensure!(status == 201, "POST /projects answered {status}: {answer}");
        let (_, inbox) = text(&answer["hook"]["url"])?.split_once("/webhooks/").context("no inbox")?;
        Ok(Connected {
            path: path.to_owned(),
            slug: text(&answer["slug"])?.to_owned(),
            inbox: format!("/webhooks/{inbox}"),
            signing_secret,
        })
    }

    /// What GitLab would send of a push, signed with the project's secret.
    pub(crate) fn hook(&self, project: &Connected, branch: &str, commit: &str) -> anyhow::Result<Delivery> {
        let payload = samples::gitlab_push(&self.gitlab.project(&project.path)?, branch, commit);
        let delivery = Delivery::gitlab("Push Hook", self.gitlab.url(), &payload);
        delivery.signed(&project.signing_secret, Timestamp::now())
    }

    /// The address of a project's hook at the API of this number.
    pub(crate) fn inbox(&self, project: &Connected, api: usize) -> anyhow::Result<String> {
        Ok(format!("{}{}", self.slipway.api_process(api)?.base_url(), project.inbox))
    }

    /// Sends a delivery to the API of this number.
    pub(crate) async fn send(
        &self,
        project: &Connected,
        api: usize,
        delivery: &Delivery,
    ) -> anyhow::Result<Told> {
        delivery.send(&self.client, &self.inbox(project, api)?).await
    }

    /// Sends a delivery, which must be taken.
    pub(crate) async fn tell(
        &self,
        project: &Connected,
        api: usize,
        delivery: &Delivery,
    ) -> anyhow::Result<()> {
        let told = self.send(project, api, delivery).await?;
        ensure!((200..300).contains(&told.status), "{told:?}\n{}", self.slipway.logs());
        Ok(())
    }

    /// Commits one page on a branch, pushes it, and tells the first API of it; answers the commit.
    pub(crate) async fn push(
        &self,
        project: &Connected,
        branch: &str,
        words: &str,
    ) -> anyhow::Result<String> {
        let commit = self.gitlab.push(&project.path, branch, &page(words), words).await?;
        self.tell(project, 0, &self.hook(project, branch, &commit)?).await?;
        Ok(commit)
    }

    /// Everything that is known of the project; `None` while that cannot be asked for. Anything else than the project
    /// would be wrong.
    pub(crate) async fn show(&self, project: &Connected) -> anyhow::Result<Option<Value>> {
        let (status, answer) = self.slipway.api(0)?.get(&format!("/projects/{}", project.slug)).await?;
        ensure!(matches!(status, 200 | 503), "GET /projects answered {status}: {answer}");
        Ok((status == 200).then_some(answer))
    }

    /// All deployments of the project with all that is known of them, newest first.
    pub(crate) async fn deployments(&self, project: &Connected) -> anyhow::Result<Vec<Value>> {
        let api = self.slipway.api(0)?;
        let path = format!("/deployments?limit=100&project={}", project.slug);
        let (status, answer) = api.get(&path).await?;
        ensure!(status == 200, "GET {path} answered {status}: {answer}");
        ensure!(answer["next_cursor"].is_null(), "more than a page: {answer}");
        let mut all = Vec::new();
        for summary in answer["data"].as_array().context("no list")? {
            let (status, deployment) = api.deployment(text(&summary["id"])?).await?;
            ensure!(status == 200, "a listed deployment answered {status}: {deployment}");
            all.push(deployment);
        }
        Ok(all)
    }

    /// Waits for the deployment of a commit into an environment; answers it.
    pub(crate) async fn deployed(
        &self,
        project: &Connected,
        environment: &str,
        commit: &str,
    ) -> anyhow::Result<Value> {
        let what = format!("{commit} in {environment}");
        let found = self.until(&what, async || {
            let all = self.deployments(project).await?;
            Ok(all.into_iter().find(|it| is_of(it, environment, commit)))
        });
        found.await
    }

    /// The same, and for its end; it must have succeeded.
    pub(crate) async fn ended(
        &self,
        project: &Connected,
        environment: &str,
        commit: &str,
    ) -> anyhow::Result<Value> {
        let found = self.deployed(project, environment, commit).await?;
        let ended = self.slipway.api(0)?.wait_terminal(text(&found["id"])?, longest()).await?;
        let good = ended["jobs"].as_array().is_some_and(|jobs| jobs.iter().all(is_succeeded));
        ensure!(good, "{ended:#}\n{}", self.slipway.logs());
        Ok(ended)
    }

    /// Has the project looked at, and waits until a look that began later has ended. What it was to make is made then.
    pub(crate) async fn sweep(&self, project: &Connected) -> anyhow::Result<()> {
        let path = format!("/projects/{}/sweep", project.slug);
        let (status, answer) = self.slipway.api(0)?.send("POST", &path, &Value::Null).await?;
        ensure!(status == 202, "POST {path} answered {status}: {answer}");
        let noted_at: Timestamp = text(&answer["noted_at"])?.parse()?;
        let looked = self.until("a look at the project", async || {
            let shown = self.show(project).await?.unwrap_or_default();
            let swept_at = shown["state"]["swept_at"].as_str().map(str::parse::<Timestamp>).transpose()?;
            Ok(swept_at.filter(|at| *at >= noted_at).map(drop))
        });
        looked.await
    }

    /// Asks until there is an answer. An error is one at once.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        look: impl AsyncFn() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + longest();
        loop {
            if let Some(found) = look().await.with_context(|| format!("waiting for {what}"))? {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("waited in vain for {what}\n{}", self.slipway.logs());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// As if a few minutes had passed: claims of processes that died are over, and what was to be told later is told
    /// now. In the long variants they do pass.
    pub(crate) async fn let_minutes_pass(&self) -> anyhow::Result<()> {
        if is_long() {
            return Ok(());
        }
        let before = (self.claims(SWEEPS).await?, self.claims(REPORTS).await?);
        tokio::time::sleep(pace::allowed(STILL)).await;
        let after = (self.claims(SWEEPS).await?, self.claims(REPORTS).await?);
        self.end_claims(SWEEPS, before.0.intersection(&after.0)).await?;
        self.end_claims(REPORTS, before.1.intersection(&after.1)).await?;
        let (due, now) = (self.agenda(REPORTS, "due"), Timestamp::now().as_microsecond().to_string());
        let waiting = self.redis.command(&["ZRANGE", &due, "0", "-1"]).await?;
        for key in Vec::<String>::from_redis_value(waiting)? {
            self.redis.command(&["ZADD", &due, "XX", "LT", &now, &key]).await?;
        }
        Ok(())
    }

    /// The claim of whoever looks at a project now is over, though it goes on.
    pub(crate) async fn end_looks(&self) -> anyhow::Result<()> {
        let claims = self.claims(SWEEPS).await?;
        ensure!(!claims.is_empty(), "nobody looks at a project");
        self.end_claims(SWEEPS, claims.iter()).await
    }

    /// Claimed entries of a list, each with the time until which it is claimed.
    async fn claims(&self, list: &str) -> anyhow::Result<BTreeSet<(String, String)>> {
        let claimed = self.agenda(list, "claimed");
        let answer = self.redis.command(&["ZRANGE", &claimed, "0", "-1", "WITHSCORES"]).await?;
        let words = Vec::<String>::from_redis_value(answer)?;
        Ok(words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
    }

    async fn end_claims<'a>(
        &self,
        list: &str,
        claims: impl Iterator<Item = &'a (String, String)>,
    ) -> anyhow::Result<()> {
        let claimed = self.agenda(list, "claimed");
        let now = Timestamp::now().as_microsecond().to_string();
        for (key, _) in claims {
            self.redis.command(&["ZADD", &claimed, "XX", &now, key]).await?;
        }
        Ok(())
    }

    fn agenda(&self, list: &str, what: &str) -> String {
        format!("{}:agenda:{list}:{what}", self.slipway.prefix())
    }
}

fn longest() -> Duration {
    if is_long() { LONG_TIMEOUT } else { TIMEOUT }
}

/// Whether the deployment is of this commit and environment.
pub(crate) fn is_of(deployment: &Value, environment: &str, commit: &str) -> bool {
    deployment["environment"] == environment && deployment["trigger"]["revision"] == commit
}

fn is_succeeded(job: &Value) -> bool {
    job["state"]["status"] == "succeeded"
}
