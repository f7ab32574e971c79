//! Whose objects and host names are: what others made is left to them.

use serde_json::Value;

use super::super::cluster::{Cluster, Key};
use super::super::error::KubernetesError;
use super::super::labels;
use super::super::render::Manifest;
use super::super::wanted::Wanted;
use super::super::watch::Watch;

/// Checks that an object of this name is free, or was made by Slipway for this project and environment.
pub(super) async fn check(
    cluster: &Cluster,
    wanted: &Wanted,
    manifest: &Manifest,
) -> Result<(), KubernetesError> {
    let namespace = wanted.namespace();
    let key = Key { kind: manifest.kind, namespace: &namespace, name: &manifest.name };
    match cluster.get(key).await? {
        Some(found) if !is_of_environment(wanted, &found) => {
            Err(KubernetesError::Conflict { object: key.describe() })
        }
        _ => Ok(()),
    }
}

/// Whether Slipway made the object for this project and environment.
pub(super) fn is_of_environment(wanted: &Wanted, object: &Value) -> bool {
    let found = &object["metadata"]["labels"];
    found[labels::MANAGED_BY] == labels::SLIPWAY
        && found[labels::PROJECT] == wanted.project.as_str()
        && found[labels::ENVIRONMENT] == wanted.environment.as_str()
}

/// The error of trying objects nobody knows of yet: that fields belong to another manager means that the object does.
pub(super) fn of_another(error: KubernetesError, tried: &[&Manifest]) -> KubernetesError {
    let KubernetesError::Api { operation, status: 409, reason } = &error else { return error };
    if !reason.contains("conflict with ") {
        return error;
    }
    let object = tried.iter().map(|manifest| format!("{} {}", manifest.kind.as_str(), manifest.name));
    match object.into_iter().find(|object| operation.ends_with(object.as_str())) {
        Some(object) => KubernetesError::Conflict { object },
        None => error,
    }
}

/// Checks that no other namespace serves one of the host names.
pub(super) fn check_hostnames(
    watch: &Watch,
    wanted: &Wanted,
    hostnames: &[String],
) -> Result<(), KubernetesError> {
    let own = wanted.namespace();
    for hostname in hostnames {
        if let Some(namespace) = watch.namespaces_of(hostname).into_iter().find(|other| *other != own) {
            return Err(KubernetesError::HostnameTaken { hostname: hostname.clone(), namespace });
        }
    }
    Ok(())
}
