//! Durability under faults (D1 to D6, D9, D12, D13), and how soon work goes on after a worker was killed or frozen.
//! Real processes, a real broker, a real Redis, a real Git host; the judge is what was pushed.

mod faults_durability {
    mod backoff;
    mod confirms;
    mod crashes;
    mod everything;
    mod long_stage;
    mod resume;
    mod store;

    /// Tests that measure time, or use the machine to the full, run one after another.
    pub(crate) async fn machine() -> tokio::sync::MutexGuard<'static, ()> {
        static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        MACHINE.lock().await
    }

    /// A broker of its own, for tests that stop it.
    pub(crate) async fn own_broker()
    -> anyhow::Result<std::sync::Arc<slipway_integration_tests::rabbitmq::RabbitMq>> {
        use slipway_integration_tests::rabbitmq::{RabbitMq, RabbitOptions};
        Ok(std::sync::Arc::new(RabbitMq::start(RabbitOptions::default()).await?))
    }
}
