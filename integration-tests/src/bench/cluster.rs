//! The Kubernetes target against a real control plane on the same machine: one deployment after another beside `kubectl`,
//! a thousand changed at once, and what it costs to watch them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::cpu;
use super::figure::{Figure, Goal};
use super::memory::{Memory, mib};
use super::samples::Samples;
use crate::control_plane::ControlPlane;
use crate::slipway_process::SlipwayProcess;

/// Deployments made one after another.
const SINGLE: u32 = 200;
/// Requests sent at once.
const AT_ONCE: usize = 16;
/// How long nothing happens while the cost of watching is measured.
const IDLE: Duration = Duration::from_secs(30);
/// Longest wait for all deployments of a round.
const ROUND_TIMEOUT: Duration = Duration::from_secs(900);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The goals of the issue, and the best published figures for this workload (Flux 2.9): 4 min 13 s and 223 MiB.
const FLEET_S: f64 = 60.0;
const FLEET_MIB: f64 = 100.0;

/// Takes the figures, with a fleet of so many deployments.
///
/// # Errors
/// When the control plane or Slipway does not start, or a deployment fails.
pub async fn measure(fleet: u32) -> Result<Vec<Figure>> {
    let plane = ControlPlane::start().await?;
    let folder = tempfile::tempdir()?;
    let settings = settings(&plane, folder.path())?;
    let mut figures = one_by_one(&plane, &settings).await?;
    figures.extend(all_at_once(&plane, &settings, fleet).await?);
    Ok(figures)
}

fn settings(plane: &ControlPlane, folder: &std::path::Path) -> Result<String> {
    let (ca_file, token_file) = (folder.join("ca.crt"), folder.join("token"));
    std::fs::write(&ca_file, plane.ca_pem())?;
    std::fs::write(&token_file, plane.admin_token())?;
    Ok(format!(
        "[docker]\nenabled = false\n[worker]\nslots = 16\n[kubernetes.bench]\nserver = \"{}\"\nca_file = \"{}\"\n\
         token_file = \"{}\"\ndomain = \"apps.example.com\"\n",
        plane.server_url(),
        ca_file.display(),
        token_file.display(),
    ))
}

/// A deployment of four objects whose Deployment has no replicas, so that no simulated node is measured.
fn request(name: &str, version: u32) -> Value {
    json!({
        "repository_url": format!("https://git.example.com/bench/{name}"),
        "image": format!("registry.example.com/app@sha256:{version:064x}"),
        "port": 8080,
        "replicas": 0,
    })
}

/// From acceptance until everything is applied and seen to be up, one deployment at a time; the same objects by `kubectl`.
async fn one_by_one(plane: &ControlPlane, settings: &str) -> Result<Vec<Figure>> {
    let slipway = SlipwayProcess::start(settings, &[]).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for index in 0..SINGLE {
        let id = slipway.deploy(&request(&format!("single-{index}"), 1)).await?;
        let deployment = slipway.wait_resting(&id).await?;
        ensure!(deployment["status"] == "active", "{deployment:#}");
        ours.push(applied_after(&deployment)?);
        theirs.push(by_kubectl(plane, &deployment, index).await?);
    }
    let ours = Samples::new(ours).context("nothing was measured")?;
    let theirs = Samples::new(theirs).context("nothing was measured")?;
    let ratio = |per_mille| ours.per_mille_ms(per_mille) / theirs.per_mille_ms(per_mille);
    Ok(vec![
        Figure::told("cluster-apply-p50", ours.per_mille_ms(500), "ms"),
        Figure::told("cluster-apply-p99", ours.per_mille_ms(990), "ms"),
        Figure::told("cluster-kubectl-p50", theirs.per_mille_ms(500), "ms"),
        Figure::told("cluster-kubectl-p99", theirs.per_mille_ms(990), "ms"),
        Figure::new("cluster-apply-of-kubectl-p50", ratio(500), "ratio", Goal::Below(1.0)),
        Figure::new("cluster-apply-of-kubectl-p99", ratio(990), "ratio", Goal::Below(1.0)),
    ])
}

/// Time from acceptance to the end of the apply stage, by Slipway's own events.
fn applied_after(deployment: &Value) -> Result<Duration> {
    let time = |value: &Value| -> Result<Timestamp> { Ok(value.as_str().context("no time")?.parse()?) };
    let stages = deployment["stages"].as_array().context("no stages")?;
    let apply = stages.iter().find(|stage| stage["stage"] == "apply").context("no apply stage")?;
    let took = time(&apply["finished_at"])?.duration_since(time(&deployment["created_at"])?);
    Ok(Duration::try_from(took)?)
}

/// Applies the objects of a deployment once more, to a namespace of their own, by `kubectl apply --server-side`.
async fn by_kubectl(plane: &ControlPlane, deployment: &Value, index: u32) -> Result<Duration> {
    let from = deployment["facts"]["inventory"]["namespace"].as_str().context("no namespace")?;
    let into = format!("kubectl-{index}");
    let mut items = vec![json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": into } })];
    for (group, plural, name) in [
        ("/api/v1", "serviceaccounts", "single"),
        ("/api/v1", "services", "single"),
        ("/apis/apps/v1", "deployments", "single"),
        ("/apis/networking.k8s.io/v1", "ingresses", "single"),
    ] {
        let name = format!("{name}-{index}");
        let object = plane.get(&format!("{group}/namespaces/{from}/{plural}/{name}")).await?;
        items.push(wish_of(object, &into));
    }
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())?;
    let path = file.path().display().to_string();
    let begun = Instant::now();
    plane.kubectl(&["apply", "--server-side", "-f", &path]).await?;
    Ok(begun.elapsed())
}

/// The object as somebody would have written it, for another namespace.
fn wish_of(mut object: Value, namespace: &str) -> Value {
    let (name, labels) = (object["metadata"]["name"].take(), object["metadata"]["labels"].take());
    object["metadata"] = json!({ "name": name, "labels": labels, "namespace": namespace });
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        for given in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(given);
        }
    }
    object
}

/// A fleet is made, then all of it is changed at once; afterwards it is watched.
async fn all_at_once(plane: &ControlPlane, settings: &str, fleet: u32) -> Result<Vec<Figure>> {
    let slipway = SlipwayProcess::start(settings, &[]).await?;
    let pid = slipway.pid().context("slipway up has ended")?;
    let made = round(&slipway, fleet, 1).await?;
    let changed = round(&slipway, fleet, 2).await?;
    check(plane, fleet, 2).await?;
    let peak = Memory::of(pid)?.peak_kib;
    let before = cpu::used(pid)?;
    tokio::time::sleep(IDLE).await;
    let idle = cpu::used(pid)?.saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64();
    Ok(vec![
        Figure::told("cluster-fleet", f64::from(fleet), "deployments"),
        Figure::told("cluster-fleet-made", made.as_secs_f64(), "s"),
        Figure::new("cluster-fleet-changed", changed.as_secs_f64(), "s", Goal::AtMost(FLEET_S)),
        Figure::new("cluster-fleet-peak", mib(peak), "MiB", Goal::AtMost(FLEET_MIB)),
        Figure::told("cluster-fleet-idle", idle * 1_000.0, "millicores"),
        Figure::told("cluster-fleet-idle-resident", mib(Memory::of(pid)?.resident_kib), "MiB"),
    ])
}

/// Deploys this version of every application; the time from the first request until all are in service.
async fn round(slipway: &SlipwayProcess, fleet: u32, version: u32) -> Result<Duration> {
    let begun = Instant::now();
    stream::iter((0..fleet).map(|index| async move {
        slipway.deploy(&request(&format!("fleet-{index}"), version)).await.map(|_| ())
    }))
    .buffer_unordered(AT_ONCE)
    .try_collect::<Vec<()>>()
    .await?;
    loop {
        let mut open = 0;
        for status in ["queued", "preparing", "building", "deploying"] {
            open += total(slipway, status).await?;
        }
        if open == 0 {
            break;
        }
        ensure!(begun.elapsed() < ROUND_TIMEOUT, "{open} deployments are not done");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let took = begun.elapsed();
    let (active, failed) = (total(slipway, "active").await?, total(slipway, "failed").await?);
    ensure!(active == u64::from(fleet) && failed == 0, "{active} are active, {failed} failed");
    Ok(took)
}

async fn total(slipway: &SlipwayProcess, status: &str) -> Result<u64> {
    let (code, page) = slipway.request("GET", &format!("/deployments?status={status}&limit=1"), None).await?;
    ensure!(code == 200, "{code}: {page}");
    page["total"].as_u64().context("no total")
}

/// Every Deployment of the fleet has this version.
async fn check(plane: &ControlPlane, fleet: u32, version: u32) -> Result<()> {
    let image = request("", version)["image"].clone();
    let all = plane.get("/apis/apps/v1/deployments").await?;
    let all = all["items"].as_array().context("no list")?;
    let changed = all.iter().filter(|found| {
        found["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("fleet-"))
            && found["spec"]["template"]["spec"]["containers"][0]["image"] == image
    });
    let changed = changed.count();
    ensure!(u64::try_from(changed)? == u64::from(fleet), "{changed} of {fleet} were changed");
    Ok(())
}
