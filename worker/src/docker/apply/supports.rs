//! Support containers: kept while their specification is the same, replaced when it changes.

use std::collections::HashMap;

use super::super::LogSink;
use super::super::engine::Engine;
use super::super::error::DockerError;
use super::super::labels;
use super::container::{self, NewContainer, Role};
use super::inventory::{Found, Inventory};
use super::spec::{ApplySpec, RestartPolicy, Support};

/// Makes sure every support container runs. Returns whether one was created.
pub(super) async fn ensure(
    engine: &Engine,
    spec: &ApplySpec,
    log: &dyn LogSink,
) -> Result<bool, DockerError> {
    let inventory = Inventory::read(engine, &spec.scope).await?;
    let mut created = false;
    for support in &spec.supports {
        let found = inventory.supports().find(|found| found.label(labels::SUPPORT) == support.name);
        if let Some(kept) = found.filter(|found| found.label(labels::SPEC_HASH) == support.hash()) {
            if !kept.running {
                container::start(engine, &kept.id).await?;
            }
            continue;
        }
        replace(engine, spec, support, found, log).await?;
        created = true;
    }
    Ok(created)
}

/// Removes support containers the deployment no longer names.
pub(super) async fn remove_unnamed(
    engine: &Engine,
    spec: &ApplySpec,
    inventory: &Inventory,
    log: &dyn LogSink,
) -> Result<(), DockerError> {
    let named = |found: &&Found| spec.supports.iter().any(|s| s.name == found.label(labels::SUPPORT));
    for found in inventory.supports().filter(|found| !named(found)) {
        container::stop(engine, &found.id, spec.drain.stop_timeout_s).await?;
        container::remove(engine, &found.id).await?;
        log.line(&format!("Removed support {}", found.label(labels::SUPPORT)));
    }
    Ok(())
}

async fn replace(
    engine: &Engine,
    spec: &ApplySpec,
    support: &Support,
    old: Option<&Found>,
    log: &dyn LogSink,
) -> Result<(), DockerError> {
    if let Some(old) = old {
        container::stop(engine, &old.id, spec.drain.stop_timeout_s).await?;
        container::remove(engine, &old.id).await?;
    }
    let name = spec.scope.support_name(&support.name);
    let network = spec.scope.network_name();
    let id = container::create(
        engine,
        &NewContainer {
            name: &name,
            image_id: &support.image_id,
            role: Role::Support,
            network: &network,
            alias: Some(&support.name),
            port: support.port,
            env: &support.env,
            resources: &support.resources,
            labels: support_labels(spec, support),
            restart: RestartPolicy::UnlessStopped,
        },
    )
    .await?;
    container::start(engine, &id).await?;
    log.line(&format!("Started support {}", support.name));
    Ok(())
}

fn support_labels(spec: &ApplySpec, support: &Support) -> HashMap<String, String> {
    let mut all = labels::of_scope(&spec.scope);
    let own = [
        (labels::DEPLOYMENT, spec.deployment.clone()),
        (labels::JOB, spec.job.clone()),
        (labels::ROLE, labels::ROLE_SUPPORT.to_owned()),
        (labels::SUPPORT, support.name.clone()),
        (labels::NETWORK, spec.scope.network_name()),
        (labels::SPEC_HASH, support.hash()),
        (labels::FENCE, spec.fence.to_string()),
    ];
    all.extend(own.map(|(key, value)| (key.to_owned(), value)));
    all.extend(support.port.map(|port| (labels::PORT.to_owned(), port.to_string())));
    all
}
