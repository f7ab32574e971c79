//! Taking messages one by one, for who must not hold a consumer: nothing is left behind at the broker when it stops.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::BasicGetOptions;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::delivery::{Delivery, Life};
use super::error::{BrokerError, within};
use super::topology::QueueName;

/// Longest wait for each answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);

/// At most `most` messages that are ready now, oldest first. Those not settled when their delivery is dropped, and all
/// of them when the connection ends, go back to their places.
pub(super) async fn fetch(
    shared: &Arc<Shared>,
    queue: QueueName,
    most: usize,
) -> Result<Vec<Delivery>, BrokerError> {
    let session = shared.session_now()?;
    let connection = &session.consuming.connection;
    let channel = within(FETCH_TIMEOUT, "opening a channel", connection.create_channel()).await?;
    let life = Arc::new(Life {
        channel: channel.clone(),
        over: CancellationToken::new(),
        meters: shared.meters.clone(),
    });
    let over = life.over.clone().drop_guard();
    let mut fetched = Vec::new();
    while fetched.len() < most {
        let name = shared.topology.queue(queue);
        let got = channel.basic_get(name.into(), BasicGetOptions::default());
        let Some(message) = within(FETCH_TIMEOUT, "taking a message", got).await? else { break };
        fetched.push(Delivery::new(message.delivery, life.clone()));
    }
    let over = over.disarm();
    tokio::spawn(async move {
        session.ended().await;
        over.cancel();
    });
    Ok(fetched)
}
