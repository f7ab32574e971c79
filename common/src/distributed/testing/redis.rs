//! A private Redis.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::keeper::{Keeper, free_port, gone, signal, until_ready};

/// A Redis that keeps nothing on disk unless asked to. Ready to use; ended on drop.
pub(crate) struct TestRedis {
    folder: PathBuf,
    port: u16,
    /// Whether it finds again what it had written when it was killed.
    durable: bool,
    keeper: Mutex<Option<Keeper>>,
}

impl TestRedis {
    /// Starts one and waits until it serves.
    pub(crate) async fn start() -> Self {
        Self::start_as(false).await
    }

    /// Starts one that writes what it is told to its folder before it answers.
    pub(crate) async fn start_durable() -> Self {
        Self::start_as(true).await
    }

    async fn start_as(durable: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder").keep();
        let redis = Self { folder, port: free_port(), durable, keeper: Mutex::new(None) };
        redis.start_again().await;
        redis
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The port it serves on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it without notice; everything in it is lost unless it is durable.
    pub(crate) async fn kill(&self) {
        let keeper = self.keeper.lock().await.take();
        keeper.expect("it runs").end();
        gone(self.port).await;
    }

    /// Starts it again on the same port, empty unless it is durable.
    pub(crate) async fn start_again(&self) {
        let port = self.port.to_string();
        let folder = self.folder.display().to_string();
        let command = [
            "redis-server",
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--dir",
            &folder,
            "--save",
            "",
            "--appendonly",
            if self.durable { "yes" } else { "no" },
            "--notify-keyspace-events",
            "Ex",
            "--daemonize",
            "no",
        ];
        let keeper = Keeper::start(&self.folder, None, &command.map(str::to_owned), &[]);
        *self.keeper.lock().await = Some(keeper);
        let port = self.port;
        until_ready(&self.folder, || pongs(port)).await;
    }

    /// Stops all its work without closing anything.
    pub(crate) async fn freeze(&self) {
        signal("STOP", &self.folder.join("keeper.pid")).await;
    }

    /// Lets it go on.
    pub(crate) async fn thaw(&self) {
        signal("CONT", &self.folder.join("keeper.pid")).await;
    }

    /// Sends one inline command (`CONFIG SET maxmemory-policy allkeys-lru`) and returns the first of the answer.
    pub(crate) async fn control(&self, command: &str) -> String {
        ask(self.port, command).await.expect("Redis answers")
    }
}

async fn pongs(port: u16) -> bool {
    matches!(timeout(Duration::from_secs(1), ask(port, "PING")).await, Ok(Ok(answer)) if answer == "+PONG\r\n")
}

async fn ask(port: u16, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(format!("{command}\r\n").as_bytes()).await?;
    let mut answer = vec![0; 4_096];
    let count = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
}
