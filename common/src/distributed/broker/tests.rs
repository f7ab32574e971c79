//! Tests of the broker's adapter, on real brokers.

mod basics;
mod faults;
mod stream;
mod tls;

use std::time::Duration;

use secrecy::SecretString;

use super::Broker;
use crate::distributed::BrokerSettings;

/// Longest wait for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker that is ready.
async fn ready(settings: BrokerSettings) -> Broker {
    let broker = Broker::start(settings);
    broker.wait_ready(PATIENCE).await.expect("the broker becomes ready");
    broker
}

/// Settings with short deadlines.
pub(super) fn settings(url: &str, prefix: &str) -> BrokerSettings {
    BrokerSettings {
        urls: vec![SecretString::from(url)],
        login: None,
        ca_pem: None,
        prefix: prefix.to_owned(),
        heartbeat: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(2),
        confirm_timeout: Duration::from_millis(2_500),
        watch_interval: Duration::from_secs(2),
        delivery_hold_max: Duration::from_secs(600),
        delivery_limit: 50,
        queue_max_jobs: 10_000,
        ledger_max_age: None,
        ledger_max_bytes: None,
    }
}
