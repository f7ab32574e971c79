//! A Redis with a replica, and the sentinels that watch both.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use redis::{FromRedisValue, Value};
use tokio::time::Instant;

use super::{RedisOptions, RedisServer, ask};

/// What the sentinels call the pair.
const MASTER_NAME: &str = "slipway";
const SENTINELS: usize = 3;
const QUORUM: usize = 2;
/// A primary that says nothing for this long counts as down.
const DOWN_AFTER_MS: u32 = 1000;
const FAILOVER_TIMEOUT_MS: u32 = 5000;
/// Longest wait for everybody to know everybody.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a new primary.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(40);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Two servers and three sentinels. They end with this value, and with the test process in any case.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl RedisSentinel {
    /// Starts them and waits until the replica has caught up and the sentinels know each other, 3 to 5 seconds.
    ///
    /// # Errors
    /// When Redis is not installed, or they do not find together.
    pub async fn start() -> anyhow::Result<Self> {
        let sync = "repl-diskless-sync-delay 0".to_owned();
        let options = RedisOptions { config: vec![sync.clone()], ..RedisOptions::default() };
        let primary = RedisServer::start(options).await?;
        let follow = format!("replicaof 127.0.0.1 {}", primary.port());
        let options = RedisOptions { config: vec![sync, follow], ..RedisOptions::default() };
        let replica = RedisServer::start(options).await?;
        let settings = format!(
            "sentinel monitor {MASTER_NAME} 127.0.0.1 {} {QUORUM}\n\
             sentinel down-after-milliseconds {MASTER_NAME} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {MASTER_NAME} {FAILOVER_TIMEOUT_MS}\n",
            primary.port()
        );
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            sentinels.push(RedisServer::launch(settings.clone(), &["--sentinel"], None).await?);
        }
        let pair = Self { servers: vec![primary, replica], sentinels };
        pair.wait_settled().await?;
        Ok(pair)
    }

    /// Waits until the replica follows the primary and the sentinels know each other and both servers.
    ///
    /// # Errors
    /// When that does not happen in time; with all logs.
    pub async fn wait_settled(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        while !self.is_settled().await? {
            if Instant::now() > deadline {
                bail!("the sentinels do not find together:\n{}", self.log());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    async fn is_settled(&self) -> anyhow::Result<bool> {
        for sentinel in &self.sentinels {
            let answer = sentinel.command(&["SENTINEL", "MASTER", MASTER_NAME]).await?;
            let facts = std::collections::HashMap::<String, String>::from_redis_value(answer)?;
            let fact = |name: &str| facts.get(name).map_or("", String::as_str);
            let others = (SENTINELS - 1).to_string();
            if fact("num-other-sentinels") != others || fact("num-slaves") != "1" || fact("flags") != "master"
            {
                return Ok(false);
            }
            let answer = sentinel.command(&["SENTINEL", "REPLICAS", MASTER_NAME]).await?;
            let replicas = Vec::<std::collections::HashMap<String, String>>::from_redis_value(answer)?;
            let fine = |replica: &std::collections::HashMap<String, String>| {
                replica.get("flags").is_some_and(|flags| flags == "slave")
                    && replica.get("master-link-status").is_some_and(|status| status == "ok")
            };
            if !replicas.iter().all(fine) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the sentinels call the pair.
    #[must_use]
    pub fn master_name(&self) -> &str {
        MASTER_NAME
    }

    /// `redis://127.0.0.1:<port>/` of each sentinel.
    #[must_use]
    pub fn sentinel_urls(&self) -> Vec<String> {
        self.sentinels.iter().map(RedisServer::url).collect()
    }

    /// Both servers: the first primary, then the first replica.
    #[must_use]
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The server that the sentinels hold to be the primary now.
    ///
    /// # Errors
    /// When no sentinel answers, or it names a server that is not of this pair.
    pub async fn primary(&self) -> anyhow::Result<&RedisServer> {
        let sentinel = self.sentinels.first().context("there is a sentinel")?;
        let named = named_primary(sentinel).await?;
        let found = self.servers.iter().find(|server| server.address() == named);
        found.with_context(|| format!("{named} is not of this pair"))
    }

    /// Has the sentinels make the replica the primary, both being alive; answers the new primary.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub async fn failover(&self) -> anyhow::Result<&RedisServer> {
        let old = self.primary().await?.address();
        let sentinel = self.sentinels.first().context("there is a sentinel")?;
        let deadline = Instant::now() + FAILOVER_TIMEOUT;
        // Shortly after another failover the sentinel refuses: the replica is not known to be one yet.
        while let Err(error) = sentinel.command(&["SENTINEL", "FAILOVER", MASTER_NAME]).await {
            if Instant::now() > deadline {
                return Err(error.context("the sentinel starts no failover"));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        self.wait_new_primary(old).await
    }

    /// Kills the primary and waits until the sentinels have made the replica the primary; answers the new one. The
    /// old one becomes a replica when it is started again.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub async fn kill_primary(&self) -> anyhow::Result<&RedisServer> {
        let old = self.primary().await?;
        old.kill().await?;
        self.wait_new_primary(old.address()).await
    }

    /// Waits until every sentinel names another primary than this, and that one says so too; answers it.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub async fn wait_new_primary(&self, old: SocketAddr) -> anyhow::Result<&RedisServer> {
        let deadline = Instant::now() + FAILOVER_TIMEOUT;
        while !self.all_left(old).await? {
            if Instant::now() > deadline {
                bail!("the primary is still {old}:\n{}", self.log());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        self.primary().await
    }

    async fn all_left(&self, old: SocketAddr) -> anyhow::Result<bool> {
        for sentinel in &self.sentinels {
            if named_primary(sentinel).await? == old {
                return Ok(false);
            }
        }
        let Value::Array(role) = self.primary().await?.command(&["ROLE"]).await? else {
            bail!("ROLE answers no list");
        };
        Ok(role.first() == Some(&Value::BulkString(b"master".to_vec())))
    }

    /// What all of them have logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.servers.iter().chain(&self.sentinels).map(RedisServer::log).collect()
    }
}

async fn named_primary(sentinel: &RedisServer) -> anyhow::Result<SocketAddr> {
    let answer = ask(&sentinel.url(), &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME]).await?;
    let (host, port) = <(String, String)>::from_redis_value(answer)?;
    format!("{host}:{port}").parse().context("the sentinel names no address")
}
