//! Broadcasts: messages for whoever listens at this moment.
//!
//! None of them is kept and none may hold up a job. So they have channels apart from those of jobs, wait for no
//! connection, and are neither persistent nor acknowledged by those who hear them. They are confirmed all the same: an
//! answer costs little, and without it they would pile up in front of the jobs' publications while the broker does not
//! read.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Consumer};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shared;
use super::error::{BrokerError, NOT_FOUND, reply_code, within};
use super::figures::count;
use super::lanes::Lane;
use super::session::Session;
use super::topology::Exchange;

/// Longest wait for each step of sending and of beginning to listen.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before listening again; it doubles up to the largest while nothing works.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(1_000);
/// `delivery_mode` of messages that need not survive the broker.
const TRANSIENT: u8 = 1;

/// Sends the messages in this order and waits until every listener's queue has them.
pub(super) async fn publish(shared: &Shared, bodies: &[Vec<u8>]) -> Result<(), BrokerError> {
    // Under an alarm the broker does not read, and what is sent would lie in front of everything else.
    if let Some(refusal) = shared.state().refusal() {
        return Err(refusal);
    }
    let session = shared.session_now()?;
    let taken = session.broadcasts.take(&session.publishing.connection);
    let lane = within(STEP_TIMEOUT, "a channel for a broadcast", taken).await?;
    let sent = timeout(STEP_TIMEOUT, send(shared, &lane, bodies)).await;
    match sent {
        Ok(Ok(())) => {
            lane.put_back();
            Ok(())
        }
        Ok(Err(error)) => {
            if reply_code(&error) == Some(NOT_FOUND) {
                // The exchange is missing: look at once, not at the next turn of the watchdog.
                shared.look.notify_one();
            }
            Err(error.into())
        }
        // The connection is left to those who need it: whether it is of use, they find out.
        Err(_) => Err(BrokerError::Overdue { what: "the answer to a broadcast", deadline: STEP_TIMEOUT }),
    }
}

/// Sends all of them before it waits for the first answer.
async fn send(shared: &Shared, lane: &Lane<'_>, bodies: &[Vec<u8>]) -> lapin::Result<()> {
    let exchange = shared.topology.exchange(Exchange::Metrics);
    let mut sent = Vec::with_capacity(bodies.len());
    for body in bodies {
        let properties = BasicProperties::default()
            .with_delivery_mode(TRANSIENT)
            .with_content_type("application/json".into());
        let options = BasicPublishOptions::default();
        let sending =
            lane.channel.basic_publish(exchange.as_str().into(), "".into(), options, body, properties);
        sent.push(sending.await?);
    }
    for confirmation in sent {
        // What it says does not matter: that nobody listens is no failure.
        confirmation.await?;
    }
    Ok(())
}

/// Somebody who listens, until it is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    _alive: DropGuard,
}

/// Begins to listen.
pub(super) fn listen(shared: &Arc<Shared>, hear: impl FnMut(&[u8]) + Send + 'static) -> Listening {
    let gone = shared.closing.child_token();
    let listener = Listener { shared: shared.clone(), gone: gone.clone() };
    tokio::spawn(listener.run(hear));
    Listening { _alive: gone.drop_guard() }
}

struct Listener {
    shared: Arc<Shared>,
    gone: CancellationToken,
}

/// A queue that is listened to.
struct Ear {
    channel: Channel,
    consumer: Consumer,
    queue: String,
    /// Tells that exchanges were made anew, and have lost their bindings.
    repaired: watch::Receiver<u64>,
}

impl Listener {
    async fn run(self, mut hear: impl FnMut(&[u8]) + Send) {
        let (mut pause, mut first) = (PAUSE, true);
        while let Some(Some(session)) = self.gone.run_until_cancelled(self.shared.session()).await {
            match self.ear(&session).await {
                Ok(mut ear) => {
                    if !std::mem::replace(&mut first, false) {
                        count(&self.shared.meters.resubscribed);
                    }
                    pause = PAUSE;
                    let reason = self.attend(&session, &mut ear, &mut hear).await;
                    tracing::debug!(queue = ear.queue, reason, "a listener ended");
                    if !session.has_ended() {
                        close(&ear.channel).await;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "listening failed");
                    self.shared.look.notify_one();
                }
            }
            if self.gone.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn ear(&self, session: &Session) -> Result<Ear, BrokerError> {
        // Before the binding is made, so that one which gets lost after it is heard of.
        let repaired = self.shared.repaired.subscribe();
        let opened = session.consuming.connection.create_channel();
        let channel = within(STEP_TIMEOUT, "opening a channel", opened).await?;
        let queue = self.shared.topology.listener(&channel).await?;
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consume = channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default());
        let consumer = within(STEP_TIMEOUT, "listening", consume).await?;
        Ok(Ear { channel, consumer, queue, repaired })
    }

    /// Hears until something ends that; says what.
    async fn attend(&self, session: &Session, ear: &mut Ear, hear: &mut impl FnMut(&[u8])) -> String {
        loop {
            let next = tokio::select! {
                () = self.gone.cancelled() => return "cancelled here".to_owned(),
                () = session.ended() => return session.reason(),
                Ok(()) = ear.repaired.changed() => {
                    match self.shared.topology.bind_listener(&ear.channel, &ear.queue).await {
                        Ok(()) => continue,
                        Err(error) => return error.to_string(),
                    }
                }
                next = ear.consumer.next() => next,
            };
            match next {
                Some(Ok(delivery)) => hear(&delivery.data),
                Some(Err(error)) => return error.to_string(),
                None => return "the broker ended it".to_owned(),
            }
        }
    }
}

/// Ends the consumer, and with it its queue.
async fn close(channel: &Channel) {
    let closing = channel.close(200, "done".into());
    if let Err(error) = within(STEP_TIMEOUT, "closing", closing).await {
        tracing::debug!(%error, "the channel of a listener did not close");
    }
}
