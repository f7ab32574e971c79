//! Connections to one replica: opened with a deadline, kept for a while when idle, cut with the replica.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tracing::debug;

use crate::{proxy::body::RequestBody, settings::ms, upstream::Upstream};

/// The sending half of one connection.
pub(crate) type Sender = SendRequest<RequestBody>;

/// How long a connection may take to become idle after a response; past it, it is not worth keeping.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// Idle connections, the freshest last.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl Pool {
    pub(crate) fn clear(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why no connection could be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("connection refused or unreachable")]
    Connect(#[source] io::Error),
    #[error("no connection within {limit_ms} ms")]
    Timeout { limit_ms: u64 },
    #[error("the connection could not be prepared for HTTP")]
    Handshake(#[source] hyper::Error),
}

impl Upstream {
    /// The freshest idle connection that is still open.
    pub(crate) fn idle_connection(&self) -> Option<Sender> {
        let limit = ms(self.settings.upstream_idle_timeout_ms);
        let mut idle = self.pool.idle();
        while let Some(candidate) = idle.pop_back() {
            if candidate.since.elapsed() <= limit && candidate.sender.is_ready() {
                return Some(candidate.sender);
            }
        }
        None
    }

    /// Opens a TCP connection.
    pub(crate) async fn dial(&self) -> Result<TcpStream, ConnectError> {
        let limit_ms = self.settings.connect_timeout_ms;
        let stream = timeout(ms(limit_ms), TcpStream::connect(self.replica.address))
            .await
            .map_err(|_| ConnectError::Timeout { limit_ms })?
            .map_err(ConnectError::Connect)?;
        stream.set_nodelay(true).map_err(ConnectError::Connect)?;
        Ok(stream)
    }

    /// Opens an HTTP connection whose other half runs until it closes or the replica is cut.
    pub(crate) async fn connect(&self) -> Result<Sender, ConnectError> {
        let stream = self.dial().await?;
        let (sender, connection) = Builder::new()
            .max_headers(self.settings.header_count_max)
            .max_header_size(self.settings.header_bytes_max)
            .max_buf_size(self.settings.header_bytes_max)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ConnectError::Handshake)?;
        let cut = self.cut.clone();
        tokio::spawn(async move {
            tokio::select! {
                ended = connection.with_upgrades() => {
                    if let Err(error) = ended {
                        debug!(%error, "a replica connection ended early");
                    }
                }
                () = cut.cancelled() => {}
            }
        });
        Ok(sender)
    }

    /// Keeps a connection for the next request once its exchange is over. Outside a runtime it is dropped.
    pub(crate) fn give_back(self: &Arc<Self>, mut sender: Sender) {
        if sender.is_closed() || self.retired.is_cancelled() {
            return;
        }
        if sender.is_ready() {
            return self.keep(sender);
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let upstream = Arc::clone(self);
        runtime.spawn(async move {
            if let Ok(Ok(())) = timeout(SETTLE_LIMIT, sender.ready()).await {
                upstream.keep(sender);
            }
        });
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.pool.idle();
        // Looked at under the lock: `retire` cancels first and clears after.
        if self.retired.is_cancelled() {
            return;
        }
        idle.push_back(Idle { sender, since: Instant::now() });
        if idle.len() > self.settings.upstream_idle_connections_max {
            idle.pop_front();
        }
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn sweep_idle(&self) {
        let limit = ms(self.settings.upstream_idle_timeout_ms);
        self.pool.idle().retain(|idle| idle.since.elapsed() <= limit && !idle.sender.is_closed());
    }
}
