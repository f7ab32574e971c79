//! Puts a deployment on the engine: network, support containers, replicas; swaps the routing when all replicas are
//! healthy; then drains what served before. Run again after any interruption it goes on from what it finds.

mod container;
mod drain;
mod gateway_port;
mod health;
mod inventory;
mod network;
mod replicas;
mod spec;
mod supports;

use tokio_util::sync::CancellationToken;

pub use self::drain::stop;
pub use self::gateway_port::{GatewayPort, PortRange, gateway_port, port_is_free};
pub use self::spec::{ApplySpec, DrainPolicy, HealthCheck, REPLICAS_MAX, Resources, RestartPolicy, Support};

use self::inventory::Inventory;
use self::replicas::Replica;
use super::engine::Engine;
use super::error::DockerError;
use super::labels::RoutingState;
use super::{LogSink, observe};

/// What is running after an apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The deployment's replicas, in the order of their numbers.
    pub replicas: Vec<AppliedReplica>,
    /// Names of the containers that served before and are gone now.
    pub removed: Vec<String>,
    /// Whether nothing had to be changed.
    pub unchanged: bool,
}

/// One replica that takes requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedReplica {
    /// Id of the container.
    pub container_id: String,
    /// Name of the container.
    pub name: String,
    /// Address in the project's network.
    pub ip: String,
}

/// Makes the engine run `spec` and nothing else in its scope.
///
/// Until all new replicas are healthy, the previous ones serve. When anything fails before that, what this
/// deployment added is removed again and the previous ones go on serving. `cancel` counts until then; once the
/// routing changes, the apply goes through.
///
/// # Errors
/// [`DockerError::Stale`] when a newer job has worked in this scope; [`DockerError::PortTaken`] when another scope was
/// given the same gateway port; [`DockerError::Exited`],
/// [`DockerError::OutOfMemory`], [`DockerError::PortUnreachable`] or [`DockerError::Unhealthy`] when a replica does
/// not come up; [`DockerError::Conflict`] when a name is taken by a foreign object; and what any call may return.
pub async fn apply(
    engine: &Engine,
    spec: &ApplySpec,
    log: &dyn LogSink,
    cancel: &CancellationToken,
) -> Result<Applied, DockerError> {
    spec.check()?;
    let inventory = Inventory::read(engine, &spec.scope).await?;
    inventory.check_fence(spec.fence)?;
    let prepared = tokio::select! {
        prepared = prepare(engine, spec, log) => prepared,
        () = cancel.cancelled() => Err(DockerError::Cancelled { operation: "apply" }),
    };
    let (replicas, created) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return Err(give_up(engine, spec, error, log).await),
    };
    let serving_already = replicas.iter().filter(|replica| replica.state == RoutingState::Serving).count();
    promote(engine, &replicas, log).await?;
    let removed = retire(engine, spec, &replicas, log).await?;
    let unchanged = !created && removed.is_empty() && serving_already == replicas.len();
    let replicas = replicas.into_iter().map(|replica| AppliedReplica {
        name: replica.base_name().to_owned(),
        container_id: replica.id,
        ip: replica.ip,
    });
    Ok(Applied { replicas: replicas.collect(), removed, unchanged })
}

/// Brings up everything new without touching what serves. The flag tells whether a container was created.
async fn prepare(
    engine: &Engine,
    spec: &ApplySpec,
    log: &dyn LogSink,
) -> Result<(Vec<Replica>, bool), DockerError> {
    network::ensure(engine, &spec.scope).await?;
    let mut created = supports::ensure(engine, spec, log).await?;
    let inventory = Inventory::read(engine, &spec.scope).await?;
    let (mut replicas, added) = replicas::ensure(engine, spec, &inventory, log).await?;
    created |= added;
    if let Some(port) = spec.gateway_port
        && !inventory.apps().any(|found| found.state() == RoutingState::Serving)
    {
        gateway_port::check_unshared(engine, &spec.scope, port).await?;
    }
    health::wait_for_all(engine, spec, &mut replicas, log).await?;
    // The last look before the routing changes: a zombie must not get past this point.
    Inventory::read(engine, &spec.scope).await?.check_fence(spec.fence)?;
    Ok((replicas, created))
}

/// Lets the gateway route to the new replicas.
async fn promote(engine: &Engine, replicas: &[Replica], log: &dyn LogSink) -> Result<(), DockerError> {
    for replica in replicas.iter().filter(|replica| replica.state != RoutingState::Serving) {
        container::rename(engine, &replica.id, replica.base_name()).await?;
        log.line(&format!("{} takes requests", replica.base_name()));
    }
    Ok(())
}

/// Drains and removes all application containers but `replicas`, and supports the deployment no longer names.
async fn retire(
    engine: &Engine,
    spec: &ApplySpec,
    replicas: &[Replica],
    log: &dyn LogSink,
) -> Result<Vec<String>, DockerError> {
    let inventory = Inventory::read(engine, &spec.scope).await?;
    let old: Vec<_> = inventory
        .apps()
        .filter(|found| !replicas.iter().any(|replica| replica.id == found.id))
        .cloned()
        .collect();
    let removed = drain::drain(engine, &old, &spec.drain, log).await?;
    supports::remove_unnamed(engine, spec, &inventory, log).await?;
    Ok(removed)
}

/// Removes what the failed deployment added, and returns the error that made it fail.
async fn give_up(engine: &Engine, spec: &ApplySpec, error: DockerError, log: &dyn LogSink) -> DockerError {
    // A newer job owns the scope now, or the engine is gone: the next run cleans up.
    if matches!(error, DockerError::Stale { .. } | DockerError::Unreachable { .. }) {
        return error;
    }
    if let Err(cleanup) = replicas::remove_starting(engine, spec).await {
        log.line(&format!("The containers of the failed deployment could not be removed: {cleanup}"));
        tracing::warn!(error = %cleanup, deployment = %spec.deployment, "cleanup after a failed apply");
    }
    error
}

/// The last lines a container printed, without the secrets it was given.
async fn last_lines(engine: &Engine, spec: &ApplySpec, id: &str) -> Vec<String> {
    let redactor = crate::text::Redactor::new(spec.env.values());
    let lines = super::logs::tail(engine, id, crate::text::TAIL_LINES_MAX, redactor).await;
    // The logs explain an error; that they cannot be read is no error of its own.
    lines.unwrap_or_default()
}

/// The address of a container in `network`, once it has one.
fn address_in(network: &str, container: &bollard::models::ContainerInspectResponse) -> Option<String> {
    observe::address_in(network, container)
}
