//! Answers that go on: limited in number, ended when the client takes nothing, when it left, or when the server stops.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use slipway_common::model::DeploymentId;
use slipway_common::store::Change;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, watch};

use crate::refusal::Refusal;

/// Chunks that may wait for the client.
const CHUNKS_WAITING_MAX: usize = 8;
/// How often a stream looks for itself; hints of changes may be missed.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The open streams.
#[derive(Debug)]
pub(crate) struct Streams {
    permits: Arc<Semaphore>,
    limit: usize,
    send_timeout: Duration,
    stopping: watch::Receiver<bool>,
}

/// Why a stream ended before everything was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client is gone, takes nothing, or the server stops.
    Closed,
    /// What was to be sent cannot be read. The answer is cut, so that nobody takes it for complete.
    Broken,
}

impl Streams {
    pub(crate) fn new(limit: usize, send_timeout: Duration, stopping: watch::Receiver<bool>) -> Self {
        Self { permits: Arc::new(Semaphore::new(limit)), limit, send_timeout, stopping }
    }

    /// How many are open.
    pub(crate) fn open_count(&self) -> usize {
        self.limit - self.permits.available_permits()
    }

    /// Opens a stream of what `produce` sends.
    pub(crate) fn open<F>(
        &self,
        produce: impl FnOnce(Outlet) -> F,
    ) -> Result<impl Stream<Item = std::io::Result<Bytes>> + 'static, Refusal>
    where
        F: Future<Output = Result<(), Ended>> + 'static,
    {
        let permit = Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| Refusal::TooManyStreams { limit: self.limit })?;
        let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        let outlet = Outlet {
            chunks: chunks.clone(),
            send_timeout: self.send_timeout,
            stopping: self.stopping.clone(),
            _permit: permit,
        };
        let (work, send_timeout) = (produce(outlet), self.send_timeout);
        actix_web::rt::spawn(async move {
            match work.await {
                Ok(()) => {}
                Err(Ended::Closed) => tracing::debug!("a stream ended early"),
                Err(Ended::Broken) => {
                    let cut = chunks.send(Err(std::io::Error::other("the rest could not be read")));
                    // A client that has left, or takes nothing, needs no telling.
                    drop(tokio::time::timeout(send_timeout, cut).await);
                }
            }
        });
        Ok(stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        }))
    }
}

/// Where a stream's producer sends to.
#[derive(Debug)]
pub(crate) struct Outlet {
    chunks: mpsc::Sender<std::io::Result<Bytes>>,
    send_timeout: Duration,
    stopping: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Outlet {
    /// Sends a chunk, waiting for a slow client for a limited time.
    pub(crate) async fn send(&self, chunk: impl Into<Bytes>) -> Result<(), Ended> {
        let sent = tokio::time::timeout(self.send_timeout, self.chunks.send(Ok(chunk.into()))).await;
        sent.map_err(|_| Ended::Closed)?.map_err(|_| Ended::Closed)
    }

    /// Waits for as long as `pause`, unless nobody reads any more.
    pub(crate) async fn pause(&mut self, pause: Duration) -> Result<(), Ended> {
        if *self.stopping.borrow() {
            return Err(Ended::Closed);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.chunks.closed() => Err(Ended::Closed),
            _ = self.stopping.changed() => Err(Ended::Closed),
        }
    }

    /// Waits until `deployment` may have changed: a hint, or the time to look anyway.
    pub(crate) async fn changed(
        &mut self,
        hints: &mut broadcast::Receiver<Change>,
        deployment: DeploymentId,
    ) -> Result<(), Ended> {
        if *self.stopping.borrow() {
            return Err(Ended::Closed);
        }
        tokio::select! {
            () = hint(hints, deployment) => Ok(()),
            () = tokio::time::sleep(POLL_INTERVAL) => Ok(()),
            () = self.chunks.closed() => Err(Ended::Closed),
            _ = self.stopping.changed() => Err(Ended::Closed),
        }
    }
}

async fn hint(hints: &mut broadcast::Receiver<Change>, deployment: DeploymentId) {
    loop {
        match hints.recv().await {
            Ok(Change::Event(changed) | Change::Log(changed, _)) if changed != deployment => {}
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
