//! Removing objects: those a deployment no longer has, and all of one that is stopped. Only what the inventory names and
//! the labels confirm is ever deleted.

use std::cmp::Reverse;

use super::super::cluster::{Cluster, Key};
use super::super::error::KubernetesError;
use super::super::inventory::{self, Inventory, Owned, Phase, Read};
use super::super::render::Manifest;
use super::super::wanted::Wanted;
use super::owner;
use crate::docker::LogSink;

/// Deletes what the inventory has and `manifests` does not, then writes down what is left.
pub(super) async fn prune(
    cluster: &Cluster,
    wanted: &Wanted,
    manifests: &[Manifest],
    read: &Read,
    log: &dyn LogSink,
) -> Result<(), KubernetesError> {
    let mut kept: Vec<Owned> = manifests.iter().map(Owned::of).collect();
    kept.sort();
    // A deployment always has objects. Without any, something is wrong with the rendering and not with the cluster.
    if kept.is_empty() {
        return Ok(());
    }
    let surplus: Vec<&Owned> = read.inventory.objects.iter().filter(|owned| !kept.contains(owned)).collect();
    if surplus.is_empty() {
        // There is nothing to write down that the inventory does not say already.
        return Ok(());
    }
    for owned in surplus {
        delete(cluster, wanted, owned, log).await?;
    }
    let mut inventory = Inventory { phase: Phase::Complete, ..read.inventory.clone() };
    let is_kept = |object: &String| kept.iter().any(|owned| owned.to_string() == *object);
    inventory.fields.retain(|object, _| is_kept(object));
    inventory.bodies.retain(|object, _| is_kept(object));
    inventory.objects = kept;
    inventory::write(cluster, wanted, Some(read), inventory).await.map(|_| ())
}

/// Takes the deployment that has the namespace out of service: deletes everything the inventory names, what others reach
/// first, and then the inventory. Returns the objects that were deleted; nothing when there is no inventory.
///
/// # Errors
/// [`KubernetesError::Stale`] when a newer job has worked there, and what any call may return.
pub async fn stop(
    cluster: &Cluster,
    wanted: &Wanted,
    log: &dyn LogSink,
) -> Result<Vec<String>, KubernetesError> {
    let namespace = wanted.namespace();
    let Some(read) = inventory::read(cluster, &namespace).await? else { return Ok(Vec::new()) };
    read.check_fence(wanted.fence)?;
    let taken = Inventory { fence: wanted.fence, job: wanted.job.clone(), ..read.inventory.clone() };
    let read = inventory::write(cluster, wanted, Some(&read), taken).await?;
    let mut objects = read.inventory.objects.clone();
    objects.sort_by_key(|owned| Reverse(owned.kind));
    let mut deleted = Vec::new();
    for owned in &objects {
        deleted.extend(delete(cluster, wanted, owned, log).await?);
    }
    cluster.delete(inventory::key(&namespace), Some(read.uid())).await?;
    Ok(deleted)
}

/// Deletes one object, if it is there and is Slipway's; returns its description when it did.
async fn delete(
    cluster: &Cluster,
    wanted: &Wanted,
    owned: &Owned,
    log: &dyn LogSink,
) -> Result<Option<String>, KubernetesError> {
    let namespace = wanted.namespace();
    let key = Key { kind: owned.kind, namespace: &namespace, name: &owned.name };
    if !owned.kind.is_readable() {
        cluster.delete(key, None).await?;
        return Ok(Some(key.describe()));
    }
    let Some(found) = cluster.get(key).await? else { return Ok(None) };
    if !owner::is_of_environment(wanted, &found) {
        log.line(&format!("The {} has lost Slipway's labels and is left alone", key.describe()));
        return Ok(None);
    }
    cluster.delete(key, found["metadata"]["uid"].as_str()).await?;
    log.line(&format!("Deleted the {}", key.describe()));
    Ok(Some(key.describe()))
}
