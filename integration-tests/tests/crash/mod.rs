//! One world for one crash: a Git server, an engine, Slipway in either form, and the oracle that counts their effects.

mod running;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bollard::Docker;
use bollard::query_parameters::{ListContainersOptions, ListImagesOptions};
use serde_json::{Value, json};
use slipway_integration_tests::docker_engine;
use slipway_integration_tests::git_server::{GitServer, TreeFile};
use tokio::time::Instant;

pub(crate) use running::{Form, Running};

use running::Setting;

const TOKEN: &str = "glpat-crash-matrix";
const BASE_IMAGE: &str = "slipway-test/static:crash";
const REPLICAS: usize = 2;

/// Everything one test needs.
pub(crate) struct World<'a> {
    git: GitServer,
    docker: Docker,
    slipway: &'a mut Running,
    repository: String,
    url: String,
    project: String,
}

/// Slipway with settings that suit this engine.
pub(crate) async fn prepare(form: Form, host: &str) -> anyhow::Result<Running> {
    let settings = [
        Setting::new("docker", "host", host),
        Setting::new("docker", "drain_ms", 200),
        Setting::new("docker", "stop_grace_s", 1),
        Setting::new("templates.base_images", "static", BASE_IMAGE),
        Setting::new("worker", "backoff_min_ms", 200),
        Setting::new("gateway", "port_min", 15_600),
        Setting::new("gateway", "port_max", 16_599),
    ];
    Running::prepare(form, host, &settings).await
}

impl<'a> World<'a> {
    /// Starts the Git server with a static site that has neither Dockerfile nor CI file.
    pub(crate) async fn start(host: &str, slipway: &'a mut Running) -> anyhow::Result<Self> {
        let docker = docker_engine::connect(host)?;
        docker_engine::base_image(&docker, BASE_IMAGE).await?;
        let git = GitServer::start().await?;
        git.require_token(Some(TOKEN));
        let repository = format!("group/{}", docker_engine::unique_name("crash"));
        let url = git.create_repo(&repository, &[page("version one")]).await?;
        Ok(Self { git, docker, slipway, repository, url, project: String::new() })
    }

    /// Deploys with `point` armed, kills the process that halts there, and checks the outcome.
    pub(crate) async fn crash_at(&mut self, point: &str) -> anyhow::Result<()> {
        self.slipway.begin(Some(point)).await?;
        let id = self.deploy().await?;
        self.slipway.crash_at_the_point().await?;
        self.check_deployed(&id, "version one", 1).await
    }

    /// Deploys, kills everything some time later, starts it again and checks the outcome.
    pub(crate) async fn crash_after(&mut self, time: Duration) -> anyhow::Result<()> {
        self.slipway.begin(None).await?;
        let id = self.deploy().await?;
        tokio::time::sleep(time).await;
        self.slipway.kill().await?;
        self.slipway.restart(None).await?;
        self.check_deployed(&id, "version one", 1).await
    }

    /// Deploys, then crashes at `point` of the stop, and checks that nothing is left.
    pub(crate) async fn crash_while_stopping(&mut self, point: &str) -> anyhow::Result<()> {
        self.slipway.begin(Some(point)).await?;
        let id = self.deploy().await?;
        self.check_deployed(&id, "version one", 1).await?;
        let (status, body) = self.slipway.request("DELETE", &format!("/deployments/{id}"), None).await?;
        ensure!(status == 202, "DELETE answered {status}: {body}");
        self.slipway.crash_at_the_point().await?;
        let ended = self.slipway.wait_for(&id, |deployment| deployment["status"] == "stopped").await?;
        ensure!(ended["status"] == "stopped", "ended as {ended:#}");
        docker_engine::assert_no_leftovers(&self.docker, &format!("io.slipway.project={}", self.project))
            .await
    }

    /// A second deployment is killed inside its apply; the first one serves until the second one does.
    pub(crate) async fn crash_during_redeploy(&mut self) -> anyhow::Result<()> {
        self.slipway.begin(None).await?;
        let first = self.deploy().await?;
        self.check_deployed(&first, "version one", 1).await?;
        let address = self.container_address().await?;
        self.git.commit(&self.repository, "main", &[page("version two")], "Second version").await?;
        self.slipway.restart(Some("apply.inside")).await?;
        let second = self.deploy().await?;
        self.slipway.crash_all_at_the_point().await?;
        let served = fetch(&format!("http://{address}/")).await?;
        ensure!(served.contains("version one"), "the first version serves: {served}");
        self.slipway.restart(None).await?;
        self.check_deployed(&second, "version two", 1).await?;
        let replaced = self.slipway.deployment(&first).await?;
        ensure!(replaced["status"] == "stopped", "the first deployment is {replaced:#}");
        Ok(())
    }

    /// Ends Slipway if it is one process, and removes what the test made on the engine.
    pub(crate) async fn clean_up(&mut self) -> anyhow::Result<()> {
        self.slipway.kill_work().await.ok();
        if self.project.is_empty() {
            return Ok(());
        }
        docker_engine::remove_all(&self.docker, &format!("io.slipway.project={}", self.project)).await
    }

    async fn deploy(&mut self) -> anyhow::Result<String> {
        let request = json!({
            "repository_url": self.url,
            "repository_token": TOKEN,
            "replicas": REPLICAS,
            "health": { "path": "/", "interval_ms": 100 },
        });
        let id = self.slipway.deploy(&request).await?;
        let deployment = self.slipway.deployment(&id).await?;
        self.project = deployment["project_slug"].as_str().context("no project")?.to_owned();
        Ok(id)
    }

    /// The oracle: state, commits, images, containers and the page itself.
    async fn check_deployed(&self, id: &str, page: &str, commits: usize) -> anyhow::Result<()> {
        let deployment = self.slipway.wait_resting(id).await?;
        ensure!(deployment["status"] == "active", "ended as {deployment:#}\n{}", self.slipway.log());
        self.check_commits(&deployment, commits).await?;
        self.check_containers(id, &deployment).await?;
        let url = deployment["url"].as_str().context("no url")?;
        let served = eventually_fetch(url).await?;
        ensure!(served.contains(page), "{url} answered {served}");
        Ok(())
    }

    async fn check_commits(&self, deployment: &Value, wanted: usize) -> anyhow::Result<()> {
        let effects = self.git.effects(&self.repository).await?;
        ensure!(effects.len() == wanted, "{} reference updates: {effects:#?}", effects.len());
        let tip = self.git.tip(&self.repository, "main").await?.context("no main")?;
        let generated = deployment["facts"]["commit"]["generated"] == true;
        ensure!(
            !generated || deployment["facts"]["commit"]["revision"] == tip.as_str(),
            "{deployment:#} at {tip}"
        );
        Ok(())
    }

    async fn check_containers(&self, id: &str, deployment: &Value) -> anyhow::Result<()> {
        let label = format!("io.slipway.project={}", self.project);
        let filters = Some(HashMap::from([("label".to_owned(), vec![label.clone()])]));
        let options =
            ListContainersOptions { all: true, filters: filters.clone(), ..ListContainersOptions::default() };
        let containers = self.docker.list_containers(Some(options)).await?;
        ensure!(containers.len() == REPLICAS, "{} containers: {containers:#?}", containers.len());
        let image = deployment["facts"]["image"]["digest"].as_str().context("no image")?;
        for container in containers {
            let labels = container.labels.unwrap_or_default();
            ensure!(labels.get("io.slipway.deployment").map(String::as_str) == Some(id), "{labels:?}");
            ensure!(container.image_id.as_deref() == Some(image), "{:?} is not {image}", container.image_id);
            let names = container.names.unwrap_or_default().join(" ");
            ensure!(!names.contains("-starting") && !names.contains("-draining"), "{names}");
            ensure!(
                container.state.is_some_and(|state| state.to_string() == "running"),
                "{names} does not run"
            );
        }
        let commit = deployment["facts"]["commit"]["revision"].as_str().context("no commit")?;
        let of_commit = format!("io.slipway.commit={commit}");
        let filters = Some(HashMap::from([("label".to_owned(), vec![label, of_commit])]));
        let images = self
            .docker
            .list_images(Some(ListImagesOptions { filters, ..ListImagesOptions::default() }))
            .await?;
        ensure!(images.len() == 1, "{} images of {commit}: {images:#?}", images.len());
        Ok(())
    }

    async fn container_address(&self) -> anyhow::Result<String> {
        let label = format!("io.slipway.project={}", self.project);
        let filters = Some(HashMap::from([("label".to_owned(), vec![label])]));
        let options = ListContainersOptions { filters, ..ListContainersOptions::default() };
        let containers = self.docker.list_containers(Some(options)).await?;
        let networks = containers.into_iter().filter_map(|it| it.network_settings?.networks).flatten();
        let address = networks.filter_map(|(_, network)| network.ip_address).find(|ip| !ip.is_empty());
        Ok(format!("{}:8080", address.context("no address")?))
    }
}

fn page(text: &str) -> TreeFile {
    TreeFile::new("index.html", format!("<!doctype html><title>{text}</title><p>{text}\n"))
}

async fn fetch(url: &str) -> anyhow::Result<String> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    Ok(client.get(url).send().await?.error_for_status()?.text().await?)
}

/// The gateway learns of new containers a moment after the deployment is active.
async fn eventually_fetch(url: &str) -> anyhow::Result<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match fetch(url).await {
            Ok(body) => return Ok(body),
            Err(error) if Instant::now() > deadline => return Err(error.context(url.to_owned())),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
