//! The contract suite, run against the distributed adapter on a real RabbitMQ and Redis. A restart cuts the sockets of
//! the process, kills Redis, starts it on what it had written, and opens a new process.

pub(crate) mod fixture;

use fixture::{BrokerKilled, RedisKilled};

crate::contract_suite!(distributed, RedisKilled::make);

/// With a broker of their own that is killed too.
mod distributed_broker_killed {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::BrokerKilled;
    use crate::contract::{Fixture as _, eventually, queue, sample::deploy_job};
    use crate::model::WorkerId;

    const LONG: Duration = Duration::from_secs(600);

    /// One after the other on one broker: each restart takes seconds.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn laws_with_a_restart() {
        let broker = BrokerKilled::broker().await;
        let (first, second, third) = tokio::join!(
            BrokerKilled::make(&broker),
            BrokerKilled::make(&broker),
            BrokerKilled::make(&broker)
        );
        queue::q1_survives_restart(&first).await;
        queue::q2_delivers_again_after_restart(&second).await;
        queue::q5_stays_parked_across_restart(&third).await;
    }

    /// A claim outlives the broker: whoever lives goes on, is given nothing twice, and can end its job.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_claim_outlives_the_broker() {
        let broker = BrokerKilled::broker().await;
        let fixture = BrokerKilled::make(&broker).await;
        let queue = fixture.backend().await.queue;
        let message = deploy_job("shop", Timestamp::now());
        queue.enqueue(&message).await.expect("a job is accepted");
        let take = || async { queue.claim(WorkerId::generate(), LONG, Timestamp::now()).await };
        let claimed = eventually("a delivery", || async { take().await.expect("the queue answers") }).await;
        broker.kill().await;
        let away = eventually("the loss is noticed", || async { take().await.err() }).await;
        assert!(matches!(away, crate::queue::QueueError::Unavailable { .. }), "{away}");
        queue.renew(&claimed, LONG, Timestamp::now()).await.expect("the claim goes on");
        broker.start_again().await;
        eventually("the broker is back", || async { take().await.ok() }).await;
        for _ in 0..60 {
            let second = take().await.expect("the queue answers");
            assert!(second.is_none(), "handed out twice: {second:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        queue.complete(&claimed, Timestamp::now()).await.expect("the claim holds");
        assert!(take().await.expect("the queue answers").is_none());
    }
}
