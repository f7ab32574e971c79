//! A message taken from a queue, and how it is settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{Acker, Channel};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::error::Lost;
use super::figures::{Meters, count};
use super::message::Headers;
use crate::model::JobId;
use crate::plant::Plant;

/// Longest wait for a settlement to be written.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(2_500);

/// The life of one consuming channel. When it is over, its deliveries are with the broker again.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) channel: Channel,
    pub(super) over: CancellationToken,
    pub(super) meters: Arc<Meters>,
}

/// A message taken from a queue. Settle it by [`Self::ack`] or [`Self::reject`]; one that is
/// dropped unsettled is released.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// The message.
    pub(crate) body: Bytes,
    /// Which publication it is.
    pub(crate) publication: Option<Uuid>,
    /// The job it is a copy of.
    pub(crate) job: Option<JobId>,
    /// Which copy of the job.
    pub(crate) generation: u64,
    /// Parked until then.
    pub(crate) until: Option<Timestamp>,
    /// Whether it may have been delivered before.
    pub(crate) redelivered: bool,
    /// Deliveries before this one that came back.
    pub(crate) delivery_count: u64,
    acker: Acker,
    life: Arc<Life>,
    settled: AtomicBool,
}

impl Delivery {
    pub(super) fn new(delivery: lapin::message::Delivery, life: Arc<Life>) -> Self {
        let headers = Headers::read(&delivery.properties);
        Self {
            body: Bytes::from(delivery.data),
            publication: headers.publication,
            job: headers.job,
            generation: headers.generation,
            until: headers.until,
            redelivered: delivery.redelivered,
            delivery_count: headers.delivery_count,
            acker: delivery.acker,
            life,
            settled: AtomicBool::new(false),
        }
    }

    /// Whether it can still be settled. When not, the broker gives the message to somebody else.
    #[must_use]
    pub(crate) fn is_live(&self) -> bool {
        !self.life.over.is_cancelled() && !self.acker.poisoned()
    }

    /// Waits until it can be settled no more.
    #[cfg(test)]
    pub(crate) async fn until_lost(&self) {
        self.life.over.cancelled().await;
    }

    /// Takes the message out of the queue.
    ///
    /// # Errors
    /// When that did not reach the broker: the message will be delivered again.
    pub(crate) async fn ack(self) -> Result<(), Lost> {
        self.settled.store(true, Ordering::Release);
        let acked = self.settle(self.acker.ack(BasicAckOptions::default())).await;
        match acked {
            Err(lost) if Plant::LostAckIgnored.is_planted() => {
                tracing::debug!(%lost, "planted: a lost acknowledgement is ignored");
                Ok(())
            }
            acked => acked,
        }
    }

    /// Gives the message back to its queue, to be delivered again at once.
    #[cfg(test)]
    pub(crate) async fn release(self) {
        self.give_back(true).await;
    }

    /// Gives the message to the queue of the dead.
    pub(crate) async fn reject(self) {
        self.give_back(false).await;
    }

    async fn give_back(&self, requeue: bool) {
        self.settled.store(true, Ordering::Release);
        let options = BasicNackOptions { multiple: false, requeue };
        if let Err(lost) = self.settle(self.acker.nack(options)).await {
            tracing::debug!(%lost, "the broker takes the message back by itself");
        }
    }

    async fn settle(&self, step: impl Future<Output = lapin::Result<bool>>) -> Result<(), Lost> {
        let reason = if !self.is_live() {
            "its channel is gone".to_owned()
        } else {
            match timeout(SETTLE_TIMEOUT, step).await {
                Ok(Ok(true)) if self.is_live() => return Ok(()),
                Ok(Ok(true)) => "its channel broke".to_owned(),
                Ok(Ok(false)) => "its channel was closed".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("not written within {} ms", SETTLE_TIMEOUT.as_millis()),
            }
        };
        if !Plant::LostAckIgnored.is_planted() {
            count(&self.life.meters.lost_acks);
        }
        Err(Lost { reason })
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.settled.load(Ordering::Acquire) || !self.is_live() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (acker, life) = (self.acker.clone(), self.life.clone());
        runtime.spawn(async move {
            let options = BasicNackOptions { multiple: false, requeue: true };
            let released = timeout(SETTLE_TIMEOUT, acker.nack(options)).await;
            if !matches!(released, Ok(Ok(true))) {
                tracing::debug!("a dropped delivery could not be released");
            }
            drop(life);
        });
    }
}
