//! The Kubernetes target: what runs of deployments on a cluster, how their number of replicas is set, and how
//! their pods are measured.
//!
//! The number is set through the scale subresource alone, and only as long as it is what was seen before: the
//! API server refuses what comes too late, so that a scaler that was frozen and overtaken does no harm.

mod api;
mod exposition;
mod look;
mod object;
mod page;
mod pod;
mod quantity;
mod reading;
mod sampler;
mod scale;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use slipway_cluster::Access;
use slipway_common::config::Config;
use slipway_common::metric::Metrics;
use slipway_common::model::{DeploymentId, TargetName};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::api::Api;
use self::look::{Known, Targeted};
use self::sampler::Sampler;
use crate::target::Subject;

/// Up to so many objects are read one by one; more are listed.
const EACH_MAX: usize = 8;

/// A Kubernetes target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Its name.
    pub name: TargetName,
    /// How the API server is reached.
    pub access: Access,
    /// How often pods are measured.
    pub sample_interval: Duration,
    /// Whether they are measured at the nodes' kubelets rather than by `metrics.k8s.io`.
    pub kubelet: bool,
}

impl ClusterSettings {
    /// All Kubernetes targets of the configuration.
    #[must_use]
    pub fn from_config(config: &Config) -> Vec<Self> {
        let of = |(name, cluster): (&TargetName, _)| Self {
            name: name.clone(),
            access: Access::of_config(cluster),
            sample_interval: Duration::from_millis(config.scaler.kubernetes_sample_interval_ms),
            kubelet: config.scaler.kubelet_metrics,
        };
        config.kubernetes.iter().map(of).collect()
    }
}

/// One cluster; cheap to clone, and clones are the same one.
#[derive(Debug, Clone)]
pub struct ClusterTarget {
    settings: Arc<ClusterSettings>,
    api: Arc<Api>,
    memory: Arc<Mutex<Memory>>,
}

/// What was seen last.
#[derive(Debug, Default)]
struct Memory {
    known: HashMap<DeploymentId, (Instant, Known)>,
    targeted: Option<(Instant, Arc<Targeted>)>,
    /// That other autoscalers cannot be seen is said once.
    has_said_blind: bool,
}

impl ClusterTarget {
    /// The cluster of these settings; it is connected to when it is first asked.
    #[must_use]
    pub fn new(settings: ClusterSettings) -> Self {
        let api = Arc::new(Api::new(settings.access.clone()));
        Self { settings: Arc::new(settings), api, memory: Arc::default() }
    }

    /// The target's settings.
    #[must_use]
    pub fn settings(&self) -> &ClusterSettings {
        &self.settings
    }

    /// Whether a deploy job would set the number of replicas back: nobody but the worker owned it when it was
    /// looked at last. [`ClusterTarget::own`] changes that.
    #[must_use]
    pub fn needs_owning(&self, deployment: &DeploymentId) -> bool {
        self.lock().known.get(deployment).is_some_and(|(_, known)| known.needs_owning)
    }

    /// Measures the pods of those `subjects` that are on this cluster, again and again, until `stop`.
    pub async fn sample(
        self,
        subjects: watch::Receiver<Arc<[Subject]>>,
        metrics: Arc<dyn Metrics>,
        stop: CancellationToken,
    ) {
        Sampler::new(self.settings, self.api, metrics).run(&subjects, &stop).await;
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use slipway_common::config::KubernetesConfig;

    use super::*;

    #[test]
    fn every_cluster_of_the_configuration_is_a_target() {
        let mut config = Config::load(None, []).unwrap();
        assert!(ClusterSettings::from_config(&config).is_empty());
        config.scaler.kubernetes_sample_interval_ms = 2_500;
        config.scaler.kubelet_metrics = true;
        let cluster = KubernetesConfig { in_cluster: true, ..KubernetesConfig::default() };
        config.kubernetes = ["here", "there"].map(|name| (name.parse().unwrap(), cluster.clone())).into();
        let settings = ClusterSettings::from_config(&config);
        assert_eq!(settings.len(), 2);
        assert_eq!(
            settings[0],
            ClusterSettings {
                name: "here".parse().unwrap(),
                access: Access::InCluster,
                sample_interval: Duration::from_millis(2_500),
                kubelet: true,
            }
        );
        let target = ClusterTarget::new(settings[1].clone());
        assert_eq!(target.settings().name.as_str(), "there");
        assert!(!target.needs_owning(&DeploymentId::generate()), "of what was never seen nothing is known");
    }
}
