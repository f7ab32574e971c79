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
    let mut ids = publish_in_order(shared, std::slice::from_ref(publication)).await?;
    ids.pop().ok_or_else(|| PublishError::Unknown { reason: "nothing was published".to_owned() })
}

/// Publishes in order, on one channel; counts the outcome.
pub(super) async fn publish_all(shared: &Shared, publications: &[Publication]) -> Result<(), PublishError> {
    publish_in_order(shared, publications).await.map(drop)
}

async fn publish_in_order(shared: &Shared, publications: &[Publication]) -> Result<Vec<Uuid>, PublishError> {
    let outcome = attempts(shared, publications).await;
    let meters = &shared.meters;
    match &outcome {
        Ok(ids) => {
            ids.iter().for_each(|_| count(&meters.confirmed));
            if publications.iter().any(|publication| publication.exchange == Exchange::Intake) {
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

async fn attempts(shared: &Shared, publications: &[Publication]) -> Result<Vec<Uuid>, PublishError> {
    let begun = Instant::now();
    let deadline = begun + shared.settings.confirm_timeout;
    let patience = deadline.min(begun + RECONNECT_WAIT);
    loop {
        let session = shared.session_by(patience).await?;
        let ids: Vec<Uuid> = publications.iter().map(|_| Uuid::now_v7()).collect();
        match attempt(shared, &session, publications, &ids, deadline).await {
            Attempt::Answered(answer) => return answer.map(|()| ids),
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
    publications: &[Publication],
    ids: &[Uuid],
    deadline: Instant,
) -> Attempt {
    let lane = match timeout_at(deadline, session.lanes.take(&session.publishing.connection)).await {
        Ok(Ok(lane)) => lane,
        Ok(Err(error)) => return Attempt::NotSent(error.to_string()),
        Err(_) => return Attempt::NotSent("all channels are busy".to_owned()),
    };
    let sent = timeout_at(deadline, send(shared, &lane, publications, ids)).await;
    match sent {
        Ok(Ok(confirmations)) => {
            lane.put_back();
            let mut answers = publications.iter().zip(confirmations);
            let all_stored = answers.try_for_each(|(publication, told)| judge(shared, publication, told));
            Attempt::Answered(all_stored)
        }
        Ok(Err(error)) if reply_code(&error) == Some(NOT_FOUND) => match publications.first() {
            Some(publication) => Attempt::Answered(Err(unroutable(shared, publication))),
            None => Attempt::Answered(Ok(())),
        },
        Ok(Err(error)) if was_not_sent(&error) => Attempt::NotSent(error.to_string()),
        Ok(Err(error)) => Attempt::Answered(Err(PublishError::Unknown { reason: error.to_string() })),
        Err(_) => Attempt::Answered(Err(overdue(shared, session))),
    }
}

/// Sends all of them before it waits for the first answer. Nobody else sends on the lane, so the order is kept.
async fn send(
    shared: &Shared,
    lane: &Lane<'_>,
    publications: &[Publication],
    ids: &[Uuid],
) -> lapin::Result<Vec<Confirmation>> {
    let mut sent = Vec::with_capacity(publications.len());
    for (publication, id) in publications.iter().zip(ids) {
        let exchange = shared.topology.exchange(publication.exchange);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = publication.properties(*id);
        let key = publication.key.as_str().into();
        let sending =
            lane.channel.basic_publish(exchange.into(), key, options, &publication.body, properties);
        sent.push(sending.await?);
    }
    let mut confirmations = Vec::with_capacity(sent.len());
    for confirmation in sent {
        confirmations.push(confirmation.await?);
    }
    Ok(confirmations)
}

/// Only an acknowledgement without a returned message means stored: a message no queue took is acknowledged too. Which
/// of several sent together was returned is not known, as the client attaches it to any of them.
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
