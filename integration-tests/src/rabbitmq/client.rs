//! What a test does to a broker as a client, each time on a connection of its own.

use lapin::BasicProperties;
use lapin::types::FieldTable;

use super::amqp::{self, RawMessage};

/// A client of one broker. It holds no connection.
#[derive(Clone, Debug)]
pub struct RabbitClient {
    url: String,
}

impl RabbitClient {
    /// A client of the broker at this address.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into() }
    }

    /// Declares a durable queue with these arguments.
    ///
    /// # Errors
    /// When the broker refuses, such as for other arguments than those it was declared with.
    pub async fn declare_queue(&self, queue: &str, arguments: FieldTable) -> anyhow::Result<()> {
        amqp::declare_queue(&self.url, queue, arguments).await
    }

    /// Deletes a queue with all that is in it; one that does not exist is fine.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn delete_queue(&self, queue: &str) -> anyhow::Result<()> {
        amqp::delete_queue(&self.url, queue).await
    }

    /// Deletes an exchange; one that does not exist is fine.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn delete_exchange(&self, exchange: &str) -> anyhow::Result<()> {
        amqp::delete_exchange(&self.url, exchange).await
    }

    /// Binds a queue.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn bind(&self, exchange: &str, queue: &str, key: &str) -> anyhow::Result<()> {
        amqp::bind(&self.url, exchange, queue, key).await
    }

    /// Takes a binding away; one that does not exist is fine.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn unbind(&self, exchange: &str, queue: &str, key: &str) -> anyhow::Result<()> {
        amqp::unbind(&self.url, exchange, queue, key).await
    }

    /// How many consumers a queue has.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn consumers(&self, queue: &str) -> anyhow::Result<u32> {
        Ok(amqp::counts(&self.url, queue).await?.1)
    }

    /// How many messages wait in a queue, those handed to a consumer not counted.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn messages(&self, queue: &str) -> anyhow::Result<u32> {
        Ok(amqp::counts(&self.url, queue).await?.0)
    }

    /// Publishes a persistent message with these headers, and waits until the broker has it.
    ///
    /// # Errors
    /// When no queue takes it, or the broker refuses or says nothing.
    pub async fn publish_raw(
        &self,
        exchange: &str,
        key: &str,
        headers: FieldTable,
        body: &[u8],
    ) -> anyhow::Result<()> {
        let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
        self.publish(exchange, key, properties, body).await
    }

    /// Publishes a message with exactly these properties, and waits until the broker has it.
    ///
    /// # Errors
    /// When no queue takes it, or the broker refuses or says nothing.
    pub async fn publish(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
        body: &[u8],
    ) -> anyhow::Result<()> {
        amqp::publish(&self.url, exchange, key, properties, body).await
    }

    /// Takes the first message of a queue away from it.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn take(&self, queue: &str) -> anyhow::Result<Option<RawMessage>> {
        amqp::take(&self.url, queue).await
    }

    /// Everything that waits in a queue, which stays there (marked as redelivered).
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn peek_all(&self, queue: &str) -> anyhow::Result<Vec<RawMessage>> {
        amqp::peek_all(&self.url, queue).await
    }

    /// Everything in a stream, from its first message on.
    ///
    /// # Errors
    /// When there is no such stream.
    pub async fn read_stream(&self, stream: &str) -> anyhow::Result<Vec<RawMessage>> {
        amqp::read_stream(&self.url, stream).await
    }
}
