//! Moves jobs from the backlog to front when front is nearly empty, so that a project with many jobs has few in front
//! of everybody else's.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::index::Lane;
use super::{Copy, Delivery, Queue, QueueError, QueueName, encoded, message, unavailable};

/// Jobs ready in front below which the backlog is drawn on, and how many are moved at most before front is counted
/// again.
const FRONT_LOW: u64 = 4;
const BATCH: usize = 4;
/// Pause between two looks while there is nothing to move; a claim ends it early when there was.
const PAUSE_EMPTY: Duration = Duration::from_millis(250);
const PAUSE_FULL: Duration = Duration::from_millis(50);
/// Shortest pause, so that a stream of claims does not make a stream of looks.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// What one look led to.
enum Fed {
    /// Jobs were moved; look again at once.
    Moved,
    /// Front has enough.
    Enough,
    /// The backlog is empty.
    Nothing,
}

/// Draws on the backlog. Messages are fetched one by one: a consumer would hold some, or be held up behind another
/// process's, while front has enough.
pub(super) async fn feed(queue: Arc<Queue>) {
    loop {
        let pause = match queue.feed_once().await {
            Ok(Fed::Moved) => continue,
            Ok(Fed::Enough) => PAUSE_FULL,
            Ok(Fed::Nothing) => PAUSE_EMPTY,
            Err(error) => {
                tracing::debug!(%error, "the backlog cannot be drawn on now");
                PAUSE_EMPTY
            }
        };
        tokio::time::sleep(PAUSE_MIN).await;
        drop(tokio::time::timeout(pause, queue.taken.notified()).await);
    }
}

impl Queue {
    async fn feed_once(&self) -> Result<Fed, QueueError> {
        if self.broker.counts(QueueName::Backlog).await.map_err(unavailable)?.ready == 0 {
            return Ok(Fed::Nothing);
        }
        let front = self.broker.counts(QueueName::Front).await.map_err(unavailable)?.ready;
        let buffered = u64::try_from(self.buffered()).unwrap_or(u64::MAX);
        if front.saturating_add(buffered) >= FRONT_LOW {
            return Ok(Fed::Enough);
        }
        let fetched = self.broker.fetch(QueueName::Backlog, BATCH).await.map_err(unavailable)?;
        if fetched.is_empty() {
            return Ok(Fed::Nothing);
        }
        let moved = join_all(fetched.into_iter().map(|delivery| self.to_front(delivery))).await;
        moved.into_iter().collect::<Result<(), QueueError>>()?;
        Ok(Fed::Moved)
    }

    /// Moves one job: its copy is confirmed in front before it leaves the backlog. The generation stays; should both
    /// remain, one is deferred while the other is worked on.
    async fn to_front(&self, delivery: Delivery) -> Result<(), QueueError> {
        let Ok(message) = message::decode(&delivery.body) else {
            delivery.reject().await;
            return Ok(());
        };
        let generation = delivery.generation;
        let key = Lane::Front.key().to_owned();
        let copy = Copy { key, body: encoded(&message)?, job: message.id, generation, until_us: None };
        self.move_copy(copy).await?;
        if let Err(fault) = self.index.offered(&message, generation, Lane::Front, false).await {
            tracing::debug!(job = %message.id, %fault, "the index does not know of a move");
        }
        if let Err(lost) = delivery.ack().await {
            tracing::debug!(job = %message.id, %lost, "a moved job stays in the backlog too");
        }
        Ok(())
    }
}
