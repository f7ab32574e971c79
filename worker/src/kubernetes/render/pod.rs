//! The template of a pod: one container, its probe, its limits, and how it is taken out of service.

use serde_json::{Value, json};
use slipway_common::model::{HealthSpec, ResourceSpec};

use super::super::settings::{ClusterSettings, PodSecurity};
use super::super::wanted::Variables;
use super::secret;

/// A container's processor time is asked for to this part: what is not used by others it may use up to its limit.
const CPU_REQUEST_PART: u32 = 10;
/// Least processor time asked for, in thousandths of a core.
const CPU_REQUEST_MIN_MILLIS: u32 = 10;

/// What runs in the pod.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub(super) name: &'a str,
    pub(super) image: &'a str,
    pub(super) port: Option<u16>,
    pub(super) variables: &'a Variables,
    pub(super) resources: &'a ResourceSpec,
    /// When it takes requests.
    pub(super) probe: Option<Value>,
}

/// The pod's specification. Nothing in it names the deployment: a pod is replaced when what it runs changes, and not
/// because it was asked for once more.
pub(super) fn spec(
    container: &Container<'_>,
    account: &str,
    pulls: bool,
    cluster: &ClusterSettings,
) -> Value {
    let drain_s = cluster.drain.as_secs();
    let mut spec = json!({
        "serviceAccountName": account,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": drain_s + cluster.stop_grace.as_secs(),
        "securityContext": pod_security(cluster.pod_security),
        "containers": [of_container(container, drain_s, cluster.pod_security)],
    });
    if pulls {
        spec["imagePullSecrets"] = json!([{ "name": secret::REGISTRY }]);
    }
    spec
}

/// The check of `health`, in the whole seconds that Kubernetes counts in.
pub(super) fn probe(health: &HealthSpec, port: u16) -> Value {
    let seconds = |milliseconds: u64| milliseconds.div_ceil(1_000).max(1);
    let mut probe = match &health.path {
        Some(path) => json!({ "httpGet": { "path": path, "port": port } }),
        None => connects(port),
    };
    probe["periodSeconds"] = json!(seconds(health.interval_ms));
    probe["timeoutSeconds"] = json!(seconds(health.timeout_ms));
    probe["failureThreshold"] = json!(3);
    probe
}

/// The check that somebody listens on `port`.
pub(super) fn connects(port: u16) -> Value {
    json!({ "tcpSocket": { "port": port } })
}

fn of_container(container: &Container<'_>, drain_s: u64, security: PodSecurity) -> Value {
    let mut body = json!({
        "name": container.name,
        "image": container.image,
        "imagePullPolicy": "IfNotPresent",
        "resources": resources(container.resources),
        "securityContext": container_security(security),
    });
    if let Some(port) = container.port {
        body["ports"] = json!([{ "name": "main", "containerPort": port, "protocol": "TCP" }]);
    }
    if let Some(probe) = &container.probe {
        body["readinessProbe"] = probe.clone();
    }
    if let Some(name) = secret::name(container.name, container.variables) {
        body["envFrom"] = json!([{ "secretRef": { "name": name } }]);
    }
    // Requests still arrive while the Service forgets the pod: it goes on answering them before it is told to end.
    if drain_s > 0 {
        body["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": drain_s } } });
    }
    body
}

/// Memory is asked for in full, for what a node has given away twice it takes back by killing.
fn resources(resources: &ResourceSpec) -> Value {
    let cpu_request =
        (resources.cpu_millis / CPU_REQUEST_PART).max(CPU_REQUEST_MIN_MILLIS.min(resources.cpu_millis));
    let memory = resources.memory_bytes.to_string();
    json!({
        "limits": { "cpu": format!("{}m", resources.cpu_millis), "memory": memory },
        "requests": { "cpu": format!("{cpu_request}m"), "memory": memory },
    })
}

fn pod_security(standard: PodSecurity) -> Value {
    let mut context = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
    if standard == PodSecurity::Restricted {
        context["runAsNonRoot"] = json!(true);
    }
    context
}

fn container_security(standard: PodSecurity) -> Value {
    match standard {
        PodSecurity::Restricted => {
            json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } })
        }
        PodSecurity::Baseline => json!({ "allowPrivilegeEscalation": false }),
    }
}
