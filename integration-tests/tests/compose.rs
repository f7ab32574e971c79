//! `compose/` as it is shipped: what the compose tools make of `compose.yml`, what `make-env.sh` writes, whether the
//! start scripts hand passwords over unseen, and whether the Dockerfile builds what it says.

#[path = "compose/dockerfile.rs"]
mod dockerfile;
#[path = "compose/rendered.rs"]
mod rendered;
#[path = "compose/secrets.rs"]
mod secrets;
#[path = "compose/servers.rs"]
mod servers;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

/// Longest wait for one program that only reads or writes a few files.
const TOOL_TIMEOUT: Duration = Duration::from_secs(60);

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace exists")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Says that a test does not run: a line on standard error, past the test runner, which keeps what a passing test
/// prints to itself.
fn skip(reason: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "SKIP compose: {reason}").ok();
}

/// Where `program` is, if it is installed.
fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrators =
        ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/rabbitmq/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(administrators)
        .map(|folder| folder.join(program))
        .find(|at| at.is_file())
}

/// Runs a program to its end.
async fn run(command: &mut Command, longest: Duration) -> Output {
    command.stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(longest, command.output())
        .await
        .unwrap_or_else(|_elapsed| panic!("{command:?} did not end within {} s", longest.as_secs()))
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What a program wrote, for a message.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs `make-env.sh` for a folder.
async fn make_env(folder: &Path) -> Output {
    run(Command::new(root().join("compose/make-env.sh")).arg(folder), TOOL_TIMEOUT).await
}

/// An installation of its own: a copy of `compose/` in a folder called so, with generated settings.
async fn installation() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folder = parent.path().join("compose");
    copy(&root().join("compose"), &folder);
    let output = make_env(&folder).await;
    assert!(output.status.success(), "make-env.sh: {}", said(&output));
    (parent, folder)
}

/// Copies a folder, all but what `make-env.sh` makes.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the folder can be made");
    for entry in std::fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("the entry can be read");
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        if name == ".env" || name == "secrets" || name == "target" {
            continue;
        }
        if entry.file_type().expect("the entry has a kind").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("the file can be copied");
        }
    }
}
