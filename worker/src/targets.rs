//! The targets of this worker, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use slipway_common::model::TargetName;
use slipway_common::queue::JobQueue;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::kubernetes::{Cluster, ClusterSettings, Place, Watch};
use crate::settings::WorkerSettings;

/// Where a deployment runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    /// On the Docker engine.
    Docker,
    /// On a Kubernetes cluster.
    Kubernetes(&'a ClusterTarget),
}

/// A cluster, and what is seen of it.
#[derive(Debug, Clone)]
pub(crate) struct ClusterTarget {
    pub(crate) cluster: Cluster,
    pub(crate) watch: Watch,
}

impl ClusterTarget {
    fn new(settings: ClusterSettings, queue: Arc<dyn JobQueue>) -> Self {
        Self { cluster: Cluster::new(settings), watch: Watch::new(queue) }
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place { cluster: &self.cluster, watch: &self.watch }
    }
}

/// All targets.
#[derive(Debug)]
pub(crate) struct Targets {
    docker: Option<TargetName>,
    clusters: BTreeMap<TargetName, ClusterTarget>,
}

impl Targets {
    pub(crate) fn new(settings: &WorkerSettings, queue: &Arc<dyn JobQueue>) -> Self {
        let clusters = settings.clusters.iter();
        let of = |settings: &ClusterSettings| ClusterTarget::new(settings.clone(), Arc::clone(queue));
        Self {
            docker: settings.docker.enabled.then(|| settings.docker.name.clone()),
            clusters: clusters.map(|settings| (settings.name.clone(), of(settings))).collect(),
        }
    }

    /// The target of this name, if this worker has it.
    pub(crate) fn get(&self, name: &TargetName) -> Option<Target<'_>> {
        if self.docker.as_ref() == Some(name) {
            return Some(Target::Docker);
        }
        self.clusters.get(name).map(Target::Kubernetes)
    }

    /// Watches every cluster until `stop`.
    pub(crate) fn watch(&self, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        for ClusterTarget { cluster, watch } in self.clusters.values() {
            let (cluster, watch, stop) = (cluster.clone(), watch.clone(), stop.clone());
            tasks.spawn(async move { watch.run(cluster, stop).await });
        }
    }
}
