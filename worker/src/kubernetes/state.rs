//! The workloads of one namespace, as they were last seen.

use std::collections::HashMap;
use std::sync::Arc;

use kube::core::params::ListParams;
use serde_json::Value;

use super::cluster::Cluster;
use super::error::KubernetesError;
use super::kind::Kind;
use super::labels;

/// Objects by name.
pub(super) type ByName = HashMap<String, Arc<Value>>;

/// What is nothing.
static NOTHING: Value = Value::Null;

/// Deployments, their generations of replicas, and the replicas.
#[derive(Debug, Clone, Default)]
pub struct Workloads {
    pub(super) deployments: ByName,
    pub(super) replica_sets: ByName,
    pub(super) pods: ByName,
}

impl Workloads {
    /// Reads them from the cluster.
    ///
    /// # Errors
    /// What any call may return.
    pub async fn read(cluster: &Cluster, namespace: &str) -> Result<Self, KubernetesError> {
        let list = |kind| async move {
            let params = ListParams::default().labels(&labels::managed());
            Ok::<_, KubernetesError>(by_name(cluster.list(kind, Some(namespace), params).await?))
        };
        let (deployments, replica_sets, pods) =
            tokio::try_join!(list(Kind::Deployment), list(Kind::ReplicaSet), list(Kind::Pod))?;
        Ok(Self { deployments, replica_sets, pods })
    }

    /// The Deployment; `null` when it was not seen.
    #[must_use]
    pub fn deployment(&self, name: &str) -> &Value {
        self.deployments.get(name).map_or(&NOTHING, |found| found.as_ref())
    }

    /// The generation of a Deployment, when it was seen.
    #[must_use]
    pub fn generation(&self, name: &str) -> Option<i64> {
        self.deployments.get(name)?["metadata"]["generation"].as_i64()
    }

    /// The generations of replicas of a Deployment.
    #[must_use]
    pub fn replica_sets_of(&self, name: &str) -> Vec<&Value> {
        named(&self.replica_sets, name)
    }

    /// The replicas of a Deployment, in the order of their names.
    #[must_use]
    pub fn pods_of(&self, name: &str) -> Vec<&Value> {
        named(&self.pods, name)
    }

    /// One replica.
    #[must_use]
    pub fn pod(&self, name: &str) -> Option<&Value> {
        self.pods.get(name).map(AsRef::as_ref)
    }

    /// The same, as if the Deployment `name` had not been seen.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.deployments.remove(name);
        self
    }
}

fn named<'a>(objects: &'a ByName, name: &str) -> Vec<&'a Value> {
    let mut found: Vec<&Value> = objects
        .values()
        .map(AsRef::as_ref)
        .filter(|object| object["metadata"]["labels"][labels::NAME] == name)
        .collect();
    found.sort_by_key(|object| object["metadata"]["name"].as_str().unwrap_or_default());
    found
}

fn by_name(objects: Vec<Value>) -> ByName {
    objects
        .into_iter()
        .filter_map(|object| Some((object["metadata"]["name"].as_str()?.to_owned(), Arc::new(object))))
        .collect()
}
