//! What pods have printed and what happened to them, asked as the API asks. Nodes are simulated: every
//! container has printed the same two lines.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use slipway_common::inquiry::{Answer, Asked, Inquiry, TAIL_LINES_DEFAULT, TAIL_LINES_MAX};
use slipway_common::model::{Deployment, DeploymentId, InquiryId, LiveEvent};
use slipway_integration_tests::api_faults::{ApiFaults, Fault, Rule};
use slipway_integration_tests::control_plane::ControlPlane;
use slipway_integration_tests::pace;
use tokio::time::Instant;

use super::world::{World, image, in_world};

/// Longest wait for an answer on an idle machine.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Longest wait for the cluster to tell of what happened.
const EVENTS_MAX: Duration = Duration::from_secs(60);

/// What containers here print.
const LINES: [&str; 2] = ["listening on port 8080", "ready"];

/// The usual question for a log.
fn log() -> Asked {
    Asked::Log { container: None, previous: false, tail_lines: TAIL_LINES_DEFAULT }
}

/// Asks about a pod.
async fn ask(world: &World, deployment: DeploymentId, pod: &str, what: Asked) -> anyhow::Result<Answer> {
    let inquiry = Inquiry { id: InquiryId::generate(), deployment, pod: pod.to_owned(), what };
    let sealed = world.backend.inquiries.ask(&inquiry, pace::allowed(ANSWER_MAX)).await?;
    Ok(Answer::open(&sealed, &world.sealer, inquiry.id)?)
}

/// Asks for a log; answers the container and its lines.
async fn lines(
    world: &World,
    deployment: DeploymentId,
    pod: &str,
    what: Asked,
) -> anyhow::Result<(String, Vec<String>)> {
    match ask(world, deployment, pod, what).await? {
        Answer::Log { container, lines, truncated: false } => Ok((container, lines)),
        other @ (Answer::Log { .. }
        | Answer::Events(_)
        | Answer::UnknownPod
        | Answer::UnknownContainer { .. }
        | Answer::Failed { .. }) => bail!("no whole log of {pod}: {other:#?}"),
    }
}

/// Asks for the events of a pod until there are any.
async fn events(world: &World, deployment: DeploymentId, pod: &str) -> anyhow::Result<Vec<LiveEvent>> {
    let deadline = Instant::now() + pace::allowed(EVENTS_MAX);
    loop {
        let answer = ask(world, deployment, pod, Asked::Events).await?;
        let Answer::Events(events) = answer else { bail!("no events of {pod}: {answer:#?}") };
        if !events.is_empty() {
            return Ok(events);
        }
        ensure!(Instant::now() < deadline, "nothing happened to {pod}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The name of the deployment's only pod, once it serves.
async fn pod_of(world: &World, deployment: &Deployment) -> anyhow::Result<String> {
    let live = world.seen(deployment, |live| live.replicas_serving == 1).await?;
    Ok(live.replicas.first().context("no replica")?.name.clone())
}

/// A pod tells what it has printed, without the values of variables, and what happened to it; a support too.
#[tokio::test(flavor = "multi_thread")]
async fn pods_tell_what_they_printed_and_what_happened() {
    in_world(&[], async |world| {
        let mut request = world.request("web");
        request.env = [("BANNER".to_owned(), "listening on".to_owned().into())].into();
        request.supports = vec![serde_json::from_value(json!({ "name": "db", "image": image("db") }))?];
        let deployment = world.deploy(&request).await?;
        let live =
            world.seen(&deployment, |live| live.replicas_serving == 1 && live.supports.len() == 1).await?;
        let (id, pod) = (deployment.id, live.replicas[0].name.as_str());
        let (container, printed) = lines(world, id, pod, log()).await?;
        ensure!(
            container == "shop" && printed == ["[secret] port 8080", LINES[1]],
            "{container}: {printed:?}"
        );
        let last = Asked::Log { container: Some("shop".to_owned()), previous: true, tail_lines: 1 };
        let (_, printed) = lines(world, id, pod, last).await?;
        ensure!(printed == LINES[1..], "{printed:?}");
        let (container, _) = lines(world, id, &live.supports[0].name, log()).await?;
        ensure!(container == "db", "{container}");
        let wrong =
            Asked::Log { container: Some("../db".to_owned()), previous: false, tail_lines: TAIL_LINES_MAX };
        let unknown = ask(world, id, pod, wrong).await?;
        ensure!(unknown == Answer::UnknownContainer { known: vec!["shop".to_owned()] }, "{unknown:#?}");
        let events = events(world, id, pod).await?;
        ensure!(events.iter().all(|event| event.about == format!("Pod {pod}")), "{events:#?}");
        ensure!(events.iter().any(|event| event.reason == "Scheduled"), "{events:#?}");
        Ok(())
    })
    .await;
}

/// Pods of another deployment, of nobody, and of a deployment that has the namespace no more are unknown.
#[tokio::test(flavor = "multi_thread")]
async fn pods_of_others_are_unknown() {
    in_world(&[], async |world| {
        let request = world.request("web");
        let (mine, other) = (world.deploy(&request).await?, world.deploy(&world.request("web")).await?);
        let (pod, of_other) = (pod_of(world, &mine).await?, pod_of(world, &other).await?);
        let theirs = json!({
            "metadata": { "name": "theirs" },
            "spec": {
                "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "shop",
                    "image": image("web"),
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "capabilities": { "drop": ["ALL"] },
                    },
                }],
            },
        });
        world.plane.create(&world.collection(&mine, "pods"), &theirs).await?;
        for name in [of_other.as_str(), "theirs", "absent", "kube-apiserver"] {
            for what in [log(), Asked::Events] {
                let answer = ask(world, mine.id, name, what).await?;
                ensure!(answer == Answer::UnknownPod, "{name}: {answer:#?}");
            }
        }
        let newer = world.deploy(&request).await?;
        let answer = ask(world, mine.id, &pod, log()).await?;
        ensure!(answer == Answer::UnknownPod, "it is another's by now: {answer:#?}");
        let (_, printed) = lines(world, newer.id, &pod, log()).await?;
        ensure!(printed == LINES, "{printed:?}");
        Ok(())
    })
    .await;
}

/// No name out of a question reaches the API server, whether it could be a pod's or not.
#[tokio::test(flavor = "multi_thread")]
async fn no_hostile_name_reaches_the_api_server() {
    if !ControlPlane::available().await {
        return;
    }
    let plane = ControlPlane::shared().await.expect("the control plane starts");
    let kubeconfig = plane.kubeconfig();
    let folder = kubeconfig.parent().unwrap_or(Path::new("/"));
    let faults = ApiFaults::start(plane.server_url(), folder).await.expect("the proxy starts");
    let world = World::start_at(plane, &faults.url(), None, &[]).await.expect("the world starts");
    let outcome = ask_hostile_questions(&world, &faults).await;
    let cleaned = world.clean_up().await;
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
    cleaned.expect("the worker ends");
}

async fn ask_hostile_questions(world: &World, faults: &ApiFaults) -> anyhow::Result<()> {
    let deployment = world.deploy(&world.request("web")).await?;
    let pod = pod_of(world, &deployment).await?;
    let error = Fault::Status { code: 500, retry_after_s: None };
    faults.spoil(Rule { method: None, path: "ostile".to_owned(), fault: error, times: 1_000 });
    let long = format!("hostile{}", "a".repeat(300));
    for name in [
        "hostile-1",
        "../../secrets/hostile",
        "..%2F..%2Fsecrets%2Fhostile",
        "hostile\0",
        "hostile/log?container=shop",
        "hostile,involvedObject.kind=Secret",
        "Hostile",
        &long,
    ] {
        for what in [log(), Asked::Events] {
            let answer = ask(world, deployment.id, name, what).await?;
            ensure!(answer == Answer::UnknownPod, "{name:?}: {answer:#?}");
        }
    }
    ensure!(faults.met() == 0, "a hostile name was sent to the API server");
    faults.spoil(Rule { method: None, path: format!("/pods/{pod}/log?"), fault: error, times: 1 });
    let answer = ask(world, deployment.id, &pod, log()).await?;
    let Answer::Failed { code, .. } = &answer else { bail!("nothing failed: {answer:#?}") };
    ensure!(code == "cluster_error" && faults.met() == 1, "{answer:#?}");
    lines(world, deployment.id, &pod, log()).await?;
    Ok(())
}
