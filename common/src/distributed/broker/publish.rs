//! Publishing: sent, routed and confirmed inside one deadline, or the caller learns what is known.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lapin::Confirmation;
use lapin::options::BasicPublishOptions;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::Shared;
use super::error::{BrokerState, NOT_FOUND, PublishError, reply_code, was_not_sent};
use super::figures::count;
use super::lanes::Lane;
use super::message::Publication;
use super::session::Session;
use super::topology::Exchange;

/// How long a publication waits for a connection that is being made again.
const RECONNECT_WAIT: Duration = Duration::from_secs(1);
/// Pause before a publication that was not sent is tried on the next connection.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// How one attempt went.
enum Attempt {
    Answered(Result<(), PublishError>),
    /// Nothing was sent; another connection may do.
    NotSent(String),
}

/// Publishes; counts the outcome.
pub(super) async fn publish(shared: &Shared, publication: &Publication) -> Result<Uuid, PublishError> {
    let outcome = attempts(shared, publication).await;
    let meters = &shared.meters;
    match &outcome {
        Ok(_) => {
            count(&meters.confirmed);
            if publication.exchange == Exchange::Intake {
                shared.ledger_holds_some.store(true, Ordering::Release);
            }
        }
        Err(PublishError::Unroutable { .. }) => {
            count(&meters.returned);
            // Something is missing at the broker: look at once, not at the next turn of the watchdog.
            shared.look.notify_one();
        }
        Err(PublishError::Refused { .. }) => count(&meters.refused),
        Err(PublishError::Unknown { .. }) => count(&meters.unknown),
        Err(PublishError::Unavailable { .. }) => {}
    }
    outcome
}

async fn attempts(shared: &Shared, publication: &Publication) -> Result<Uuid, PublishError> {
    let begun = Instant::now();
    let deadline = begun + shared.settings.confirm_timeout;
    let patience = deadline.min(begun + RECONNECT_WAIT);
    loop {
        let session = shared.session_by(patience).await?;
        let id = Uuid::now_v7();
        match attempt(shared, &session, publication, id, deadline).await {
            Attempt::Answered(answer) => return answer.map(|()| id),
            Attempt::NotSent(reason) if Instant::now() >= patience => {
                return Err(PublishError::Unavailable { reason });
            }
            Attempt::NotSent(_) => tokio::time::sleep(RETRY_PAUSE).await,
        }
    }
}

async fn attempt(
    shared: &Shared,
    session: &Session,
    publication: &Publication,
    id: Uuid,
    deadline: Instant,
) -> Attempt {
    let lane = match timeout_at(deadline, session.lanes.take(&session.publishing.connection)).await {
        Ok(Ok(lane)) => lane,
        Ok(Err(error)) => return Attempt::NotSent(error.to_string()),
        Err(_) => return Attempt::NotSent("all channels are busy".to_owned()),
    };
    let sent = timeout_at(deadline, send(shared, &lane, publication, id)).await;
    match sent {
        Ok(Ok(confirmation)) => {
            lane.put_back();
            Attempt::Answered(judge(shared, publication, confirmation))
        }
        Ok(Err(error)) if reply_code(&error) == Some(NOT_FOUND) => {
            Attempt::Answered(Err(unroutable(shared, publication)))
        }
        Ok(Err(error)) if was_not_sent(&error) => Attempt::NotSent(error.to_string()),
        Ok(Err(error)) => Attempt::Answered(Err(PublishError::Unknown { reason: error.to_string() })),
        Err(_) => Attempt::Answered(Err(overdue(shared, session))),
    }
}

async fn send(
    shared: &Shared,
    lane: &Lane<'_>,
    publication: &Publication,
    id: Uuid,
) -> lapin::Result<Confirmation> {
    let exchange = shared.topology.exchange(publication.exchange);
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let properties = publication.properties(id);
    let key = publication.key.as_str().into();
    let sent = lane.channel.basic_publish(exchange.into(), key, options, &publication.body, properties);
    sent.await?.await
}

/// Only an acknowledgement without a returned message means stored: a message no queue took is acknowledged too.
fn judge(shared: &Shared, publication: &Publication, confirmation: Confirmation) -> Result<(), PublishError> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(unroutable(shared, publication)),
        Confirmation::Nack(None) => Err(PublishError::Refused {
            exchange: shared.topology.exchange(publication.exchange),
            key: publication.key.clone(),
        }),
        Confirmation::NotRequested => {
            Err(PublishError::Unknown { reason: "the channel is not in confirm mode".to_owned() })
        }
    }
}

fn unroutable(shared: &Shared, publication: &Publication) -> PublishError {
    PublishError::Unroutable {
        exchange: shared.topology.exchange(publication.exchange),
        key: publication.key.clone(),
    }
}

/// No answer in time. A broker with an alarm answers when the alarm ends, so its connection is left; any other
/// connection that keeps silent is dropped.
fn overdue(shared: &Shared, session: &Session) -> PublishError {
    let deadline_ms = shared.settings.confirm_timeout.as_millis();
    let reason = match shared.state() {
        BrokerState::Blocked { reason } => format!("the broker is blocked: {reason}"),
        BrokerState::Ready | BrokerState::Away { .. } | BrokerState::Misfit { .. } => {
            let reason = format!("no confirmation within {deadline_ms} ms");
            session.fail(&reason);
            reason
        }
    };
    PublishError::Unknown { reason }
}
