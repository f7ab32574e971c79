//! The operator's page of a gateway on its own: `/healthz`, `/metrics` and `/status`.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{GatewayHandle, StatusView};

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTIONS_MAX: usize = 32;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the page on `listen` until `shutdown`, and answers the address that was bound.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    listen: SocketAddr,
    gateway: &GatewayHandle,
    shutdown: CancellationToken,
) -> io::Result<SocketAddr> {
    let mut registry = Registry::default();
    gateway.register_metrics(&mut registry);
    let page = Arc::new(Page { status: gateway.status_view(), registry });
    let listener = TcpListener::bind(listen).await?;
    let bound = listener.local_addr()?;
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = accept(listener, page) => {}
        }
    });
    Ok(bound)
}

struct Page {
    status: StatusView,
    registry: Registry,
}

async fn accept(listener: TcpListener, page: Arc<Page>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream, Arc::clone(&page), permit))),
            Err(error) => {
                warn!(%error, "the status page cannot accept a client");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, page: Arc<Page>, _permit: OwnedSemaphorePermit) {
    let service = service_fn(|request| {
        let response = page.answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "a status client left early");
    }
}

impl Page {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
        }
        match request.uri().path() {
            "/healthz" if self.status.status().ready => text(StatusCode::OK, "ok\n"),
            "/healthz" => text(StatusCode::SERVICE_UNAVAILABLE, "the routes have not been read yet\n"),
            "/metrics" => self.metrics(),
            "/status" => self.status(),
            _ => text(StatusCode::NOT_FOUND, "no such page\n"),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut page = String::new();
        match encode(&mut page, &self.registry) {
            Ok(()) => respond(
                StatusCode::OK,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                page.into_bytes(),
            ),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
        }
    }

    fn status(&self) -> Response<Full<Bytes>> {
        match serde_json::to_vec_pretty(&self.status.status()) {
            Ok(page) => respond(StatusCode::OK, "application/json", page),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the status cannot be written\n"),
        }
    }
}

fn text(status: StatusCode, line: &'static str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", line.into())
}

fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
