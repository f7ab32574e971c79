//! The namespace of a project's environment: made with its marks, reused when it has them, never anybody else's.

use serde_json::Value;
use slipway_common::failure::FailureClass;

use super::super::cluster::{Cluster, Key};
use super::super::error::KubernetesError;
use super::super::kind::Kind;
use super::super::render;
use super::super::wanted::Wanted;
use super::owner;
use crate::docker::LogSink;

/// Makes sure that there is the namespace; returns its identity when it was made now.
pub(super) async fn ensure(
    cluster: &Cluster,
    wanted: &Wanted,
    log: &dyn LogSink,
) -> Result<Option<String>, KubernetesError> {
    let name = wanted.namespace();
    let key = key(&name);
    if let Some(found) = cluster.get(key).await? {
        return check(wanted, key, &found).map(|()| None);
    }
    match cluster.create(key, &render::namespace(wanted, cluster.settings())).await? {
        Some(made) => {
            log.line(&format!("Created the namespace {name}"));
            Ok(made["metadata"]["uid"].as_str().map(str::to_owned))
        }
        // Somebody else was faster, or an earlier run whose answer was lost.
        None => match cluster.get(key).await? {
            Some(found) => check(wanted, key, &found).map(|()| None),
            None => Ok(None),
        },
    }
}

/// Removes the namespace that was made for a deployment whose objects are refused: nothing shall stay of it.
pub(super) async fn take_back(
    cluster: &Cluster,
    name: &str,
    uid: &str,
    error: &KubernetesError,
    log: &dyn LogSink,
) {
    if error.class() != FailureClass::Permanent {
        return;
    }
    if let Err(left) = cluster.delete(key(name), Some(uid)).await {
        log.line(&format!("The empty namespace {name} could not be removed: {left}"));
    }
}

fn key(name: &str) -> Key<'_> {
    Key { kind: Kind::Namespace, namespace: "", name }
}

fn check(wanted: &Wanted, key: Key<'_>, found: &Value) -> Result<(), KubernetesError> {
    if owner::is_of_environment(wanted, found) {
        Ok(())
    } else {
        Err(KubernetesError::Conflict { object: key.describe() })
    }
}
