//! Single operations on containers. Each may be repeated; none asks whether it may be done.

use std::time::Duration;

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, ContainerUpdateBody, RestartPolicy};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, RemoveContainerOptions, RenameContainerOptions,
    StopContainerOptions,
};
use slipway_common::model::label;

use super::engine::{self, Engine, EngineError};

/// Creates the container and returns its id.
pub(super) async fn create(
    engine: &Engine,
    name: &str,
    body: ContainerCreateBody,
) -> Result<String, EngineError> {
    let options = CreateContainerOptions { name: Some(name.to_owned()), ..CreateContainerOptions::default() };
    let call = engine.docker()?.create_container(Some(options), body);
    match engine::call("create container", call).await {
        Ok(created) => Ok(created.id),
        Err(error) if error.is_conflict() => Err(name_taken(engine, name, error).await),
        Err(error) => Err(error),
    }
}

/// Starts the container; one that runs already is fine.
pub(super) async fn start(engine: &Engine, id: &str) -> Result<(), EngineError> {
    engine::call("start container", engine.docker()?.start_container(id, None)).await
}

/// Renames the container; one that has the name already is fine.
pub(super) async fn rename(engine: &Engine, id: &str, name: &str) -> Result<(), EngineError> {
    let options = RenameContainerOptions { name: name.to_owned() };
    let call = engine.docker()?.rename_container(id, options);
    let Err(error) = engine::call("rename container", call).await else { return Ok(()) };
    let found = inspect(engine, id).await?;
    let has_it = found.and_then(|found| found.name).is_some_and(|own| own == format!("/{name}"));
    if has_it {
        Ok(())
    } else if error.is_conflict() {
        Err(name_taken(engine, name, error).await)
    } else {
        Err(error)
    }
}

/// Sets what the engine does when the container ends.
pub(super) async fn set_restart(
    engine: &Engine,
    id: &str,
    restart: &RestartPolicy,
) -> Result<(), EngineError> {
    let update =
        ContainerUpdateBody { restart_policy: Some(restart.clone()), ..ContainerUpdateBody::default() };
    engine::call("update container", engine.docker()?.update_container(id, update)).await
}

/// Asks the container to end, and makes it end after `grace_s`. One that is gone is fine.
pub(super) async fn stop(engine: &Engine, id: &str, grace_s: u32) -> Result<(), EngineError> {
    let options = StopContainerOptions { t: i32::try_from(grace_s).ok(), ..StopContainerOptions::default() };
    let call = engine.docker()?.stop_container(id, Some(options));
    let stopped = engine::call_longer("stop container", Duration::from_secs(u64::from(grace_s)), call).await;
    stopped.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
}

/// Whether a container is removed while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// It is ended.
    Forced,
    /// It stays: it was started again meanwhile.
    IfEnded,
}

/// Removes the container with its anonymous volumes. One that is gone, is being removed or is to stay is fine.
pub(super) async fn remove(engine: &Engine, id: &str, removal: Removal) -> Result<(), EngineError> {
    let options = RemoveContainerOptions {
        force: removal == Removal::Forced,
        v: true,
        ..RemoveContainerOptions::default()
    };
    let removed =
        engine::call("remove container", engine.docker()?.remove_container(id, Some(options))).await;
    removed.or_else(|error| if error.is_not_found() || error.is_conflict() { Ok(()) } else { Err(error) })
}

/// The container as the engine sees it, if it is there.
pub(super) async fn inspect(
    engine: &Engine,
    id: &str,
) -> Result<Option<ContainerInspectResponse>, EngineError> {
    let options = InspectContainerOptions::default();
    match engine::call("inspect container", engine.docker()?.inspect_container(id, Some(options))).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a taken name is Slipway's own (the engine's answer stands, and the next look resolves it) or foreign.
async fn name_taken(engine: &Engine, name: &str, error: EngineError) -> EngineError {
    let Ok(Some(found)) = inspect(engine, name).await else { return error };
    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
    if labels.get(label::MANAGED).is_some_and(|value| value == "true") {
        error
    } else {
        EngineError::Foreign { name: name.to_owned() }
    }
}
