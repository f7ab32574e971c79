//! The Deployments: of the application, and of what it needs beside it.

use serde_json::{Value, json};

use super::super::kind::Kind;
use super::super::settings::ClusterSettings;
use super::super::wanted::{Support, Wanted};
use super::pod::{self, Container};
use super::{Manifest, object_labels, service};

/// Generations of replicas the cluster keeps.
const HISTORY: u32 = 2;
/// How long a support container has to come up.
const SUPPORT_DEADLINE_S: u64 = 300;

/// The application. While it is replaced, the new replicas come before the old ones go. A number of replicas that an
/// autoscaler sets is no part of it: another number makes it no other object.
pub(super) fn of_app(wanted: &Wanted, cluster: &ClusterSettings) -> Manifest {
    let app = wanted.app();
    let container = Container {
        name: &app,
        image: &wanted.image,
        port: Some(wanted.port),
        variables: &wanted.env,
        resources: &wanted.resources,
        probe: Some(pod::probe(&wanted.health, wanted.port)),
    };
    let strategy =
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } });
    let deadline_s = wanted.health.deadline_ms.div_ceil(1_000).max(1);
    let replicas = (!wanted.is_scaled).then_some(wanted.replicas);
    deployment(wanted, &container, replicas, &strategy, deadline_s, cluster)
}

/// A support container: one, replaced by ending it first, for two of it may not share what it holds.
pub(super) fn of_support(wanted: &Wanted, support: &Support, cluster: &ClusterSettings) -> Manifest {
    let container = Container {
        name: &support.name,
        image: &support.image,
        port: support.port,
        variables: &support.env,
        resources: &support.resources,
        probe: support.port.map(pod::connects),
    };
    deployment(wanted, &container, Some(1), &json!({ "type": "Recreate" }), SUPPORT_DEADLINE_S, cluster)
}

fn deployment(
    wanted: &Wanted,
    container: &Container<'_>,
    replicas: Option<u32>,
    strategy: &Value,
    deadline_s: u64,
    cluster: &ClusterSettings,
) -> Manifest {
    let name = container.name;
    let mut spec = json!({
        "replicas": replicas,
        "revisionHistoryLimit": HISTORY,
        "progressDeadlineSeconds": deadline_s,
        "strategy": strategy,
        "selector": { "matchLabels": service::selector(name) },
        "template": {
            "metadata": { "labels": object_labels(wanted, name) },
            "spec": pod::spec(container, &wanted.app(), wanted.pull.is_some(), cluster),
        },
    });
    if replicas.is_none()
        && let Some(fields) = spec.as_object_mut()
    {
        fields.remove("replicas");
    }
    Manifest::new(Kind::Deployment, wanted, name, json!({ "spec": spec }))
}
