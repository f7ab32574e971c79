//! Applies the routes: opens and closes ports, adds and retires replicas, and drains what leaves.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    GatewaySettings,
    balance::Backends,
    listener::{self, Front},
    metrics::Metrics,
    route::{Replica, Route},
    settings::ms,
    source::Snapshot,
    traffic::Meter,
    upstream::{Upstream, health},
};

/// How often closed ports, retired replicas and idle connections are looked after.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// How much longer than its replicas a port is left, so that its clients are told what happened.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What the manager and the status page share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Arc<GatewaySettings>,
    pub(crate) metrics: Metrics,
    pub(crate) feed: watch::Receiver<Snapshot>,
    ports: Mutex<BTreeMap<u16, PortView>>,
}

impl Shared {
    pub(crate) fn new(settings: Arc<GatewaySettings>, feed: watch::Receiver<Snapshot>) -> Self {
        Self { settings, metrics: Metrics::default(), feed, ports: Mutex::default() }
    }

    /// The ports as of the last change.
    pub(crate) fn ports(&self) -> BTreeMap<u16, PortView> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the status page sees of a port.
#[derive(Debug, Clone)]
pub(crate) struct PortView {
    pub(crate) front: Arc<Front>,
    pub(crate) bind_error: Option<String>,
}

/// One application port.
struct Port {
    front: Arc<Front>,
    listening: Listening,
    /// Since when no container declares it.
    undeclared_since: Option<Instant>,
}

enum Listening {
    Open { stop: CancellationToken },
    Refused { error: String, retry_at: Instant },
}

/// Owns every port and every replica.
pub(crate) struct Manager {
    shared: Arc<Shared>,
    feed: watch::Receiver<Snapshot>,
    ports: BTreeMap<u16, Port>,
    /// Replicas that left, until their requests have ended or the drain limit is over.
    retired: Vec<(Instant, Arc<Upstream>)>,
    /// Ports that closed, likewise.
    closed: Vec<(Instant, Arc<Front>)>,
    checks: TaskTracker,
    refused_ports: BTreeSet<u16>,
}

impl Manager {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            feed: shared.feed.clone(),
            shared,
            ports: BTreeMap::new(),
            retired: Vec::new(),
            closed: Vec::new(),
            checks: TaskTracker::new(),
            refused_ports: BTreeSet::new(),
        }
    }

    /// Runs until `shutdown`, then drains within the limit.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = interval(HOUSEKEEPING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = self.feed.changed() => if changed.is_err() { break },
                _ = ticks.tick() => {}
            }
            self.reconcile().await;
            self.keep_house();
            self.publish();
        }
        self.drain().await;
    }

    /// Makes the ports and replicas what the table says.
    async fn reconcile(&mut self) {
        let table = Arc::clone(&self.feed.borrow_and_update().table);
        let own = self.shared.settings.port_min..=self.shared.settings.port_max;
        for (port, route) in table.routes.iter().filter(|(port, _)| own.contains(port)) {
            self.apply(*port, route);
        }
        let undeclared: Vec<u16> =
            self.ports.keys().copied().filter(|port| !table.routes.contains_key(port)).collect();
        for port in undeclared {
            self.leave(port);
        }
        self.bind_refused().await;
    }

    fn apply(&mut self, port: u16, route: &Route) {
        if let Some(known) = self.ports.get_mut(&port) {
            known.undeclared_since = None;
            let front = Arc::clone(&known.front);
            return self.set_replicas(&front, route);
        }
        if self.ports.len() >= self.shared.settings.listeners_max {
            if self.refused_ports.insert(port) {
                warn!(port, app = %route.app, "the port is not opened: listeners_max is reached");
            }
            return;
        }
        self.refused_ports.remove(&port);
        let front = Arc::new(Front::new(
            port,
            Arc::clone(&self.shared.settings),
            self.shared.metrics.port(port),
            self.shared.feed.clone(),
            Backends::new(route.app.clone(), Meter::of(route.deployment), Vec::new()),
        ));
        self.set_replicas(&front, route);
        let listening = Listening::Refused { error: "not bound yet".to_owned(), retry_at: Instant::now() };
        self.ports.insert(port, Port { front, listening, undeclared_since: None });
    }

    /// Gives a port its replicas; those it had already keep their connections and their health, and a deployment keeps
    /// its count.
    fn set_replicas(&mut self, front: &Front, route: &Route) {
        let Route { app, deployment, replicas } = route;
        let before = front.backends();
        let mut paired = before.upstreams.iter().zip(replicas);
        let same_owner = before.app == *app && before.meter.deployment == *deployment;
        let same = same_owner && before.upstreams.len() == replicas.len();
        if same && paired.all(|(upstream, replica)| upstream.stands_for(replica)) {
            return;
        }
        let mut upstreams = Vec::with_capacity(replicas.len());
        for replica in replicas {
            let kept = before.upstreams.iter().find(|upstream| upstream.stands_for(replica));
            upstreams.push(kept.map_or_else(|| self.enlist(front, replica), Arc::clone));
        }
        let gone = before.upstreams.iter().filter(|old| !upstreams.iter().any(|new| Arc::ptr_eq(old, new)));
        let gone: Vec<_> = gone.cloned().collect();
        info!(port = front.port, %app, replicas = upstreams.len(), leaving = gone.len(), "the replicas changed");
        let meter = if same_owner { Arc::clone(&before.meter) } else { Meter::of(*deployment) };
        front.set_backends(Backends::new(app.clone(), meter, upstreams));
        self.retire(gone);
    }

    fn enlist(&self, front: &Front, replica: &Replica) -> Arc<Upstream> {
        let upstream =
            Upstream::new(replica.clone(), Arc::clone(&self.shared.settings), front.metrics.clone());
        self.checks.spawn(health::watch(Arc::clone(&upstream)));
        upstream
    }

    fn retire(&mut self, upstreams: Vec<Arc<Upstream>>) {
        let until = Instant::now() + ms(self.shared.settings.drain_limit_ms);
        for upstream in upstreams {
            upstream.retire();
            self.retired.push((until, upstream));
        }
    }

    /// A port nobody declares: its replicas leave at once, the port itself after the grace time.
    fn leave(&mut self, port: u16) {
        let Some(known) = self.ports.get_mut(&port) else { return };
        let since = *known.undeclared_since.get_or_insert_with(Instant::now);
        let front = Arc::clone(&known.front);
        let before = front.backends();
        let (app, deployment) = (before.app.clone(), before.meter.deployment);
        // Requests that come in the grace time are still for the deployment that served.
        self.set_replicas(&front, &Route { app: app.clone(), deployment, replicas: Vec::new() });
        if since.elapsed() < ms(self.shared.settings.listener_grace_ms) {
            return;
        }
        if let Some(Port { front, listening: Listening::Open { stop }, .. }) = self.ports.remove(&port) {
            stop.cancel();
            info!(port, %app, "the port is closed");
            let until = Instant::now() + ms(self.shared.settings.drain_limit_ms) + LAST_WORDS;
            self.closed.push((until, front));
        }
    }

    async fn bind_refused(&mut self) {
        let now = Instant::now();
        let retry_at = now + ms(self.shared.settings.bind_retry_ms);
        for (number, port) in &mut self.ports {
            let Listening::Refused { error: before, retry_at: due } = &port.listening else { continue };
            if *due > now {
                continue;
            }
            let app = port.front.backends().app.clone();
            port.listening =
                match TcpListener::bind(SocketAddr::new(self.shared.settings.bind, *number)).await {
                    Ok(listener) => {
                        info!(port = number, %app, "the port is open");
                        let stop = CancellationToken::new();
                        let accepting = listener::accept(Arc::clone(&port.front), listener, stop.clone());
                        port.front.tracker.spawn(accepting);
                        Listening::Open { stop }
                    }
                    Err(error) => {
                        let error = error.to_string();
                        if error != *before {
                            warn!(port = number, %app, error, "the port cannot be opened, trying again");
                        }
                        Listening::Refused { error, retry_at }
                    }
                };
        }
    }

    fn keep_house(&mut self) {
        let now = Instant::now();
        for port in self.ports.values() {
            for upstream in &port.front.backends().upstreams {
                upstream.sweep_idle();
            }
        }
        self.retired.retain(|(until, upstream)| {
            let over = *until <= now || upstream.outstanding() == 0;
            if over {
                upstream.cut.cancel();
            }
            !over
        });
        self.closed.retain(|(until, front)| {
            let over = *until <= now;
            if over {
                front.cut.cancel();
            }
            !over
        });
    }

    fn publish(&self) {
        let view = |port: &Port| PortView {
            front: Arc::clone(&port.front),
            bind_error: match &port.listening {
                Listening::Open { .. } => None,
                Listening::Refused { error, .. } => Some(error.clone()),
            },
        };
        let views = self.ports.iter().map(|(number, port)| (*number, view(port))).collect();
        *self.shared.ports.lock().unwrap_or_else(PoisonError::into_inner) = views;
    }

    /// Takes no more clients, and waits for the requests under way, but not beyond the drain limit.
    async fn drain(mut self) {
        let mut fronts: Vec<_> =
            std::mem::take(&mut self.closed).into_iter().map(|(_, front)| front).collect();
        for port in std::mem::take(&mut self.ports).into_values() {
            if let Listening::Open { stop } = &port.listening {
                stop.cancel();
            }
            let upstreams = port.front.backends().upstreams.clone();
            self.retire(upstreams);
            fronts.push(port.front);
        }
        if timeout(ms(self.shared.settings.drain_limit_ms), finished(&fronts)).await.is_err() {
            warn!("the drain limit is over, cutting the requests still under way");
        }
        self.retired.iter().for_each(|(_, upstream)| upstream.cut.cancel());
        if timeout(LAST_WORDS, finished(&fronts)).await.is_err() {
            warn!("some clients do not take their answers, closing their connections");
        }
        fronts.iter().for_each(|front| front.cut.cancel());
        self.checks.close();
        self.checks.wait().await;
    }
}

/// Waits until no connection and no tunnel of these ports is left.
async fn finished(fronts: &[Arc<Front>]) {
    for front in fronts {
        front.tracker.close();
        front.tracker.wait().await;
    }
}
