//! The network of one scope: created once, shared by all its containers, removed when empty.

use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::InspectNetworkOptions;

use super::super::engine::Engine;
use super::super::error::DockerError;
use super::super::labels;
use super::super::scope::Scope;
use crate::failpoint::{self, Place};

/// Makes sure the scope's network is there.
pub(super) async fn ensure(engine: &Engine, scope: &Scope) -> Result<(), DockerError> {
    if is_ours(engine, scope).await? {
        return Ok(());
    }
    let request = NetworkCreateRequest {
        name: scope.network_name(),
        driver: Some("bridge".to_owned()),
        labels: Some(labels::of_scope(scope)),
        ..NetworkCreateRequest::default()
    };
    match failpoint::around(
        Place::NetworkCreate,
        engine.call("create network", engine.docker().create_network(request)),
    )
    .await
    {
        Ok(_created) => Ok(()),
        // Somebody was faster: fine if it was Slipway.
        Err(error) if error.is_conflict() => is_ours(engine, scope).await.map(|_ours| ()),
        Err(error) => Err(error),
    }
}

/// Removes the scope's network unless something is still connected to it.
pub(super) async fn remove_if_empty(engine: &Engine, scope: &Scope) -> Result<(), DockerError> {
    if !is_ours(engine, scope).await? {
        return Ok(());
    }
    match failpoint::around(
        Place::NetworkRemove,
        engine.call("remove network", engine.docker().remove_network(&scope.network_name())),
    )
    .await
    {
        Ok(()) => Ok(()),
        // 403: the network has active endpoints.
        Err(error) if error.is_not_found() || error.status() == Some(403) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether the network exists; one that exists without the scope's labels is an error.
async fn is_ours(engine: &Engine, scope: &Scope) -> Result<bool, DockerError> {
    let name = scope.network_name();
    let options = InspectNetworkOptions::default();
    match engine.call("inspect network", engine.docker().inspect_network(&name, Some(options))).await {
        Ok(network) if network.labels.as_ref().is_some_and(|own| labels::belongs_to(own, scope)) => Ok(true),
        Ok(_foreign) => Err(DockerError::Conflict { kind: "network", name }),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
