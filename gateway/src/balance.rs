//! Which replica gets a request: the least busy fit one, in turn among equals.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::time::Instant;

use crate::{
    route::App,
    traffic::Meter,
    upstream::{Fitness, Lease, Upstream, UpstreamKey},
};

/// The replicas of one application, as one request sees them.
#[derive(Debug)]
pub(crate) struct Backends {
    pub(crate) app: App,
    /// Counts what comes for the deployment that serves.
    pub(crate) meter: Arc<Meter>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    turn: AtomicUsize,
}

/// Why no replica can take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBackend {
    /// There is none.
    NoReplicas,
    /// There are, and the checks of all fail.
    AllUnhealthy,
    /// The fit ones are at their request limit.
    Overloaded,
    /// Every fit one has been tried for this request.
    AllTried,
}

impl Backends {
    pub(crate) fn new(app: App, meter: Arc<Meter>, upstreams: Vec<Arc<Upstream>>) -> Self {
        Self { app, meter, upstreams, turn: AtomicUsize::new(0) }
    }

    /// A place on the best replica that is not among `tried`.
    pub(crate) fn pick(&self, tried: &[UpstreamKey]) -> Result<Lease, NoBackend> {
        if self.upstreams.is_empty() {
            return Err(NoBackend::NoReplicas);
        }
        let now = Instant::now();
        let fit: Vec<_> = self
            .in_turn()
            .map(|upstream| (upstream.fitness(now), upstream))
            .filter(|(fitness, _)| *fitness != Fitness::Unhealthy)
            .collect();
        if fit.is_empty() {
            return Err(NoBackend::AllUnhealthy);
        }
        let mut fresh: Vec<_> =
            fit.into_iter().filter(|(_, upstream)| !tried.contains(&upstream.key)).collect();
        if fresh.is_empty() {
            return Err(NoBackend::AllTried);
        }
        fresh.sort_by_key(|(fitness, upstream)| (*fitness, upstream.outstanding()));
        fresh.into_iter().find_map(|(_, upstream)| upstream.lease()).ok_or(NoBackend::Overloaded)
    }

    fn in_turn(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % self.upstreams.len();
        self.upstreams[start..].iter().chain(&self.upstreams[..start])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        GatewaySettings,
        metrics::Metrics,
        route::{HealthCheck, Replica},
    };

    fn backends(count: u16, settings: &GatewaySettings) -> Backends {
        let upstreams = (1..=count).map(|port| {
            let replica = Replica {
                container_id: port.to_string(),
                name: format!("app-{port}"),
                deployment: None,
                address: ([127, 0, 0, 1], port).into(),
                health: HealthCheck::Tcp,
            };
            Upstream::new(replica, Arc::new(settings.clone()), Metrics::default().port(4000))
        });
        let app = App { project: "shop".to_owned(), environment: "default".to_owned() };
        Backends::new(app, Meter::of(None), upstreams.collect())
    }

    #[test]
    fn equals_take_turns_and_the_least_busy_wins() {
        let backends = backends(3, &GatewaySettings::default());
        let leases: Vec<_> = (0..6).map(|_| backends.pick(&[]).unwrap()).collect();
        assert!(backends.upstreams.iter().all(|upstream| upstream.outstanding() == 2));
        drop(leases);
        let busy = backends.upstreams[0].lease().unwrap();
        assert!((0..6).all(|_| backends.pick(&[]).unwrap().upstream.key != busy.upstream.key));
    }

    #[test]
    fn an_ejected_replica_is_the_last_resort_and_an_unhealthy_one_is_none() {
        let backends = backends(2, &GatewaySettings::default());
        backends.upstreams[0].eject("refused".to_owned());
        assert!((0..4).all(|_| backends.pick(&[]).unwrap().upstream.key == backends.upstreams[1].key));
        for _ in 0..2 {
            backends.upstreams[1].note_check(Err("500".to_owned()));
        }
        assert_eq!(backends.pick(&[]).unwrap().upstream.key, backends.upstreams[0].key);
        for _ in 0..2 {
            backends.upstreams[0].note_check(Err("500".to_owned()));
        }
        assert_eq!(backends.pick(&[]).unwrap_err(), NoBackend::AllUnhealthy);
        backends.upstreams[1].note_check(Ok(()));
        assert!(backends.pick(&[]).is_ok());
    }

    #[test]
    fn the_request_limit_and_the_tried_list_hold() {
        let settings = GatewaySettings { requests_per_upstream_max: 1, ..GatewaySettings::default() };
        let backends = backends(1, &settings);
        let lease = backends.pick(&[]).unwrap();
        assert_eq!(backends.pick(&[]).unwrap_err(), NoBackend::Overloaded);
        assert_eq!(backends.upstreams[0].outstanding(), 1);
        assert_eq!(
            backends.pick(std::slice::from_ref(&lease.upstream.key)).unwrap_err(),
            NoBackend::AllTried
        );
        assert_eq!(
            Backends::new(backends.app.clone(), Meter::of(None), Vec::new()).pick(&[]).unwrap_err(),
            NoBackend::NoReplicas
        );
    }
}
