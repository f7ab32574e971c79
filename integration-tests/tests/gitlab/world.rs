//! What every test here begins with: a GitLab, a `slipway up` that needs no engine, and projects that are registered.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use slipway_integration_tests::git_server::TreeFile;
use slipway_integration_tests::gitlab::{GitlabServer, MAINTAINER, delivery};
use slipway_integration_tests::slipway_process::SlipwayProcess;
use slipway_integration_tests::{docker_engine, pace};
use tokio::time::Instant;

/// Longest wait for something that must come.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Sent along in clear by hooks.
pub(crate) const HOOK_TOKEN: &str = "hook-token-canary-4b1e77";
/// Projects are looked at when they are told of, and otherwise not while a test lasts.
pub(crate) const HOOKS_ONLY: &str = "[sweeps]\ninterval_s = 3600\n";
/// Projects are looked at every second.
pub(crate) const SWEEPS_OFTEN: &str = "[sweeps]\ninterval_s = 1\n";
const NO_ENGINE: &str = "[docker]\nhost = \"unix:///nonexistent/docker.sock\"\n";

/// A GitLab and a Slipway.
pub(crate) struct World {
    pub(crate) gitlab: GitlabServer,
    pub(crate) slipway: SlipwayProcess,
    settings: String,
    variables: Vec<(String, String)>,
}

/// A registered project.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    pub(crate) path: String,
    pub(crate) slug: String,
    pub(crate) hook_url: String,
    pub(crate) signing_secret: String,
}

impl World {
    /// Jobs end with `last_stage`; so no engine is needed.
    pub(crate) async fn start(settings: &str, last_stage: &str) -> anyhow::Result<Self> {
        let variables = vec![("SLIPWAY_LAST_STAGE".to_owned(), last_stage.to_owned())];
        Self::begin(format!("{NO_ENGINE}{settings}"), variables).await
    }

    /// Jobs run to their end on the engine at `host`, with ports of their own for what they run.
    pub(crate) async fn on_engine(settings: &str, host: &str, first_port: u16) -> anyhow::Result<Self> {
        let engine = format!(
            "[docker]\nhost = \"{host}\"\ndrain_ms = 100\nstop_grace_s = 1\n\
             [gateway]\nport_min = {first_port}\nport_max = {}\n",
            first_port + 99
        );
        Self::begin(format!("{engine}{settings}"), Vec::new()).await
    }

    async fn begin(settings: String, variables: Vec<(String, String)>) -> anyhow::Result<Self> {
        pace::watch();
        let gitlab = GitlabServer::start().await?;
        let slipway = SlipwayProcess::start(&settings, &borrowed(&variables)).await?;
        let world = Self { gitlab, slipway, settings, variables };
        let token = world.gitlab.add_token("slipway", &["api"], MAINTAINER);
        world.store_credential("gitlab", "oauth2", &token).await?;
        Ok(world)
    }

    /// Kills Slipway; starts it again with [`Self::come_back`].
    pub(crate) async fn go_down(&mut self) -> anyhow::Result<()> {
        self.slipway.kill().await
    }

    /// Starts Slipway again on its data.
    pub(crate) async fn come_back(&mut self) -> anyhow::Result<()> {
        let variables = borrowed(&self.variables);
        self.slipway.kill_and_start(&self.settings, &variables).await
    }

    /// Stores a credential.
    pub(crate) async fn store_credential(&self, name: &str, user: &str, secret: &str) -> anyhow::Result<()> {
        let body = json!({ "username": user, "secret": secret });
        let (status, answer) =
            self.slipway.request("PUT", &format!("/credentials/{name}"), Some(&body)).await?;
        ensure!(status < 300, "PUT /credentials/{name} answered {status}: {answer}");
        Ok(())
    }

    /// A project on GitLab whose first commit was pushed, so that it has a pipeline; answers path and commit.
    pub(crate) async fn project(&self, files: &[TreeFile]) -> anyhow::Result<(String, String)> {
        let path = format!("group/{}", docker_engine::unique_name("shop"));
        self.gitlab.create_project(&path, &[]).await?;
        let commit = self.gitlab.push(&path, "main", files, "Initial commit").await?;
        Ok((path, commit))
    }

    /// Registers it with these fields over the usual ones, and adds the hook.
    pub(crate) async fn register(&self, path: &str, more: Value) -> anyhow::Result<Registered> {
        let url = self.gitlab.project(path)?.clone_url();
        let signing_secret = delivery::signing_secret();
        let mut body = json!({
            "repository_url": url, "forge": "gitlab", "credential": "gitlab", "port": 8080, "commit": "none",
            "environments": [{ "name": "production", "default_branch": true }],
            "hook": { "signing_secret": signing_secret, "token": HOOK_TOKEN },
        });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        let registered = self.post_project(path, &body, &signing_secret).await?;
        self.gitlab.add_hook(path, &registered.hook_url, Some(&signing_secret), Some(HOOK_TOKEN))?;
        Ok(registered)
    }

    /// `POST /projects`.
    pub(crate) async fn post_project(
        &self,
        path: &str,
        body: &Value,
        signing_secret: &str,
    ) -> anyhow::Result<Registered> {
        let (status, answer) = self.slipway.request("POST", "/projects", Some(body)).await?;
        ensure!(status == 201, "POST /projects answered {status}: {answer:#}");
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a text is missing");
        Ok(Registered {
            path: path.to_owned(),
            slug: text(&answer["slug"])?,
            hook_url: text(&answer["hook"]["url"])?,
            signing_secret: signing_secret.to_owned(),
        })
    }

    /// Its deployments, newest first.
    pub(crate) async fn deployments(&self, project: &Registered) -> anyhow::Result<Vec<Value>> {
        let path = format!("/deployments?limit=100&project={}", project.slug);
        let (status, answer) = self.slipway.request("GET", &path, None).await?;
        ensure!(status == 200, "GET {path} answered {status}: {answer}");
        Ok(answer["data"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until there are so many deployments; more are an error at once.
    pub(crate) async fn wait_deployments(
        &self,
        project: &Registered,
        count: usize,
    ) -> anyhow::Result<Vec<Value>> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let found = self.deployments(project).await?;
            ensure!(found.len() <= count, "{} deployments, not {count}: {found:#?}", found.len());
            if found.len() == count {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!(
                    "{} deployments, not {count}: {:#}\n{}",
                    found.len(),
                    self.show(project).await?,
                    self.slipway.log()
                );
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits for a deployment of the commit in the environment.
    pub(crate) async fn wait_commit(
        &self,
        project: &Registered,
        environment: &str,
        commit: &str,
    ) -> anyhow::Result<Value> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            for summary in self.deployments(project).await? {
                if summary["environment"] != environment {
                    continue;
                }
                let id = summary["id"].as_str().context("no id")?;
                let deployment = self.slipway.deployment(id).await?;
                if deployment["trigger"]["revision"] == commit {
                    return Ok(deployment);
                }
            }
            if Instant::now() > deadline {
                bail!(
                    "no deployment of {commit} in {environment}: {:#}\n{}",
                    self.show(project).await?,
                    self.slipway.log()
                );
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Everything that is known of the project.
    pub(crate) async fn show(&self, project: &Registered) -> anyhow::Result<Value> {
        let path = format!("/projects/{}", project.slug);
        let (status, answer) = self.slipway.request("GET", &path, None).await?;
        ensure!(status == 200, "GET {path} answered {status}: {answer}");
        Ok(answer)
    }

    /// Has the project looked at, and waits until a look that began later has ended. What it was to make is made then.
    pub(crate) async fn sweep(&self, project: &Registered) -> anyhow::Result<Value> {
        let path = format!("/projects/{}/sweep", project.slug);
        let (status, answer) = self.slipway.request("POST", &path, None).await?;
        ensure!(status == 202, "POST {path} answered {status}: {answer}");
        let noted_at: jiff::Timestamp = answer["noted_at"].as_str().context("noted_at")?.parse()?;
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let shown = self.show(project).await?;
            let swept_at = shown["state"]["swept_at"].as_str().and_then(|at| at.parse().ok());
            if swept_at.is_some_and(|at: jiff::Timestamp| at >= noted_at) {
                return Ok(shown);
            }
            if Instant::now() > deadline {
                bail!("{} was not looked at: {shown:#}\n{}", project.slug, self.slipway.log());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until `condition` holds on GitLab's side; `what` says what is waited for.
    pub(crate) async fn eventually(
        &self,
        what: &str,
        condition: impl Fn(&GitlabServer) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        while !condition(&self.gitlab) {
            if Instant::now() > deadline {
                bail!("waited in vain for {what}\n{}", self.slipway.log());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

fn borrowed(variables: &[(String, String)]) -> Vec<(&str, &str)> {
    variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A repository that needs nothing generated and shows `text`.
pub(crate) fn files(text: &str) -> Vec<TreeFile> {
    vec![
        TreeFile::new("index.html", format!("<p>{text}\n")),
        TreeFile::new("Dockerfile", "FROM scratch\nCOPY index.html /index.html\nEXPOSE 8080\n"),
        TreeFile::new(".gitlab-ci.yml", "build:\n  script: [\"make image\"]\n"),
    ]
}

/// One file that differs.
pub(crate) fn page(text: &str) -> Vec<TreeFile> {
    vec![TreeFile::new("index.html", format!("<p>{text}\n"))]
}

/// The text of a field.
pub(crate) fn text(value: &Value) -> anyhow::Result<&str> {
    value.as_str().context("a text is missing")
}
