//! Taking containers out of service: end the routing, wait, ask them to end, remove them.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::super::LogSink;
use super::super::engine::Engine;
use super::super::error::DockerError;
use super::super::labels::{self, RoutingState};
use super::super::scope::Scope;
use super::inventory::{Found, Inventory};
use super::spec::DrainPolicy;
use super::{container, network};

/// Stops one deployment of `scope`, or everything in it, and removes what only that needed.
/// Returns the names of the containers removed; none when there was nothing.
///
/// # Errors
/// [`DockerError::Stale`] when a container was made under a fence above `fence`, and what any call may return.
pub async fn stop(
    engine: &Engine,
    scope: &Scope,
    deployment: Option<&str>,
    fence: u64,
    policy: &DrainPolicy,
    log: &dyn LogSink,
) -> Result<Vec<String>, DockerError> {
    let inventory = Inventory::read(engine, scope).await?;
    inventory.check_fence(fence)?;
    let concerned = |found: &&Found| deployment.is_none_or(|id| found.label(labels::DEPLOYMENT) == id);
    let apps: Vec<Found> = inventory.apps().filter(concerned).cloned().collect();
    let mut removed = drain(engine, &apps, policy, log).await?;
    let left = Inventory::read(engine, scope).await?;
    if left.apps().next().is_none() {
        for support in left.supports() {
            container::stop(engine, &support.id, policy.stop_timeout_s).await?;
            container::remove(engine, &support.id).await?;
            removed.push(support.name.clone());
        }
        network::remove_if_empty(engine, scope).await?;
    }
    Ok(removed)
}

/// Drains, stops and removes `containers`; returns their names without suffix.
pub(super) async fn drain(
    engine: &Engine,
    containers: &[Found],
    policy: &DrainPolicy,
    log: &dyn LogSink,
) -> Result<Vec<String>, DockerError> {
    for found in containers.iter().filter(|found| found.state() == RoutingState::Serving) {
        container::rename(engine, &found.id, &RoutingState::Draining.name(&found.name)).await?;
        log.line(&format!("{} takes no more requests", found.name));
    }
    if containers.iter().any(|found| found.running && found.state() != RoutingState::Starting) {
        tokio::time::sleep(Duration::from_millis(policy.drain_ms)).await;
    }
    try_join_all(containers.iter().map(|found| end(engine, found, policy))).await?;
    Ok(containers.iter().map(|found| RoutingState::base_of(&found.name).to_owned()).collect())
}

async fn end(engine: &Engine, found: &Found, policy: &DrainPolicy) -> Result<(), DockerError> {
    if found.running && found.state() != RoutingState::Starting {
        container::stop(engine, &found.id, policy.stop_timeout_s).await?;
    }
    container::remove(engine, &found.id).await
}
