//! Many messages at once, over one connection: what a hostile or broken publisher puts into the queues.

use std::time::Duration;

use anyhow::{Context as _, bail};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};

/// Longest time for all of them.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Publishes each of these (exchange, key, properties, body), and waits until the broker has them all in a queue.
///
/// # Errors
/// When one is refused or reaches no queue.
pub async fn publish_all(
    url: &str,
    messages: impl IntoIterator<Item = (String, String, BasicProperties, Vec<u8>)>,
) -> anyhow::Result<usize> {
    let publishing = async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut confirms = Vec::new();
        for (exchange, key, properties, body) in messages {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let published = channel.basic_publish(
                exchange.as_str().into(),
                key.as_str().into(),
                options,
                &body,
                properties,
            );
            confirms.push((key, published.await?));
        }
        let count = confirms.len();
        for (key, confirm) in confirms {
            match confirm.await? {
                Confirmation::Ack(None) => {}
                other @ (Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested) => {
                    bail!("{key}: {other:?}")
                }
            }
        }
        connection.close(200, "done".into()).await?;
        Ok(count)
    };
    tokio::time::timeout(TIMEOUT, publishing).await.context("publishing takes too long")?
}
