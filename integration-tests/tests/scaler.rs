//! The scaler on real containers: `slipway up` keeps a service that burns CPU at its target while a load generator keeps
//! its own schedule, takes nothing from anybody, and leaves nothing behind, whenever it is killed.

#[path = "scaler/burn.rs"]
mod burn;
#[path = "scaler/client_surface.rs"]
mod client_surface;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, RemoveContainerOptions, StartContainerOptions,
};
use burn::{Burn, Load};
use serde_json::{Value, json};
use slipway_integration_tests::{docker_engine, pace};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A step of the load is followed within this time.
const SETTLED_MAX: Duration = Duration::from_secs(60);
/// Longest wait for anything else.
const PATIENCE: Duration = Duration::from_secs(90);

/// One test at a time: what is measured is CPU.
static TURN: Mutex<()> = Mutex::const_new(());

/// Runs `body` with a service that burns CPU, and cleans up whatever happened.
async fn in_fire(project: &str, body: impl AsyncFnOnce(&mut Burn) -> anyhow::Result<()>) {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    pace::watch();
    let _turn = TURN.lock().await;
    let mut burn = Burn::start(&host, project).await.expect("the service is deployed");
    let outcome = body(&mut burn).await.with_context(|| burn.slipway.log());
    let (label, docker) = (burn.label(), burn.docker.clone());
    drop(burn);
    docker_engine::remove_all(&docker, &label).await.expect("cleaned up");
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
}

/// Settings that decide every two seconds.
fn settings() -> Value {
    json!({
        "cpu_target": 0.5, "replicas_max": 12, "interval_s": 2, "window_s": 4, "stale_after_s": 15,
        "hold_s": 6, "down_percent_per_min": 100.0, "hysteresis": 0.05, "actions_per_hour_max": 3600,
    })
}

/// Another's container on the same engine, which burns as well.
async fn foreign(docker: &Docker) -> anyhow::Result<String> {
    let name = docker_engine::unique_name("foreign");
    let body = ContainerCreateBody {
        image: Some(burn::BASE_IMAGE.to_owned()),
        cmd: Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), "while :; do sleep 1; done".to_owned()]),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptions { name: Some(name.clone()), ..CreateContainerOptions::default() };
    docker.create_container(Some(options), body).await?;
    docker.start_container(&name, None::<StartContainerOptions>).await?;
    Ok(name)
}

async fn is_running(docker: &Docker, name: &str) -> anyhow::Result<bool> {
    let found = docker.inspect_container(name, None::<InspectContainerOptions>).await?;
    Ok(found.state.and_then(|state| state.running).unwrap_or(false))
}

/// Four times the load and back: each time the CPU is at its target within a minute, and no request is lost on the way
/// down. Another's container is neither counted nor touched; stopping leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn real_containers_settle_at_their_target_and_lose_no_request() {
    in_fire("burnsettle", async |burn| {
        let theirs = foreign(&burn.docker).await?;
        let outcome = steps(burn).await;
        let runs = is_running(&burn.docker, &theirs).await;
        let options = RemoveContainerOptions { force: true, ..RemoveContainerOptions::default() };
        burn.docker.remove_container(&theirs, Some(options)).await?;
        outcome?;
        ensure!(runs?, "another's container was stopped");
        burn.stop().await?;
        docker_engine::assert_no_leftovers(&burn.docker, &burn.label()).await
    })
    .await;
}

async fn steps(burn: &mut Burn) -> anyhow::Result<()> {
    burn.autoscale(&settings()).await?;
    let load = Load::start(&burn.address);
    load.set_rate(3.0);
    let low = burn.settled(SETTLED_MAX * 2).await?;
    // As much as takes about four times the replicas, whatever a request costs on this machine.
    let demand_replicas = low.demand_replicas.max(0.05);
    let base_rate = 3.0 / demand_replicas;
    load.set_rate(base_rate);
    let base = burn.settled_at(1.0, SETTLED_MAX * 2).await?;
    load.set_rate(4.0 * base_rate);
    let up = burn.settled_at(4.0, pace::allowed(SETTLED_MAX)).await?;
    // What is lost on the way up is lost for want of replicas: the service's own queue is short. On the way down nothing may.
    let going_down = Load::start(&burn.address);
    going_down.set_rate(4.0 * base_rate);
    let on_the_way_up = load.stop().await;
    going_down.set_rate(base_rate);
    let down = burn.settled_at(1.0, pace::allowed(SETTLED_MAX)).await?;
    let served = going_down.stop().await;
    println!(
        "scaler: x4 settled after {:?} at {:.2} with {} replicas (from {}), {} of {} requests lost meanwhile; back \
         after {:?} at {:.2} with {}, {} of {} lost",
        up.took,
        up.utilisation,
        up.replicas,
        base.replicas,
        on_the_way_up.lost,
        on_the_way_up.sent,
        down.took,
        down.utilisation,
        down.replicas,
        served.lost,
        served.sent
    );
    ensure!(up.replicas > base.replicas && down.replicas < up.replicas, "{base:?} {up:?} {down:?}");
    ensure!(served.lost == 0, "lost {} of {}: {:?}", served.lost, served.sent, served.first_loss);
    Ok(())
}

/// I16 on an engine: what a request says of replicas does not count while an autoscaler holds the count.
#[tokio::test(flavor = "multi_thread")]
async fn i16_a_deploy_leaves_the_count_of_the_scaler_on_an_engine() {
    in_fire("burnkeeps", async |burn| {
        burn.autoscale(&json!({ "cpu_target": 0.5, "replicas_min": 3, "replicas_max": 6 })).await?;
        burn.counts(3, PATIENCE).await?;
        burn.deploy_again("next").await?;
        let live = burn.serving().await?;
        ensure!(live == 3, "{live} serve right after the deploy");
        burn.counts(3, PATIENCE).await
    })
    .await;
}

/// Killed while replicas are being added and while they are being taken away: the next start finds what is half done and
/// finishes it, and nothing is left over.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_change_leaves_nothing_behind() {
    in_fire("burnkill", async |burn| {
        burn.autoscale(&json!({ "cpu_target": 0.5, "replicas_min": 1, "replicas_max": 6 })).await?;
        burn.counts(1, PATIENCE).await?;
        for wanted in [5_u32, 1, 4] {
            burn.wish(wanted).await?;
            let deadline = Instant::now() + PATIENCE;
            // As soon as something is half done.
            while burn.half_done().await? == 0 {
                ensure!(Instant::now() < deadline, "nothing happens");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            burn.restart().await?;
            burn.counts(wanted, PATIENCE).await?;
            let deadline = Instant::now() + PATIENCE;
            while burn.half_done().await? > 0 {
                ensure!(Instant::now() < deadline, "something stays half done");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        burn.stop().await?;
        docker_engine::assert_no_leftovers(&burn.docker, &burn.label()).await
    })
    .await;
}
