//! Private servers for the tests of this module: RabbitMQ and Redis on free loopback ports, in folders of their
//! own, ended and removed when the test process ends, however it ends.
#![expect(dead_code, reason = "each test module uses its share")]

mod certificate;
mod keeper;
mod rabbit;
mod redis;

pub(crate) use certificate::make_certificate;
pub(crate) use keeper::free_port;
pub(crate) use rabbit::TestRabbit;
pub(crate) use redis::TestRedis;

use tokio::sync::OnceCell;
use uuid::Uuid;

/// The broker all tests of this binary share; use [`unique_prefix`] for names. Do not kill it: start your own.
pub(crate) async fn rabbit_shared() -> &'static TestRabbit {
    static SHARED: OnceCell<TestRabbit> = OnceCell::const_new();
    SHARED.get_or_init(TestRabbit::start).await
}

/// A Redis of your own; it starts in a tenth of a second.
pub(crate) async fn redis() -> TestRedis {
    TestRedis::start().await
}

/// A prefix no other test uses.
pub(crate) fn unique_prefix() -> String {
    format!("t{}", &Uuid::now_v7().simple().to_string()[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn servers_are_killed_and_start_again() {
        let redis = redis().await;
        assert_eq!(redis.control("SET a 1").await, "+OK\r\n");
        redis.kill().await;
        redis.start_again().await;
        assert_eq!(redis.control("GET a").await, "$-1\r\n");
        let rabbit = TestRabbit::start().await;
        rabbit.kill().await;
        rabbit.start_again().await;
        assert!(rabbit.control(&["list_users"]).await.contains("guest"));
    }
}
