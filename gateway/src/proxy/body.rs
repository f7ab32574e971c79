//! Bodies on their way through: streamed frame by frame, never gathered, and watched for silence.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::upstream::{Lease, pool::Sender};

/// When something last moved.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    pub(crate) fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub(crate) fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Resolves when nothing has moved for `limit`.
    pub(crate) async fn stalled(&self, limit: Duration) {
        loop {
            let deadline = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + limit;
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

/// The body of a request to a replica.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// What the client sends, as it arrives.
    Streamed {
        /// The client's body.
        inner: Incoming,
        /// Touched with every frame.
        progress: Progress,
    },
    /// Nothing; such a request can be sent again.
    Empty,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Streamed { inner, progress } => {
                let polled = Pin::new(inner).poll_frame(cx);
                if polled.is_ready() {
                    progress.touch();
                }
                polled
            }
            Self::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Streamed { inner, .. } => inner.is_end_stream(),
            Self::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Streamed { inner, .. } => inner.size_hint(),
            Self::Empty => SizeHint::with_exact(0),
        }
    }
}

/// Why a response body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the replica's response broke off")]
    Upstream(#[source] hyper::Error),
    #[error("the replica's response was silent for {limit_ms} ms")]
    Silent { limit_ms: u128 },
}

/// The body of a response to a client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// A replica's, as it arrives.
    Proxied(Proxied),
    /// The gateway's own words.
    Own(Full<Bytes>),
}

impl ResponseBody {
    /// An empty body, for responses that have none.
    pub(crate) fn empty() -> Self {
        Self::Own(Full::default())
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Proxied(proxied) => proxied.poll_frame(cx),
            Self::Own(full) => Pin::new(full)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Proxied(proxied) => proxied.inner.is_end_stream(),
            Self::Own(full) => full.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Proxied(proxied) => proxied.inner.size_hint(),
            Self::Own(full) => full.size_hint(),
        }
    }
}

/// A replica's response body. Holds the request's place on the replica until it is dropped, and then gives
/// the connection back if the body was read to its end.
#[derive(Debug)]
pub(crate) struct Proxied {
    inner: Incoming,
    ended: bool,
    lease: Lease,
    sender: Option<Sender>,
    silence_limit: Duration,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Proxied {
    pub(crate) fn new(inner: Incoming, lease: Lease, sender: Sender, silence_limit: Duration) -> Self {
        Self { inner, ended: false, lease, sender: Some(sender), silence_limit, silence: None }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(frame)) => {
                if let Some(silence) = &mut self.silence {
                    silence.as_mut().reset(Instant::now() + self.silence_limit);
                }
                Poll::Ready(Some(frame.map_err(BodyError::Upstream)))
            }
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_silence(cx),
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let limit = self.silence_limit;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(limit)));
        silence.as_mut().poll(cx).map(|()| Some(Err(BodyError::Silent { limit_ms: limit.as_millis() })))
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        if !self.ended && !self.inner.is_end_stream() {
            return;
        }
        if let Some(sender) = self.sender.take() {
            self.lease.upstream.give_back(sender);
        }
    }
}
