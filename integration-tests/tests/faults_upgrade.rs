//! Upgrades and restarts (U1, U2, U8, U11): rolling restarts under load, orderly ends, queues of another form, and any
//! order of starting. Real processes, a real broker, a real Redis, a real Git host.

mod faults_upgrade {
    mod misfit;
    mod orderly_end;
    mod rolling;
    mod start_order;

    /// Tests that measure time, or use the machine to the full, run one after another.
    pub(crate) async fn machine() -> tokio::sync::MutexGuard<'static, ()> {
        static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        MACHINE.lock().await
    }
}
