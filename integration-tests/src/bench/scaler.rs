//! The scaler: from a metric event on RabbitMQ to the decision, a thousand deployments at one event each a second, with
//! what one of them costs in memory; and the controller by itself. The cluster is the proxy's memory, so that its own work
//! is not measured.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use slipway_cluster::names;
use slipway_common::Backend;
use slipway_common::contract::sample;
use slipway_common::metric::{ContainerMeasure, Measured, MetricEvent};
use slipway_common::model::autoscaler::{Autoscaler, AutoscalerSettings, Place, RawSettings};
use slipway_common::model::{DeploymentId, Event, JobMessage};
use slipway_common::record::Record;
use slipway_scaler::control::{Controller, Observation};
use slipway_scaler::demand::{ContainerSample, Cpu, DemandLimits, DemandWindow, Evidence, Key};

use super::cpu;
use super::figure::{Figure, Goal};
use super::installation::Installation;
use super::memory::Memory;
use super::samples::Samples;
use crate::api_faults::ApiFaults;
use crate::control_plane::{ClusterUser, ControlPlane};
use crate::distributed::DistributedOptions;

/// Deployments that are kept.
const FLEET: u32 = 1_000;
/// Of them so many are kept first: what one more costs is told apart from what the first one needs, such as the program's own
/// code, which is read from its file as it is used.
const FIRST: u32 = 100;
/// How long events are published before anything is counted, and while it is.
const WARM_UP: Duration = Duration::from_secs(20);
const MEASURED: Duration = Duration::from_secs(60);
/// Events are published in so many lots a second.
const LOTS_PER_S: u32 = 50;
/// Longest wait for all of them to be kept.
const READY_TIMEOUT: Duration = Duration::from_secs(180);
/// Steps of the controller by itself.
const STEPS: u32 = 200_000;
/// The goals of the issue.
const REACTION_P99_MS: f64 = 1_000.0;
const MEMORY_BYTES: f64 = 4_096.0;

/// Takes the figures.
///
/// # Errors
/// When something does not start, or the scaler does not keep up.
pub async fn measure() -> Result<Vec<Figure>> {
    let mut figures = alone()?;
    let plane = ControlPlane::start().await?;
    figures.extend(together(&plane).await?);
    Ok(figures)
}

fn settings() -> Result<AutoscalerSettings> {
    let raw: RawSettings = serde_json::from_value(json!({
        "cpu_target": 0.5, "replicas_max": 20, "interval_s": 1, "window_s": 1, "stale_after_s": 30,
    }))?;
    Ok(AutoscalerSettings::try_from(raw)?)
}

/// The controller and the window by themselves, on one core.
fn alone() -> Result<Vec<Figure>> {
    let mut controller = Controller::new(settings()?);
    let mut evidence = Evidence {
        at_s: 0.0,
        window_s: 1.0,
        utilisation: 0.5,
        saturated_share: 0.0,
        demand_replicas: 2.0,
        counting: 4,
        young: 0,
    };
    let begun = Instant::now();
    for step in 1..=STEPS {
        let now_s = f64::from(step);
        // A load that moves slowly and is noisy.
        let demand = 2.0 + (now_s / 300.0).sin() + 0.1 * (now_s * 12.9898).sin();
        evidence = Evidence { at_s: now_s, utilisation: demand / 4.0, demand_replicas: demand, ..evidence };
        let seen = Observation {
            now_s,
            replicas: 4,
            ready: 4,
            evidence: Ok(evidence),
            arrivals_per_s: None,
            inflight: None,
        };
        std::hint::black_box(controller.step(&seen));
    }
    let step_ns = nanos_each(begun.elapsed(), STEPS);
    let owner = Key::of("deployment");
    let mut window = DemandWindow::new(owner, DemandLimits { window_s: 1.0, ..DemandLimits::default() });
    let begun = Instant::now();
    for event in 1..=STEPS {
        let at_s = f64::from(event);
        let sample = ContainerSample {
            owner,
            container: Key::of("pod"),
            at_s,
            cpu: Cpu::Mean { used_cores: 0.5, window_s: 1.0 },
            allowed_cores: 1.0,
            ready_since_s: Some(-100.0),
        };
        window.push(&sample, at_s).context("a sample was not taken")?;
        std::hint::black_box(window.read(Some(1), at_s).ok());
    }
    let event_ns = nanos_each(begun.elapsed(), STEPS);
    Ok(vec![Figure::told("scaler-step", step_ns, "ns"), Figure::told("scaler-window-event", event_ns, "ns")])
}

fn nanos_each(took: Duration, count: u32) -> f64 {
    took.as_secs_f64() * 1e9 / f64::from(count)
}

/// One deployment of the fleet.
struct One {
    id: DeploymentId,
    place: Place,
}

async fn together(plane: &ControlPlane) -> Result<Vec<Figure>> {
    let kubeconfig = plane.kubeconfig();
    let proxy = ApiFaults::start(plane.server_url(), kubeconfig.parent().unwrap_or(Path::new("/"))).await?;
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let (ca, token) = (file("ca.crt", plane.ca_pem())?, file("token", plane.token_for(ClusterUser::Admin))?);
    let site = Installation::start_with(|options: DistributedOptions| {
        options
            .with(1, 0)
            .scalers(1)
            .variable("SLIPWAY__KUBERNETES__LOCAL__SERVER", &proxy.url())
            .variable("SLIPWAY__KUBERNETES__LOCAL__CA_FILE", &ca)
            .variable("SLIPWAY__KUBERNETES__LOCAL__TOKEN_FILE", &token)
    })
    .await?;
    let own = site.join().await?;
    let backend = own.backend();
    let scaler = site.slipway.scaler_process(0)?;
    let pid = scaler.pid()?;
    let fleet = make(&backend).await?;
    proxy.answer_with("/apis/apps/v1/deployments", list(&fleet));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let without = Memory::of(pid)?.resident_kib;
    let (first, others) = fleet.split_at(usize::try_from(FIRST)?);
    keep(&backend, first).await?;
    kept(&site, FIRST).await?;
    publish(&backend, first, WARM_UP).await?;
    let with_first = Memory::of(pid)?.resident_kib;
    keep(&backend, others).await?;
    kept(&site, FLEET).await?;
    publish(&backend, &fleet, WARM_UP).await?;
    let (since, before) = (Timestamp::now(), cpu::used(pid)?);
    let published = publish(&backend, &fleet, MEASURED).await?;
    let spent = cpu::used(pid)?.saturating_sub(before);
    let memory = Memory::of(pid)?;
    // The last observations wait for their chunk to be full.
    publish(&backend, &fleet, Duration::from_secs(15)).await?;
    let reactions = reactions(&backend, &fleet, since).await?;
    ensure!(reactions.len() * 10 > usize::try_from(published)? * 9, "only {} decisions", reactions.len());
    let decisions = f64::from(u32::try_from(reactions.len())?);
    let samples = Samples::new(reactions).context("nothing was decided")?;
    let bytes_each = |before: u32, count: u32| {
        f64::from(memory.resident_kib.saturating_sub(before)) * 1_024.0 / f64::from(count)
    };
    let per_event_us = spent.as_secs_f64() * 1e6 / f64::from(published);
    own.close().await;
    Ok(vec![
        Figure::told("scaler-fleet", f64::from(FLEET), "deployments"),
        Figure::told("scaler-events", f64::from(published) / MEASURED.as_secs_f64(), "events/s"),
        Figure::told("scaler-decisions", decisions / MEASURED.as_secs_f64(), "decisions/s"),
        Figure::told("scaler-reaction-p50", samples.per_mille_ms(500), "ms"),
        Figure::new("scaler-reaction-p99", samples.per_mille_ms(990), "ms", Goal::AtMost(REACTION_P99_MS)),
        Figure::told("scaler-processor-per-event", per_event_us, "us"),
        Figure::told("scaler-events-one-core", 1e6 / per_event_us, "events/s"),
        Figure::new(
            "scaler-memory-per-deployment",
            bytes_each(with_first, FLEET - FIRST),
            "bytes",
            Goal::AtMost(MEMORY_BYTES),
        ),
        Figure::told("scaler-memory-with-the-first", bytes_each(without, FLEET), "bytes"),
        Figure::told("scaler-resident", super::memory::mib(memory.resident_kib), "MiB"),
    ])
}

/// Deployments in service, as their jobs would have left them.
async fn make(backend: &Backend) -> Result<Vec<One>> {
    let mut fleet = Vec::new();
    for index in 0..FLEET {
        let message: JobMessage = sample::deploy_job(&format!("app-{index}"), Timestamp::now());
        let records = std::iter::once(Event::accepted(&message))
            .chain(sample::course(&message, 1, Timestamp::now()))
            .map(Record::Event);
        for record in records {
            backend.record(&record).await?;
        }
        let place = Place { project: message.project.slug.clone(), environment: message.environment.clone() };
        fleet.push(One { id: message.deployment, place });
    }
    Ok(fleet)
}

/// The fleet as the cluster tells of it: one replica each, whose number is the scaler's.
fn list(fleet: &[One]) -> Value {
    let item = |one: &One| {
        let labels = json!({
            "app.kubernetes.io/managed-by": "slipway",
            "slipway.dev/project": one.place.project.as_str(),
            "slipway.dev/environment": one.place.environment.as_str(),
        });
        json!({
            "metadata": {
                "name": names::app(&one.place.project),
                "namespace": names::namespace(&one.place.project, &one.place.environment),
                "uid": one.id.to_string(),
                "resourceVersion": "1",
                "labels": labels,
                "managedFields": [
                    { "manager": "slipway-scaler", "fieldsV1": { "f:spec": { "f:replicas": {} } } }
                ],
            },
            "spec": { "replicas": 1 },
            "status": { "readyReplicas": 1 },
        })
    };
    let items: Vec<Value> = fleet.iter().map(item).collect();
    json!({ "kind": "DeploymentList", "apiVersion": "apps/v1", "metadata": {}, "items": items })
}

/// Has them kept at their size.
async fn keep(backend: &Backend, some: &[One]) -> Result<()> {
    for one in some {
        let autoscaler = Autoscaler {
            place: one.place.clone(),
            settings: settings()?,
            user: "bench".to_owned(),
            updated_at: Timestamp::now(),
        };
        backend.record(&Record::AutoscalerStored(Box::new(autoscaler))).await?;
    }
    Ok(())
}

/// Waits until the scaler shows so many places in its metrics.
async fn kept(site: &Installation, wanted: u32) -> Result<()> {
    let deadline = Instant::now() + READY_TIMEOUT;
    let url = format!("{}/metrics", site.slipway.scaler_process(0)?.base_url());
    loop {
        let text = reqwest::get(&url).await?.text().await?;
        let kept = text.lines().filter(|line| line.starts_with("slipway_autoscaler_replicas{")).count();
        if u32::try_from(kept)? == wanted {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{kept} of {wanted} are kept\n{}", site.slipway.logs());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// One event for each deployment and second, evenly spread; answers how many.
async fn publish(backend: &Backend, fleet: &[One], lasting: Duration) -> Result<u32> {
    let lot = fleet.len().div_ceil(usize::try_from(LOTS_PER_S)?);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / LOTS_PER_S);
    let begun = Instant::now();
    let mut published = 0;
    while begun.elapsed() < lasting {
        for some in fleet.chunks(lot) {
            ticks.tick().await;
            let at = Timestamp::now();
            let events: Vec<MetricEvent> = some.iter().map(|one| event(one, at)).collect();
            backend.metrics.publish(&events).await?;
            published += u32::try_from(events.len())?;
        }
    }
    Ok(published)
}

fn event(one: &One, at: Timestamp) -> MetricEvent {
    let measure = ContainerMeasure {
        container: "pod".to_owned(),
        cpu_used_cores: Some(0.5),
        window_s: Some(1.0),
        cpu_allowed_cores: 1.0,
        ready_since: Some(at - SignedDuration::from_mins(10)),
        ..ContainerMeasure::default()
    };
    MetricEvent::new(one.id, "bench", at, Measured::Container(measure))
}

/// From the time of an event to the step that decided on it, for every step of the fleet.
async fn reactions(backend: &Backend, fleet: &[One], since: Timestamp) -> Result<Vec<Duration>> {
    let until = since + MEASURED;
    let mut took = Vec::new();
    for one in fleet {
        for observed in backend.autoscalers.observed(&one.place, since).await? {
            let Some(evidence) = observed.evidence.filter(|_| observed.at < until) else { continue };
            let decided_s = observed.at.as_duration().as_secs_f64();
            took.push(Duration::from_secs_f64((decided_s - evidence.at_s).max(0.0)));
        }
    }
    Ok(took)
}
