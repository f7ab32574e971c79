//! The parts of the cluster's objects that are of use here; the rest of them is passed over while they are
//! read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use slipway_cluster::{labels, names};
use slipway_common::model::autoscaler::Place;

use crate::target::Subject;

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ObjectName {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl ObjectName {
    /// Of a subject's Deployment.
    pub(super) fn of(subject: &Subject) -> Self {
        let Place { project, environment } = &subject.place;
        Self { namespace: names::namespace(project, environment), name: names::app(project) }
    }
}

/// What every object has.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) deletion_timestamp: Option<Timestamp>,
    pub(super) owner_references: Vec<Owner>,
    pub(super) managed_fields: Vec<Managed>,
}

impl Metadata {
    pub(super) fn object_name(&self) -> ObjectName {
        ObjectName { namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// Whether Slipway made it for this project and environment.
    pub(super) fn is_of(&self, place: &Place) -> bool {
        self.label(labels::MANAGED_BY) == Some(labels::SLIPWAY)
            && self.label(labels::PROJECT) == Some(place.project.as_str())
            && self.label(labels::ENVIRONMENT) == Some(place.environment.as_str())
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }
}

/// An object that another belongs to.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Owner {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    /// Whether it is the one that manages it.
    pub(super) controller: bool,
}

/// Which fields of an object somebody owns.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Managed {
    pub(super) manager: String,
    #[serde(rename = "fieldsV1")]
    fields: Fields,
}

impl Managed {
    /// Whether the number of replicas is among them.
    pub(super) fn owns_replicas(&self) -> bool {
        self.fields.spec.replicas.is_some()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(rename = "f:spec")]
    spec: SpecFields,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct SpecFields {
    #[serde(rename = "f:replicas")]
    replicas: Option<IgnoredAny>,
}

/// A Deployment.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Deployment {
    pub(super) metadata: Metadata,
    pub(super) spec: DeploymentSpec,
    pub(super) status: DeploymentStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct DeploymentSpec {
    /// The API server fills it in.
    pub(super) replicas: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeploymentStatus {
    pub(super) ready_replicas: u32,
}

/// The scale of a Deployment. A number of 0 is left out of answers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Scale {
    pub(super) metadata: Metadata,
    pub(super) spec: DeploymentSpec,
}

/// A `HorizontalPodAutoscaler`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct HorizontalPodAutoscaler {
    pub(super) metadata: Metadata,
    pub(super) spec: HorizontalPodAutoscalerSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HorizontalPodAutoscalerSpec {
    pub(super) scale_target_ref: ScaleTarget,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScaleTarget {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    pub(super) spec: PodSpec,
    pub(super) status: PodStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec {
    pub(super) node_name: String,
    pub(super) containers: Vec<Container>,
    pub(super) init_containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container {
    /// `Always` for one that is started first and goes on beside the others.
    pub(super) restart_policy: Option<String>,
    pub(super) resources: Resources,
}

/// What a container may use and has asked for, as quantities.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Resources {
    pub(super) limits: Quantities,
    pub(super) requests: Quantities,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Quantities {
    pub(super) cpu: Option<String>,
    pub(super) memory: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct PodStatus {
    pub(super) phase: String,
    pub(super) conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) last_transition_time: Option<Timestamp>,
}

/// What `metrics.k8s.io` says of a pod.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct PodMetrics {
    pub(super) metadata: Metadata,
    /// The end of the span that was measured.
    pub(super) timestamp: Timestamp,
    /// Its length, such as `15.2s`.
    pub(super) window: String,
    pub(super) containers: Option<Vec<ContainerMetrics>>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct ContainerMetrics {
    pub(super) usage: Quantities,
}
