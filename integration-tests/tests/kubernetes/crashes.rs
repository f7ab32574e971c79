//! `kill -9` of Slipway before, inside and after every call of an apply that changes something on the cluster: the job
//! succeeds after the restart, with the same objects, the same generations and one rollout.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_integration_tests::control_plane::{ClusterUser, ControlPlane};
use slipway_integration_tests::slipway_process::SlipwayProcess;
use tokio::time::Instant;

use super::rights;
use super::world::{DOMAIN, TARGET, image};

/// Calls that are halted, and how many of each there are in a first deployment of four objects.
const CALLS: [(&str, u32); 4] =
    [("object_create", 2), ("object_dry_run", 4), ("object_apply", 4), ("object_replace", 1)];
const MOMENTS: [&str; 3] = ["before", "inside", "after"];
/// Longest wait for a process to reach its point.
const REACHED_TIMEOUT: Duration = Duration::from_secs(60);

fn settings(plane: &ControlPlane, folder: &Path) -> anyhow::Result<String> {
    let (ca_file, token_file) = (folder.join("ca.crt"), folder.join("token"));
    std::fs::write(&ca_file, plane.ca_pem())?;
    std::fs::write(&token_file, plane.token_for(ClusterUser::Worker))?;
    Ok(format!(
        "[docker]\nenabled = false\n[worker]\nbackoff_min_ms = 100\n\
         [kubernetes.{TARGET}]\nserver = \"{}\"\nca_file = \"{}\"\ntoken_file = \"{}\"\ndomain = \"{DOMAIN}\"\n",
        plane.server_url(),
        ca_file.display(),
        token_file.display(),
    ))
}

async fn reached(file: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + slipway_integration_tests::pace::allowed(REACHED_TIMEOUT);
    while !file.exists() {
        ensure!(Instant::now() < deadline, "the point was not reached");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Deploys, is killed at `point`, is started again and ends: with every object once.
async fn crash_at(plane: &ControlPlane, point: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (settings, file) = (settings(plane, folder.path())?, folder.path().join("reached"));
    let armed = format!("{point}={}", file.display());
    let variables = [("SLIPWAY_FAILPOINT", armed.as_str())];
    let slipway = SlipwayProcess::start(&settings, &variables).await?;
    let request = json!({
        "repository_url": format!("https://git.example.com/{}/shop", plane.namespace()),
        "image": image("web"),
        "port": 8080,
        "replicas": 2,
    });
    let id = slipway.deploy(&request).await?;
    reached(&file).await?;
    let slipway = slipway.restart(&settings, &variables).await?;
    let ended = slipway.wait_resting(&id).await?;
    ensure!(ended["status"] == "active", "{ended:#}");
    let namespace = ended["facts"]["inventory"]["namespace"].as_str().context("no namespace")?;
    check(plane, namespace).await
}

/// Every object is there once, in its first generation, and there was one rollout.
async fn check(plane: &ControlPlane, namespace: &str) -> anyhow::Result<()> {
    let items = async |path: String| -> anyhow::Result<Vec<Value>> {
        Ok(plane.get(&path).await?["items"].as_array().cloned().unwrap_or_default())
    };
    for (group, plural) in [
        ("/apis/apps/v1", "deployments"),
        ("/api/v1", "services"),
        ("/apis/networking.k8s.io/v1", "ingresses"),
    ] {
        let found = items(format!("{group}/namespaces/{namespace}/{plural}")).await?;
        ensure!(found.len() == 1, "{plural}: {found:#?}");
        let generation = &found[0]["metadata"]["generation"];
        ensure!(generation.is_null() || *generation == 1, "{plural}: {:#}", found[0]);
    }
    let replica_sets = items(format!("/apis/apps/v1/namespaces/{namespace}/replicasets")).await?;
    ensure!(replica_sets.len() == 1, "{} rollouts", replica_sets.len());
    let inventory =
        plane.get(&format!("/api/v1/namespaces/{namespace}/configmaps/slipway-inventory")).await?;
    let text = inventory["data"]["inventory.json"].as_str().context("no inventory")?;
    let inventory: Value = serde_json::from_str(text)?;
    // There was nothing to prune, so that everything is applied says all.
    ensure!(inventory["phase"] == "rollout", "{inventory:#}");
    Ok(())
}

/// All points of one kind of call, one after another.
async fn row(call: &str, times: u32) {
    if !ControlPlane::available().await {
        return;
    }
    let plane = ControlPlane::shared().await.expect("the control plane starts");
    rights::grant(&plane).await.expect("the rights are granted");
    for nth in 1..=times {
        for moment in MOMENTS {
            let point = format!("{call}.{moment}#{nth}");
            crash_at(&plane, &point).await.unwrap_or_else(|error| panic!("{point}: {error:?}"));
        }
    }
}

macro_rules! rows {
    ($($name:ident = $index:literal),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let (call, times) = CALLS[$index];
                row(call, times).await;
            }
        )+
    };
}

rows! {
    i6_kill_around_every_object_create = 0,
    i6_kill_around_every_dry_run = 1,
    i6_kill_around_every_object_apply = 2,
    i6_kill_around_every_object_replace = 3,
}

/// Stopping is killed around every deletion: afterwards all is gone.
#[tokio::test(flavor = "multi_thread")]
async fn i6_kill_around_every_object_delete() {
    if !ControlPlane::available().await {
        return;
    }
    let plane = ControlPlane::shared().await.expect("the control plane starts");
    rights::grant(&plane).await.expect("the rights are granted");
    for nth in [1, 3] {
        for moment in MOMENTS {
            let point = format!("object_delete.{moment}#{nth}");
            stop_at(&plane, &point).await.unwrap_or_else(|error| panic!("{point}: {error:?}"));
        }
    }
}

async fn stop_at(plane: &ControlPlane, point: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (settings, file) = (settings(plane, folder.path())?, folder.path().join("reached"));
    let armed = format!("{point}={}", file.display());
    let variables = [("SLIPWAY_FAILPOINT", armed.as_str())];
    let slipway = SlipwayProcess::start(&settings, &variables).await?;
    let request = json!({
        "repository_url": format!("https://git.example.com/{}/shop", plane.namespace()),
        "image": image("web"),
        "port": 8080,
    });
    let id = slipway.deploy(&request).await?;
    let active = slipway.wait_resting(&id).await?;
    let namespace = active["facts"]["inventory"]["namespace"].as_str().context("no namespace")?.to_owned();
    let (status, answer) = slipway.request("DELETE", &format!("/deployments/{id}"), None).await?;
    ensure!(status == 202, "{status}: {answer}");
    reached(&file).await?;
    let slipway = slipway.restart(&settings, &variables).await?;
    slipway.wait_for(&id, |deployment| deployment["status"] == "stopped").await?;
    for path in [
        format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
        format!("/api/v1/namespaces/{namespace}/services"),
        format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses"),
    ] {
        let left = plane.get(&path).await?;
        ensure!(left["items"].as_array().is_some_and(Vec::is_empty), "{left:#}");
    }
    Ok(())
}
