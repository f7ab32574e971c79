//! An installation with a ledger in memory, a queue that only takes jobs, and the store and its projector on a Redis.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::Backend;
use crate::contract::{Fixture, eventually};
use crate::distributed::RedisSettings;
use crate::distributed::inquiry::RedisInquiries;
use crate::distributed::projector::Projector;
use crate::distributed::redis::Redis;
use crate::distributed::store::{RedisAgenda, RedisAutoscalers, RedisProjects, RedisStore};
use crate::distributed::testing::{TestRedis, redis};
use crate::embedded::metric::Audience;
use crate::ledger::{Ledger, LedgerError, Offset};
use crate::model::{Event, JobId, JobMessage, WorkerId};
use crate::queue::{Buried, Claim, JobQueue, QueueDepth, QueueError};
use crate::record::Record;
use crate::store::Store;
use crate::topic::NobodyListens;

/// How long finished things are kept in tests.
pub(in crate::distributed) const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// A ledger in memory. Records can be made unreadable, and reading slow; readings are counted.
#[derive(Debug, Default)]
pub(in crate::distributed) struct MemoryLedger {
    records: Mutex<Vec<Record>>,
    pub(in crate::distributed) unreadable: Mutex<BTreeSet<u64>>,
    pub(in crate::distributed) read_pause: Mutex<Duration>,
    /// Asked for more records than this at once, it never answers.
    pub(in crate::distributed) answered_max: Mutex<Option<usize>>,
    reads: AtomicU64,
}

impl MemoryLedger {
    pub(in crate::distributed) fn add(&self, record: Record) {
        self.records.lock().unwrap().push(record);
    }

    pub(in crate::distributed) fn len(&self) -> u64 {
        u64::try_from(self.records.lock().unwrap().len()).unwrap()
    }

    pub(in crate::distributed) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    pub(in crate::distributed) fn slow(&self, pause: Duration) {
        *self.read_pause.lock().unwrap() = pause;
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn append(&self, record: &Record) -> Result<(), LedgerError> {
        self.add(record.clone());
        Ok(())
    }

    async fn read(&self, from: Offset, limit: usize) -> Result<Vec<(Offset, Record)>, LedgerError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let is_silent = self.answered_max.lock().unwrap().is_some_and(|most| limit > most);
        if is_silent {
            std::future::pending::<()>().await;
        }
        let pause = *self.read_pause.lock().unwrap();
        tokio::time::sleep(pause).await;
        let records = self.records.lock().unwrap();
        let first = usize::try_from(from.0).unwrap() - 1;
        let wanted: Vec<_> = (from.0..).zip(records.iter().skip(first).take(limit)).collect();
        let unreadable = self.unreadable.lock().unwrap();
        if let Some((offset, _)) = wanted.iter().find(|(offset, _)| unreadable.contains(offset)) {
            return Err(LedgerError::Corrupt { offset: *offset, reason: "made unreadable".to_owned() });
        }
        Ok(wanted.into_iter().map(|(offset, record)| (Offset(offset), record.clone())).collect())
    }
}

/// A queue that takes jobs into the ledger and never gives one out.
#[derive(Debug)]
struct Intake(Arc<MemoryLedger>);

fn nothing<T>() -> Result<T, QueueError> {
    Err(QueueError::Unavailable { reason: "this queue only takes jobs".to_owned() })
}

#[async_trait]
impl JobQueue for Intake {
    async fn enqueue(&self, message: &JobMessage) -> Result<(), QueueError> {
        self.0.add(Record::Event(Event::accepted(message)));
        Ok(())
    }

    async fn claim(&self, _: WorkerId, _: Duration, _: Timestamp) -> Result<Option<Claim>, QueueError> {
        nothing()
    }

    async fn renew(&self, _: &Claim, _: Duration, _: Timestamp) -> Result<(), QueueError> {
        nothing()
    }

    async fn complete(&self, _: &Claim, _: Timestamp) -> Result<(), QueueError> {
        nothing()
    }

    async fn park(&self, _: &Claim, _: Timestamp, _: Timestamp) -> Result<(), QueueError> {
        nothing()
    }

    async fn bury(&self, _: &Claim, _: &str, _: Timestamp) -> Result<(), QueueError> {
        nothing()
    }

    async fn wake(&self, _: JobId, _: Timestamp) -> Result<bool, QueueError> {
        nothing()
    }

    async fn wait(&self, _: Duration) {}

    async fn depth(&self, _: Timestamp) -> Result<QueueDepth, QueueError> {
        nothing()
    }

    async fn buried(&self, _: usize) -> Result<Vec<Buried>, QueueError> {
        nothing()
    }

    async fn requeue(&self, _: JobId, _: Timestamp) -> Result<bool, QueueError> {
        nothing()
    }

    async fn discard(&self, _: JobId, _: Timestamp) -> Result<bool, QueueError> {
        nothing()
    }
}

/// One process of the installation.
pub(in crate::distributed) struct Process {
    pub(in crate::distributed) store: RedisStore,
    pub(in crate::distributed) projector: Projector,
    shutdown: CancellationToken,
}

impl Process {
    pub(in crate::distributed) fn start(settings: RedisSettings, ledger: Arc<MemoryLedger>) -> Self {
        let shutdown = CancellationToken::new();
        let store = RedisStore::start(Redis::new(settings), KEPT, shutdown.clone());
        let projector = Projector::start(store.clone(), ledger, shutdown.clone());
        Self { store, projector, shutdown }
    }

    pub(in crate::distributed) async fn stop(&self) {
        self.shutdown.cancel();
        self.projector.ended().await;
    }
}

/// The installation: one process on a Redis of its own.
pub(in crate::distributed) struct Installation {
    pub(in crate::distributed) redis: TestRedis,
    pub(in crate::distributed) ledger: Arc<MemoryLedger>,
    process: Mutex<Option<Arc<Process>>>,
}

/// Settings for the Redis at this address.
pub(in crate::distributed) fn settings(url: String) -> RedisSettings {
    RedisSettings {
        url: SecretString::from(url),
        sentinels: Vec::new(),
        master_name: "slipway".to_owned(),
        login: None,
        ca_pem: None,
        prefix: "test".to_owned(),
        connect_timeout: Duration::from_secs(1),
        response_timeout: Duration::from_secs(1),
    }
}

impl Installation {
    pub(in crate::distributed) async fn make() -> Self {
        let installation = Self { redis: redis().await, ledger: Arc::default(), process: Mutex::new(None) };
        installation.start().await;
        installation
    }

    pub(in crate::distributed) fn settings(&self) -> RedisSettings {
        settings(self.redis.url())
    }

    pub(in crate::distributed) fn process(&self) -> Arc<Process> {
        Arc::clone(self.process.lock().unwrap().as_ref().expect("it runs"))
    }

    pub(in crate::distributed) fn store(&self) -> RedisStore {
        self.process().store.clone()
    }

    /// Ends the process.
    pub(in crate::distributed) async fn stop(&self) {
        let process = self.process.lock().unwrap().take();
        process.expect("it runs").stop().await;
    }

    /// Starts a process and waits until its store answers.
    pub(in crate::distributed) async fn start(&self) {
        let process = Arc::new(Process::start(self.settings(), Arc::clone(&self.ledger)));
        *self.process.lock().unwrap() = Some(Arc::clone(&process));
        self.works().await;
    }

    pub(in crate::distributed) async fn works(&self) {
        eventually("the store working", || async { self.store().check().await.ok() }).await;
    }
}

#[async_trait]
impl Fixture for Installation {
    async fn backend(&self) -> Backend {
        let (ledger, store) = (Arc::clone(&self.ledger), self.store());
        let inquiries = Arc::new(RedisInquiries::new(store.redis.clone()));
        let autoscalers = Arc::new(RedisAutoscalers::new(store.clone()));
        let projects = Arc::new(RedisProjects::new(store.clone()));
        let agenda = Arc::new(RedisAgenda::new(store.clone()));
        Backend {
            queue: Arc::new(Intake(ledger.clone())),
            ledger,
            store: Arc::new(store),
            inquiries,
            autoscalers,
            metrics: Arc::new(Audience::default()),
            projects,
            agenda,
            topic: Arc::new(NobodyListens),
        }
    }

    async fn restart(&self) -> Backend {
        self.stop().await;
        self.start().await;
        self.backend().await
    }

    async fn settled(&self) {
        let process = self.process();
        eventually("the projector catching up", || async {
            (process.projector.figures().projected >= self.ledger.len()).then_some(())
        })
        .await;
    }
}
