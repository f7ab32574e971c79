//! Subscriptions that never end in silence: whatever ends a consumer, another one takes its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Consumer;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shared;
use super::delivery::{Delivery, Life};
use super::error::{BrokerError, within};
use super::figures::count;
use super::session::Session;
use super::topology::QueueName;
use crate::plant::Plant;

/// Longest wait for each step of subscribing.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for a delivery that was under way when its consumer was cancelled.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_millis(100);
/// Pause before subscribing again; it doubles up to the largest while nothing works.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(1_000);
/// A subscription this young is not yet expected in the broker's counts.
const SETTLING: Duration = Duration::from_secs(1);

/// A queue's messages, across reconnects. Dropping it cancels; deliveries already taken can still be settled.
#[derive(Debug)]
pub(crate) struct Subscription {
    deliveries: mpsc::UnboundedReceiver<Delivery>,
    _alive: DropGuard,
}

impl Subscription {
    /// The next message, however long that takes. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Delivery {
        loop {
            match self.deliveries.recv().await {
                Some(delivery) if delivery.is_live() => return delivery,
                Some(_) => {}
                // The broker was closed: nothing will ever come.
                None => std::future::pending::<()>().await,
            }
        }
    }
}

/// What the watchdog knows of one subscription.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) queue: QueueName,
    consuming: AtomicBool,
    since: std::sync::Mutex<Instant>,
    pub(super) renew: Notify,
    pub(super) gone: CancellationToken,
}

impl Watched {
    /// Whether the broker must know of a consumer by now.
    pub(super) fn is_settled(&self) -> bool {
        let since = *self.since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.consuming.load(Ordering::Acquire) && since.elapsed() >= SETTLING
    }

    fn consumes(&self, consuming: bool) {
        *self.since.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
        self.consuming.store(consuming, Ordering::Release);
    }
}

/// Begins a subscription.
pub(super) fn subscribe(shared: &Arc<Shared>, queue: QueueName, prefetch: u16) -> Subscription {
    let (sender, deliveries) = mpsc::unbounded_channel();
    let gone = shared.closing.child_token();
    let watched = Arc::new(Watched {
        queue,
        consuming: AtomicBool::new(false),
        since: std::sync::Mutex::new(Instant::now()),
        renew: Notify::new(),
        gone: gone.clone(),
    });
    shared.watch(watched.clone());
    let pump = Pump { shared: shared.clone(), watched, prefetch: prefetch.max(1), sender };
    tokio::spawn(pump.run());
    Subscription { deliveries, _alive: gone.drop_guard() }
}

/// Deliveries of a cancelled subscription can be settled until the connection ends.
fn outlive(session: Arc<Session>, life: &Life) {
    let over = life.over.clone();
    tokio::spawn(async move {
        session.ended().await;
        over.cancel();
    });
}

struct Pump {
    shared: Arc<Shared>,
    watched: Arc<Watched>,
    prefetch: u16,
    sender: mpsc::UnboundedSender<Delivery>,
}

impl Pump {
    async fn run(self) {
        let gone = self.watched.gone.clone();
        let (mut pause, mut first) = (PAUSE, true);
        while let Some(Some(session)) = gone.run_until_cancelled(self.shared.session()).await {
            // Never given up half-way: the broker would go on with a consumer that nobody knows of.
            match self.consumer(&session).await {
                Ok((consumer, life)) => {
                    if !std::mem::replace(&mut first, false) {
                        count(&self.shared.meters.resubscribed);
                    }
                    pause = PAUSE;
                    self.watched.consumes(true);
                    let reason = self.pump(&session, consumer, &life).await;
                    self.watched.consumes(false);
                    if gone.is_cancelled() {
                        return outlive(session, &life);
                    }
                    life.over.cancel();
                    tracing::debug!(queue = ?self.watched.queue, reason, "a consumer ended");
                }
                Err(error) => {
                    tracing::debug!(queue = ?self.watched.queue, %error, "subscribing failed");
                    if matches!(error, BrokerError::Overdue { .. }) {
                        session.fail(&error.to_string());
                    }
                    self.shared.look.notify_one();
                }
            }
            if gone.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn consumer(&self, session: &Session) -> Result<(Consumer, Arc<Life>), BrokerError> {
        let connection = &session.consuming.connection;
        let channel = within(SUBSCRIBE_TIMEOUT, "opening a channel", connection.create_channel()).await?;
        let qos = channel.basic_qos(self.prefetch, BasicQosOptions::default());
        within(SUBSCRIBE_TIMEOUT, "setting the prefetch", qos).await?;
        let queue = self.shared.topology.queue(self.watched.queue);
        let consume = channel.basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let consumer = within(SUBSCRIBE_TIMEOUT, "subscribing", consume).await?;
        let over = CancellationToken::new();
        Ok((consumer, Arc::new(Life { channel, over, meters: self.shared.meters.clone() })))
    }

    /// Hands deliveries on until something ends that; says what.
    async fn pump(&self, session: &Session, mut consumer: Consumer, life: &Arc<Life>) -> String {
        loop {
            let next = tokio::select! {
                () = self.watched.gone.cancelled() => {
                    self.cancel(consumer, life).await;
                    return "cancelled here".to_owned();
                }
                () = session.ended() => return session.reason(),
                () = self.watched.renew.notified() => return "the broker does not know it".to_owned(),
                next = consumer.next() => next,
            };
            match next {
                Some(Ok(delivery)) => {
                    if self.sender.send(Delivery::new(delivery, life.clone())).is_err() {
                        self.cancel(consumer, life).await;
                        return "nobody listens".to_owned();
                    }
                }
                Some(Err(error)) => return error.to_string(),
                None if Plant::StreamEndIsIdle.is_planted() => {
                    self.watched.gone.cancelled().await;
                }
                None => return "the broker ended it".to_owned(),
            }
        }
    }

    /// Cancels at the broker; the channel stays until its deliveries are settled. Those that came in meanwhile are given
    /// back: nobody would settle them.
    async fn cancel(&self, mut consumer: Consumer, life: &Arc<Life>) {
        let cancelled = life.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        if let Err(error) = within(SUBSCRIBE_TIMEOUT, "cancelling", cancelled).await {
            tracing::debug!(%error, "a consumer was not cancelled");
        }
        while let Ok(Some(Ok(delivery))) = timeout(GIVE_BACK_TIMEOUT, consumer.next()).await {
            drop(Delivery::new(delivery, life.clone()));
        }
    }
}
