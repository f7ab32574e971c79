//! Replicas of one deployment: adopted where an earlier run left them, created where they are missing.

use std::collections::{BTreeSet, HashMap};

use super::super::LogSink;
use super::super::engine::Engine;
use super::super::error::DockerError;
use super::super::labels::{self, RoutingState};
use super::container::{self, NewContainer, Role};
use super::inventory::{Found, Inventory};
use super::spec::{ApplySpec, RestartPolicy};

/// A replica of the deployment being applied.
pub(super) struct Replica {
    pub(super) id: String,
    /// Name with the suffix of its state.
    pub(super) name: String,
    pub(super) state: RoutingState,
    /// Address in the scope's network; empty until it is known to be healthy.
    pub(super) ip: String,
}

impl Replica {
    /// Name without the suffix: what it is called when it serves.
    pub(super) fn base_name(&self) -> &str {
        RoutingState::base_of(&self.name)
    }

    fn adopted(found: &Found) -> Self {
        Self { id: found.id.clone(), name: found.name.clone(), state: found.state(), ip: String::new() }
    }
}

/// Adopts, starts and creates containers until there are `spec.replicas`. Tells whether one was created.
pub(super) async fn ensure(
    engine: &Engine,
    spec: &ApplySpec,
    inventory: &Inventory,
    log: &dyn LogSink,
) -> Result<(Vec<Replica>, bool), DockerError> {
    let hash = spec.app_hash();
    let mut taken: BTreeSet<u32> = own(spec, inventory).filter_map(Found::replica).collect();
    let mut replicas = Vec::new();
    for found in adoptable(spec, inventory, &hash) {
        if !found.running && !found.fresh {
            // It ended: a fresh one shows why, or works.
            container::remove(engine, &found.id).await?;
            taken.retain(|number| Some(*number) != found.replica());
            continue;
        }
        if found.fresh {
            container::start(engine, &found.id).await?;
        }
        replicas.push(Replica::adopted(found));
        if replicas.len() == wanted(spec) {
            break;
        }
    }
    let mut created = false;
    while replicas.len() < wanted(spec) {
        // Numbers of containers with another specification are passed over: both run for a while.
        let number = (1..).find(|number| taken.insert(*number)).unwrap_or(u32::MAX);
        let replica = create(engine, spec, number, &hash).await?;
        log.line(&format!("Started {}", replica.base_name()));
        replicas.push(replica);
        created = true;
    }
    replicas.sort_by(|left, right| left.base_name().cmp(right.base_name()));
    Ok((replicas, created))
}

/// Removes the containers of this deployment that do not serve yet.
pub(super) async fn remove_starting(engine: &Engine, spec: &ApplySpec) -> Result<(), DockerError> {
    let inventory = Inventory::read(engine, &spec.scope).await?;
    for found in own(spec, &inventory).filter(|found| found.state() == RoutingState::Starting) {
        container::remove(engine, &found.id).await?;
    }
    Ok(())
}

fn wanted(spec: &ApplySpec) -> usize {
    usize::try_from(spec.replicas).unwrap_or(usize::MAX)
}

fn own<'a>(spec: &'a ApplySpec, inventory: &'a Inventory) -> impl Iterator<Item = &'a Found> {
    inventory.apps().filter(|found| found.label(labels::DEPLOYMENT) == spec.deployment)
}

/// Containers with the very same specification, those that serve first, then by number.
fn adoptable<'a>(spec: &'a ApplySpec, inventory: &'a Inventory, hash: &str) -> Vec<&'a Found> {
    let mut found: Vec<&Found> = own(spec, inventory)
        .filter(|found| found.label(labels::SPEC_HASH) == hash)
        .filter(|found| found.state() != RoutingState::Draining)
        .collect();
    found.sort_by_key(|found| (!found.running, found.state() == RoutingState::Starting, found.replica()));
    found
}

async fn create(engine: &Engine, spec: &ApplySpec, number: u32, hash: &str) -> Result<Replica, DockerError> {
    let name = RoutingState::Starting.name(&spec.scope.replica_name(&spec.deployment, number));
    let network = spec.scope.network_name();
    let id = container::create(
        engine,
        &NewContainer {
            name: &name,
            image_id: &spec.image_id,
            role: Role::App,
            network: &network,
            alias: None,
            port: Some(spec.port),
            env: &spec.env,
            resources: &spec.resources,
            labels: replica_labels(spec, number, hash),
            restart: RestartPolicy::Never,
        },
    )
    .await?;
    container::start(engine, &id).await?;
    Ok(Replica { id, name, state: RoutingState::Starting, ip: String::new() })
}

fn replica_labels(spec: &ApplySpec, number: u32, hash: &str) -> HashMap<String, String> {
    let mut all = labels::of_scope(&spec.scope);
    let own = [
        (labels::DEPLOYMENT, spec.deployment.clone()),
        (labels::JOB, spec.job.clone()),
        (labels::ROLE, labels::ROLE_APP.to_owned()),
        (labels::REPLICA, number.to_string()),
        (labels::PORT, spec.port.to_string()),
        (labels::NETWORK, spec.scope.network_name()),
        (labels::SPEC_HASH, hash.to_owned()),
        (labels::FENCE, spec.fence.to_string()),
    ];
    all.extend(own.map(|(key, value)| (key.to_owned(), value)));
    all.extend(spec.gateway_port.map(|port| (labels::GATEWAY_PORT.to_owned(), port.to_string())));
    all.extend(spec.health.path.as_ref().map(|path| (labels::HEALTH_PATH.to_owned(), path.clone())));
    all
}
