//! Collects what the broker set aside: messages that are no jobs, and jobs delivered too often. Each is recorded, so
//! that people see it and can queue it again.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::index::End;
use super::{Delivery, Queue, QueueName, Record, message};
use crate::queue::Buried;

/// Deliveries taken at once.
const PREFETCH: u16 = 4;
/// Pause after a record that could not be kept.
const PAUSE: Duration = Duration::from_secs(1);

/// Collects for ever.
pub(super) async fn collect(queue: Arc<Queue>) {
    let mut dead = queue.broker.subscribe(QueueName::Dead, PREFETCH);
    loop {
        let delivery = dead.next().await;
        if let Some(buried) = queue.obituary(&delivery).await {
            let record = Record::JobBuried(buried);
            while delivery.is_live()
                && let Err(error) = queue.record(&record).await
            {
                tracing::warn!(%error, "a message that was set aside cannot be recorded yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
        // Lost or not: a second record of the same job is the same entry.
        if let Err(lost) = delivery.ack().await {
            tracing::debug!(%lost, "a message that was set aside comes again");
        }
    }
}

impl Queue {
    /// What is recorded of a dead message; `None` when the job ended, or another copy carries it.
    async fn obituary(&self, delivery: &Delivery) -> Option<Buried> {
        let at = Timestamp::now();
        match message::decode(&delivery.body) {
            Err(unreadable) => Some(Buried {
                id: message::name_of_unreadable(delivery.job, &delivery.body),
                message: None,
                unreadable: Some(message::beginning(&delivery.body)),
                reason: unreadable.to_string(),
                at,
            }),
            Ok(message) => {
                let project = message.project.slug.as_str();
                let counts =
                    self.index.set_aside(message.id, project, End::Buried, delivery.generation).await;
                // Without the index it is recorded: better listed in vain than gone.
                counts.unwrap_or(true).then(|| Buried {
                    id: message.id,
                    message: Some(Box::new(message)),
                    unreadable: None,
                    reason: "the broker delivered it too often without an end".to_owned(),
                    at,
                })
            }
        }
    }
}
