//! Deliveries on their way in, and back out when nobody here takes them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::table::{Hold, Waiting};
use super::{Copy, DELAY_RUNGS_MS, Delivery, Queue, QueueName, delay, encoded, message};
use crate::model::JobMessage;

/// Fills the table from the front queue.
pub(super) async fn pump(queue: Arc<Queue>) {
    let mut front = queue.broker.subscribe(QueueName::Front, queue.slots);
    loop {
        let delivery = front.next().await;
        queue.receive(delivery);
    }
}

impl Queue {
    /// One delivery of the front queue.
    fn receive(self: &Arc<Self>, delivery: Delivery) {
        tracing::trace!(
            job = ?delivery.job, publication = ?delivery.publication, generation = delivery.generation,
            redelivered = delivery.redelivered, returned = delivery.delivery_count, "a delivery"
        );
        let decoded = message::decode(&delivery.body);
        let queue = Arc::clone(self);
        match decoded {
            Ok(message) => {
                let waiting = waiting(message, delivery);
                if time_left(waiting.until) < delay::HELD_MAX {
                    self.table().arrive(waiting);
                    self.due.notify_waiters();
                } else {
                    self.tasks.spawn(async move { queue.hand_on(waiting, Duration::ZERO).await });
                }
            }
            Err(unreadable) => {
                tracing::error!(%unreadable, "a message that is no job is set aside");
                self.tasks.spawn(delivery.reject());
            }
        }
    }

    /// Gives a delivery to whoever is free: its copy comes to front again after `pause`, or at its own time if that is
    /// later. The copy is confirmed before the delivery is acknowledged.
    pub(super) async fn hand_on(&self, waiting: Waiting<Delivery>, pause: Duration) {
        let Hold::Delivery(delivery) = waiting.hold else { return };
        let left = time_left(waiting.until).max(pause);
        let rungs = DELAY_RUNGS_MS.map(u64::from);
        let key = delay::rung(&rungs, left).map_or("front".to_owned(), |rung_ms| format!("delay.{rung_ms}"));
        let copy = encoded(&waiting.message).map(|body| Copy {
            key,
            body,
            job: waiting.message.id,
            generation: waiting.generation,
            until_us: waiting.until,
        });
        let moved = match copy {
            Ok(copy) => self.move_copy(copy).await,
            Err(error) => Err(error),
        };
        match moved {
            Ok(()) => self.drop_copy(Hold::Delivery(delivery)),
            Err(error) => {
                tracing::debug!(job = %waiting.message.id, %error, "a delivery stays here for now");
                let hold = Hold::Delivery(delivery);
                self.table().arrive(Waiting { hold, arrived: Instant::now(), ..waiting });
            }
        }
    }
}

fn waiting(message: JobMessage, delivery: Delivery) -> Waiting<Delivery> {
    Waiting {
        message: Arc::new(message),
        generation: delivery.generation,
        until: delivery.until.map(message::micros),
        not_before: None,
        arrived: Instant::now(),
        expired: (0, 0),
        hold: Hold::Delivery(delivery),
    }
}

/// How long until the time; nothing when there is none, or it has passed.
fn time_left(until_us: Option<i64>) -> Duration {
    let left = until_us.map_or(0, |until_us| until_us.saturating_sub(message::micros(Timestamp::now())));
    Duration::from_micros(message::unsigned(left))
}
