//! Several scalers as processes, over RabbitMQ and Redis, on a real API server (I17): never two writers, whoever is killed
//! or frozen is replaced within seconds, and silence of the broker changes no count.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_common::metric::MetricEvent;
use slipway_integration_tests::control_plane::{ClusterUser, ControlPlane};
use slipway_integration_tests::distributed::{
    ApiClient, DistributedOptions, DistributedSlipway, SlipwayPart,
};
use slipway_integration_tests::pace;
use slipway_integration_tests::process_control::PrivateFolder;
use slipway_integration_tests::rabbitmq::{RabbitMq, RabbitOptions};
use slipway_integration_tests::redis_server::{RedisOptions, RedisServer};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{rights, scaler, world::image};

/// I17: longest time from the end of a scaler until another has changed a count.
const GAP_MAX: Duration = Duration::from_secs(10);
/// How long the broker is away; with `SLIPWAY_TEST_LONG` set the ten minutes of the requirement.
const BROKER_AWAY: Duration = Duration::from_secs(15);
const BROKER_AWAY_LONG: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(60);

/// Three scalers, one API, one worker, and a deployment under load.
struct Fleet {
    plane: Arc<ControlPlane>,
    broker: RabbitMq,
    slipway: DistributedSlipway,
    api: ApiClient,
    deployment: String,
    path: String,
    counts: Arc<Mutex<Vec<u64>>>,
    demand_milli: Arc<AtomicU64>,
    _redis: RedisServer,
    _folder: PrivateFolder,
    _stop: DropGuard,
}

impl Fleet {
    async fn start() -> anyhow::Result<Self> {
        let plane = ControlPlane::shared().await?;
        rights::grant(&plane).await?;
        let (broker, redis) = (
            RabbitMq::start(RabbitOptions::default()).await?,
            RedisServer::start(RedisOptions::default()).await?,
        );
        let folder = PrivateFolder::new("fleet").await?;
        let file = |name: &str, text: &str| -> anyhow::Result<String> {
            let path = folder.path().join(name);
            std::fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let ca = file("ca.crt", plane.ca_pem())?;
        let worker_token = file("worker", plane.token_for(ClusterUser::Worker))?;
        let scaler_token = file("scaler", plane.token_for(ClusterUser::Scaler))?;
        const TOKEN: &str = "SLIPWAY__KUBERNETES__PRODUCTION__TOKEN_FILE";
        let options = DistributedOptions::new(vec![broker.url()], redis.url())
            .scalers(3)
            .variable("SLIPWAY__DOCKER__ENABLED", "false")
            .variable("SLIPWAY__DOCKER__HOST", "unix:///nonexistent/docker.sock")
            .variable("SLIPWAY__KUBERNETES__PRODUCTION__SERVER", plane.server_url())
            .variable("SLIPWAY__KUBERNETES__PRODUCTION__CA_FILE", &ca)
            .variable(TOKEN, &worker_token);
        let slipway = DistributedSlipway::start_apis(options).await?;
        for index in 0..3 {
            slipway.scaler_process(index)?.set_variable(TOKEN, Some(&scaler_token));
            slipway.scaler_process(index)?.start().await?;
        }
        slipway.worker_process(0)?.start().await?;
        slipway.wait_ready(PATIENCE).await?;
        let api = slipway.api(0)?;
        let unique = plane.namespace();
        let request = json!({
            "repository_url": format!("https://git.example.com/{unique}/shop"),
            "image": image("web"), "port": 8080, "replicas": 1,
        });
        let (deployment, _) = api.accept(&request, None).await?;
        let active = api.wait_terminal(&deployment, pace::allowed(PATIENCE)).await?;
        ensure!(active["status"] == "active", "{active:#}\n{}", slipway.logs());
        let namespace = active["facts"]["inventory"]["namespace"].as_str().context("no namespace")?;
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/shop");
        let stop = CancellationToken::new();
        let fleet = Self {
            counts: Arc::default(),
            demand_milli: Arc::new(AtomicU64::new(500)),
            _redis: redis,
            _folder: folder,
            _stop: stop.clone().drop_guard(),
            plane,
            broker,
            slipway,
            api,
            deployment,
            path,
        };
        fleet.watch(stop.clone());
        fleet.load(stop).await?;
        let raw: Value = serde_json::to_value(scaler::settings(&json!({ "replicas_max": 12, "hold_s": 1 })))?;
        let path = format!("/deployments/{}/autoscaler", fleet.deployment);
        let (status, answer) = fleet.api.send("PUT", &path, &raw).await?;
        ensure!(status == 201, "{status}: {answer}");
        Ok(fleet)
    }

    /// Notes every count the cluster is told, in order.
    fn watch(&self, stop: CancellationToken) {
        let (plane, path, counts) = (Arc::clone(&self.plane), self.path.clone(), Arc::clone(&self.counts));
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                if let Some(count) =
                    plane.get(&path).await.ok().and_then(|it| it["spec"]["replicas"].as_u64())
                {
                    let mut counts = counts.lock().await;
                    if counts.last() != Some(&count) {
                        counts.push(count);
                    }
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        });
    }

    /// Publishes what the ready pods would use, through the API, as anyone may.
    async fn load(&self, stop: CancellationToken) -> anyhow::Result<()> {
        let (plane, path, api) = (Arc::clone(&self.plane), self.path.clone(), self.api.clone());
        let demand = Arc::clone(&self.demand_milli);
        let (_, deployment) = self.api.deployment(&self.deployment).await?;
        let id: slipway_common::model::DeploymentId = deployment["id"].as_str().context("no id")?.parse()?;
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                let ready = plane.get(&path).await.ok().and_then(|it| it["status"]["readyReplicas"].as_u64());
                let ready = ready.and_then(|ready| u32::try_from(ready).ok()).unwrap_or(0);
                let milli = u32::try_from(demand.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
                let events: Vec<MetricEvent> = scaler::events_of(id, ready, f64::from(milli) / 1_000.0);
                if !events.is_empty() {
                    let body = serde_json::to_value(&events).expect("events are JSON");
                    // While the broker is away nobody can be told.
                    drop(api.send("POST", "/metric-events", &body).await);
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        Ok(())
    }

    /// Changes the demand; answers how long it took until a count out of `wanted` was ordered.
    async fn follows(
        &self,
        demand_milli: u64,
        wanted: std::ops::RangeInclusive<u64>,
    ) -> anyhow::Result<Duration> {
        self.demand_milli.store(demand_milli, Ordering::Relaxed);
        let begun = Instant::now();
        let deadline = begun + pace::allowed(PATIENCE);
        loop {
            let counts = self.counts.lock().await.clone();
            if counts.last().is_some_and(|count| wanted.contains(count)) {
                return Ok(begun.elapsed());
            }
            if Instant::now() > deadline {
                let (_, autoscaler) =
                    self.api.get(&format!("/deployments/{}/autoscaler", self.deployment)).await?;
                anyhow::bail!("{counts:?} and not {wanted:?}: {autoscaler:#}\n{}", self.slipway.logs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The scaler that takes care of the deployment, by its own metrics.
    async fn busy(&self) -> anyhow::Result<&SlipwayPart> {
        let deadline = Instant::now() + pace::allowed(PATIENCE);
        loop {
            for index in 0..3 {
                let part = self.slipway.scaler_process(index)?;
                let Ok(answer) = reqwest::get(format!("{}/metrics", part.base_url())).await else { continue };
                if answer.text().await?.contains("slipway_autoscaler_replicas{") {
                    return Ok(part);
                }
            }
            ensure!(Instant::now() < deadline, "nobody takes care of it\n{}", self.slipway.logs());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The counts since the last call.
    async fn taken(&self) -> Vec<u64> {
        let mut counts = self.counts.lock().await;
        let last = counts.last().copied();
        let taken = std::mem::take(&mut *counts);
        counts.extend(last);
        taken
    }
}

fn is_rising(counts: &[u64]) -> bool {
    counts.windows(2).all(|pair| pair[0] <= pair[1])
}

/// The scalers share the deployments: each of the three has a part of the shards, and all shards are somebody's.
async fn shards(fleet: &Fleet) -> anyhow::Result<Vec<u64>> {
    let mut held = Vec::new();
    for index in 0..3 {
        let part = fleet.slipway.scaler_process(index)?;
        let text = reqwest::get(format!("{}/metrics", part.base_url())).await?.text().await?;
        let line =
            text.lines().find(|line| line.starts_with("slipway_scaler_shards ")).context("no shards")?;
        held.push(line.rsplit(' ').next().context("no value")?.parse()?);
    }
    Ok(held)
}

#[tokio::test(flavor = "multi_thread")]
async fn i17_one_writer_whoever_dies_or_freezes() {
    if !ControlPlane::available().await {
        return;
    }
    let fleet = Fleet::start().await.expect("the fleet starts");
    let outcome = one_writer(&fleet).await;
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn one_writer(fleet: &Fleet) -> anyhow::Result<()> {
    fleet.follows(2_000, 4..=6).await?;
    let counts = fleet.taken().await;
    ensure!(is_rising(&counts), "{counts:?}");
    let held = shards(fleet).await?;
    ensure!(held.iter().sum::<u64>() == 16 && held.iter().all(|held| *held > 0), "{held:?}");

    // Killed.
    let busy = fleet.busy().await?;
    busy.kill().await?;
    let gap = fleet.follows(4_000, 8..=10).await?;
    println!("I17: killed, another went on after {gap:?}");
    ensure!(gap <= pace::allowed(GAP_MAX), "{gap:?}");
    let counts = fleet.taken().await;
    ensure!(is_rising(&counts), "{counts:?}");
    busy.start_again().await?;

    // Frozen, and back with what it knew and what it wanted.
    let busy = fleet.busy().await?;
    busy.freeze().await?;
    let gap = fleet.follows(5_000, 10..=12).await?;
    println!("I17: frozen, another went on after {gap:?}");
    ensure!(gap <= pace::allowed(GAP_MAX), "{gap:?}");
    busy.thaw()?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let counts = fleet.taken().await;
    ensure!(is_rising(&counts), "the one that came back has written: {counts:?}");

    // Silence: no count changes, and afterwards it goes on from there.
    let long = std::env::var_os("SLIPWAY_TEST_LONG").is_some();
    let away = if long { BROKER_AWAY_LONG } else { BROKER_AWAY };
    fleet.broker.stop().await?;
    tokio::time::sleep(away).await;
    fleet.broker.start_again().await?;
    println!("I17: the broker was away for {away:?}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let counts = fleet.taken().await;
    ensure!(counts.iter().collect::<BTreeSet<_>>().len() == 1, "silence changed the count: {counts:?}");
    fleet.follows(1_000, 1..=4).await?;
    let counts = fleet.taken().await;
    ensure!(counts.windows(2).all(|pair| pair[0] >= pair[1]), "{counts:?}");
    Ok(())
}
