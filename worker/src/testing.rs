//! Parts that fail on demand, over the embedded adapter, for the worker's own tests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::autoscaler::{Autoscalers, Entry, Mark};
use slipway_common::config::Config;
use slipway_common::contract::sample;
use slipway_common::embedded::{Embedded, EmbeddedSettings};
use slipway_common::ledger::{Ledger, LedgerError, Offset};
use slipway_common::model::autoscaler::{AutoscalerState, DecisionEntry, Learned, Observed, Place};
use slipway_common::model::{
    CredentialName, Deployment, DeploymentId, DeploymentState, EnvironmentName, Event, Job, JobId,
    JobMessage, LiveState, ProjectSlug, Stage, WorkerId,
};
use slipway_common::queue::{Buried, Claim, JobQueue, QueueDepth, QueueError};
use slipway_common::record::{Record, StoredCredential, StoredToken};
use slipway_common::secrets::{KEY_LENGTH_BYTES, Sealer};
use slipway_common::store::{
    Change, DeploymentFilter, DeploymentPage, Lease, LogLine, LogPage, Page, Reservation, Store, StoreError,
};
use slipway_common::submit::submit;
use tokio::sync::broadcast;

use crate::settings::WorkerSettings;
use crate::stage::Tools;

/// One installation whose parts can be taken away.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) backend: Backend,
    pub(crate) store: Arc<Flaky<dyn Store>>,
    pub(crate) queue: Arc<Flaky<dyn JobQueue>>,
    pub(crate) ledger: Arc<Flaky<dyn Ledger>>,
    pub(crate) autoscalers: Arc<Flaky<dyn Autoscalers>>,
    pub(crate) data: tempfile::TempDir,
    _embedded: Embedded,
}

impl Installation {
    pub(crate) fn open() -> Self {
        let data = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(data.path(), &EmbeddedSettings::default()).unwrap();
        let real = embedded.backend();
        let (store, queue) = (Flaky::over(real.store), Flaky::over(real.queue));
        let autoscalers = Flaky::over(real.autoscalers);
        let ledger: Arc<Flaky<dyn Ledger>> = Flaky::over(Arc::new(ListLedger::default()));
        let backend = Backend {
            store: store.clone(),
            queue: queue.clone(),
            ledger: ledger.clone(),
            inquiries: real.inquiries,
            autoscalers: autoscalers.clone(),
            metrics: real.metrics,
            projects: real.projects,
            agenda: real.agenda,
            topic: real.topic,
        };
        Self { backend, store, queue, ledger, autoscalers, data, _embedded: embedded }
    }

    /// A job that was accepted.
    pub(crate) async fn accept(&self) -> JobMessage {
        let message = sample::deploy_job("shop", Timestamp::now());
        submit(&self.backend, &message).await.unwrap();
        message
    }

    /// The parts a run works with, with quick heartbeats.
    pub(crate) fn tools(&self) -> Arc<Tools> {
        let variables = [
            ("SLIPWAY__WORKER__CLAIM_TTL_MS", "400"),
            ("SLIPWAY__WORKER__CLAIM_RENEW_MS", "50"),
            ("SLIPWAY__DOCKER__HOST", "/nonexistent/docker.sock"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::load(None, variables).unwrap();
        let settings = WorkerSettings::from_config(&config, self.data.path()).unwrap();
        let sealer = Sealer::new(&[7; KEY_LENGTH_BYTES]);
        Arc::new(Tools::new(settings, self.backend.clone(), sealer))
    }

    /// The names of the events of the job's deployment, in order.
    pub(crate) async fn history(&self, message: &JobMessage) -> Vec<&'static str> {
        let events = self.backend.store.events(message.deployment, 0, 1_000).await.unwrap();
        events.iter().map(|(_, event)| event.kind.name()).collect()
    }
}

/// A ledger apart from the store, as a broker's is: the embedded one projects what it takes.
#[derive(Debug, Default)]
struct ListLedger(Mutex<Vec<Record>>);

#[async_trait]
impl Ledger for ListLedger {
    async fn append(&self, record: &Record) -> Result<(), LedgerError> {
        self.0.lock().unwrap().push(record.clone());
        Ok(())
    }

    async fn read(&self, from: Offset, limit: usize) -> Result<Vec<(Offset, Record)>, LedgerError> {
        let records = self.0.lock().unwrap();
        let numbered = (1..).map(Offset).zip(records.iter().cloned());
        Ok(numbered.skip_while(|(offset, _)| *offset < from).take(limit).collect())
    }
}

/// What a part does with its calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It works.
    #[default]
    Well,
    /// It answers that it is unavailable.
    Away,
    /// It answers calls of this name that it is unavailable.
    Refuses(&'static str),
    /// It panics at calls of this name.
    PanicsAt(&'static str),
}

/// A part that does as it is told.
#[derive(Debug)]
pub(crate) struct Flaky<T: ?Sized> {
    mood: Mutex<Mood>,
    inner: Arc<T>,
}

impl<T: ?Sized> Flaky<T> {
    fn over(inner: Arc<T>) -> Arc<Self> {
        Arc::new(Self { mood: Mutex::default(), inner })
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn refusal(&self, method: &'static str) -> Option<String> {
        let mood = *self.mood.lock().unwrap();
        assert!(mood != Mood::PanicsAt(method), "told to panic");
        (mood == Mood::Away || mood == Mood::Refuses(method)).then(|| "it was taken away".to_owned())
    }
}

macro_rules! flaky {
    ($seam:ident, $error:ident { $($rest:tt)* }
     $(fn $method:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl $seam for Flaky<dyn $seam> {
            $(async fn $method(&self, $($arg: $kind),*) -> Result<$answer, $error> {
                if let Some(reason) = self.refusal(stringify!($method)) {
                    return Err($error::Unavailable { reason });
                }
                self.inner.$method($($arg),*).await
            })+

            $($rest)*
        }
    };
}

flaky! {
    Ledger, LedgerError {}
    fn append(record: &Record) -> ();
    fn append_all(records: &[Record]) -> ();
    fn read(from: Offset, limit: usize) -> Vec<(Offset, Record)>;
}

flaky! {
    JobQueue, QueueError {
        async fn wait(&self, longest: Duration) {
            self.inner.wait(longest).await;
        }
    }
    fn enqueue(message: &JobMessage) -> ();
    fn claim(worker: WorkerId, ttl: Duration, now: Timestamp) -> Option<Claim>;
    fn renew(claim: &Claim, ttl: Duration, now: Timestamp) -> ();
    fn complete(claim: &Claim, now: Timestamp) -> ();
    fn park(claim: &Claim, until: Timestamp, now: Timestamp) -> ();
    fn bury(claim: &Claim, reason: &str, now: Timestamp) -> ();
    fn wake(job: JobId, now: Timestamp) -> bool;
    fn depth(now: Timestamp) -> QueueDepth;
    fn buried(limit: usize) -> Vec<Buried>;
    fn requeue(id: JobId, now: Timestamp) -> bool;
    fn discard(id: JobId, now: Timestamp) -> bool;
}

flaky! {
    Store, StoreError {
        fn changes(&self) -> broadcast::Receiver<Change> {
            self.inner.changes()
        }
    }
    fn apply(record: &Record) -> u64;
    fn apply_all(records: &[Record]) -> ();
    fn deployment(id: DeploymentId) -> Option<Deployment>;
    fn deployments(filter: &DeploymentFilter, page: &Page) -> DeploymentPage;
    fn job(id: JobId) -> Option<Job>;
    fn newest(project: &ProjectSlug, environment: &EnvironmentName) -> Option<DeploymentId>;
    fn in_service(project: &ProjectSlug, environment: &EnvironmentName) -> Vec<DeploymentId>;
    fn events(deployment: DeploymentId, after: u64, limit: usize) -> Vec<(u64, Event)>;
    fn acquire_lease(key: &str, holder: &str, ttl: Duration, now: Timestamp) -> Option<Lease>;
    fn renew_lease(lease: &Lease, ttl: Duration, now: Timestamp) -> bool;
    fn release_lease(lease: &Lease) -> ();
    fn reserve(wanted: &Reservation, keep: Duration, now: Timestamp) -> Reservation;
    fn append_log(deployment: DeploymentId, stage: Stage, lines: &[LogLine], limit_bytes: u64) -> ();
    fn read_log(deployment: DeploymentId, stage: Stage, after: u64, limit: usize) -> LogPage;
    fn log_tail(deployment: DeploymentId, stage: Stage, count: usize) -> Vec<LogLine>;
    fn put_live(deployment: DeploymentId, live: &LiveState) -> ();
    fn live(deployment: DeploymentId) -> Option<LiveState>;
    fn credential(name: &CredentialName) -> Option<StoredCredential>;
    fn credentials() -> Vec<StoredCredential>;
    fn token(sha256: &str) -> Option<StoredToken>;
    fn tokens() -> Vec<StoredToken>;
    fn count_by_state() -> Vec<(DeploymentState, u64)>;
    fn check() -> ();
}

flaky! {
    Autoscalers, StoreError {}
    fn all_since(known: Option<&Mark>) -> Option<(Mark, Vec<Entry>)>;
    fn autoscaler(place: &Place) -> Option<Entry>;
    fn put_states(states: &[(Place, AutoscalerState)]) -> ();
    fn state(place: &Place) -> Option<AutoscalerState>;
    fn append_decisions(decisions: &[(Place, DecisionEntry)]) -> ();
    fn decisions(place: &Place, after: u64, limit: usize) -> Vec<(u64, DecisionEntry)>;
    fn newest_decisions(place: &Place, limit: usize) -> Vec<(u64, DecisionEntry)>;
    fn append_observed(place: &Place, observed: &[Observed]) -> ();
    fn observed(place: &Place, since: Timestamp) -> Vec<Observed>;
    fn put_learned(learned: &[(Place, Learned)]) -> ();
    fn learned(place: &Place) -> Option<Learned>;
    fn announce(name: &str, ttl: Duration, now: Timestamp) -> Vec<String>;
    fn withdraw(name: &str) -> ();
}
