//! The connection to RabbitMQ: supervised, with own deadlines, confirms and subscriptions.

mod announce;
mod broadcast;
mod connect;
mod delivery;
mod error;
mod fetch;
mod figures;
mod lanes;
mod message;
mod publish;
mod session;
mod stream;
mod subscription;
mod supervisor;
#[cfg(test)]
mod tests;
mod topology;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::BrokerSettings;
pub(crate) use broadcast::Listening;
pub(crate) use delivery::Delivery;
pub(crate) use error::{BrokerError, BrokerState, PublishError};
pub(crate) use figures::BrokerFigures;
pub(crate) use message::{MessageKind, Publication};
pub(crate) use stream::Entry;
pub(crate) use subscription::Subscription;
pub(crate) use topology::{Counts, DELAY_RUNGS_MS, Exchange, QueueName};

use figures::Meters;
use session::Session;
use subscription::Watched;
use topology::Topology;

/// Longest wait for the end of the supervisor.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(6);

/// The broker. Clones share one supervised pair of connections, which closes with the last of them.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    shared: Arc<Shared>,
    _alive: Arc<DropGuard>,
}

#[derive(Debug)]
struct Shared {
    settings: BrokerSettings,
    topology: Topology,
    state: watch::Sender<BrokerState>,
    session: watch::Sender<Option<Arc<Session>>>,
    repaired: watch::Sender<u64>,
    meters: Arc<Meters>,
    subscriptions: Mutex<Vec<Arc<Watched>>>,
    /// Asks the watchdog to look at once.
    look: Notify,
    /// Whether the ledger's stream is known to hold a record, so that silence does not mean that it is empty.
    ledger_holds_some: AtomicBool,
    closing: CancellationToken,
    closed: CancellationToken,
}

impl Broker {
    /// Begins to connect in the background. Must be called inside a Tokio runtime; never fails.
    pub(crate) fn start(settings: BrokerSettings) -> Self {
        let closing = CancellationToken::new();
        let shared = Arc::new(Shared {
            topology: Topology::new(&settings),
            settings,
            state: watch::Sender::new(BrokerState::Away { reason: "not connected yet".to_owned() }),
            session: watch::Sender::new(None),
            repaired: watch::Sender::new(0),
            meters: Arc::default(),
            subscriptions: Mutex::default(),
            look: Notify::new(),
            ledger_holds_some: AtomicBool::new(false),
            closing: closing.clone(),
            closed: CancellationToken::new(),
        });
        let supervised = shared.clone();
        tokio::spawn(async move {
            let closed = supervised.closed.clone().drop_guard();
            supervisor::supervise(supervised).await;
            drop(closed);
        });
        Self { shared, _alive: Arc::new(closing.drop_guard()) }
    }

    /// State of the connection.
    pub(crate) fn state(&self) -> BrokerState {
        self.shared.state()
    }

    /// Grows whenever a missing queue or exchange was made, the first time included: jobs may have been in it.
    /// A missing binding shows as [`PublishError::Unroutable`] and is made again without growing this.
    pub(crate) fn repaired(&self) -> watch::Receiver<u64> {
        self.shared.repaired.subscribe()
    }

    /// Waits until messages can be published and taken.
    ///
    /// # Errors
    /// When that is not so within `longest`.
    #[cfg(test)]
    pub(crate) async fn wait_ready(&self, longest: Duration) -> Result<(), BrokerError> {
        let mut states = self.shared.state.subscribe();
        let ready = states.wait_for(|state| *state == BrokerState::Ready);
        if matches!(timeout(longest, ready).await, Ok(Ok(_))) {
            return Ok(());
        }
        self.state().refusal().map_or(Ok(()), Err)
    }

    /// Publishes and waits until every queue of the key has stored it; returns the id of this publication.
    ///
    /// # Errors
    /// See [`PublishError`]; inside the confirm timeout in any case.
    pub(crate) async fn publish(&self, publication: Publication) -> Result<Uuid, PublishError> {
        publish::publish(&self.shared, &publication).await
    }

    /// Publishes in this order and waits until all are stored. Waiting for all at once costs little more than waiting
    /// for one.
    ///
    /// # Errors
    /// See [`PublishError`]; any of them may be stored then, and any may be stored twice, or not at all.
    pub(crate) async fn publish_all(&self, publications: &[Publication]) -> Result<(), PublishError> {
        publish::publish_all(&self.shared, publications).await
    }

    /// Takes messages from a queue, at most `prefetch` (at least 1) unsettled at once. Dropping it cancels.
    pub(crate) fn subscribe(&self, queue: QueueName, prefetch: u16) -> Subscription {
        subscription::subscribe(&self.shared, queue, prefetch)
    }

    /// At most `most` messages of a queue that are ready now, oldest first.
    ///
    /// # Errors
    /// When the broker cannot be asked; what was taken goes back then.
    pub(crate) async fn fetch(&self, queue: QueueName, most: usize) -> Result<Vec<Delivery>, BrokerError> {
        fetch::fetch(&self.shared, queue, most).await
    }

    /// Messages and consumers of a queue.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    pub(crate) async fn counts(&self, queue: QueueName) -> Result<Counts, BrokerError> {
        let session = self.shared.session_now()?;
        self.shared.topology.counts(&session.consuming.connection, queue).await
    }

    /// At most `limit` entries of the ledger's stream from the offset `from` (0-based) on, in order: all there are
    /// at the time of the call, never fewer without an error. Where retention removed the beginning, it starts at
    /// the first that is left.
    ///
    /// # Errors
    /// When the broker cannot be read.
    pub(crate) async fn read_stream(&self, from: u64, limit: usize) -> Result<Vec<Entry>, BrokerError> {
        stream::read(&self.shared, from, limit).await
    }

    /// Sends messages, in this order, to everyone who listens at this moment; answers when all of them have it.
    ///
    /// # Errors
    /// When the broker takes no messages now, at once; or does not answer in time. Nothing is tried again.
    pub(crate) async fn broadcast(&self, bodies: &[Vec<u8>]) -> Result<(), BrokerError> {
        broadcast::publish(&self.shared, bodies).await
    }

    /// Sends a message called `id` to every queue that others have bound to `key` at [`Exchange::Events`]; answers when
    /// all of them have stored it. That there is none is no failure.
    ///
    /// # Errors
    /// When the broker takes no messages now, at once; when a queue refused it; or when no answer came in time. Nothing
    /// is tried again.
    pub(crate) async fn announce(&self, key: &str, id: &str, body: &[u8]) -> Result<(), PublishError> {
        announce::publish(&self.shared, key, id, body).await
    }

    /// Hands to `hear` each message that is broadcast from now on, across reconnects, until the answer is dropped.
    /// `hear` must not wait. What is broadcast while there is no connection is not heard.
    pub(crate) fn listen(&self, hear: impl FnMut(&[u8]) + Send + 'static) -> Listening {
        broadcast::listen(&self.shared, hear)
    }

    /// Counters.
    pub(crate) fn figures(&self) -> BrokerFigures {
        self.shared.meters.read()
    }

    /// Cancels all subscriptions and closes the connections; deliveries not settled go back to their queues.
    pub(crate) async fn close(&self) {
        self.shared.closing.cancel();
        if timeout(CLOSE_TIMEOUT, self.shared.closed.cancelled()).await.is_err() {
            tracing::warn!("the connection to the broker did not close in time");
        }
    }

    /// Cuts the sockets; the connections are made again.
    #[cfg(test)]
    pub(crate) fn cut(&self) {
        if let Some(session) = self.shared.session.borrow().clone() {
            session.fail("cut");
        }
    }

    /// Ends everything as a crash would: the sockets are cut, nothing is said.
    pub(crate) fn abandon(&self) {
        if let Some(session) = self.shared.session.borrow().clone() {
            session.fail("abandoned");
        }
        self.shared.closing.cancel();
    }
}

impl Shared {
    fn state(&self) -> BrokerState {
        self.state.borrow().clone()
    }

    fn set_state(&self, state: BrokerState) {
        self.state.send_replace(state);
    }

    /// The current session, or the next one; `None` when the broker is closed.
    async fn session(&self) -> Option<Arc<Session>> {
        let mut sessions = self.session.subscribe();
        let alive =
            |session: &Option<Arc<Session>>| session.as_ref().is_some_and(|session| !session.has_ended());
        let session = sessions.wait_for(alive).await.ok()?;
        session.clone()
    }

    fn session_now(&self) -> Result<Arc<Session>, BrokerError> {
        let session = self.session.borrow().clone();
        session.filter(|session| !session.has_ended()).ok_or_else(|| self.away())
    }

    async fn session_by_then(&self, until: Instant) -> Result<Arc<Session>, BrokerError> {
        let session = timeout_at(until, self.session()).await;
        session.ok().flatten().ok_or_else(|| self.away())
    }

    /// The session for a publication: at once, or by `patience` while one is being made.
    async fn session_by(&self, patience: Instant) -> Result<Arc<Session>, PublishError> {
        match self.state() {
            BrokerState::Ready | BrokerState::Away { .. } => {
                let session = self.session_by_then(patience).await;
                session.map_err(|error| PublishError::Unavailable { reason: error.to_string() })
            }
            BrokerState::Blocked { reason } | BrokerState::Misfit { reason } => {
                Err(PublishError::Unavailable { reason })
            }
        }
    }

    fn away(&self) -> BrokerError {
        let lost = || BrokerError::Unavailable { reason: "the connection is being made again".to_owned() };
        self.state().refusal().unwrap_or_else(lost)
    }

    fn repaired_by(&self, count: u64) {
        self.meters.repaired.fetch_add(count, Ordering::Relaxed);
        self.repaired.send_modify(|repaired| *repaired += count);
    }

    fn watch(&self, watched: Arc<Watched>) {
        let mut subscriptions = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        subscriptions.retain(|watched| !watched.gone.is_cancelled());
        subscriptions.push(watched);
    }

    fn watched(&self, queue: QueueName) -> Vec<Arc<Watched>> {
        let subscriptions = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = |watched: &&Arc<Watched>| watched.queue == queue && !watched.gone.is_cancelled();
        subscriptions.iter().filter(alive).cloned().collect()
    }
}
