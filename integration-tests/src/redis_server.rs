//! A Redis of its own: Debian's server as a private process, with the means to kill, freeze and empty it.

mod sentinel;

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use redis::{AsyncConnectionConfig, FromRedisValue, Value};
use tokio::time::Instant;

pub use sentinel::RedisSentinel;

use crate::process_control::{PrivateFolder, ProcessControl, free_port};

/// Tries to start a server; another process may take its port in between.
const START_TRIES_MAX: u32 = 3;
const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Keys asked for at once.
const SCAN_COUNT: u32 = 500;

/// How a server differs from the usual one.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Whether it keeps its data over a restart (`appendonly`, `appendfsync everysec`).
    pub append_only: bool,
    /// What clients must know; handed over in the configuration file.
    pub password: Option<String>,
    /// Further lines of `redis.conf`, such as `maxmemory-policy allkeys-lru`. They come last.
    pub config: Vec<String>,
}

impl Default for RedisOptions {
    /// Keeps its data, no password.
    fn default() -> Self {
        Self { append_only: true, password: None, config: Vec::new() }
    }
}

/// A server. It ends with this value, and with the test process in any case.
#[derive(Debug)]
pub struct RedisServer {
    arguments: Vec<String>,
    port: u16,
    password: Option<String>,
    process: Mutex<Arc<ProcessControl>>,
    folder: PrivateFolder,
}

impl RedisServer {
    /// Starts it and waits until it answers, about 0.1 seconds.
    ///
    /// # Errors
    /// When Redis is not installed or does not come up; with its log.
    pub async fn start(options: RedisOptions) -> anyhow::Result<Self> {
        let mut last = None;
        for _ in 0..START_TRIES_MAX {
            let settings = server_settings(&options);
            match Self::launch(settings, &[], options.password.clone()).await {
                Ok(server) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no try was made")?)
    }

    /// Starts `redis-server` on a free port with this configuration file.
    async fn launch(settings: String, arguments: &[&str], password: Option<String>) -> anyhow::Result<Self> {
        let folder = PrivateFolder::new("redis").await?;
        let port = free_port()?;
        let config = folder.path().join("redis.conf");
        let place = folder.path().display();
        // The last word counts, so the first lines can be overruled.
        let text = format!("port {port}\nbind 127.0.0.1\ndir {place}\ndaemonize no\n{settings}");
        std::fs::write(&config, text)?;
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600))?;
        let mut all = vec![config.display().to_string()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let process = Mutex::new(Arc::new(spawn(&all, &folder.path().join("output")).await?));
        let server = Self { arguments: all, port, password, process, folder };
        server.wait_ready().await?;
        Ok(server)
    }

    /// `redis://[:<password>@]127.0.0.1:<port>/`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// The same with another address, such as that of a line to the server.
    #[must_use]
    pub fn url_at(&self, address: SocketAddr) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@{address}/"),
            None => format!("redis://{address}/"),
        }
    }

    /// `127.0.0.1:<port>`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// Where it keeps its files.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process().log()
    }

    /// `kill -9`. What was written is kept: it is with the kernel already, only a loss of power could lose a second.
    ///
    /// # Errors
    /// When it does not go.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.process().kill().await
    }

    /// `kill -TERM`: an orderly stop.
    ///
    /// # Errors
    /// When it does not go.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.process().terminate(STOP_TIMEOUT).await
    }

    /// Starts it again on the same data and port, and waits until it answers.
    ///
    /// # Errors
    /// When it still runs or does not come up.
    pub async fn start_again(&self) -> anyhow::Result<()> {
        if !self.process().has_ended() {
            bail!("the server still runs");
        }
        let process = Arc::new(spawn(&self.arguments, &self.folder.path().join("output")).await?);
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = process;
        self.wait_ready().await
    }

    /// Stops it where it is: connections stay open, nothing answers.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn freeze(&self) -> anyhow::Result<()> {
        self.process().freeze().await
    }

    /// Lets it go on after [`RedisServer::freeze`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.process().thaw()
    }

    /// `FLUSHALL`: everything is gone.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn flush_all(&self) -> anyhow::Result<()> {
        self.command(&["FLUSHALL", "SYNC"]).await?;
        Ok(())
    }

    /// `CONFIG SET`; gone with the next start.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn config_set(&self, name: &str, value: &str) -> anyhow::Result<()> {
        self.command(&["CONFIG", "SET", name, value]).await?;
        Ok(())
    }

    /// Any command, on a connection of its own.
    ///
    /// # Errors
    /// When it answers with an error, or not within five seconds.
    pub async fn command(&self, words: &[&str]) -> anyhow::Result<Value> {
        ask(&self.url(), words).await
    }

    /// The same, with the answer as text (an integer, a string) or `None`.
    ///
    /// # Errors
    /// As [`RedisServer::command`], and when the answer is of another kind.
    pub async fn text(&self, words: &[&str]) -> anyhow::Result<Option<String>> {
        Option::<String>::from_redis_value(self.command(words).await?).context("the answer is no text")
    }

    /// Every key of every type with all that it holds, one piece (value, field, member, score, ...) a line: to search
    /// for what must not be there.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn dump(&self) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        let mut dump = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let words = ["SCAN", &cursor, "COUNT", &SCAN_COUNT.to_string()];
            let (next, keys) = <(String, Vec<String>)>::from_redis_value(self.command(&words).await?)?;
            for key in keys {
                if let Some(value) = self.content(&key).await? {
                    dump.push((key, value));
                }
            }
            if next == "0" {
                return Ok(dump);
            }
            cursor = next;
        }
    }

    /// `None` when the key is gone by now.
    async fn content(&self, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let kind = self.text(&["TYPE", key]).await?.unwrap_or_default();
        let words: Vec<&str> = match kind.as_str() {
            "string" => vec!["GET", key],
            "hash" => vec!["HGETALL", key],
            "list" => vec!["LRANGE", key, "0", "-1"],
            "set" => vec!["SMEMBERS", key],
            "zset" => vec!["ZRANGE", key, "0", "-1", "WITHSCORES"],
            "stream" => vec!["XRANGE", key, "-", "+"],
            "none" => return Ok(None),
            other => bail!("{key} is of the unknown type {other}"),
        };
        let mut pieces = Vec::new();
        flatten(&self.command(&words).await?, &mut pieces);
        Ok(Some(pieces))
    }

    fn process(&self) -> Arc<ProcessControl> {
        Arc::clone(&self.process.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn wait_ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if self.process().has_ended() {
                bail!("Redis ended instead of starting:\n{}", self.log());
            }
            if self.command(&["PING"]).await.is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("Redis is not ready after {START_TIMEOUT:?}:\n{}", self.log());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

async fn spawn(arguments: &[String], log: &std::path::Path) -> anyhow::Result<ProcessControl> {
    let environment = vec![("LANG".to_owned(), "C.UTF-8".to_owned())];
    ProcessControl::spawn("redis-server", arguments.to_vec(), environment, log).await
}

fn server_settings(options: &RedisOptions) -> String {
    let mut settings = "save \"\"\n".to_owned();
    if options.append_only {
        settings += "appendonly yes\nappendfsync everysec\n";
    }
    if let Some(password) = &options.password {
        settings += &format!("requirepass {password}\n");
    }
    for line in &options.config {
        settings += line;
        settings.push('\n');
    }
    settings
}

/// One command on a connection of its own.
async fn ask(url: &str, words: &[&str]) -> anyhow::Result<Value> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_TIMEOUT))
        .set_response_timeout(Some(ANSWER_TIMEOUT));
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let (name, arguments) = words.split_first().context("no command")?;
    let mut command = redis::cmd(name);
    for argument in arguments {
        command.arg(argument);
    }
    command.query_async(&mut connection).await.with_context(|| format!("{words:?}"))
}

/// Everything in an answer, one piece a line.
fn flatten(value: &Value, pieces: &mut Vec<u8>) {
    if let Value::Array(values) | Value::Set(values) = value {
        values.iter().for_each(|value| flatten(value, pieces));
    } else if let Value::Map(entries) = value {
        for (key, value) in entries {
            flatten(key, pieces);
            flatten(value, pieces);
        }
    } else if let Value::BulkString(bytes) = value {
        pieces.extend(bytes);
        pieces.push(b'\n');
    } else {
        pieces.extend(format!("{value:?}\n").into_bytes());
    }
}
