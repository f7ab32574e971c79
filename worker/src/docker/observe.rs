//! What really runs in a scope, and the engine's events that say when to look again.

use bollard::models::{ContainerInspectResponse, ContainerStatsResponse, EventMessageTypeEnum};
use bollard::query_parameters::{
    EventsOptions, InspectContainerOptions, ListContainersOptions, StatsOptions,
};
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::error::DockerError;
use super::labels::{self, RoutingState};
use super::scope::Scope;

/// Everything Slipway runs in one scope at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveState {
    /// Application containers, by name.
    pub replicas: Vec<LiveReplica>,
    /// Support containers, by name.
    pub supports: Vec<LiveReplica>,
    /// When this was read.
    pub observed_at: Timestamp,
}

/// One container as the engine sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveReplica {
    /// Id of the container.
    pub container_id: String,
    /// Name without the suffix of the routing state; for a support, its DNS name.
    pub name: String,
    /// The deployment it belongs to.
    pub deployment: String,
    /// The engine's word: `created`, `running`, `restarting`, `exited` ...
    pub state: String,
    /// Whether the gateway routes to it.
    pub routing: RoutingState,
    /// Id of the image it runs.
    pub image_id: String,
    /// When it was started last.
    pub started_at: Option<Timestamp>,
    /// How often the engine restarted it.
    pub restarts: u64,
    /// Exit code, when it is not running.
    pub exit_code: Option<i64>,
    /// Whether the kernel ended it for using too much memory.
    pub oom_killed: bool,
    /// Address in the scope's network.
    pub ip: Option<String>,
    /// Port the application listens on.
    pub port: Option<u16>,
    /// Memory in use without the page cache.
    pub memory_bytes: Option<u64>,
    /// Processor time in use, in thousandths of a core.
    pub cpu_millis: Option<u64>,
}

/// Whether memory and processor use are measured; that takes about two seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Leave them out.
    Skip,
    /// Measure them.
    Measure,
}

/// Something happened to a container of Slipway's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerEvent {
    /// The project's slug.
    pub project: String,
    /// The environment's name.
    pub environment: String,
    /// The engine's word: `start`, `die`, `oom`, `destroy`, `rename` ...
    pub what: String,
    /// Id of the container.
    pub container_id: String,
}

/// Reads what runs in `scope`.
///
/// # Errors
/// What any call may return. Containers that vanish meanwhile are left out.
pub async fn observe(engine: &Engine, scope: &Scope, usage: Usage) -> Result<LiveState, DockerError> {
    let wanted = [
        (labels::MANAGED, "true"),
        (labels::PROJECT, scope.project()),
        (labels::ENVIRONMENT, scope.environment()),
    ];
    let options = ListContainersOptions {
        all: true,
        filters: Some(labels::filter(wanted)),
        ..ListContainersOptions::default()
    };
    let listed = engine.call("list containers", engine.docker().list_containers(Some(options))).await?;
    let ids: Vec<String> = listed.into_iter().filter_map(|container| container.id).collect();
    let seen = join_all(ids.iter().map(|id| observe_one(engine, scope, id, usage))).await;
    let mut state = LiveState { replicas: Vec::new(), supports: Vec::new(), observed_at: Timestamp::now() };
    for found in seen {
        match found? {
            Some((labels::ROLE_SUPPORT, support)) => state.supports.push(support),
            Some((_app, replica)) => state.replicas.push(replica),
            None => {}
        }
    }
    state.replicas.sort_by(|left, right| left.name.cmp(&right.name));
    state.supports.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(state)
}

/// Events of all containers Slipway made on this engine. The stream ends with the connection.
pub fn events(engine: &Engine) -> impl Stream<Item = Result<ContainerEvent, DockerError>> + Send + use<> {
    let mut filters = labels::filter([(labels::MANAGED, "true")]);
    filters.insert("type".to_owned(), vec![EventMessageTypeEnum::CONTAINER.to_string()]);
    let options = EventsOptions { filters: Some(filters), ..EventsOptions::default() };
    engine.docker().events(Some(options)).filter_map(|message| {
        std::future::ready(match message {
            Ok(message) => event_of(message).map(Ok),
            Err(error) => Some(Err(DockerError::of_engine("events", 0, error))),
        })
    })
}

/// The address of `container` in `network`, once it has one.
pub(super) fn address_in(network: &str, container: &ContainerInspectResponse) -> Option<String> {
    let networks = container.network_settings.as_ref()?.networks.as_ref()?;
    networks.get(network)?.ip_address.clone().filter(|address| !address.is_empty())
}

fn event_of(message: bollard::models::EventMessage) -> Option<ContainerEvent> {
    let actor = message.actor?;
    let mut attributes = actor.attributes?;
    Some(ContainerEvent {
        project: attributes.remove(labels::PROJECT)?,
        environment: attributes.remove(labels::ENVIRONMENT)?,
        what: message.action?,
        container_id: actor.id?,
    })
}

async fn observe_one(
    engine: &Engine,
    scope: &Scope,
    id: &str,
    usage: Usage,
) -> Result<Option<(&'static str, LiveReplica)>, DockerError> {
    let options = InspectContainerOptions::default();
    let call = engine.docker().inspect_container(id, Some(options));
    let container = match engine.call("inspect container", call).await {
        Ok(container) => container,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let (role, mut replica) = replica_of(scope, id, container);
    if usage == Usage::Measure && replica.state == "running" {
        (replica.memory_bytes, replica.cpu_millis) = measure(engine, id).await?;
    }
    Ok(Some((role, replica)))
}

fn replica_of(scope: &Scope, id: &str, container: ContainerInspectResponse) -> (&'static str, LiveReplica) {
    let ip = address_in(&scope.network_name(), &container);
    let mut labels = container.config.and_then(|config| config.labels).unwrap_or_default();
    let state = container.state.unwrap_or_default();
    let name = container.name.unwrap_or_default();
    let name = name.trim_start_matches('/');
    let is_support = labels.get(labels::ROLE).is_some_and(|role| role == labels::ROLE_SUPPORT);
    let running = state.running.unwrap_or(false);
    let replica = LiveReplica {
        container_id: id.to_owned(),
        name: labels.remove(labels::SUPPORT).unwrap_or_else(|| RoutingState::base_of(name).to_owned()),
        deployment: labels.remove(labels::DEPLOYMENT).unwrap_or_default(),
        state: state.status.map(|status| status.to_string()).unwrap_or_default(),
        routing: RoutingState::of_name(name),
        image_id: container.image.unwrap_or_default(),
        // A container never started has the year 1 here.
        started_at: state
            .started_at
            .and_then(|at| at.parse().ok())
            .filter(|at: &Timestamp| *at > Timestamp::UNIX_EPOCH),
        restarts: container.restart_count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
        exit_code: state.exit_code.filter(|_code| !running),
        oom_killed: state.oom_killed.unwrap_or(false),
        ip,
        port: labels.get(labels::PORT).and_then(|port| port.parse().ok()),
        memory_bytes: None,
        cpu_millis: None,
    };
    (if is_support { labels::ROLE_SUPPORT } else { labels::ROLE_APP }, replica)
}

async fn measure(engine: &Engine, id: &str) -> Result<(Option<u64>, Option<u64>), DockerError> {
    // Not one-shot: the engine then waits for a second reading, without which there is no processor use.
    let options = StatsOptions { stream: false, one_shot: false };
    let read = async { engine.docker().stats(id, Some(options)).next().await.transpose() };
    match engine.call("read usage", read).await {
        Ok(stats) => Ok(stats.map_or((None, None), |stats| (memory_bytes(&stats), cpu_millis(&stats)))),
        Err(error) if error.is_not_found() || error.is_conflict() => Ok((None, None)),
        Err(error) => Err(error),
    }
}

fn memory_bytes(stats: &ContainerStatsResponse) -> Option<u64> {
    let memory = stats.memory_stats.as_ref()?;
    let detail = |key: &str| memory.stats.as_ref().and_then(|all| all.get(key).copied());
    // Named `inactive_file` by version 2 of control groups, `total_inactive_file` by version 1.
    let cache = detail("total_inactive_file").or_else(|| detail("inactive_file")).unwrap_or(0);
    Some(memory.usage?.saturating_sub(cache))
}

fn cpu_millis(stats: &ContainerStatsResponse) -> Option<u64> {
    let (now, before) = (stats.cpu_stats.as_ref()?, stats.precpu_stats.as_ref()?);
    let used = |stats: &bollard::models::ContainerCpuStats| stats.cpu_usage.as_ref()?.total_usage;
    let system_ns = now.system_cpu_usage?.checked_sub(before.system_cpu_usage?).filter(|ns| *ns > 0)?;
    let used_ns = used(now)?.saturating_sub(used(before)?);
    let cores = now.online_cpus.map_or(1, u64::from).max(1);
    u64::try_from(u128::from(used_ns) * u128::from(cores) * 1000 / u128::from(system_ns)).ok()
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerCpuStats, ContainerCpuUsage};

    use super::*;

    fn reading(total: u64, system: u64) -> ContainerCpuStats {
        ContainerCpuStats {
            cpu_usage: Some(ContainerCpuUsage { total_usage: Some(total), ..ContainerCpuUsage::default() }),
            system_cpu_usage: Some(system),
            online_cpus: Some(2),
            ..ContainerCpuStats::default()
        }
    }

    #[test]
    fn processor_use_needs_two_readings() {
        let mut stats = ContainerStatsResponse {
            cpu_stats: Some(reading(1_500, 4_000)),
            precpu_stats: Some(reading(1_000, 2_000)),
            ..ContainerStatsResponse::default()
        };
        assert_eq!(cpu_millis(&stats), Some(500));
        stats.precpu_stats = Some(ContainerCpuStats::default());
        assert_eq!(cpu_millis(&stats), None);
    }
}
