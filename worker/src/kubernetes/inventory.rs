//! The inventory: one ConfigMap in each namespace that says which deployment has it and which objects are its own. It is
//! written before any object is made and after any was pruned, by compare-and-swap: what is not in it is never deleted.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster::{Cluster, Key};
use super::error::KubernetesError;
use super::kind::Kind;
use super::labels;
use super::render::{Manifest, object_labels};
use super::wanted::Wanted;

/// Name of the ConfigMap.
pub const NAME: &str = "slipway-inventory";
/// The key that holds the inventory as JSON.
const KEY: &str = "inventory.json";

/// What belongs to the deployment that has a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The deployment.
    pub deployment: String,
    /// The job that wrote it.
    pub job: String,
    /// Fencing token of the writer.
    pub fence: u64,
    /// How far it is.
    pub phase: Phase,
    /// When its objects were first applied.
    pub begun_at: Timestamp,
    /// Every object that was or may have been made, those of the deployment before included until they are pruned.
    pub objects: Vec<Owned>,
    /// Generations of the Deployments as they were last applied, by name: an older one that is seen is out of date.
    #[serde(default)]
    pub generations: BTreeMap<String, i64>,
    /// Hash of the fields Slipway owned of each object when it was last applied, by kind and name.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Hash of what was applied of each object, by kind and name; of secrets there is none.
    #[serde(default)]
    pub bodies: BTreeMap<String, String>,
}

/// How far an apply is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Objects are being applied.
    #[default]
    Applying,
    /// The support containers are applied and come up; the application waits for them.
    Supports,
    /// Everything is applied; it comes up, or is up when there is nothing to prune.
    Rollout,
    /// Everything is up, and what was no longer wanted is pruned.
    Complete,
}

/// An object of the inventory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owned {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl Owned {
    /// The inventory's entry for `manifest`.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        Self { kind: manifest.kind, name: manifest.name.clone() }
    }
}

impl fmt::Display for Owned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind.as_str(), self.name)
    }
}

/// An inventory as it was read, with what a later write must find unchanged.
#[derive(Debug, Clone)]
pub struct Read {
    /// What it says.
    pub inventory: Inventory,
    uid: String,
    version: String,
}

impl Read {
    /// Checks that no newer job has worked here.
    ///
    /// # Errors
    /// [`KubernetesError::Stale`].
    pub fn check_fence(&self, fence: u64) -> Result<(), KubernetesError> {
        let seen = self.inventory.fence;
        if seen > fence { Err(KubernetesError::Stale { fence, seen }) } else { Ok(()) }
    }

    /// The same ConfigMap, as if it said this.
    #[must_use]
    pub fn saying(self, inventory: Inventory) -> Self {
        Self { inventory, ..self }
    }

    /// Identity of the ConfigMap.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }
}

/// Reads the inventory of a namespace, if there is one.
///
/// # Errors
/// [`KubernetesError::Inventory`] when it is there and cannot be understood, and what any call may return.
pub async fn read(cluster: &Cluster, namespace: &str) -> Result<Option<Read>, KubernetesError> {
    let Some(object) = cluster.get(key(namespace)).await? else { return Ok(None) };
    parse(&object)
        .map(Some)
        .map_err(|reason| KubernetesError::Inventory { namespace: namespace.to_owned(), reason })
}

/// Writes the inventory over the one that was read, or as the first. Whoever was faster wins.
///
/// # Errors
/// [`KubernetesError::Api`] with status 409 when it was changed since it was read, and what any call may return.
pub async fn write(
    cluster: &Cluster,
    wanted: &Wanted,
    before: Option<&Read>,
    inventory: Inventory,
) -> Result<Read, KubernetesError> {
    let namespace = wanted.namespace();
    let body = render(wanted, before, &inventory);
    let written = match before {
        Some(_) => cluster.replace(key(&namespace), &body).await?,
        None => cluster.create(key(&namespace), &body).await?,
    };
    let Some(object) = written else {
        return Err(KubernetesError::Api {
            operation: format!("write ConfigMap {NAME}"),
            status: 409,
            reason: "the inventory was changed meanwhile".to_owned(),
        });
    };
    parse(&object).map_err(|reason| KubernetesError::Inventory { namespace, reason })
}

/// The inventory's place in `namespace`.
#[must_use]
pub fn key(namespace: &str) -> Key<'_> {
    Key { kind: Kind::ConfigMap, namespace, name: NAME }
}

fn render(wanted: &Wanted, before: Option<&Read>, inventory: &Inventory) -> Value {
    let mut metadata = json!({
        "name": NAME,
        "namespace": wanted.namespace(),
        "labels": object_labels(wanted, NAME),
        "annotations": {
            labels::DEPLOYMENT: inventory.deployment,
            labels::JOB: inventory.job,
            labels::FENCE: inventory.fence.to_string(),
        },
    });
    if let Some(before) = before {
        metadata["uid"] = json!(before.uid);
        metadata["resourceVersion"] = json!(before.version);
    }
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": { KEY: json!(inventory).to_string() },
    })
}

fn parse(object: &Value) -> Result<Read, String> {
    let text = object["data"][KEY].as_str().ok_or_else(|| format!("it has no `{KEY}`"))?;
    let inventory = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    Ok(Read { inventory, uid: field("uid"), version: field("resourceVersion") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_that_is_damaged_is_no_empty_one() {
        for damaged in [json!({}), json!({ "data": { KEY: "" } }), json!({ "data": { KEY: "{}" } })] {
            assert!(parse(&damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn a_newer_fence_keeps_older_jobs_away() {
        let inventory = Inventory { fence: 7, ..Inventory::default() };
        let read = Read { inventory, uid: String::new(), version: String::new() };
        assert!(read.check_fence(7).is_ok() && read.check_fence(8).is_ok());
        assert!(matches!(read.check_fence(6), Err(KubernetesError::Stale { fence: 6, seen: 7 })));
    }
}
