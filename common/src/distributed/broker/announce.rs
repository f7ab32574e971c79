//! Announcements: results for other services, at a topic exchange.
//!
//! Whoever has bound a queue is to have them, so they are persistent and confirmed; nobody need have one, so they are not
//! mandatory. They must not hold up a job: they go over the channels of broadcasts and wait for no connection.

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Confirmation};
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::error::{NOT_FOUND, PublishError, reply_code, was_not_sent};
use super::lanes::Lane;
use super::message::PERSISTENT;
use super::topology::Exchange;

/// One message.
struct Announcement<'a> {
    key: &'a str,
    id: &'a str,
    body: &'a [u8],
}

/// Sends it and waits until every queue of its key has stored it.
pub(super) async fn publish(shared: &Shared, key: &str, id: &str, body: &[u8]) -> Result<(), PublishError> {
    // Under an alarm the broker does not read, and what is sent would lie in front of everything else.
    if let Some(refusal) = shared.state().refusal() {
        return Err(PublishError::Unavailable { reason: refusal.to_string() });
    }
    let session = shared.session_now().map_err(unavailable)?;
    let deadline = Instant::now() + shared.settings.confirm_timeout;
    let lane = match timeout_at(deadline, session.broadcasts.take(&session.publishing.connection)).await {
        Ok(Ok(lane)) => lane,
        Ok(Err(error)) => return Err(unavailable(error)),
        Err(_) => return Err(unavailable("all channels are busy")),
    };
    let sent = timeout_at(deadline, send(shared, &lane, &Announcement { key, id, body })).await;
    match sent {
        Ok(Ok(confirmation)) => {
            lane.put_back();
            judge(shared, key, &confirmation)
        }
        Ok(Err(error)) if reply_code(&error) == Some(NOT_FOUND) => {
            // The exchange is missing: look at once, not at the next turn of the watchdog.
            shared.look.notify_one();
            Err(unavailable(error))
        }
        Ok(Err(error)) if was_not_sent(&error) => Err(unavailable(error)),
        Ok(Err(error)) => Err(PublishError::Unknown { reason: error.to_string() }),
        // The connection is left to those who need it: whether it is of use, they find out.
        Err(_) => {
            let limit_ms = shared.settings.confirm_timeout.as_millis();
            Err(PublishError::Unknown { reason: format!("no confirmation within {limit_ms} ms") })
        }
    }
}

async fn send(
    shared: &Shared,
    lane: &Lane<'_>,
    announcement: &Announcement<'_>,
) -> lapin::Result<Confirmation> {
    let exchange = shared.topology.exchange(Exchange::Events);
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(announcement.id.into())
        .with_content_type("application/json".into());
    let options = BasicPublishOptions::default();
    let key = announcement.key.into();
    let sending = lane.channel.basic_publish(exchange.into(), key, options, announcement.body, properties);
    sending.await?.await
}

fn judge(shared: &Shared, key: &str, confirmation: &Confirmation) -> Result<(), PublishError> {
    match confirmation {
        Confirmation::Ack(_) => Ok(()),
        Confirmation::Nack(_) => Err(PublishError::Refused {
            exchange: shared.topology.exchange(Exchange::Events),
            key: key.to_owned(),
        }),
        Confirmation::NotRequested => {
            Err(PublishError::Unknown { reason: "the channel is not in confirm mode".to_owned() })
        }
    }
}

fn unavailable(met: impl std::fmt::Display) -> PublishError {
    PublishError::Unavailable { reason: met.to_string() }
}
