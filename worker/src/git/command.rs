//! The one place that starts the `git` program: an empty environment, no configuration, no prompts, no hooks,
//! one allowed protocol; a deadline, bounded output, and a process group that dies as a whole.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use secrecy::ExposeSecret;
use slipway_common::model::RepositoryAddress;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::credential::Credential;
use super::error::GitError;
use super::limits::GitLimits;

mod classify;
mod disk;
mod group;
mod redact;

pub(super) use classify::failure;
pub(super) use disk::{directory_bytes, disk_exceeded};
use group::ProcessGroup;
pub(super) use redact::Redactor;

/// The oldest Git that takes configuration from `GIT_CONFIG_COUNT`.
const REQUIRED_VERSION: &str = "2.31";
/// Bytes of standard error that are kept, from the end.
const STDERR_KEPT_BYTES: usize = 16 * 1024;
/// Variables an operator sets to name certificates and proxies; everything else is withheld.
const PASSED_VARIABLES: [&str; 10] = [
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "HTTPS_PROXY",
    "https_proxy",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];
/// Configuration given to every command: whatever could run a program, follow a link or do unasked work is off.
const HARDENING: [&str; 24] = [
    "credential.helper=",
    "core.hooksPath=/dev/null",
    "core.symlinks=false",
    "core.fsmonitor=false",
    "core.bigFileThreshold=32m",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "push.recurseSubmodules=no",
    "push.gpgSign=false",
    "push.followTags=false",
    "protocol.allow=never",
    "http.followRedirects=false",
    "http.cookieFile=",
    "transfer.fsckObjects=true",
    "transfer.bundleURI=false",
    "fetch.unpackLimit=1",
    "fetch.writeCommitGraph=false",
    // Harmless oddities of old histories, which hosts accept too.
    "fetch.fsck.zeroPaddedFilemode=ignore",
    "fetch.fsck.missingSpaceBeforeDate=ignore",
    "fetch.fsck.badTimezone=ignore",
    "gc.auto=0",
    "maintenance.auto=false",
    "pack.threads=1",
    "init.templateDir=",
];

/// The host a command talks to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote<'a> {
    pub(super) address: &'a RepositoryAddress,
    pub(super) credential: Option<&'a Credential>,
}

/// One run of `git`.
#[derive(Debug)]
pub(super) struct GitCommand<'a> {
    /// What is being done, for messages.
    pub(super) operation: &'static str,
    pub(super) git_dir: Option<&'a Path>,
    /// The subcommand and its arguments.
    pub(super) arguments: Vec<OsString>,
    pub(super) remote: Option<Remote<'a>>,
    pub(super) timeout: Duration,
    /// Ends the command once the directory has more bytes.
    pub(super) disk_limit: Option<(&'a Path, u64)>,
}

/// What a finished command left.
#[derive(Debug)]
pub(super) struct GitOutput {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    /// The end of standard error, redacted.
    pub(super) stderr: String,
}

/// The `git` program and the limits it runs under.
#[derive(Debug, Clone)]
pub(super) struct GitProgram {
    program: PathBuf,
    max_output_bytes: usize,
    max_object_memory_bytes: u64,
    low_speed: (u32, u64),
}

impl GitProgram {
    pub(super) fn new(program: PathBuf, limits: &GitLimits) -> Self {
        Self {
            program,
            max_output_bytes: limits.max_output_bytes,
            max_object_memory_bytes: limits.max_object_memory_bytes,
            low_speed: (limits.low_speed_bytes_per_second, limits.low_speed_window.as_secs().max(1)),
        }
    }

    /// Checks that the program exists and is recent enough.
    pub(super) async fn check_version(&self, timeout: Duration) -> Result<(), GitError> {
        let command = GitCommand {
            operation: "checking the version of git",
            git_dir: None,
            arguments: vec!["version".into()],
            remote: None,
            timeout,
            disk_limit: None,
        };
        let output = self.run_ok(command, &CancellationToken::new()).await?;
        if version_of(&output.stdout) >= version_of(REQUIRED_VERSION) {
            return Ok(());
        }
        Err(GitError::GitTooOld { version: output.stdout.trim().to_owned(), required: REQUIRED_VERSION })
    }

    /// Runs to the end and maps an unsuccessful exit to an error.
    pub(super) async fn run_ok(
        &self,
        command: GitCommand<'_>,
        cancel: &CancellationToken,
    ) -> Result<GitOutput, GitError> {
        let operation = command.operation;
        let with_credential = command.remote.is_some_and(|remote| remote.credential.is_some());
        let output = self.run(command, cancel).await?;
        if output.status.success() {
            return Ok(output);
        }
        Err(failure(operation, with_credential, &output.stderr))
    }

    /// Runs to the end, whatever the exit.
    pub(super) async fn run(
        &self,
        command: GitCommand<'_>,
        cancel: &CancellationToken,
    ) -> Result<GitOutput, GitError> {
        let operation = command.operation;
        let mut child = self
            .build(&command)
            .spawn()
            .map_err(|source| GitError::GitMissing { program: self.program.clone(), source })?;
        let group = ProcessGroup::of(&child);
        let finished = tokio::select! {
            output = self.collect(&mut child, &group, &command) => output,
            () = cancel.cancelled() => Err(GitError::Cancelled { operation }),
            () = tokio::time::sleep(command.timeout) => {
                Err(GitError::Timeout { operation, limit: command.timeout })
            }
            error = disk::exceeded(command.disk_limit) => Err(error),
        };
        if finished.is_err() {
            group.kill();
            child.wait().await.map_err(|source| GitError::io(operation, source))?;
        }
        finished
    }

    fn build(&self, command: &GitCommand<'_>) -> Command {
        let mut child = Command::new(&self.program);
        child
            .env_clear()
            .envs(PASSED_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs([
                ("HOME", "/nonexistent"),
                ("GIT_CONFIG_NOSYSTEM", "1"),
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
                ("GIT_TERMINAL_PROMPT", "0"),
                ("GIT_ASKPASS", "/bin/false"),
                ("GIT_PROTOCOL_FROM_USER", "0"),
                ("GIT_LFS_SKIP_SMUDGE", "1"),
                ("GIT_ATTR_NOSYSTEM", "1"),
                ("GIT_NO_REPLACE_OBJECTS", "1"),
                ("GIT_OPTIONAL_LOCKS", "0"),
                ("LC_ALL", "C"),
            ])
            .env("GIT_ALLOC_LIMIT", self.max_object_memory_bytes.to_string())
            .env("GIT_ALLOW_PROTOCOL", command.remote.map_or("", |remote| remote.address.scheme()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        for option in HARDENING {
            child.args(["-c", option]);
        }
        let (bytes_per_second, seconds) = self.low_speed;
        child.args(["-c", &format!("http.lowSpeedLimit={bytes_per_second}")]);
        child.args(["-c", &format!("http.lowSpeedTime={seconds}")]);
        if let Some(remote) = command.remote {
            child.args(["-c", &format!("protocol.{}.allow=always", remote.address.scheme())]);
            give_credential(&mut child, remote);
        }
        if let Some(directory) = command.git_dir {
            let mut option = OsString::from("--git-dir=");
            option.push(directory);
            child.arg(option).current_dir(directory);
        }
        child.args(&command.arguments);
        child
    }

    async fn collect(
        &self,
        child: &mut Child,
        group: &ProcessGroup,
        command: &GitCommand<'_>,
    ) -> Result<GitOutput, GitError> {
        let operation = command.operation;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let exit = async {
            let status = child.wait().await.map_err(|source| GitError::io(operation, source))?;
            if !status.success() {
                // Helpers that outlive the program would keep its output open.
                group.kill();
            }
            Ok::<_, GitError>(status)
        };
        let kept = self.max_output_bytes;
        let (status, stdout, stderr) =
            tokio::try_join!(exit, read_limited(operation, stdout, kept), read_tail(operation, stderr))?;
        let redactor = Redactor::new(command.remote.and_then(|remote| remote.credential));
        Ok(GitOutput {
            status,
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: redactor.redact(&String::from_utf8_lossy(&stderr)),
        })
    }
}

/// The credential travels in the environment of this one child and is bound to the repository's own origin.
fn give_credential(child: &mut Command, remote: Remote<'_>) {
    let Some(credential) = remote.credential else { return };
    child
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", format!("http.{}.extraHeader", remote.address.origin()))
        .env("GIT_CONFIG_VALUE_0", OsStr::new(credential.header().expose_secret()));
}

async fn read_limited(
    operation: &'static str,
    stream: Option<impl AsyncRead + Unpin>,
    limit_bytes: usize,
) -> Result<Vec<u8>, GitError> {
    let mut kept = Vec::new();
    let Some(stream) = stream else { return Ok(kept) };
    let limit = u64::try_from(limit_bytes).unwrap_or(u64::MAX);
    stream
        .take(limit.saturating_add(1))
        .read_to_end(&mut kept)
        .await
        .map_err(|source| GitError::io(operation, source))?;
    if kept.len() > limit_bytes {
        return Err(GitError::Limit { what: "bytes the host answered", limit });
    }
    Ok(kept)
}

async fn read_tail(
    operation: &'static str,
    stream: Option<impl AsyncRead + Unpin>,
) -> Result<Vec<u8>, GitError> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return Ok(kept) };
    let mut buffer = [0_u8; 4_096];
    loop {
        let count = stream.read(&mut buffer).await.map_err(|source| GitError::io(operation, source))?;
        if count == 0 {
            return Ok(kept);
        }
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > 2 * STDERR_KEPT_BYTES {
            kept.drain(..kept.len() - STDERR_KEPT_BYTES);
        }
    }
}

/// Major and minor number of a text such as `git version 2.39.5`.
fn version_of(text: &str) -> (u32, u32) {
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut numbers = digits.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests;
