//! The contract suite, run against the distributed adapter on a real RabbitMQ and Redis. A restart cuts the sockets of
//! the process, kills Redis, starts it on what it had written, and opens a new process.

pub(crate) mod fixture;

use fixture::{BrokerKilled, RedisKilled};

crate::contract_suite!(distributed, RedisKilled::make);

/// The laws with a restart, with a broker of their own that is killed too.
mod distributed_broker_killed {
    use super::BrokerKilled;
    use crate::contract::queue;

    /// One after the other on one broker: each restart takes seconds.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn laws_with_a_restart() {
        let broker = BrokerKilled::broker().await;
        queue::q1_survives_restart(&BrokerKilled::make(&broker).await).await;
        queue::q2_delivers_again_after_restart(&BrokerKilled::make(&broker).await).await;
        queue::q4_tokens_grow(&BrokerKilled::make(&broker).await).await;
        queue::q5_stays_parked_across_restart(&BrokerKilled::make(&broker).await).await;
        queue::q8_requeued_or_discarded(&BrokerKilled::make(&broker).await).await;
    }
}
