//! Single operations on containers: the locked-down configuration, and create, rename, stop and remove that may be
//! repeated.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, EndpointSettings, HostConfig, HostConfigLogConfig,
    NetworkingConfig, RestartPolicy as EngineRestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, RemoveContainerOptions, RenameContainerOptions,
    StopContainerOptions,
};
use secrecy::{ExposeSecret, SecretString};

use super::super::engine::Engine;
use super::super::error::DockerError;
use super::super::labels;
use super::spec::{Resources, RestartPolicy};
use crate::failpoint::{self, Place};

/// What an application may do beyond an ordinary process: listen on a port below 1024. Images made for other
/// platforms listen on 80, and nothing else of root's powers is needed for that.
const APP_CAPABILITIES: [&str; 1] = ["NET_BIND_SERVICE"];
/// Official database images start as root, hand their data directory to their own user and become that user.
const SUPPORT_CAPABILITIES: [&str; 6] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "NET_BIND_SERVICE", "SETGID", "SETUID"];
/// Size of one log file of a container, and their number.
const LOG_FILE_MAX: &str = "10m";
const LOG_FILES: &str = "3";

/// A container to create.
pub(super) struct NewContainer<'a> {
    pub(super) name: &'a str,
    pub(super) image_id: &'a str,
    pub(super) role: Role,
    pub(super) network: &'a str,
    pub(super) alias: Option<&'a str>,
    pub(super) port: Option<u16>,
    pub(super) env: &'a BTreeMap<String, SecretString>,
    pub(super) resources: &'a Resources,
    pub(super) labels: HashMap<String, String>,
    pub(super) restart: RestartPolicy,
}

/// What a container is for; decides what it may do.
#[derive(Clone, Copy)]
pub(super) enum Role {
    App,
    Support,
}

impl Role {
    fn capabilities(self) -> Vec<String> {
        let kept: &[&str] = match self {
            Self::App => &APP_CAPABILITIES,
            Self::Support => &SUPPORT_CAPABILITIES,
        };
        kept.iter().map(|&name| name.to_owned()).collect()
    }
}

/// Creates the container and returns its id.
pub(super) async fn create(engine: &Engine, new: &NewContainer<'_>) -> Result<String, DockerError> {
    let options =
        CreateContainerOptions { name: Some(new.name.to_owned()), ..CreateContainerOptions::default() };
    match failpoint::around(
        Place::ContainerCreate,
        engine.call("create container", engine.docker().create_container(Some(options), body(new))),
    )
    .await
    {
        Ok(created) => Ok(created.id),
        Err(error) if error.is_conflict() => Err(name_taken(engine, new.name, error).await),
        Err(error) if error.is_not_found() => {
            Err(DockerError::ImageNotFound { image: new.image_id.to_owned() })
        }
        Err(error) => Err(error),
    }
}

/// Starts the container; one that runs already is fine.
pub(super) async fn start(engine: &Engine, id: &str) -> Result<(), DockerError> {
    failpoint::around(
        Place::ContainerStart,
        engine.call("start container", engine.docker().start_container(id, None)),
    )
    .await
}

/// Renames the container; one that has the name already is fine.
pub(super) async fn rename(engine: &Engine, id: &str, name: &str) -> Result<(), DockerError> {
    let options = RenameContainerOptions { name: name.to_owned() };
    match failpoint::around(
        Place::ContainerRename,
        engine.call("rename container", engine.docker().rename_container(id, options)),
    )
    .await
    {
        Ok(()) => Ok(()),
        Err(error) => {
            let inspected = inspect(engine, id).await?;
            let has_it = inspected.and_then(|found| found.name).is_some_and(|own| own == format!("/{name}"));
            if has_it { Ok(()) } else { Err(name_taken(engine, name, error).await) }
        }
    }
}

/// Sets what the engine does when the container ends.
pub(super) async fn set_restart(
    engine: &Engine,
    id: &str,
    restart: RestartPolicy,
) -> Result<(), DockerError> {
    let update = ContainerUpdateBody {
        restart_policy: Some(restart_policy(restart)),
        ..ContainerUpdateBody::default()
    };
    failpoint::around(
        Place::ContainerUpdate,
        engine.call("update container", engine.docker().update_container(id, update)),
    )
    .await
}

/// Asks the container to end, and makes it end after `timeout_s`.
pub(super) async fn stop(engine: &Engine, id: &str, timeout_s: u32) -> Result<(), DockerError> {
    let options =
        StopContainerOptions { t: i32::try_from(timeout_s).ok(), ..StopContainerOptions::default() };
    let call = engine.docker().stop_container(id, Some(options));
    match failpoint::around(
        Place::ContainerStop,
        engine.call_longer("stop container", Duration::from_secs(u64::from(timeout_s)), call),
    )
    .await
    {
        Err(error) if error.is_not_found() => Ok(()),
        ended => ended,
    }
}

/// Removes the container with its anonymous volumes; one that is gone already is fine.
pub(super) async fn remove(engine: &Engine, id: &str) -> Result<(), DockerError> {
    let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
    match failpoint::around(
        Place::ContainerRemove,
        engine.call("remove container", engine.docker().remove_container(id, Some(options))),
    )
    .await
    {
        // 409: another run removes it at this moment.
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        ended => ended,
    }
}

/// The container as the engine sees it, if it is there.
pub(super) async fn inspect(
    engine: &Engine,
    id: &str,
) -> Result<Option<bollard::models::ContainerInspectResponse>, DockerError> {
    let options = InspectContainerOptions::default();
    match engine.call("inspect container", engine.docker().inspect_container(id, Some(options))).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a taken name is Slipway's own (the engine's answer stands, and a retry resolves it) or foreign.
async fn name_taken(engine: &Engine, name: &str, error: DockerError) -> DockerError {
    match inspect(engine, name).await {
        Ok(Some(found)) => {
            let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
            if labels.get(labels::MANAGED).is_some_and(|value| value == "true") {
                error
            } else {
                DockerError::Conflict { kind: "container", name: name.to_owned() }
            }
        }
        Ok(None) | Err(_) => error,
    }
}

fn body(new: &NewContainer<'_>) -> ContainerCreateBody {
    let aliases = new.alias.map(|alias| vec![alias.to_owned()]);
    let endpoint = EndpointSettings { aliases, ..EndpointSettings::default() };
    ContainerCreateBody {
        image: Some(new.image_id.to_owned()),
        env: Some(new.env.iter().map(|(name, value)| format!("{name}={}", value.expose_secret())).collect()),
        exposed_ports: new.port.map(|port| vec![format!("{port}/tcp")]),
        labels: Some(new.labels.clone()),
        host_config: Some(host_config(new)),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(new.network.to_owned(), endpoint)])),
        }),
        ..ContainerCreateBody::default()
    }
}

fn host_config(new: &NewContainer<'_>) -> HostConfig {
    let memory = i64::try_from(new.resources.memory_bytes).unwrap_or(i64::MAX);
    let log_options =
        [("max-size", LOG_FILE_MAX), ("max-file", LOG_FILES)].map(|(k, v)| (k.to_owned(), v.to_owned()));
    HostConfig {
        memory: Some(memory),
        // The same figure for memory and swap together: no swap.
        memory_swap: Some(memory),
        nano_cpus: Some(i64::from(new.resources.cpu_millis) * 1_000_000),
        pids_limit: Some(i64::from(new.resources.pids)),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(new.role.capabilities()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        privileged: Some(false),
        // Reaps orphans and passes signals on, so that programs that are no good first process end on SIGTERM.
        init: Some(true),
        network_mode: Some(new.network.to_owned()),
        restart_policy: Some(restart_policy(new.restart)),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from(log_options)),
        }),
        ..HostConfig::default()
    }
}

fn restart_policy(restart: RestartPolicy) -> EngineRestartPolicy {
    let (name, attempts) = match restart {
        RestartPolicy::Never => (RestartPolicyNameEnum::NO, None),
        RestartPolicy::OnFailure { attempts } => {
            (RestartPolicyNameEnum::ON_FAILURE, Some(i64::from(attempts)))
        }
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
    };
    EngineRestartPolicy { name: Some(name), maximum_retry_count: attempts }
}
