//! Composition: the listening socket, the worker threads, the middlewares and the routes.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::middleware::{NormalizePath, from_fn};
use actix_web::{App, HttpServer, web};
use slipway_common::Backend;
use slipway_common::secrets::Sealer;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::auth::{TokenCache, require_token};
use crate::body::BodyLimits;
use crate::companion::Beside;
use crate::deadline::limit_answer;
use crate::hooks::Hooks;
use crate::inbox::{Chores, Inbox};
use crate::metrics::Metrics;
use crate::observe::{no_such_path, observe};
use crate::routes::admin::Rebuild;
use crate::streams::Streams;
use crate::unread::close_unread;
use crate::{ApiSettings, openapi, routes};

/// Blocking threads per worker thread; reads of the embedded store run there.
const BLOCKING_THREADS_PER_WORKER: usize = 4;

/// Why the API could not be started or ended early.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address cannot be listened on.
    #[error("the API cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The server could not be set up.
    #[error("the API server could not be set up")]
    Setup(#[source] std::io::Error),
    /// The server ended by itself.
    #[error("the API server failed")]
    Run(#[source] std::io::Error),
    /// The task of the server was ended.
    #[error("the task of the API server ended")]
    Task(#[source] tokio::task::JoinError),
}

/// What all handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: ApiSettings,
    pub(crate) backend: Backend,
    pub(crate) sealer: Sealer,
    pub(crate) beside: Beside,
    pub(crate) rebuild: Rebuild,
    pub(crate) tokens: TokenCache,
    pub(crate) metrics: Metrics,
    pub(crate) streams: Streams,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) inbox: Inbox,
    pub(crate) document: web::Bytes,
}

impl Shared {
    pub(crate) fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            max_bytes: self.settings.request_body_max_bytes,
            timeout: self.settings.request_body_timeout,
        }
    }

    pub(crate) fn delivery_limits(&self) -> BodyLimits {
        BodyLimits {
            max_bytes: self.settings.delivery_max_bytes,
            timeout: self.settings.request_body_timeout,
        }
    }
}

/// The HTTP API.
#[derive(Debug)]
pub struct Api;

impl Api {
    /// Listens where the settings say and serves. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(
        settings: ApiSettings,
        backend: Backend,
        sealer: Sealer,
        beside: Beside,
    ) -> Result<ApiHandle, ApiError> {
        let address = settings.listen;
        let listener = TcpListener::bind(address).map_err(|source| ApiError::Listen { address, source })?;
        Self::start_on(listener, settings, backend, sealer, beside)
    }

    /// Serves on a socket that listens already. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn start_on(
        listener: TcpListener,
        settings: ApiSettings,
        backend: Backend,
        sealer: Sealer,
        beside: Beside,
    ) -> Result<ApiHandle, ApiError> {
        let address = listener.local_addr().map_err(ApiError::Setup)?;
        let (stop_streams, stopping) = watch::channel(false);
        let streams = Streams::new(settings.streams_max, settings.stream_send_timeout, stopping.clone());
        let hooks = Arc::new(Hooks::new(Arc::clone(&backend.projects)));
        let (sender, chores) = Chores::new(backend.clone());
        let beside_requests = (Arc::clone(&hooks).keep(stopping.clone()), chores.work(stopping));
        let document = web::Bytes::from(openapi::document(&settings.version));
        let shared = web::Data::new(Shared {
            settings: settings.clone(),
            backend,
            sealer,
            beside,
            rebuild: Rebuild::default(),
            tokens: TokenCache::default(),
            metrics: Metrics::new(),
            streams,
            hooks,
            inbox: Inbox::new(settings.delivery_max_bytes, sender),
            document,
        });
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .wrap(from_fn(require_token))
                .wrap(from_fn(limit_answer))
                .wrap(from_fn(observe))
                .wrap(from_fn(close_unread))
                .wrap(NormalizePath::trim())
                .configure(routes::configure)
                .default_service(web::to(no_such_path))
        })
        .workers(settings.workers)
        .worker_max_blocking_threads(BLOCKING_THREADS_PER_WORKER)
        .max_connections(settings.connections_per_worker_max)
        .client_request_timeout(settings.request_head_timeout)
        .keep_alive(settings.idle_timeout)
        .shutdown_timeout(settings.stop_timeout.as_secs())
        .disable_signals()
        .listen(listener)
        .map_err(ApiError::Setup)?
        .run();
        let handle = server.handle();
        tokio::spawn(beside_requests.0);
        tokio::spawn(beside_requests.1);
        Ok(ApiHandle { address, server: handle, stop_streams, task: tokio::spawn(server) })
    }
}

/// A running API. Dropping it leaves the server running.
#[derive(Debug)]
pub struct ApiHandle {
    address: SocketAddr,
    server: ServerHandle,
    stop_streams: watch::Sender<bool>,
    task: JoinHandle<std::io::Result<()>>,
}

impl ApiHandle {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, ends the streams, and waits for running requests if `graceful`, for a limited time.
    pub async fn stop(&self, graceful: bool) {
        self.stop_streams.send_replace(true);
        self.server.stop(graceful).await;
    }

    /// Waits until the server has ended.
    ///
    /// # Errors
    /// When it ended other than by [`ApiHandle::stop`].
    pub async fn stopped(&mut self) -> Result<(), ApiError> {
        (&mut self.task).await.map_err(ApiError::Task)?.map_err(ApiError::Run)
    }
}
