//! A shell that keeps a server: it ends the server when its standard input is closed, which the death of the
//! test process does too, and removes the folder unless told to keep it.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

/// Arguments: folder, pid file or `-`, then the command. `$EPMD`, when set, is a port to run `epmd` on.
const SCRIPT: &str = r#"
folder=$1; pid_file=$2; shift 2
if [ -n "$EPMD" ]; then epmd -port "$EPMD" -address 127.0.0.1 </dev/null & epmd=$!; sleep 0.1; fi
"$@" </dev/null &
child=$!
[ "$pid_file" != - ] || echo $child >"$folder/keeper.pid"
word=remove
while read -r line; do word=$line; done
[ "$pid_file" = - ] || kill -KILL $(cat "$pid_file")
kill -KILL $child $epmd
sleep 0.1
[ "$word" = keep ] || rm -rf "$folder"
kill -KILL 0
"#;

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The kept server; dropping it ends the server and removes its folder.
pub(super) struct Keeper {
    line: std::fs::File,
}

impl Keeper {
    /// Starts `command` with exactly `variables` and `PATH` in its environment.
    pub(super) fn start(
        folder: &Path,
        pid_file: Option<&Path>,
        command: &[String],
        variables: &[(&str, String)],
    ) -> Self {
        let log = std::fs::File::create(folder.join("keeper.log")).expect("the folder takes a log");
        let pid_file = pid_file.map_or(PathBuf::from("-"), Path::to_path_buf);
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(SCRIPT).arg("keeper").arg(folder).arg(pid_file).args(command);
        shell.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(variables.iter().cloned());
        shell.stdin(Stdio::piped()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let mut child = shell.process_group(0).spawn().expect("the shell starts");
        let line = child.stdin.take().expect("the input is piped");
        Self { line: std::fs::File::from(line.into_owned_fd().expect("the input is a pipe")) }
    }

    /// Ends the server without notice and leaves its folder.
    pub(super) fn end(mut self) {
        self.line.write_all(b"keep\n").expect("the keeper listens");
    }
}

/// Ports are taken from here: below the range the kernel gives to outgoing connections, so that the port of a
/// server that is down for a while is still free when it comes back. Above the range of the integration tests.
const PORTS: std::ops::Range<u16> = 32_000..32_768;

/// A port nobody listens on now, never handed out before by this process.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let free = |port: &u16| !given.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let port = PORTS.into_iter().find(free).expect("a free port");
    given.push(port);
    port
}

/// Waits until nothing listens on `port` any more.
pub(super) async fn gone(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "port {port} is still served");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Asks `ask` until it says yes; fails with the log of `folder` when it does not in time.
pub(super) async fn until_ready<F: Future<Output = bool>>(folder: &Path, ask: impl Fn() -> F) {
    let begun = Instant::now();
    while !ask().await {
        let log = || std::fs::read_to_string(folder.join("keeper.log")).unwrap_or_default();
        assert!(begun.elapsed() < PATIENCE, "the server did not start: {}", log());
        sleep(Duration::from_millis(30)).await;
    }
}

/// Sends a signal (`KILL`, `STOP`, `CONT`) to the process whose id stands in `pid_file`.
pub(super) async fn signal(name: &str, pid_file: &Path) {
    let pid = std::fs::read_to_string(pid_file).expect("the server left its process id");
    let status = Command::new("/bin/kill").arg(format!("-{name}")).arg(pid.trim()).status().await;
    assert!(status.expect("kill runs").success(), "no process {pid}");
}
