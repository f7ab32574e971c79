//! The watcher: looks at the queue once a second, for the search for silent stalls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::Instant;

use super::faults::Field;
use super::history::Shared;
use crate::effects::Sample;

const INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for a connection, and for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Looks for ever. Queues are asked at one node after another.
pub(super) async fn watch(
    field: Arc<Field>,
    queues: Vec<String>,
    history: Shared,
    begun: Instant,
    samples: Arc<Mutex<Vec<Sample>>>,
) {
    let urls = field.brokers.urls();
    let mut asked: Option<(Connection, Channel)> = None;
    let mut node = 0;
    loop {
        tokio::time::sleep(INTERVAL).await;
        if asked.is_none() {
            node = (node + 1) % urls.len().max(1);
            asked = connect(&urls[node]).await;
        }
        let ready = match &asked {
            Some((_, channel)) => ready(channel, &queues).await,
            None => None,
        };
        if ready.is_none() {
            asked = None;
        }
        let consumed = history.lock().unwrap_or_else(PoisonError::into_inner).started();
        let sample = Sample { at: begun.elapsed(), ready, consumed, able: field.is_able() };
        samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }
}

async fn connect(url: &str) -> Option<(Connection, Channel)> {
    let connecting = async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok::<_, lapin::Error>((connection, channel))
    };
    tokio::time::timeout(ANSWER_TIMEOUT, connecting).await.ok()?.ok()
}

/// Messages ready in all the queues together.
async fn ready(channel: &Channel, queues: &[String]) -> Option<u64> {
    let mut sum = 0;
    for queue in queues {
        let options = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
        let asking = channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        sum += u64::from(tokio::time::timeout(ANSWER_TIMEOUT, asking).await.ok()?.ok()?.message_count());
    }
    Some(sum)
}
