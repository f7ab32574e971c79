//! A TCP line between a client and a service, with the faults real lines have.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::process_control::{free_port, spawn_in_background};

/// Longest wait for the line to be as it was asked to be.
const APPLY_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// Bytes read at once.
const CHUNK_BYTES_MAX: usize = 16 * 1024;
/// Chunks under way in one direction of a slow line.
const CHUNKS_UNDER_WAY_MAX: usize = 64;
/// A slow line passes this many chunks a second at least, so that its rate is even.
const CHUNKS_PER_S: u64 = 20;

/// What the line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    Slow { bytes_per_s: u64, latency: Duration },
    Blackhole,
    BlackholeAnswers,
    Silent,
    Cut,
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    ToServer,
    ToClient,
}

impl Mode {
    fn passes(self, direction: Direction) -> bool {
        match (self, direction) {
            (Self::Pass | Self::Slow { .. }, _) | (Self::BlackholeAnswers, Direction::ToServer) => true,
            (Self::BlackholeAnswers, Direction::ToClient)
            | (Self::Blackhole | Self::Silent | Self::Cut, _) => false,
        }
    }
}

/// What was asked for. Connections of an older epoch are to be reset.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    mode: Mode,
    epoch: u64,
}

/// What is the case.
#[derive(Clone, Copy, Debug, Default)]
struct Actual {
    listening: bool,
    connections: usize,
    accepted: u64,
    epoch: u64,
}

/// A proxy in front of one address. It ends with this value, and its connections with it.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    wanted: watch::Sender<Wanted>,
    actual: watch::Receiver<Actual>,
    task: JoinHandle<()>,
}

impl Line {
    /// Starts a line to `target` (`host:port`), which need not be there yet. It passes everything.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(target: impl Into<String>) -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let (wanted, asked) = watch::channel(Wanted { mode: Mode::Pass, epoch: 0 });
        let (tell, actual) = watch::channel(Actual::default());
        let task = spawn_in_background(serve(address, target.into(), asked, tell))?;
        let line = Self { address, wanted, actual, task };
        line.wait_for(|actual| actual.listening).await.context("starting the line")?;
        Ok(line)
    }

    /// Where clients connect to; the same for as long as the line exists.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections that stand now, the unanswered ones included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.actual.borrow().connections
    }

    /// The connections clients have made since the line exists.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.actual.borrow().accepted
    }

    /// Resets every connection (to both ends) and refuses new ones. Bytes under way are lost.
    ///
    /// # Errors
    /// When that is not done in time.
    pub async fn cut(&self) -> anyhow::Result<()> {
        self.set(Mode::Cut, true);
        self.wait_for(|actual| !actual.listening && actual.connections == 0).await.context("cutting the line")
    }

    /// Resets every connection and goes on accepting new ones: the line itself stays as it is.
    ///
    /// # Errors
    /// When that is not done in time.
    pub async fn reset_connections(&self) -> anyhow::Result<()> {
        let mode = self.wanted.borrow().mode;
        let epoch = self.set(mode, true);
        self.wait_for(|actual| actual.epoch >= epoch).await.context("resetting the connections")
    }

    /// Keeps connections open, accepts new ones, passes nothing either way, not even an end. What was held back is
    /// delivered after [`Line::heal`], as a network does that lost packets for a while; [`Line::cut`] loses it.
    pub fn blackhole(&self) {
        self.set(Mode::Blackhole, false);
    }

    /// Passes what the client sends and holds back what the server answers. See [`Line::blackhole`] for what becomes
    /// of the answers: to lose them for good, cut the line before healing it.
    pub fn blackhole_answers(&self) {
        self.set(Mode::BlackholeAnswers, false);
    }

    /// Resets every connection; new ones are accepted and nothing is ever said on them. [`Line::heal`] resets those.
    ///
    /// # Errors
    /// When that is not done in time.
    pub async fn accept_and_stay_silent(&self) -> anyhow::Result<()> {
        let epoch = self.set(Mode::Silent, true);
        self.wait_for(|actual| actual.listening && actual.epoch >= epoch).await.context("silencing the line")
    }

    /// Passes at most this many bytes a second in each direction of each connection, each after this delay.
    pub fn slow(&self, bytes_per_s: u64, latency: Duration) {
        self.set(Mode::Slow { bytes_per_s: bytes_per_s.max(1), latency }, false);
    }

    /// Passes everything again, and listens again if it did not.
    ///
    /// # Errors
    /// When that is not done in time.
    pub async fn heal(&self) -> anyhow::Result<()> {
        let silent = self.wanted.borrow().mode == Mode::Silent;
        let epoch = self.set(Mode::Pass, silent);
        self.wait_for(|actual| actual.listening && actual.epoch >= epoch).await.context("healing the line")
    }

    /// Answers the epoch.
    fn set(&self, mode: Mode, reset: bool) -> u64 {
        let mut epoch = 0;
        self.wanted.send_modify(|wanted| {
            wanted.mode = mode;
            wanted.epoch += u64::from(reset);
            epoch = wanted.epoch;
        });
        epoch
    }

    async fn wait_for(&self, condition: impl FnMut(&Actual) -> bool) -> anyhow::Result<()> {
        let mut actual = self.actual.clone();
        let waited = tokio::time::timeout(APPLY_TIMEOUT, actual.wait_for(condition)).await;
        drop(waited.context("not in time")?.context("the line has ended")?);
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens, or not, as wanted, until the line is dropped.
async fn serve(
    address: SocketAddr,
    target: String,
    mut wanted: watch::Receiver<Wanted>,
    actual: watch::Sender<Actual>,
) {
    let mut connections: JoinSet<u64> = JoinSet::new();
    let mut listener: Option<TcpListener> = None;
    let (mut epoch, mut accepted) = (0, 0);
    loop {
        let now = *wanted.borrow_and_update();
        if now.epoch != epoch {
            // All that stand are of an older epoch: they reset themselves, which takes a moment.
            while connections.join_next().await.is_some() {}
            epoch = now.epoch;
        }
        listener = match (now.mode, listener) {
            (Mode::Cut, _) => None,
            (_, Some(listener)) => Some(listener),
            (_, None) => listen(address).await,
        };
        let (listening, connections_now) = (listener.is_some(), connections.len());
        actual.send_replace(Actual { listening, connections: connections_now, accepted, epoch });
        let retry = listener.is_none() && now.mode != Mode::Cut;
        tokio::select! {
            biased;
            changed = wanted.changed() => if changed.is_err() { return },
            _ = connections.join_next(), if !connections.is_empty() => {}
            client = accept(listener.as_ref()) => {
                if let Some(client) = client {
                    accepted += 1;
                    connections.spawn(carry(client, target.clone(), wanted.clone(), epoch));
                }
            }
            () = tokio::time::sleep(RETRY_INTERVAL), if retry => {}
        }
    }
}

/// The port may be taken for a moment by a process that tries which ports are free.
async fn listen(address: SocketAddr) -> Option<TcpListener> {
    TcpListener::bind(address).await.ok()
}

async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(client, _)| client),
        None => std::future::pending().await,
    }
}

/// One connection, from accepting to its end; answers its epoch.
async fn carry(mut client: TcpStream, target: String, wanted: watch::Receiver<Wanted>, epoch: u64) -> u64 {
    let mut server = None;
    let mut resets = wanted.clone();
    tokio::select! {
        biased;
        _ = resets.wait_for(|wanted| wanted.epoch != epoch) => {
            reset(&client);
            if let Some(server) = &server {
                reset(server);
            }
        }
        // A connection that breaks at one end, or cannot be made, is broken at the other end too.
        Err(_) = exchange(&mut client, &mut server, target, wanted.clone()) => {
            reset(&client);
            if let Some(server) = &server {
                reset(server);
            }
        }
        else => {}
    }
    epoch
}

/// A connection dropped after this is reset, not ended.
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        eprintln!("harness: a connection cannot be reset: {error}");
    }
}

async fn exchange(
    client: &mut TcpStream,
    server: &mut Option<TcpStream>,
    target: String,
    mut wanted: watch::Receiver<Wanted>,
) -> std::io::Result<()> {
    let passes = |wanted: &Wanted| wanted.mode.passes(Direction::ToServer);
    drop(wanted.wait_for(passes).await.map_err(std::io::Error::other)?);
    let server = server.insert(TcpStream::connect(target).await?);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_reads, client_writes) = client.split();
    let (server_reads, server_writes) = server.split();
    tokio::try_join!(
        pump(client_reads, server_writes, Direction::ToServer, wanted.clone()),
        pump(server_reads, client_writes, Direction::ToClient, wanted.clone()),
    )?;
    Ok(())
}

/// Carries one direction until its end.
async fn pump(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    direction: Direction,
    wanted: watch::Receiver<Wanted>,
) -> std::io::Result<()> {
    let (under_way, arriving) = mpsc::channel(CHUNKS_UNDER_WAY_MAX);
    tokio::try_join!(
        take_in(reader, under_way, direction, wanted.clone()),
        hand_out(writer, arriving, direction, wanted),
    )?;
    Ok(())
}

async fn take_in(
    mut reader: impl AsyncRead + Unpin,
    under_way: mpsc::Sender<(Instant, Vec<u8>)>,
    direction: Direction,
    mut wanted: watch::Receiver<Wanted>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES_MAX];
    let mut line_free_at = Instant::now();
    loop {
        let mode = wanted
            .wait_for(|wanted| wanted.mode.passes(direction))
            .await
            .map_err(std::io::Error::other)?
            .mode;
        let (chunk_bytes_max, bytes_per_s, latency) = match mode {
            Mode::Slow { bytes_per_s, latency } => (chunk_of(bytes_per_s), Some(bytes_per_s), latency),
            Mode::Pass | Mode::BlackholeAnswers | Mode::Blackhole | Mode::Silent | Mode::Cut => {
                (CHUNK_BYTES_MAX, None, Duration::ZERO)
            }
        };
        let length = tokio::select! {
            biased;
            _ = wanted.changed() => continue,
            length = reader.read(&mut buffer[..chunk_bytes_max]) => length?,
        };
        if length == 0 {
            return Ok(());
        }
        let carrying = bytes_per_s.map_or(Duration::ZERO, |rate| time_for(length, rate));
        line_free_at = line_free_at.max(Instant::now()) + carrying;
        let chunk = buffer[..length].to_vec();
        if under_way.send((line_free_at + latency, chunk)).await.is_err() {
            return Ok(());
        }
    }
}

async fn hand_out(
    mut writer: impl AsyncWrite + Unpin,
    mut arriving: mpsc::Receiver<(Instant, Vec<u8>)>,
    direction: Direction,
    mut wanted: watch::Receiver<Wanted>,
) -> std::io::Result<()> {
    while let Some((due, chunk)) = arriving.recv().await {
        tokio::time::sleep_until(due).await;
        drop(wanted.wait_for(|wanted| wanted.mode.passes(direction)).await.map_err(std::io::Error::other)?);
        writer.write_all(&chunk).await?;
    }
    writer.shutdown().await
}

fn chunk_of(bytes_per_s: u64) -> usize {
    usize::try_from(bytes_per_s / CHUNKS_PER_S).unwrap_or(CHUNK_BYTES_MAX).clamp(1, CHUNK_BYTES_MAX)
}

fn time_for(length: usize, bytes_per_s: u64) -> Duration {
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    Duration::from_micros(length.saturating_mul(1_000_000) / bytes_per_s)
}
