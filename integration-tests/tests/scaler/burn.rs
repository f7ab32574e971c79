//! A service that burns CPU for each request, deployed by a real `slipway up`, and what asks it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bollard::Docker;
use bollard::query_parameters::ListContainersOptions;
use serde_json::{Value, json};
use slipway_integration_tests::docker_engine;
use slipway_integration_tests::git_server::{FileMode, GitServer, TreeFile};
use slipway_integration_tests::slipway_process::SlipwayProcess;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Image of a static busybox.
pub(crate) const BASE_IMAGE: &str = "slipway-test/static:scaler";
const TOKEN: &str = "glpat-scaler";
/// How far from the target counts as settled: a tenth, and what one replica more or less makes.
const BAND: f64 = 0.1;
/// For how long it must be so.
const SETTLED_FOR: Duration = Duration::from_secs(4);
/// What a replica may use, in thousandths of a core.
const CPU_MILLIS: u32 = 100;

/// The service and its Slipway.
pub(crate) struct Burn {
    pub(crate) slipway: SlipwayProcess,
    pub(crate) docker: Docker,
    pub(crate) address: String,
    settings: String,
    git: GitServer,
    path: String,
    request: Value,
    deployment: String,
    slug: String,
}

/// How a load was followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settled {
    pub(crate) took: Duration,
    pub(crate) utilisation: f64,
    pub(crate) replicas: u64,
    pub(crate) demand_replicas: f64,
}

fn files(version: &str) -> Vec<TreeFile> {
    let burn = "#!/bin/sh\ni=0\nwhile [ $i -lt 4000 ]; do i=$((i+1)); done\n\
                printf 'Content-Type: text/plain\\r\\n\\r\\nok\\n'\n";
    let dockerfile = format!(
        "FROM {BASE_IMAGE}\nCOPY burn /usr/share/nginx/html/cgi-bin/burn\nCOPY version /version\nEXPOSE 8080\n"
    );
    vec![
        TreeFile::new("burn", burn).stored_as(FileMode::Executable),
        TreeFile::new("version", version),
        TreeFile::new("Dockerfile", dockerfile),
    ]
}

impl Burn {
    /// Deploys the service; `name` is the project's, and the port range its own.
    pub(crate) async fn start(host: &str, name: &str) -> anyhow::Result<Self> {
        let docker = docker_engine::connect(host)?;
        docker_engine::base_image(&docker, BASE_IMAGE).await?;
        let git = GitServer::start().await?;
        git.require_token(Some(TOKEN));
        let path = format!("group/{}", docker_engine::unique_name(name));
        let url = git.create_repo(&path, &files("one")).await?;
        let first_port = 20_000 + u16::try_from(std::process::id() % 20_000)?;
        let settings = format!(
            "[docker]\nhost = \"{host}\"\ndrain_ms = 1500\nstop_grace_s = 5\n[gateway]\nport_min = {first_port}\n\
             port_max = {}\n[log]\nfilter = \"info,slipway_scaler=debug\"\n",
            first_port + 50
        );
        let slipway = SlipwayProcess::start(&settings, &[]).await?;
        let request = json!({
            "repository_url": url, "repository_token": TOKEN, "replicas": 1, "port": 8080,
            "resources": { "cpu_millis": CPU_MILLIS },
        });
        let mut burn = Self {
            slipway,
            docker,
            address: String::new(),
            settings,
            git,
            path,
            request,
            deployment: String::new(),
            slug: String::new(),
        };
        burn.deploy().await?;
        Ok(burn)
    }

    async fn deploy(&mut self) -> anyhow::Result<()> {
        let id = self.slipway.deploy(&self.request).await?;
        let active = self.slipway.wait_resting(&id).await?;
        ensure!(active["status"] == "active", "{active:#}");
        self.deployment = id;
        self.slug = active["project_slug"].as_str().context("no slug")?.to_owned();
        self.address = format!("{}/cgi-bin/burn", active["url"].as_str().context("no address")?);
        Ok(())
    }

    /// Deploys another version.
    pub(crate) async fn deploy_again(&mut self, version: &str) -> anyhow::Result<()> {
        self.git.commit(&self.path, "main", &files(version), "Next").await?;
        self.deploy().await
    }

    /// The label of all that is the project's.
    pub(crate) fn label(&self) -> String {
        format!("io.slipway.project={}", self.slug)
    }

    /// Sets the autoscaler.
    pub(crate) async fn autoscale(&self, settings: &Value) -> anyhow::Result<()> {
        let path = format!("/deployments/{}/autoscaler", self.deployment);
        let (status, answer) = self.slipway.request("PUT", &path, Some(settings)).await?;
        ensure!(status == 201 || status == 200, "{status}: {answer}");
        Ok(())
    }

    /// Asks for a count by hand.
    pub(crate) async fn wish(&self, replicas: u32) -> anyhow::Result<()> {
        let path = format!("/deployments/{}/replicas", self.deployment);
        let (status, answer) =
            self.slipway.request("PUT", &path, Some(&json!({ "replicas": replicas }))).await?;
        ensure!(status == 202, "{status}: {answer}");
        Ok(())
    }

    /// What is known of the autoscaler.
    pub(crate) async fn autoscaler(&self) -> anyhow::Result<Value> {
        let path = format!("/deployments/{}/autoscaler", self.deployment);
        let (status, answer) = self.slipway.request("GET", &path, None).await?;
        ensure!(status == 200, "{status}: {answer}");
        Ok(answer)
    }

    async fn containers(&self) -> anyhow::Result<Vec<String>> {
        let labels = vec![self.label(), "io.slipway.role=app".to_owned()];
        let options = ListContainersOptions {
            all: true,
            filters: Some([("label".to_owned(), labels)].into()),
            ..ListContainersOptions::default()
        };
        let listed = self.docker.list_containers(Some(options)).await?;
        Ok(listed.into_iter().filter_map(|one| one.names?.into_iter().next()).collect())
    }

    /// How many containers start or drain.
    pub(crate) async fn half_done(&self) -> anyhow::Result<usize> {
        let names = self.containers().await?;
        Ok(names.iter().filter(|name| name.ends_with("-starting") || name.ends_with("-draining")).count())
    }

    /// How many containers serve.
    pub(crate) async fn serving(&self) -> anyhow::Result<usize> {
        Ok(self.containers().await?.len() - self.half_done().await?)
    }

    /// Waits until so many serve, and the scaler says so.
    pub(crate) async fn counts(&self, wanted: u32, longest: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + longest;
        loop {
            let (serving, known) = (self.serving().await?, self.autoscaler().await?);
            if u32::try_from(serving)? == wanted && known["state"]["replicas"] == wanted {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{serving} serve and not {wanted}: {known:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the CPU is at its target.
    pub(crate) async fn settled(&self, longest: Duration) -> anyhow::Result<Settled> {
        self.settled_where(longest, |_| true).await
    }

    /// The same, with a demand of about so many replicas working flat out.
    pub(crate) async fn settled_at(
        &self,
        demand_replicas: f64,
        longest: Duration,
    ) -> anyhow::Result<Settled> {
        self.settled_where(longest, |now| (now.demand_replicas / demand_replicas).ln().abs() < 0.35).await
    }

    async fn settled_where(
        &self,
        longest: Duration,
        is_wanted: impl Fn(&Settled) -> bool,
    ) -> anyhow::Result<Settled> {
        let begun = Instant::now();
        let mut since: Option<Instant> = None;
        let mut last = Value::Null;
        while begun.elapsed() < longest {
            let known = self.autoscaler().await?;
            let state = &known["state"];
            if let (Some(utilisation), Some(demand_replicas), Some(replicas)) = (
                state["evidence"]["utilisation"].as_f64(),
                state["evidence"]["demand_replicas"].as_f64(),
                state["replicas"].as_u64(),
            ) {
                let target = known["settings"]["cpu_target"].as_f64().context("no target")?;
                let count = f64::from(u32::try_from(replicas)?);
                // One replica more or less is as near as a whole number of them comes.
                let band = target * (BAND + 1.0 / (count + 1.0));
                let now = Settled { took: begun.elapsed(), utilisation, replicas, demand_replicas };
                let is_near =
                    (utilisation - target).abs() <= band || (replicas == 1 && utilisation <= target);
                if is_near && state["ready"] == state["replicas"] && is_wanted(&now) {
                    let from = *since.get_or_insert_with(Instant::now);
                    if from.elapsed() >= SETTLED_FOR {
                        return Ok(Settled { took: from.duration_since(begun), ..now });
                    }
                } else {
                    since = None;
                }
            }
            last = known;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        anyhow::bail!("not settled after {longest:?}: {last:#}")
    }

    /// Kills Slipway with -9 and starts it again.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        self.slipway.kill_and_start(&self.settings, &[]).await
    }

    /// Stops the deployment.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        let path = format!("/deployments/{}", self.deployment);
        let (status, answer) = self.slipway.request("DELETE", &path, None).await?;
        ensure!(status == 202, "{status}: {answer}");
        self.slipway.wait_for(&self.deployment, |deployment| deployment["status"] == "stopped").await?;
        Ok(())
    }
}

/// Requests on a schedule of their own: a slow answer delays no later request.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    rate_milli: Arc<AtomicU64>,
    sender: tokio::task::JoinHandle<Served>,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    pub(crate) first_loss: Option<String>,
}

impl Load {
    /// Asks this address, from now on.
    pub(crate) fn start(address: &str) -> Self {
        let (stop, rate_milli) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1_000)));
        let sender = tokio::spawn(send(address.to_owned(), Arc::clone(&rate_milli), Arc::clone(&stop)));
        Self { stop, rate_milli, sender }
    }

    /// So many requests in a second.
    pub(crate) fn set_rate(&self, rate_per_s: f64) {
        let milli = Duration::from_secs_f64(rate_per_s.clamp(0.1, 500.0)).as_millis();
        self.rate_milli.store(u64::try_from(milli).unwrap_or(1_000), Ordering::Relaxed);
    }

    /// Ends, and answers what became of the requests.
    pub(crate) async fn stop(self) -> Served {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.await.unwrap_or_default()
    }
}

async fn send(address: String, rate_milli: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Served {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .expect("a client can be made");
    let (mut served, mut requests) = (Served::default(), JoinSet::new());
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep_until(next).await;
        next +=
            Duration::from_secs(1_000) / u32::try_from(rate_milli.load(Ordering::Relaxed)).unwrap_or(1_000);
        served.sent += 1;
        requests.spawn(ask(client.get(&address)));
        while let Some(ended) = requests.try_join_next() {
            served.note(ended.unwrap_or(Err("the request panicked".to_owned())));
        }
    }
    while let Some(ended) = requests.join_next().await {
        served.note(ended.unwrap_or(Err("the request panicked".to_owned())));
    }
    served
}

async fn ask(request: reqwest::RequestBuilder) -> Result<(), String> {
    match request.send().await {
        Ok(answer) if answer.status().is_success() => {
            answer.text().await.map(drop).map_err(|error| format!("{error:?}"))
        }
        Ok(answer) => Err(format!("{} {:?}", answer.status(), answer.text().await)),
        Err(error) => Err(format!("{error:?}")),
    }
}

impl Served {
    fn note(&mut self, ended: Result<(), String>) {
        if let Err(loss) = ended {
            self.lost += 1;
            self.first_loss.get_or_insert(loss);
        }
    }
}
