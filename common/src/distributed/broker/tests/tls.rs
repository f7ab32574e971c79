//! Secure connections: verified against an authority of one's own, with a login, and never without either.

use secrecy::SecretString;
use tokio::time::{Instant, sleep, timeout};

use super::basics::job;
use super::{PATIENCE, ready, settings};
use crate::distributed::BrokerSettings;
use crate::distributed::broker::{Broker, BrokerState, QueueName};
use crate::distributed::testing::TestRabbit;

const PASSWORD: &str = "correct horse";

/// Waits until a connection with these settings was refused, and answers why.
async fn refusal(settings: BrokerSettings) -> String {
    let broker = Broker::start(settings);
    let begun = Instant::now();
    let reason = loop {
        let state = broker.state();
        assert!(begun.elapsed() < PATIENCE, "not refused: {state:?}");
        if let BrokerState::Away { reason } = state
            && reason != "not connected yet"
        {
            break reason;
        }
        sleep(std::time::Duration::from_millis(20)).await;
    };
    broker.close().await;
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn secure_connections_are_verified_and_log_in() {
    let rabbit = TestRabbit::start_secure().await;
    rabbit.control(&["add_user", "slipway", PASSWORD]).await;
    rabbit.control(&["set_permissions", "slipway", ".*", ".*", ".*"]).await;
    let mut trusting = settings(&rabbit.secure_url(), "p");
    trusting.login = Some(("slipway".to_owned(), SecretString::from(PASSWORD)));
    trusting.ca_pem = Some(rabbit.authority());

    let broker = ready(trusting.clone()).await;
    broker.publish(job("front", "secret way")).await.unwrap();
    let mut front = broker.subscribe(QueueName::Front, 1);
    let delivery = timeout(PATIENCE, front.next()).await.unwrap();
    assert_eq!(delivery.body, "secret way");
    delivery.ack().await.unwrap();
    broker.close().await;

    let distrusting = BrokerSettings { ca_pem: None, ..trusting.clone() };
    let reason = refusal(distrusting).await;
    assert!(reason.to_lowercase().contains("certificate"), "an unknown authority: {reason}");

    let mut wrong = trusting;
    wrong.login = Some(("slipway".to_owned(), SecretString::from("wrong horse")));
    let reason = refusal(wrong).await;
    assert!(!reason.contains("wrong horse") && reason.contains("127.0.0.1"), "a wrong password: {reason}");
}
