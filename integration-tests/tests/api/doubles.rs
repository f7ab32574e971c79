//! Queue, ledger and store that fail on command: away, silent, full, forgetful. What they are asked for otherwise is done
//! by the real ones.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::agenda::{Agenda, Due, List, Next};
use slipway_common::autoscaler::{Autoscalers, Entry, Mark};
use slipway_common::ledger::{Ledger, LedgerError, Offset};
use slipway_common::model::autoscaler::{AutoscalerState, DecisionEntry, Learned, Observed, Place};
use slipway_common::model::registered::{Head, HookEntry, RegisteredProject};
use slipway_common::model::{
    CredentialName, Deployment, DeploymentId, DeploymentState, EnvironmentName, Event, HookId, Job, JobId,
    JobMessage, LiveState, ProjectSlug, Stage, WorkerId,
};
use slipway_common::projects::Projects;
use slipway_common::queue::{Buried, Claim, JobQueue, QueueDepth, QueueError};
use slipway_common::record::{Record, StoredCredential, StoredToken};
use slipway_common::store::{
    Change, DeploymentFilter, DeploymentPage, Lease, LogLine, LogPage, Page, Reservation, Store, StoreError,
};
use tokio::sync::broadcast;

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// How a part behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should.
    #[default]
    Well,
    /// It says that it cannot be reached.
    Away,
    /// It takes nothing and says nothing.
    Silent,
    /// It does what it is asked for and says nothing (queue).
    SilentAfterwards,
    /// It does what it is asked for and says that it does not know (queue).
    Unsure,
    /// It refuses more (queue).
    Full,
    /// It keeps no reservations (store).
    Forgetful,
}

/// Changes the moods while the server runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    queue: Arc<Mutex<Mood>>,
    ledger: Arc<Mutex<Mood>>,
    store: Arc<Mutex<Mood>>,
}

impl Faults {
    pub(crate) fn queue(&self, mood: Mood) {
        *self.queue.lock().unwrap() = mood;
    }

    pub(crate) fn ledger(&self, mood: Mood) {
        *self.ledger.lock().unwrap() = mood;
    }

    pub(crate) fn store(&self, mood: Mood) {
        *self.store.lock().unwrap() = mood;
    }

    /// The backend, failing as told.
    pub(crate) fn around(&self, backend: &Backend) -> Backend {
        Backend {
            queue: Arc::new(FaultyQueue { inner: backend.queue.clone(), mood: self.queue.clone() }),
            ledger: Arc::new(FaultyLedger { inner: backend.ledger.clone(), mood: self.ledger.clone() }),
            store: Arc::new(FaultyStore { inner: backend.store.clone(), mood: self.store.clone() }),
            inquiries: backend.inquiries.clone(),
            autoscalers: Arc::new(FaultyAutoscalers {
                inner: backend.autoscalers.clone(),
                mood: self.store.clone(),
            }),
            metrics: backend.metrics.clone(),
            projects: Arc::new(FaultyProjects { inner: backend.projects.clone(), mood: self.store.clone() }),
            agenda: Arc::new(FaultyAgenda { inner: backend.agenda.clone(), mood: self.store.clone() }),
            topic: backend.topic.clone(),
        }
    }
}

#[derive(Debug)]
struct FaultyQueue {
    inner: Arc<dyn JobQueue>,
    mood: Arc<Mutex<Mood>>,
}

impl FaultyQueue {
    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    async fn gate(&self) -> Result<(), QueueError> {
        match self.mood() {
            Mood::Well | Mood::Full | Mood::Unsure | Mood::SilentAfterwards | Mood::Forgetful => Ok(()),
            Mood::Away => Err(QueueError::Unavailable { reason: "told to be away".to_owned() }),
            Mood::Silent => silence().await,
        }
    }
}

async fn silence<T>() -> T {
    tokio::time::sleep(FOR_EVER).await;
    panic!("nobody waits so long")
}

#[async_trait]
impl JobQueue for FaultyQueue {
    async fn enqueue(&self, message: &JobMessage) -> Result<(), QueueError> {
        self.gate().await?;
        if self.mood() == Mood::Full {
            return Err(QueueError::Full { limit_jobs: 7 });
        }
        self.inner.enqueue(message).await?;
        match self.mood() {
            Mood::SilentAfterwards => silence().await,
            Mood::Unsure => Err(QueueError::Unknown { reason: "told not to know".to_owned() }),
            Mood::Well | Mood::Away | Mood::Silent | Mood::Full | Mood::Forgetful => Ok(()),
        }
    }

    async fn claim(
        &self,
        worker: WorkerId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<Claim>, QueueError> {
        self.gate().await?;
        self.inner.claim(worker, ttl, now).await
    }

    async fn renew(&self, claim: &Claim, ttl: Duration, now: Timestamp) -> Result<(), QueueError> {
        self.gate().await?;
        self.inner.renew(claim, ttl, now).await
    }

    async fn complete(&self, claim: &Claim, now: Timestamp) -> Result<(), QueueError> {
        self.gate().await?;
        self.inner.complete(claim, now).await
    }

    async fn park(&self, claim: &Claim, until: Timestamp, now: Timestamp) -> Result<(), QueueError> {
        self.gate().await?;
        self.inner.park(claim, until, now).await
    }

    async fn bury(&self, claim: &Claim, reason: &str, now: Timestamp) -> Result<(), QueueError> {
        self.gate().await?;
        self.inner.bury(claim, reason, now).await
    }

    async fn wake(&self, job: JobId, now: Timestamp) -> Result<bool, QueueError> {
        self.gate().await?;
        self.inner.wake(job, now).await
    }

    async fn wait(&self, longest: Duration) {
        self.inner.wait(longest).await;
    }

    async fn depth(&self, now: Timestamp) -> Result<QueueDepth, QueueError> {
        self.gate().await?;
        self.inner.depth(now).await
    }

    async fn buried(&self, limit: usize) -> Result<Vec<Buried>, QueueError> {
        self.gate().await?;
        self.inner.buried(limit).await
    }

    async fn requeue(&self, id: JobId, now: Timestamp) -> Result<bool, QueueError> {
        self.gate().await?;
        self.inner.requeue(id, now).await
    }

    async fn discard(&self, id: JobId, now: Timestamp) -> Result<bool, QueueError> {
        self.gate().await?;
        self.inner.discard(id, now).await
    }
}

#[derive(Debug)]
struct FaultyLedger {
    inner: Arc<dyn Ledger>,
    mood: Arc<Mutex<Mood>>,
}

#[async_trait]
impl Ledger for FaultyLedger {
    async fn append(&self, record: &Record) -> Result<(), LedgerError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well | Mood::Full | Mood::Unsure | Mood::SilentAfterwards | Mood::Forgetful => {}
            Mood::Away => return Err(LedgerError::Unavailable { reason: "told to be away".to_owned() }),
            Mood::Silent => silence().await,
        }
        self.inner.append(record).await
    }

    async fn read(&self, from: Offset, limit: usize) -> Result<Vec<(Offset, Record)>, LedgerError> {
        self.inner.read(from, limit).await
    }
}

#[derive(Debug)]
struct FaultyStore {
    inner: Arc<dyn Store>,
    mood: Arc<Mutex<Mood>>,
}

impl FaultyStore {
    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    async fn gate(&self) -> Result<(), StoreError> {
        store_gate(self.mood()).await
    }
}

async fn store_gate(mood: Mood) -> Result<(), StoreError> {
    match mood {
        Mood::Well | Mood::Full | Mood::Unsure | Mood::SilentAfterwards | Mood::Forgetful => Ok(()),
        Mood::Away => Err(StoreError::Unavailable { reason: "told to be away".to_owned() }),
        Mood::Silent => silence().await,
    }
}

/// What is kept of autoscalers: away and silent when the store is.
#[derive(Debug)]
struct FaultyAutoscalers {
    inner: Arc<dyn Autoscalers>,
    mood: Arc<Mutex<Mood>>,
}

impl FaultyAutoscalers {
    async fn gate(&self) -> Result<(), StoreError> {
        let mood = *self.mood.lock().unwrap();
        store_gate(mood).await
    }
}

/// Registered projects: away and silent when the store is.
#[derive(Debug)]
struct FaultyProjects {
    inner: Arc<dyn Projects>,
    mood: Arc<Mutex<Mood>>,
}

impl FaultyProjects {
    async fn gate(&self) -> Result<(), StoreError> {
        let mood = *self.mood.lock().unwrap();
        store_gate(mood).await
    }
}

/// What is to be looked at: away and silent when the store is.
#[derive(Debug)]
struct FaultyAgenda {
    inner: Arc<dyn Agenda>,
    mood: Arc<Mutex<Mood>>,
}

impl FaultyAgenda {
    async fn gate(&self) -> Result<(), StoreError> {
        let mood = *self.mood.lock().unwrap();
        store_gate(mood).await
    }
}

/// Methods that ask the gate and then the real part; and others.
macro_rules! gated {
    (
        $seam:ident for $double:ident
        $(async fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*
        others { $($other:tt)* }
    ) => {
        #[async_trait]
        impl $seam for $double {
            $(async fn $name(&self, $($argument: $kind),*) -> Result<$answer, StoreError> {
                self.gate().await?;
                self.inner.$name($($argument),*).await
            })*

            $($other)*
        }
    };
}

gated! {
    Autoscalers for FaultyAutoscalers
    async fn all_since(known: Option<&Mark>) -> Option<(Mark, Vec<Entry>)>;
    async fn autoscaler(place: &Place) -> Option<Entry>;
    async fn put_states(states: &[(Place, AutoscalerState)]) -> ();
    async fn state(place: &Place) -> Option<AutoscalerState>;
    async fn append_decisions(decisions: &[(Place, DecisionEntry)]) -> ();
    async fn decisions(place: &Place, after: u64, limit: usize) -> Vec<(u64, DecisionEntry)>;
    async fn newest_decisions(place: &Place, limit: usize) -> Vec<(u64, DecisionEntry)>;
    async fn append_observed(place: &Place, observed: &[Observed]) -> ();
    async fn observed(place: &Place, since: Timestamp) -> Vec<Observed>;
    async fn put_learned(learned: &[(Place, Learned)]) -> ();
    async fn learned(place: &Place) -> Option<Learned>;
    async fn announce(name: &str, ttl: Duration, now: Timestamp) -> Vec<String>;
    async fn withdraw(name: &str) -> ();
    others {}
}

gated! {
    Projects for FaultyProjects
    async fn project(slug: &ProjectSlug) -> Option<RegisteredProject>;
    async fn page(after: Option<&ProjectSlug>, limit: usize) -> Vec<RegisteredProject>;
    async fn count() -> u64;
    async fn hook(id: HookId) -> Option<HookEntry>;
    async fn hooks() -> Vec<HookEntry>;
    async fn heads(slug: &ProjectSlug) -> Vec<Head>;
    others {}
}

gated! {
    Agenda for FaultyAgenda
    async fn note(list: List, keys: &[String], at: Timestamp) -> ();
    async fn claim(list: List, limit: usize, ttl: Duration, now: Timestamp) -> Vec<Due>;
    async fn renew(list: List, due: &Due, ttl: Duration, now: Timestamp) -> bool;
    async fn settle(list: List, due: &Due, next: Next, memo: Option<&str>, now: Timestamp) -> bool;
    async fn memo(list: List, key: &str) -> Option<String>;
    async fn depth(list: List, now: Timestamp) -> (u64, u64);
    others {
        async fn wait(&self, list: List, longest: Duration) {
            self.inner.wait(list, longest).await;
        }
    }
}

gated! {
    Store for FaultyStore
    async fn apply(record: &Record) -> u64;
    async fn apply_all(records: &[Record]) -> ();
    async fn deployment(id: DeploymentId) -> Option<Deployment>;
    async fn deployments(filter: &DeploymentFilter, page: &Page) -> DeploymentPage;
    async fn job(id: JobId) -> Option<Job>;
    async fn newest(project: &ProjectSlug, environment: &EnvironmentName) -> Option<DeploymentId>;
    async fn in_service(project: &ProjectSlug, environment: &EnvironmentName) -> Vec<DeploymentId>;
    async fn events(deployment: DeploymentId, after: u64, limit: usize) -> Vec<(u64, Event)>;
    async fn acquire_lease(key: &str, holder: &str, ttl: Duration, now: Timestamp) -> Option<Lease>;
    async fn renew_lease(lease: &Lease, ttl: Duration, now: Timestamp) -> bool;
    async fn release_lease(lease: &Lease) -> ();
    async fn append_log(deployment: DeploymentId, stage: Stage, lines: &[LogLine], limit_bytes: u64) -> ();
    async fn read_log(deployment: DeploymentId, stage: Stage, after: u64, limit: usize) -> LogPage;
    async fn log_tail(deployment: DeploymentId, stage: Stage, count: usize) -> Vec<LogLine>;
    async fn put_live(deployment: DeploymentId, live: &LiveState) -> ();
    async fn live(deployment: DeploymentId) -> Option<LiveState>;
    async fn credential(name: &CredentialName) -> Option<StoredCredential>;
    async fn credentials() -> Vec<StoredCredential>;
    async fn token(sha256: &str) -> Option<StoredToken>;
    async fn tokens() -> Vec<StoredToken>;
    async fn count_by_state() -> Vec<(DeploymentState, u64)>;
    async fn check() -> ();
    others {
        fn changes(&self) -> broadcast::Receiver<Change> {
            self.inner.changes()
        }

        async fn reserve(
            &self,
            wanted: &Reservation,
            keep: Duration,
            now: Timestamp,
        ) -> Result<Reservation, StoreError> {
            self.gate().await?;
            if self.mood() == Mood::Forgetful {
                return Ok(wanted.clone());
            }
            self.inner.reserve(wanted, keep, now).await
        }
    }
}
