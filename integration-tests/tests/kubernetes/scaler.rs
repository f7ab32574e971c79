//! The scaler on a cluster, with the chart's rights: it follows what is measured, leaves alone what is not its own, and a
//! deploy leaves its count alone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_common::metric::{ContainerMeasure, Measured, MetricEvent};
use slipway_common::model::autoscaler::{
    Autoscaler, AutoscalerSettings, AutoscalerState, Decision, DecisionEntry, Place, RawSettings, Reason,
};
use slipway_common::model::{Deployment, DeploymentId};
use slipway_common::record::Record;
use slipway_integration_tests::api_faults::ApiFaults;
use slipway_integration_tests::control_plane::{ClusterUser, ControlPlane};
use slipway_integration_tests::pace;
use slipway_scaler::ScalerHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::world::{World, image, in_world};

/// Longest wait for a count.
const COUNT_TIMEOUT: Duration = Duration::from_secs(60);

/// A scaler that runs.
struct Scaling {
    handle: ScalerHandle,
    stop: CancellationToken,
}

impl Scaling {
    fn start(world: &World) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        Ok(Self { handle: world.start_scaler(&stop)?, stop })
    }

    async fn stop(self) {
        self.stop.cancel();
        self.handle.stopped().await;
    }
}

/// Settings that decide every second.
pub(crate) fn settings(more: &Value) -> AutoscalerSettings {
    let mut raw = json!({
        "cpu_target": 0.5, "replicas_max": 10, "interval_s": 1, "window_s": 1, "stale_after_s": 10,
        "hold_s": 3, "down_percent_per_min": 100.0, "actions_per_hour_max": 3600,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        raw[name] = value.clone();
    }
    let raw: RawSettings = serde_json::from_value(raw).expect("the settings can be read");
    AutoscalerSettings::try_from(raw).expect("the settings are valid")
}

async fn set(world: &World, deployment: &Deployment, more: &Value) -> anyhow::Result<Place> {
    let place = Place::of(deployment);
    let autoscaler = Autoscaler {
        place: place.clone(),
        settings: settings(more),
        user: "test".to_owned(),
        updated_at: Timestamp::now(),
    };
    world.backend.record(&Record::AutoscalerStored(Box::new(autoscaler))).await?;
    Ok(place)
}

/// One event for each of so many pods, which share a demand of so many cores; each may use one.
pub(crate) fn events_of(deployment: DeploymentId, replicas: u32, demand_cores: f64) -> Vec<MetricEvent> {
    let at = Timestamp::now();
    let used = (demand_cores / f64::from(replicas.max(1))).min(1.0);
    let measure = |number: u32| ContainerMeasure {
        container: format!("pod-{number}"),
        cpu_used_cores: Some(used),
        window_s: Some(1.0),
        cpu_allowed_cores: 1.0,
        ready_since: Some(at - jiff::SignedDuration::from_mins(10)),
        ..ContainerMeasure::default()
    };
    let event = |number| MetricEvent::new(deployment, "test", at, Measured::Container(measure(number)));
    (0..replicas).map(event).collect()
}

/// Publishes what the pods that are ready would use, until dropped.
struct Load {
    demand_milli: Arc<AtomicU64>,
    _stop: DropGuard,
}

impl Load {
    fn start(world: &World, deployment: &Deployment, demand_milli: u64) -> Self {
        let stop = CancellationToken::new();
        let demand = Arc::new(AtomicU64::new(demand_milli));
        let (plane, metrics) = (Arc::clone(&world.plane), Arc::clone(&world.backend.metrics));
        let path = format!("{}/shop", world.collection(deployment, "deployments"));
        let (deployment, of, until) = (deployment.id, Arc::clone(&demand), stop.clone());
        tokio::spawn(async move {
            while !until.is_cancelled() {
                let ready = plane.get(&path).await.ok().and_then(|it| it["status"]["readyReplicas"].as_u64());
                let ready = ready.and_then(|ready| u32::try_from(ready).ok()).unwrap_or(0);
                let milli = u32::try_from(of.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
                let events = events_of(deployment, ready, f64::from(milli) / 1_000.0);
                metrics.publish(&events).await.expect("within the process nothing is away");
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        Self { demand_milli: demand, _stop: stop.drop_guard() }
    }

    fn set(&self, demand_milli: u64) {
        self.demand_milli.store(demand_milli, Ordering::Relaxed);
    }
}

async fn ordered(world: &World, deployment: &Deployment) -> anyhow::Result<u64> {
    let shop = world.object(deployment, "deployments", "shop").await?;
    shop["spec"]["replicas"].as_u64().context("no replicas")
}

/// Waits until the cluster is told to run a count that is wanted, and the scaler says so.
async fn counts(
    world: &World,
    deployment: &Deployment,
    wanted: std::ops::RangeInclusive<u64>,
) -> anyhow::Result<u64> {
    let deadline = Instant::now() + pace::allowed(COUNT_TIMEOUT);
    let place = Place::of(deployment);
    loop {
        let count = ordered(world, deployment).await?;
        let state = world.backend.autoscalers.state(&place).await?;
        if wanted.contains(&count) && state.as_ref().is_some_and(|state| u64::from(state.replicas) == count) {
            return Ok(count);
        }
        if Instant::now() > deadline {
            let decisions = world.backend.autoscalers.newest_decisions(&place, 20).await?;
            anyhow::bail!("{count} and not {wanted:?}: {state:#?}\n{decisions:#?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until what the scaler says of a place is so.
async fn state(
    world: &World,
    place: &Place,
    is_so: impl Fn(&AutoscalerState) -> bool,
) -> anyhow::Result<AutoscalerState> {
    let deadline = Instant::now() + pace::allowed(COUNT_TIMEOUT);
    loop {
        let state = world.backend.autoscalers.state(place).await?;
        match state {
            Some(state) if is_so(&state) => return Ok(state),
            last => ensure!(Instant::now() < deadline, "never said; it is {last:#?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Every change of the count, in order, as from and to; those that the target did not take left out.
pub(crate) fn changes(decisions: &[(u64, DecisionEntry)]) -> Vec<(u32, u32)> {
    let taken = decisions.iter().filter(|(_, entry)| entry.fault.is_none());
    taken
        .filter_map(|(_, entry)| match entry.decision {
            Decision::Scale { from, to, .. } => Some((from, to)),
            Decision::Hold(_) => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_follows_what_is_measured_and_every_change_is_explained() {
    in_world(&[], async |world| {
        let deployment = world.deploy(&world.request("web")).await?;
        let scaling = Scaling::start(world)?;
        let place = set(world, &deployment, &json!({})).await?;
        let load = Load::start(world, &deployment, 2_000);
        let up = counts(world, &deployment, 4..=6).await?;
        load.set(400);
        counts(world, &deployment, 1..=2).await?;
        let decisions = world.backend.autoscalers.decisions(&place, 0, 500).await?;
        let changes = changes(&decisions);
        ensure!(changes.first().is_some_and(|(from, _)| *from == 1), "{changes:?}");
        ensure!(changes.windows(2).all(|pair| pair[0].1 == pair[1].0), "one follows the other: {changes:?}");
        ensure!(changes.iter().all(|(_, to)| (1..=10).contains(to)), "{changes:?}");
        ensure!(changes.iter().any(|(_, to)| u64::from(*to) == up), "{changes:?}");
        for (_, entry) in &decisions {
            if let Decision::Scale { terms, .. } = entry.decision {
                ensure!((terms.cpu_target - 0.5).abs() < 1e-9 && entry.evidence.is_some(), "{entry:#?}");
            }
        }
        let numbers: Vec<u64> = decisions.iter().map(|(number, _)| *number).collect();
        ensure!(numbers == (1..=u64::try_from(decisions.len())?).collect::<Vec<_>>(), "{numbers:?}");
        // What was observed is kept in lots; the last one at the end.
        scaling.stop().await;
        let observed = world.backend.autoscalers.observed(&place, Timestamp::UNIX_EPOCH).await?;
        ensure!(observed.iter().any(|one| one.evidence.is_some()), "{observed:?}");
        what_was_learned_is_taken_over(world, &place).await
    })
    .await;
}

/// The scaler has ended; the next one knows how long a start takes before it has ordered any.
async fn what_was_learned_is_taken_over(world: &World, place: &Place) -> anyhow::Result<()> {
    let learned = world.backend.autoscalers.learned(place).await?.context("nothing was kept")?;
    let last = world.backend.autoscalers.state(place).await?.context("no state")?;
    let startup_s = last.startup_s.context("no start was learned")?;
    ensure!((startup_s - 30.0).abs() > 0.01, "that is what nobody learned: {startup_s}");
    let next = Scaling::start(world)?;
    let is_said = |said: &AutoscalerState| said.fence > learned.fence && said.evidence.is_some();
    let said = state(world, place, is_said).await?;
    let known_s = said.startup_s.context("no start is known")?;
    ensure!((known_s - startup_s).abs() < 1e-6, "{known_s} and not {startup_s}");
    next.stop().await;
    Ok(())
}

/// I16: what a request says of replicas does not count while an autoscaler holds the count, not even for a moment.
#[tokio::test(flavor = "multi_thread")]
async fn i16_a_deploy_leaves_the_count_of_the_scaler() {
    in_world(&[], async |world| {
        let mut request = world.request("web");
        request.replicas = Some(1);
        let deployment = world.deploy(&request).await?;
        let scaling = Scaling::start(world)?;
        set(world, &deployment, &json!({ "replicas_min": 7 })).await?;
        counts(world, &deployment, 7..=7).await?;
        let watching = CancellationToken::new();
        let (plane, until) = (Arc::clone(&world.plane), watching.clone());
        let path = format!("{}/shop", world.collection(&deployment, "deployments"));
        let watch = tokio::spawn(async move {
            let mut seen = std::collections::BTreeSet::new();
            while !until.is_cancelled() {
                if let Ok(shop) = plane.get(&path).await {
                    seen.insert(shop["spec"]["replicas"].as_u64());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            seen
        });
        for version in 2..4 {
            request.image = Some(image(&format!("web-{version}")));
            let next = world.deploy(&request).await?;
            counts(world, &next, 7..=7).await?;
        }
        watching.cancel();
        let (seen, place) = (watch.await?, Place::of(&deployment));
        ensure!(seen == std::collections::BTreeSet::from([Some(7)]), "{seen:?}");
        // Without an autoscaler the request counts again.
        let gone = Record::AutoscalerDeleted { place, at: Timestamp::now() };
        world.backend.record(&gone).await?;
        request.replicas = Some(2);
        request.image = Some(image("web-9"));
        let last = world.deploy(&request).await?;
        ensure!(ordered(world, &last).await? == 2);
        scaling.stop().await;
        Ok(())
    })
    .await;
}

/// What somebody else sets is taken over and said, and silence holds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_somebody_else_sets_is_adopted_and_silence_holds() {
    in_world(&[], async |world| {
        let deployment = world.deploy(&world.request("web")).await?;
        let scaling = Scaling::start(world)?;
        let place = set(world, &deployment, &json!({})).await?;
        state(world, &place, |state| state.replicas == 1 && state.ready == 1).await?;
        let scale = format!("{}/shop/scale", world.collection(&deployment, "deployments"));
        world.merge(&scale, "kubectl", &json!({ "spec": { "replicas": 3 } })).await?;
        let adopted = Decision::Hold(Reason::Adopted { expected: 1, found: 3 });
        let deadline = Instant::now() + pace::allowed(COUNT_TIMEOUT);
        loop {
            let decisions = world.backend.autoscalers.newest_decisions(&place, 50).await?;
            if decisions.iter().any(|(_, entry)| entry.decision == adopted) {
                break;
            }
            ensure!(Instant::now() < deadline, "{decisions:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let later = Timestamp::now() + Duration::from_secs(8);
        let held = state(world, &place, |state| state.at > later).await?;
        ensure!((held.replicas, held.busy) == (3, false), "{held:#?}");
        ensure!(matches!(held.decision, Some(Decision::Hold(Reason::Silence { .. }))), "{held:#?}");
        ensure!(ordered(world, &deployment).await? == 3);
        scaling.stop().await;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_that_an_hpa_targets_is_left_alone() {
    in_world(&[], async |world| {
        let deployment = world.deploy(&world.request("web")).await?;
        let hpas = world
            .collection(&deployment, "deployments")
            .replace("/apis/apps/v1/", "/apis/autoscaling/v2/")
            .replace("/deployments", "/horizontalpodautoscalers");
        let hpa = json!({
            "metadata": { "name": "theirs" },
            "spec": {
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" },
                "minReplicas": 1, "maxReplicas": 2,
                "metrics": [{ "type": "Resource", "resource": {
                    "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } } }],
            },
        });
        world.plane.create(&hpas, &hpa).await?;
        let scaling = Scaling::start(world)?;
        let place = set(world, &deployment, &json!({ "replicas_min": 5 })).await?;
        let told = state(world, &place, |state| state.fault.is_some()).await?;
        ensure!(told.fault.as_ref().is_some_and(|fault| fault.code == "hpa_targets_it"), "{told:#?}");
        ensure!(ordered(world, &deployment).await? == 1);
        world.delete_by_hand(&format!("{hpas}/theirs")).await?;
        counts(world, &deployment, 5..=5).await?;
        scaling.stop().await;
        Ok(())
    })
    .await;
}

/// The pods of a deployment as `metrics.k8s.io` tells of them, each of which uses so many millicores.
fn pod_metrics(pods: &[Value], used_milli: u32) -> Value {
    let items: Vec<Value> = pods
        .iter()
        .map(|pod| {
            let metadata = &pod["metadata"];
            json!({
                "metadata": { "name": metadata["name"], "namespace": metadata["namespace"] },
                "timestamp": Timestamp::now().to_string(),
                "window": "1s",
                "containers": [{ "name": "shop", "usage": { "cpu": format!("{used_milli}m"), "memory": "10Mi" } }],
            })
        })
        .collect();
    json!({ "kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items })
}

/// The scaler's own sampler: what the metrics API says of the pods becomes events, and those a count.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_metrics_api_says_becomes_a_count() {
    if !ControlPlane::available().await {
        return;
    }
    let plane = ControlPlane::shared().await.expect("the control plane starts");
    let kubeconfig = plane.kubeconfig();
    let folder = kubeconfig.parent().unwrap_or(Path::new("/"));
    let proxy = ApiFaults::start(plane.server_url(), folder).await.expect("the proxy starts");
    let extra = [("SLIPWAY__SCALER__KUBERNETES_SAMPLE_INTERVAL_MS", "1000")];
    let world = World::start_at(plane, &proxy.url(), None, &extra).await.expect("the world starts");
    let outcome = sampled(&world, &proxy).await;
    let cleaned = world.clean_up().await;
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
    cleaned.expect("the worker ends");
}

async fn sampled(world: &World, proxy: &ApiFaults) -> anyhow::Result<()> {
    let mut request = world.request("web");
    request.replicas = Some(2);
    let deployment = world.deploy(&request).await?;
    let scaling = Scaling::start(world)?;
    set(world, &deployment, &json!({ "window_s": 2 })).await?;
    let deadline = Instant::now() + pace::allowed(COUNT_TIMEOUT * 2);
    while ordered(world, &deployment).await? < 3 {
        let pods = world.objects(&deployment, "pods").await?;
        // Nine tenths of the core that each may use.
        proxy.answer_with("/apis/metrics.k8s.io/", pod_metrics(&pods, 900));
        let place = Place::of(&deployment);
        let state = world.backend.autoscalers.state(&place).await?;
        ensure!(Instant::now() < deadline, "{state:#?}\n{}", (scaling.handle.metrics())());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    scaling.stop().await;
    Ok(())
}

/// The scaler's rights suffice for what it does, and are as few as that: it may not change the Deployment itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_scaler_may_change_counts_and_nothing_else() {
    in_world(&[], async |world| {
        let deployment = world.deploy(&world.request("web")).await?;
        let shop = format!("{}/shop", world.collection(&deployment, "deployments"));
        for (method, path) in [
            (reqwest::Method::DELETE, shop.clone()),
            (reqwest::Method::GET, world.collection(&deployment, "secrets")),
            (reqwest::Method::GET, world.collection(&deployment, "configmaps")),
        ] {
            let (status, _) = world.plane.request(ClusterUser::Scaler, method.clone(), &path, None).await?;
            ensure!(status == reqwest::StatusCode::FORBIDDEN, "{method} {path}: {status}");
        }
        Ok(())
    })
    .await;
}
