//! Installations under test: one broker for all, a Redis and a prefix of their own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::Backend;
use crate::contract::Fixture;
use crate::distributed::testing::{TestRabbit, TestRedis, rabbit_shared, unique_prefix};
use crate::distributed::{BrokerSettings, Distributed, DistributedSettings, RedisSettings};
use crate::ledger::Offset;

/// Longest wait for an installation to be ready.
const READY_MAX: Duration = Duration::from_secs(60);

/// Settings for the tests: as by default, but for addresses and prefix.
pub(crate) fn settings(broker_url: &str, redis_url: &str, prefix: &str, slots: u16) -> DistributedSettings {
    DistributedSettings {
        broker: BrokerSettings {
            urls: vec![SecretString::from(broker_url)],
            login: None,
            ca_pem: None,
            prefix: prefix.to_owned(),
            heartbeat: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            confirm_timeout: Duration::from_millis(2_500),
            watch_interval: Duration::from_secs(5),
            delivery_hold_max: Duration::from_secs(600),
            delivery_limit: 50,
            queue_max_jobs: 100_000,
            ledger_max_age: None,
            ledger_max_bytes: None,
        },
        redis: RedisSettings {
            url: SecretString::from(redis_url),
            sentinels: Vec::new(),
            master_name: String::new(),
            login: None,
            ca_pem: None,
            prefix: prefix.to_owned(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
        },
        slots,
        keep_finished: Duration::from_secs(7 * 24 * 3_600),
    }
}

/// Opens a process and waits until it is ready.
pub(crate) async fn open(settings: &DistributedSettings) -> Distributed {
    let distributed = Distributed::open(settings);
    ready(&distributed).await;
    distributed
}

async fn ready(distributed: &Distributed) {
    let began = tokio::time::Instant::now();
    loop {
        let missing = distributed.readiness().await;
        if missing.is_empty() {
            return;
        }
        assert!(began.elapsed() < READY_MAX, "not ready: {missing:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// One process on a shared broker and its own Redis.
pub(crate) struct RedisKilled {
    redis: TestRedis,
    settings: DistributedSettings,
    running: Mutex<Distributed>,
}

/// Deliveries fetched: as many as a law claims at once.
const SLOTS: u16 = 64;

impl RedisKilled {
    pub(crate) async fn make() -> Self {
        let (redis, broker) = tokio::join!(TestRedis::start_durable(), rabbit_shared());
        Self::on(broker, redis).await
    }

    async fn on(broker: &TestRabbit, redis: TestRedis) -> Self {
        let settings = settings(&broker.url(), &redis.url(), &unique_prefix(), SLOTS);
        let running = Mutex::new(open(&settings).await);
        Self { redis, settings, running }
    }

    fn running(&self) -> Distributed {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn open_again(&self) -> Backend {
        let opened = open(&self.settings).await;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = opened.clone();
        opened.backend()
    }
}

impl Drop for RedisKilled {
    fn drop(&mut self) {
        self.running().abandon();
    }
}

#[async_trait]
impl Fixture for RedisKilled {
    async fn backend(&self) -> Backend {
        self.running().backend()
    }

    async fn restart(&self) -> Backend {
        self.running().abandon();
        self.redis.kill().await;
        self.redis.start_again().await;
        self.open_again().await
    }

    async fn cut(&self) {
        self.running().parts.broker.cut();
    }

    async fn settled(&self) {
        let running = self.running();
        let records = running.backend().ledger.read(Offset(1), usize::MAX).await.expect("the ledger answers");
        let head = records.last().map_or(0, |(offset, _)| offset.0);
        crate::contract::eventually("the projection of the ledger", || async {
            (running.parts.projector.figures().projected >= head).then_some(())
        })
        .await;
    }
}

/// The same with a broker that is killed in every restart.
pub(crate) struct BrokerKilled {
    broker: Arc<TestRabbit>,
    inner: RedisKilled,
}

impl BrokerKilled {
    /// A broker that may be killed.
    pub(crate) async fn broker() -> Arc<TestRabbit> {
        Arc::new(TestRabbit::start().await)
    }

    pub(crate) async fn make(broker: &Arc<TestRabbit>) -> Self {
        let inner = RedisKilled::on(broker, TestRedis::start_durable().await).await;
        broker.settle().await;
        Self { broker: Arc::clone(broker), inner }
    }
}

#[async_trait]
impl Fixture for BrokerKilled {
    async fn backend(&self) -> Backend {
        // It may have been killed for another fixture.
        ready(&self.inner.running()).await;
        self.inner.backend().await
    }

    async fn restart(&self) -> Backend {
        self.inner.running().abandon();
        let redis = async {
            self.inner.redis.kill().await;
            self.inner.redis.start_again().await;
        };
        let broker = async {
            self.broker.kill().await;
            self.broker.start_again().await;
        };
        tokio::join!(redis, broker);
        self.inner.open_again().await
    }

    async fn cut(&self) {
        self.inner.cut().await;
    }

    async fn settled(&self) {
        self.inner.settled().await;
    }
}
