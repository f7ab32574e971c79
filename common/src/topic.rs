//! The seam `Topic`: results told to other services of the same installation. Distributed, a topic exchange on RabbitMQ;
//! embedded there is nobody to tell.

use async_trait::async_trait;

/// Why a message could not be published.
#[derive(Debug, thiserror::Error)]
#[error("the topic is unavailable: {reason}")]
pub struct TopicError {
    /// What the adapter met.
    pub reason: String,
}

/// Results for other services.
#[async_trait]
pub trait Topic: Send + Sync + std::fmt::Debug {
    /// Publishes `body`, a JSON document called `id`, under `key`: words joined by dots. When this returns, whoever has
    /// bound a queue to the key has it; nobody need have.
    ///
    /// # Errors
    /// When the broker does not confirm it in time.
    async fn publish(&self, key: &str, id: &str, body: &[u8]) -> Result<(), TopicError>;
}

/// The topic of the embedded form: nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NobodyListens;

#[async_trait]
impl Topic for NobodyListens {
    async fn publish(&self, _key: &str, _id: &str, _body: &[u8]) -> Result<(), TopicError> {
        Ok(())
    }
}
