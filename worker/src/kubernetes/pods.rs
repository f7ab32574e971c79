//! One pod of a deployment: whether it is the deployment's, what it has printed, and what happened to it.

use kube::core::params::ListParams;
use serde_json::Value;
use slipway_common::model::{Deployment, LiveEvent};

use super::Place;
use super::cluster::{Cluster, ContainerLog};
use super::error::KubernetesError;
use super::kind::Kind;
use super::{events, inventory, labels, names};

/// A pod that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    namespace: String,
    name: String,
    /// The container that runs the application, or the support.
    main: String,
    /// All of its containers.
    pub(crate) containers: Vec<String>,
}

impl Pod {
    /// The container of this name, or the main one; `None` when there is none of this name.
    pub(crate) fn container<'a>(&'a self, name: Option<&str>) -> Option<&'a str> {
        let Some(name) = name else { return Some(&self.main) };
        self.containers.iter().find(|container| *container == name).map(String::as_str)
    }
}

/// The pod called `name`, if the deployment has its namespace, and Slipway made it for this project and
/// environment. The name is compared with those the cluster tells, and goes nowhere else.
///
/// # Errors
/// What any call may return.
pub(crate) async fn find(
    place: Place<'_>,
    deployment: &Deployment,
    name: &str,
) -> Result<Option<Pod>, KubernetesError> {
    let namespace = names::namespace(&deployment.project.slug, &deployment.environment);
    let Some(read) = inventory::read(place.cluster, &namespace).await? else { return Ok(None) };
    if read.inventory.deployment != deployment.id.to_string() {
        return Ok(None);
    }
    let seen = place.watch.workloads(&namespace);
    if let Some(pod) = seen.as_ref().and_then(|seen| seen.pod(name)) {
        return Ok(of_deployment(deployment, &namespace, pod));
    }
    // The watches tell of a new pod a moment later.
    let params = ListParams::default().labels(&labels::managed());
    let pods = place.cluster.list(Kind::Pod, Some(&namespace), params).await?;
    let pod = pods.iter().find(|pod| pod["metadata"]["name"] == name);
    Ok(pod.and_then(|pod| of_deployment(deployment, &namespace, pod)))
}

/// The last lines that a container has printed. When they are too much, the newest of them are read; then the
/// log is cut. `None` when the pod is gone.
///
/// # Errors
/// [`KubernetesError::Rejected`] when there is no such log (yet), and what any call may return.
pub(crate) async fn log(
    cluster: &Cluster,
    pod: &Pod,
    container: &str,
    previous: bool,
    lines: u32,
) -> Result<Option<ContainerLog>, KubernetesError> {
    let mut asked = lines;
    loop {
        let read =
            cluster.container_log(&pod.namespace, &pod.name, container, previous, i64::from(asked)).await;
        let log = match read {
            Ok(log) => log,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        if !log.is_cut || asked <= 1 {
            return Ok(Some(ContainerLog { is_cut: log.is_cut || asked < lines, ..log }));
        }
        asked = fewer(asked, log.lines.len());
    }
}

/// The newest events about the pod, oldest first.
///
/// # Errors
/// What any call may return.
pub(crate) async fn events_of(
    cluster: &Cluster,
    pod: &Pod,
    most: usize,
) -> Result<Vec<LiveEvent>, KubernetesError> {
    events::of_pod(cluster, &pod.namespace, &pod.name, most).await
}

/// How many lines to ask for when `asked` were too much, and only the first `came` of them came. Pure.
fn fewer(asked: u32, came: usize) -> u32 {
    let fitting = u32::try_from(came).unwrap_or(u32::MAX).min(asked);
    // Lines differ in length: with some room, few further tries are needed.
    (fitting / 4).saturating_mul(3).clamp(1, asked.saturating_sub(1).max(1))
}

/// The pod, if it runs the application or a support of this project and environment. Pure.
fn of_deployment(deployment: &Deployment, namespace: &str, pod: &Value) -> Option<Pod> {
    let found = &pod["metadata"]["labels"];
    let part = found[labels::NAME].as_str()?;
    let is_ours = found[labels::MANAGED_BY] == labels::SLIPWAY
        && found[labels::PROJECT] == deployment.project.slug.as_str()
        && found[labels::ENVIRONMENT] == deployment.environment.as_str();
    let is_part = part == names::app(&deployment.project.slug)
        || deployment.spec.supports.iter().any(|support| support.name.as_str() == part);
    if !is_ours || !is_part {
        return None;
    }
    let of_kind = |kind: &str| pod["spec"][kind].as_array().map(Vec::as_slice).unwrap_or_default();
    let all = of_kind("containers").iter().chain(of_kind("initContainers"));
    let containers: Vec<String> =
        all.filter_map(|container| Some(container["name"].as_str()?.to_owned())).collect();
    let main = containers.iter().find(|container| *container == part).or(containers.first())?.clone();
    let name = pod["metadata"]["name"].as_str()?.to_owned();
    Some(Pod { namespace: namespace.to_owned(), name, main, containers })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use slipway_common::contract::sample;
    use slipway_common::model::Event;

    use super::*;

    fn deployment() -> Deployment {
        let message = sample::deploy_job("shop", Timestamp::UNIX_EPOCH);
        slipway_common::state::begin(&Event::accepted(&message)).unwrap()
    }

    fn pod(deployment: &Deployment, part: &str) -> Value {
        json!({
            "metadata": { "name": "shop-1", "labels": {
                labels::NAME: part,
                labels::MANAGED_BY: labels::SLIPWAY,
                labels::PROJECT: deployment.project.slug.as_str(),
                labels::ENVIRONMENT: deployment.environment.as_str(),
            } },
            "spec": {
                "containers": [{ "name": "proxy" }, { "name": "shop" }],
                "initContainers": [{ "name": "init" }],
            },
        })
    }

    #[test]
    fn a_pod_is_the_deployments_by_all_of_its_labels() {
        let deployment = deployment();
        let mine = pod(&deployment, "shop");
        let found = of_deployment(&deployment, "here", &mine).unwrap();
        assert_eq!((found.main.as_str(), found.containers.len()), ("shop", 3));
        assert_eq!(found.container(None), Some("shop"));
        assert_eq!((found.container(Some("init")), found.container(Some("../x"))), (Some("init"), None));
        for (label, value) in [
            (labels::NAME, "other"),
            (labels::MANAGED_BY, "helm"),
            (labels::PROJECT, "shop-000000"),
            (labels::ENVIRONMENT, "staging"),
        ] {
            let mut other = mine.clone();
            other["metadata"]["labels"][label] = json!(value);
            assert_eq!(of_deployment(&deployment, "here", &other), None, "{label}");
        }
        assert_eq!(of_deployment(&deployment, "here", &json!({})), None);
    }

    #[test]
    fn too_long_a_log_is_asked_for_in_ever_fewer_lines() {
        assert_eq!(fewer(1_000, 400), 300);
        for came in [0, 1, 3, 1_000, usize::MAX] {
            let (mut asked, mut tries) = (1_000, 0);
            while asked > 1 {
                let next = fewer(asked, came);
                assert!((1..asked).contains(&next), "{asked} {came}");
                (asked, tries) = (next, tries + 1);
            }
            assert!(tries <= 30, "{came} took {tries} tries");
        }
    }
}
