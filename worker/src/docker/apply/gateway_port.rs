//! The port of the engine's host under which the gateway offers an environment.

use std::collections::BTreeSet;

use bollard::query_parameters::ListContainersOptions;
use sha2::{Digest, Sha256};

use super::super::engine::Engine;
use super::super::error::DockerError;
use super::super::labels;
use super::super::scope::Scope;

/// Ports the gateway may use, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports from `first` to `last`.
    ///
    /// # Errors
    /// [`DockerError::Invalid`] when `first` is 0 or above `last`.
    pub fn new(first: u16, last: u16) -> Result<Self, DockerError> {
        if first == 0 || first > last {
            return Err(DockerError::Invalid { what: "the port range", rule: "from a port above 0 upwards" });
        }
        Ok(Self { first, last })
    }

    fn len(self) -> u64 {
        u64::from(self.last - self.first) + 1
    }

    /// All ports of the range, beginning at the one `scope` hashes to.
    fn preferred_by(self, scope: &Scope) -> impl Iterator<Item = u16> {
        let digest = Sha256::digest(format!("{}/{}", scope.project(), scope.environment()));
        let start = digest.iter().take(8).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte)) % self.len();
        (0..self.len())
            .filter_map(move |step| u16::try_from(u64::from(self.first) + (start + step) % self.len()).ok())
    }
}

/// What the engine knows of a scope's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayPort {
    /// The scope's containers have this one.
    Own(u16),
    /// Ports of the range that no container has, in the order this scope always prefers.
    Candidates(Vec<u16>),
}

/// The port of `scope`, or the ports it may choose from.
///
/// # Errors
/// [`DockerError::Limit`] when every port of the range is taken, and what any call may return.
pub async fn gateway_port(
    engine: &Engine,
    scope: &Scope,
    range: PortRange,
) -> Result<GatewayPort, DockerError> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(labels::filter([(labels::MANAGED, "true")])),
        ..ListContainersOptions::default()
    };
    let containers = engine.call("list containers", engine.docker().list_containers(Some(options))).await?;
    let mut taken = BTreeSet::new();
    for container in containers {
        let found = container.labels.unwrap_or_default();
        let Some(port) = found.get(labels::GATEWAY_PORT).and_then(|port| port.parse().ok()) else { continue };
        if labels::belongs_to(&found, scope) {
            return Ok(GatewayPort::Own(port));
        }
        taken.insert(port);
    }
    let candidates: Vec<u16> = range.preferred_by(scope).filter(|port| !taken.contains(port)).collect();
    if candidates.is_empty() {
        return Err(DockerError::Limit { what: "gateway ports", limit: range.len() });
    }
    Ok(GatewayPort::Candidates(candidates))
}

/// Refuses to go on when another scope's containers have `port` too. To be asked once this scope's own containers are
/// there: of two workers that chose a port at the same time, the second to look sees the other's, whatever became of
/// the reservation in the store.
///
/// # Errors
/// [`DockerError::PortTaken`], and what any call may return.
pub(super) async fn check_unshared(engine: &Engine, scope: &Scope, port: u16) -> Result<(), DockerError> {
    let wanted = port.to_string();
    let options = ListContainersOptions {
        all: true,
        filters: Some(labels::filter([(labels::MANAGED, "true"), (labels::GATEWAY_PORT, wanted.as_str())])),
        ..ListContainersOptions::default()
    };
    let containers = engine.call("list containers", engine.docker().list_containers(Some(options))).await?;
    let mut found = containers.into_iter().filter_map(|found| found.labels);
    if found.any(|labels| !labels::belongs_to(&labels, scope)) {
        return Err(DockerError::PortTaken { port });
    }
    Ok(())
}

/// Whether nobody on this host listens on `port`. A listener on all addresses blocks the loopback one too.
pub async fn port_is_free(port: u16) -> bool {
    tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_prefers_one_port_and_would_take_any() {
        let range = PortRange::new(20_000, 20_099).unwrap();
        let scope = Scope::new("shop", "default").unwrap();
        let ports: Vec<u16> = range.preferred_by(&scope).collect();
        assert_eq!(ports, range.preferred_by(&scope).collect::<Vec<_>>());
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 100);
        assert!(ports.iter().all(|port| (20_000..=20_099).contains(port)));
        let other = Scope::new("shop", "staging").unwrap();
        assert_ne!(ports.first(), range.preferred_by(&other).collect::<Vec<_>>().first());
    }
}
