//! The requests of each deployment, counted where they arrive.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;
use slipway_common::model::DeploymentId;

use crate::{balance::Backends, manager::Shared};

/// The requests of one deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Slug of the project.
    pub project: String,
    /// Slug of the environment.
    pub environment: String,
    /// The deployment that serves, or that served last.
    pub deployment: DeploymentId,
    /// Requests that have arrived for it, those included that no replica could take. Begins anew with the gateway, and
    /// when the deployment serves again after another one did.
    pub arrivals_total: u64,
    /// Requests and tunnels that wait for a replica or are under way at one.
    pub inflight: u64,
}

/// Counts what comes for one deployment.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) deployment: Option<DeploymentId>,
    arrivals: AtomicU64,
    waiting: AtomicU64,
}

impl Meter {
    /// A meter at zero.
    pub(crate) fn of(deployment: Option<DeploymentId>) -> Arc<Self> {
        Arc::new(Self { deployment, arrivals: AtomicU64::new(0), waiting: AtomicU64::new(0) })
    }

    /// Counts a request that wants a replica.
    pub(crate) fn arrived(&self) {
        self.arrivals.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that has no replica yet for as long as the guard lives.
    pub(crate) fn waits(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting { meter: Arc::clone(self) }
    }

    pub(crate) fn arrivals_total(&self) -> u64 {
        self.arrivals.load(Ordering::Relaxed)
    }
}

/// A request that waits for a replica.
#[derive(Debug)]
pub(crate) struct Waiting {
    meter: Arc<Meter>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.meter.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// The requests of every deployment that serves or served last at an open port.
    pub(crate) fn traffic(&self) -> Vec<Traffic> {
        let mut found: BTreeMap<DeploymentId, Traffic> = BTreeMap::new();
        for view in self.ports().into_values() {
            let Some(traffic) = traffic(&view.front.backends()) else { continue };
            match found.get_mut(&traffic.deployment) {
                // A deployment with two ports.
                Some(known) => {
                    known.arrivals_total += traffic.arrivals_total;
                    known.inflight += traffic.inflight;
                }
                None => drop(found.insert(traffic.deployment, traffic)),
            }
        }
        found.into_values().collect()
    }
}

/// What leaves is not looked at: replicas of an older deployment, and those that drain.
fn traffic(backends: &Backends) -> Option<Traffic> {
    let (app, meter) = (&backends.app, &backends.meter);
    let deployment = meter.deployment?;
    let own = backends.upstreams.iter().filter(|upstream| upstream.replica.deployment == Some(deployment));
    let outstanding: usize = own.map(|upstream| upstream.outstanding()).sum();
    let outstanding = u64::try_from(outstanding).unwrap_or(u64::MAX);
    Some(Traffic {
        project: app.project.clone(),
        environment: app.environment.clone(),
        deployment,
        arrivals_total: meter.arrivals_total(),
        inflight: outstanding.saturating_add(meter.waiting.load(Ordering::Relaxed)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::App;

    fn backends(meter: &Arc<Meter>) -> Backends {
        let app = App { project: "shop".to_owned(), environment: "default".to_owned() };
        Backends::new(app, Arc::clone(meter), Vec::new())
    }

    #[test]
    fn what_arrives_and_waits_without_a_replica_is_counted() {
        let deployment = DeploymentId::generate();
        let meter = Meter::of(Some(deployment));
        let backends = backends(&meter);
        meter.arrived();
        meter.arrived();
        let waiting = meter.waits();
        let counted = traffic(&backends).unwrap();
        assert_eq!((counted.deployment, counted.arrivals_total, counted.inflight), (deployment, 2, 1));
        drop(waiting);
        assert_eq!(traffic(&backends).unwrap().inflight, 0);
    }

    #[test]
    fn what_no_deployment_is_known_of_is_not_told() {
        assert_eq!(traffic(&backends(&Meter::of(None))), None);
    }
}
