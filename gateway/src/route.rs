//! The routing decision: which containers stand behind which port. Pure; sources feed it, the manager
//! applies it. A route is found by its port today; a host-name matcher would become part of [`Route`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    net::{IpAddr, SocketAddr},
};

use serde::Serialize;
use slipway_common::model::DeploymentId;
pub use slipway_common::model::label::{self, RoutingState};

#[cfg(test)]
mod tests;

/// The application a port belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct App {
    /// Slug of the project.
    pub project: String,
    /// Slug of the environment.
    pub environment: String,
}

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.environment)
    }
}

/// One container as a source saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Identifier, unique for ever.
    pub id: String,
    /// Name; its suffix is the [`RoutingState`].
    pub name: String,
    /// Creation time in seconds since 1970.
    pub created_unix_s: i64,
    /// What it is doing.
    pub activity: Activity,
    /// Its labels.
    pub labels: HashMap<String, String>,
    /// Its address in each network.
    pub addresses: BTreeMap<String, IpAddr>,
}

/// What a container is doing, as far as routing cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Runs, and may get requests.
    Running,
    /// Paused, or between two runs: no requests, yet its claim on a port is alive.
    Interrupted,
    /// Never started, exited or dying: keeps a port only when nobody else wants it.
    Ended,
}

/// How a replica's health is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthCheck {
    /// A connection is enough.
    Tcp,
    /// `GET` of a path must answer 200 to 399.
    Http {
        /// The path, with its query.
        path: String,
    },
}

/// One replica that may get requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replica {
    /// Identifier of its container.
    pub container_id: String,
    /// Name of its container.
    pub name: String,
    /// The deployment that made it, when its label says so.
    pub deployment: Option<DeploymentId>,
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is checked.
    pub health: HealthCheck,
}

/// What stands behind one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Owner of the port.
    pub app: App,
    /// The deployment that requests are for: the newest that serves, else the newest there is.
    pub deployment: Option<DeploymentId>,
    /// Replicas that may get requests; empty while all of them start, drain or are stopped.
    pub replicas: Vec<Replica>,
}

/// A port two applications want.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The port.
    pub port: u16,
    /// The application that has it.
    pub owner: App,
    /// The application that does not get it.
    pub refused: App,
}

/// A container whose labels or addresses do not make a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// Name of the container.
    pub container: String,
    /// What is wrong.
    pub reason: String,
}

/// Every route there is, by port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RouteTable {
    /// Route of each port.
    pub routes: BTreeMap<u16, Route>,
    /// Claims that lost.
    pub conflicts: Vec<Conflict>,
    /// Containers that could not be read as routes.
    pub rejected: Vec<Rejected>,
}

impl RouteTable {
    /// Decides the routes from the containers there are. `previous` gives the applications that hold ports
    /// now: they keep them while they run, else the one with the oldest container wins.
    pub fn build(containers: &[Container], previous: &Self) -> Self {
        let mut table = Self::default();
        let mut claims: BTreeMap<u16, BTreeMap<App, Claim<'_>>> = BTreeMap::new();
        for container in containers {
            match declaration(container) {
                Ok(Some((port, app))) => {
                    claims.entry(port).or_default().entry(app).or_default().containers.push(container);
                }
                Ok(None) => {}
                Err(reason) => table.reject(container, reason),
            }
        }
        for (port, apps) in claims {
            table.settle(port, apps, previous.routes.get(&port).map(|route| &route.app));
        }
        table
    }

    fn settle(&mut self, port: u16, claims: BTreeMap<App, Claim<'_>>, incumbent: Option<&App>) {
        let Some(owner) = claims
            .iter()
            .min_by_key(|(app, claim)| (!claim.is_alive(), Some(*app) != incumbent, claim.oldest_unix_s()))
            .map(|(app, _)| app.clone())
        else {
            return;
        };
        for (app, claim) in claims {
            if app == owner {
                let (deployment, replicas) = (claim.deployment(), self.replicas(&claim));
                self.routes.insert(port, Route { app, deployment, replicas });
            } else {
                self.conflicts.push(Conflict { port, owner: owner.clone(), refused: app });
            }
        }
    }

    fn replicas(&mut self, claim: &Claim<'_>) -> Vec<Replica> {
        let mut replicas = Vec::new();
        for container in claim.containers.iter().filter(|container| serves(container)) {
            match replica(container) {
                Ok(replica) => replicas.push(replica),
                Err(reason) => self.reject(container, reason),
            }
        }
        replicas.sort_by(|a, b| a.container_id.cmp(&b.container_id));
        replicas
    }

    fn reject(&mut self, container: &Container, reason: String) {
        self.rejected.push(Rejected { container: container.name.clone(), reason });
    }

    /// The ports there are routes for.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.routes.keys().copied().collect()
    }
}

/// The containers of one application that declare one port.
#[derive(Debug, Default)]
struct Claim<'a> {
    containers: Vec<&'a Container>,
}

impl Claim<'_> {
    fn is_alive(&self) -> bool {
        self.containers.iter().any(|container| container.activity != Activity::Ended)
    }

    /// In a rollout two serve for a moment: the older one is about to go.
    fn deployment(&self) -> Option<DeploymentId> {
        let newest = self.containers.iter().max_by_key(|container| {
            let is_alive = container.activity != Activity::Ended;
            (serves(container), is_alive, container.created_unix_s)
        });
        newest.and_then(|container| deployment(container))
    }

    fn oldest_unix_s(&self) -> i64 {
        self.containers.iter().map(|container| container.created_unix_s).min().unwrap_or(i64::MAX)
    }
}

/// The port a container declares and for whom; `None` when it does not ask to be routed.
fn declaration(container: &Container) -> Result<Option<(u16, App)>, String> {
    let is = |name: &str, value: &str| container.labels.get(name).is_some_and(|found| found == value);
    if !is(label::MANAGED, "true") || !is(label::ROLE, "app") {
        return Ok(None);
    }
    if !container.labels.contains_key(label::GATEWAY_PORT) {
        return Ok(None);
    }
    let app = App {
        project: required(container, label::PROJECT)?.to_owned(),
        environment: required(container, label::ENVIRONMENT)?.to_owned(),
    };
    Ok(Some((port(container, label::GATEWAY_PORT)?, app)))
}

fn replica(container: &Container) -> Result<Replica, String> {
    let address = SocketAddr::new(ip(container)?, port(container, label::PORT)?);
    let health = match container.labels.get(label::HEALTH_PATH) {
        None => HealthCheck::Tcp,
        Some(path) if is_request_path(path) => HealthCheck::Http { path: path.clone() },
        Some(_) => return Err(format!("label {} is not a request path", label::HEALTH_PATH)),
    };
    Ok(Replica {
        container_id: container.id.clone(),
        name: container.name.clone(),
        deployment: deployment(container),
        address,
        health,
    })
}

fn serves(container: &Container) -> bool {
    container.activity == Activity::Running && RoutingState::of_name(&container.name) == RoutingState::Serving
}

/// Nothing for a label that is no id: requests are routed all the same, and only not counted for anybody.
fn deployment(container: &Container) -> Option<DeploymentId> {
    container.labels.get(label::DEPLOYMENT)?.parse().ok()
}

fn ip(container: &Container) -> Result<IpAddr, String> {
    match container.labels.get(label::NETWORK) {
        Some(network) => {
            container.addresses.get(network).copied().ok_or(format!("no address in network {network}"))
        }
        None => container.addresses.values().next().copied().ok_or("no address in any network".to_owned()),
    }
}

fn port(container: &Container, name: &str) -> Result<u16, String> {
    match required(container, name)?.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        Ok(_) | Err(_) => Err(format!("label {name} is not a port")),
    }
}

fn required<'a>(container: &'a Container, name: &str) -> Result<&'a str, String> {
    match container.labels.get(name) {
        Some(value) if !value.is_empty() => Ok(value),
        Some(_) | None => Err(format!("label {name} is missing")),
    }
}

fn is_request_path(path: &str) -> bool {
    path.starts_with('/') && path.parse::<http::uri::PathAndQuery>().is_ok()
}
