//! Child processes, folders and ports of the real services: none of them outlives the test process, however it ends.
//!
//! Everything here runs on one background thread that lives as long as the test process. So a service that several
//! tests share does not end with the runtime of the test that started it, and the kernel, which is asked to kill a
//! child when the thread that started it ends, does so exactly when the test process ends.

use std::collections::HashSet;
use std::future::Future;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, ChildStdin, Command};
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;

/// Ports are taken from here: below the range the kernel gives to outgoing connections, so that the port of a
/// service that is down for a while is still free when it comes back.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
/// Tries before no free port is believed in.
const PORT_TRIES_MAX: u32 = 500;
/// Longest wait for a signal to show its effect.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Tries to remove the folder of a service that was just killed.
const REMOVE_TRIES_MAX: u32 = 20;
/// Removes the folder in its first argument when standard input ends, which is when the test process is gone.
const JANITOR: &str =
    r#"trap '' HUP INT TERM; cat >/dev/null; for wait in 0 1 2; do sleep $wait; rm -rf -- "$1"; done"#;

/// The background thread.
fn background() -> anyhow::Result<&'static Handle> {
    static BACKGROUND: OnceLock<Handle> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = BACKGROUND.get() {
        return Ok(handle);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("harness".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .context("starting the harness's thread")?;
    Ok(BACKGROUND.get_or_init(|| handle))
}

/// Runs this on the background thread; answers its result.
///
/// # Errors
/// Those of the work itself, and its panic.
pub async fn in_background<T: Send + 'static>(
    work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<T> {
    background()?.spawn(work).await.context("the background work ended")?
}

/// Starts this on the background thread and lets it run.
///
/// # Errors
/// When the thread cannot be started.
pub(crate) fn spawn_in_background(
    work: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    Ok(background()?.spawn(work))
}

/// A port on 127.0.0.1 that nothing listens on, never handed out before by this process.
///
/// # Errors
/// When no free one is found.
pub fn free_port() -> anyhow::Result<u16> {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    let width = u128::from(PORTS.end - PORTS.start);
    for _ in 0..PORT_TRIES_MAX {
        // The low bits of such an identifier are random.
        let port = PORTS.start + u16::try_from(uuid::Uuid::now_v7().as_u128() % width)?;
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port was found in {PORTS:?}")
}

/// A folder of its own, removed with this value, or by another process when the test process is killed.
#[derive(Debug)]
pub struct PrivateFolder {
    folder: Option<TempDir>,
    path: PathBuf,
}

impl PrivateFolder {
    /// Makes it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn new(name: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(root().await?)?;
        Ok(Self { path: folder.path().to_owned(), folder: Some(folder) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let Some(folder) = self.folder.take() else { return };
        // A process killed a moment ago may still be writing. What stays, the janitor removes.
        let path = folder.keep();
        drop(spawn_in_background(async move {
            for _ in 0..REMOVE_TRIES_MAX {
                if tokio::fs::remove_dir_all(&path).await.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }));
    }
}

/// The folder that holds all private folders of this test process, and the process that removes it afterwards.
async fn root() -> anyhow::Result<&'static Path> {
    static ROOT: OnceCell<(PathBuf, Child, ChildStdin)> = OnceCell::const_new();
    let made = ROOT.get_or_try_init(|| {
        in_background(async {
            let root = tempfile::Builder::new().prefix("slipway-harness-").tempdir()?.keep();
            let mut janitor = Command::new("/bin/sh")
                .args(["-c", JANITOR, "janitor"])
                .arg(&root)
                .current_dir("/")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .context("starting the shell that removes the folders")?;
            let pipe = janitor.stdin.take().context("the shell has no standard input")?;
            Ok((root, janitor, pipe))
        })
    });
    Ok(&made.await?.0)
}

/// A child process that can be stopped in every way there is. It is killed with this value and with the test process.
#[derive(Debug)]
pub struct ProcessControl {
    name: String,
    pid: Pid,
    log: PathBuf,
    ended: watch::Receiver<bool>,
}

impl ProcessControl {
    /// Starts a program in a group of its own with this environment and no other; its output is added to `log`.
    ///
    /// # Errors
    /// When it, or `setpriv` (util-linux), cannot be started.
    pub async fn spawn(
        program: &str,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let output = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", program])
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let name = program.to_owned();
        let (pid, ended) = in_background(async move {
            let mut child = command.spawn().with_context(|| format!("starting {name} through setpriv"))?;
            let pid = child.id().context("the process has no id")?;
            let (tell, ended) = watch::channel(false);
            tokio::spawn(async move {
                drop(child.wait().await);
                tell.send_replace(true);
            });
            Ok((pid, ended))
        })
        .await?;
        let pid = Pid::from_raw(i32::try_from(pid)?).context("the process has the id 0")?;
        Ok(Self { name: program.to_owned(), pid, log: log.to_owned(), ended })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether it is gone.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// What it has written to its output.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `kill -9`, and waits until it is gone. Nothing happens when it is gone already.
    ///
    /// # Errors
    /// When it does not go.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.wait_ended(SIGNAL_TIMEOUT).await
    }

    /// `kill -TERM`, and waits until it is gone.
    ///
    /// # Errors
    /// When it is still there after `longest`.
    pub async fn terminate(&self, longest: Duration) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        self.wait_ended(longest).await
    }

    /// Stops it in the middle of whatever it does, and waits until it stands still: its sockets stay open and silent.
    ///
    /// # Errors
    /// When it does not stop.
    pub async fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        let deadline = Instant::now() + SIGNAL_TIMEOUT;
        while self.kernel_state()? != 'T' {
            if Instant::now() > deadline {
                bail!("{} ({}) does not stop", self.name, self.pid());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Lets it go on after [`ProcessControl::freeze`].
    ///
    /// # Errors
    /// When it is gone.
    pub fn thaw(&self) -> anyhow::Result<()> {
        if self.has_ended() {
            bail!("{} ({}) is gone and cannot be thawed", self.name, self.pid());
        }
        self.signal(Signal::CONT)
    }

    /// Waits until it is gone.
    ///
    /// # Errors
    /// When it is still there after `longest`.
    pub async fn wait_ended(&self, longest: Duration) -> anyhow::Result<()> {
        let mut ended = self.ended.clone();
        let waited = tokio::time::timeout(longest, ended.wait_for(|ended| *ended)).await;
        let ended = waited
            .with_context(|| format!("{} ({}) is still there after {longest:?}", self.name, self.pid()))?;
        drop(ended.context("nobody waits for the process any more")?);
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        if self.has_ended() {
            return Ok(());
        }
        match kill_process(self.pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("{signal:?} to {} ({})", self.name, self.pid())),
        }
    }

    /// The letter the kernel has for what the process does: `T` is stopped.
    fn kernel_state(&self) -> anyhow::Result<char> {
        let path = format!("/proc/{}/stat", self.pid());
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let after_name = text.rsplit(')').next().context("no state")?;
        after_name.trim_start().chars().next().context("no state")
    }
}

impl Drop for ProcessControl {
    fn drop(&mut self) {
        if let Err(error) = self.signal(Signal::KILL) {
            eprintln!("harness: {error:#}");
        }
    }
}
