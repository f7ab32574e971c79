//! One application port: accepts clients up to a limit, serves them, and drains when it closes.

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{
    GatewaySettings, balance::Backends, listener::stall::StallGuard, metrics::PortMetrics, proxy,
    settings::ms, source::Snapshot,
};

mod stall;

/// Pause after a failed accept, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every connection of one port shares.
pub(crate) struct Front {
    pub(crate) port: u16,
    pub(crate) settings: Arc<GatewaySettings>,
    pub(crate) metrics: PortMetrics,
    /// Counts connections and tunnels, so that a drain can wait for them.
    pub(crate) tracker: TaskTracker,
    /// Cancelled when whatever is still under way must end.
    pub(crate) cut: CancellationToken,
    feed: watch::Receiver<Snapshot>,
    backends: RwLock<Arc<Backends>>,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Front {
    pub(crate) fn new(
        port: u16,
        settings: Arc<GatewaySettings>,
        metrics: PortMetrics,
        feed: watch::Receiver<Snapshot>,
        backends: Backends,
    ) -> Self {
        Self {
            port,
            settings,
            metrics,
            tracker: TaskTracker::new(),
            cut: CancellationToken::new(),
            feed,
            backends: RwLock::new(Arc::new(backends)),
        }
    }

    /// The replicas as of now.
    pub(crate) fn backends(&self) -> Arc<Backends> {
        Arc::clone(&self.backends.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets the requests from now on see other replicas.
    pub(crate) fn set_backends(&self, backends: Backends) {
        *self.backends.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(backends);
    }

    /// Whether the routes cannot be confirmed at the moment.
    pub(crate) fn is_stale(&self) -> bool {
        self.feed.borrow().stale.is_some()
    }

    /// What this port is called when a client does not say.
    pub(crate) fn authority(&self) -> String {
        SocketAddr::new(self.settings.bind, self.port).to_string()
    }
}

/// Accepts clients until `stop`; connections then finish their request, or end when the port is cut.
pub(crate) async fn accept(front: Arc<Front>, listener: TcpListener, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(front.settings.connections_per_listener_max));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            accepted = next_client(&listener, &room) => match accepted {
                Ok((stream, peer, permit)) => {
                    let serving = serve(Arc::clone(&front), stream, peer, permit, stop.clone());
                    front.tracker.spawn(serving);
                }
                Err(error) => {
                    warn!(port = front.port, %error, "cannot accept a client");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn next_client(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

async fn serve(
    front: Arc<Front>,
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    let _open = front.metrics.connection();
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a client left at once");
        return;
    }
    let stall_limit = ms(front.settings.stream_idle_timeout_ms);
    let service = service_fn(|request| {
        let front = Arc::clone(&front);
        async move { Ok::<_, Infallible>(proxy::handle(&front, peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ms(front.settings.client_header_timeout_ms))
        .max_headers(front.settings.header_count_max)
        .max_header_size(front.settings.header_bytes_max)
        .max_buf_size(front.settings.header_bytes_max)
        .serve_connection(TokioIo::new(StallGuard::new(stream, stall_limit)), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = front.cut.cancelled() => return,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = front.cut.cancelled() => return,
            }
        }
    };
    drop(permit);
    if let Err(error) = ended {
        debug!(%error, "a client connection ended early");
    }
}
