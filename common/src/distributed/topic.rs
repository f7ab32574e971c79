//! Results told to other services: a topic exchange at the broker, `<prefix>.events`.

#[cfg(test)]
mod tests;

use async_trait::async_trait;

use super::broker::Broker;
use crate::topic::{Topic, TopicError};

/// Longest routing key and longest id of a message: what the protocol can carry.
const NAME_MAX_BYTES: usize = 255;

/// The topic at this broker.
#[derive(Debug, Clone)]
pub(crate) struct RabbitTopic {
    broker: Broker,
}

impl RabbitTopic {
    pub(crate) fn new(broker: Broker) -> Self {
        Self { broker }
    }
}

#[async_trait]
impl Topic for RabbitTopic {
    async fn publish(&self, key: &str, id: &str, body: &[u8]) -> Result<(), TopicError> {
        if key.len().max(id.len()) > NAME_MAX_BYTES {
            return Err(unavailable(format!("a key and an id have {NAME_MAX_BYTES} bytes at most")));
        }
        self.broker.announce(key, id, body).await.map_err(unavailable)
    }
}

fn unavailable(met: impl std::fmt::Display) -> TopicError {
    TopicError { reason: met.to_string() }
}
