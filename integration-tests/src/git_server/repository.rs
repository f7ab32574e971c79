//! The repositories of the host: making them, committing to them with plumbing, and what was pushed to them.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::GitServer;

const PRE_RECEIVE: &str = r#"#!/bin/sh
while read old new ref; do
    if grep -qxF "$ref" protected 2>/dev/null; then
        echo "GitLab: You are not allowed to push code to protected branches on this project." >&2
        exit 1
    fi
done
"#;

const POST_RECEIVE: &str = r#"#!/bin/sh
options=$(env | sed -n 's/^GIT_PUSH_OPTION_[0-9][0-9]*=//p')
if [ -n "$options" ]; then
    printf '%s\n' "$options" >> push-options
fi
while read old new ref; do
    printf '%s %s %s\n' "$old" "$new" "$ref" >> effects
    case "$options" in *merge_request.create*)
        printf '\nView merge request for %s:\n  %s/-/merge_requests/1\n\n' "${ref#refs/heads/}" "$(cat url)" >&2 ;;
    esac
done
"#;

/// How a file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// A regular file.
    File,
    /// An executable file.
    Executable,
    /// A symbolic link; the contents are its target.
    Symlink,
    /// A submodule; the contents are a full commit id.
    Submodule,
}

/// One file to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFile {
    /// Path from the root of the repository.
    pub path: String,
    /// How it is stored.
    pub mode: FileMode,
    /// Its contents.
    pub contents: Vec<u8>,
}

impl TreeFile {
    /// A regular file.
    pub fn new(path: impl Into<String>, contents: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: FileMode::File, contents: contents.into() }
    }

    /// The same file, stored in another way.
    #[must_use]
    pub fn stored_as(mut self, mode: FileMode) -> Self {
        self.mode = mode;
        self
    }
}

/// One reference moved by a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// What it pointed to; all zeros when it was new.
    pub old: String,
    /// What it points to now; all zeros when it was deleted.
    pub new: String,
    /// Its full name.
    pub reference: String,
    /// The trailers of the new commit.
    pub trailers: Vec<(String, String)>,
}

impl GitServer {
    /// Makes a repository at `path` with one commit on `main`, or an empty one without files. Returns its
    /// address.
    ///
    /// # Errors
    /// When the plumbing fails.
    pub async fn create_repo(&self, path: &str, files: &[TreeFile]) -> Result<String> {
        let directory = self.directory(path);
        tokio::fs::create_dir_all(&directory).await.context("making the repository's directory")?;
        self.git(path, &["init", "--bare", "--quiet", "--initial-branch=main"], b"").await?;
        self.git(path, &["config", "receive.advertisePushOptions", "true"], b"").await?;
        let hooks = directory.join("hooks");
        tokio::fs::create_dir_all(&hooks).await.context("making the hooks' directory")?;
        for (name, script) in [("pre-receive", PRE_RECEIVE), ("post-receive", POST_RECEIVE)] {
            write_executable(&hooks.join(name), script).await?;
        }
        let web = format!("{}/{path}", self.base_url());
        tokio::fs::write(directory.join("url"), web).await.context("writing the repository's address")?;
        if !files.is_empty() {
            self.commit(path, "main", files, "Initial commit").await?;
        }
        Ok(self.url(path))
    }

    /// Commits `files` on top of `branch`, past hooks and record. Returns the commit's id.
    ///
    /// # Errors
    /// When the plumbing fails.
    pub async fn commit(
        &self,
        path: &str,
        branch: &str,
        files: &[TreeFile],
        message: &str,
    ) -> Result<String> {
        let parent = self.tip(path, branch).await?;
        let stream = import_stream(branch, parent.as_deref(), files, message);
        self.git(path, &["fast-import", "--quiet", "--date-format=raw"], &stream).await?;
        self.forget(path);
        self.tip(path, branch).await?.context("the commit did not arrive")
    }

    /// Lets `branch` point to a commit that is there, past hooks and record, at the cost of writing one file.
    ///
    /// # Errors
    /// When the repository cannot be written.
    pub async fn move_branch(&self, path: &str, branch: &str, commit: &str) -> Result<()> {
        let reference = self.directory(path).join("refs/heads").join(branch);
        let new = self.directory(path).join("moving-branch");
        let folder = reference.parent().context("a branch has a folder")?;
        tokio::fs::create_dir_all(folder).await.context("making the branch's folder")?;
        tokio::fs::write(&new, format!("{commit}\n")).await.context("writing the branch")?;
        tokio::fs::rename(&new, &reference).await.context("moving the branch")?;
        self.forget(path);
        Ok(())
    }

    /// What `branch` points to.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub async fn tip(&self, path: &str, branch: &str) -> Result<Option<String>> {
        let pattern = format!("refs/heads/{branch}");
        let listing =
            self.git(path, &["for-each-ref", "--format=%(objectname) %(refname)", &pattern], b"").await?;
        let exact =
            listing.lines().filter_map(|line| line.split_once(' ')).find(|(_, name)| *name == pattern);
        Ok(exact.map(|(id, _)| id.to_owned()))
    }

    /// Refuses pushes to `branch` from now on, with the words of GitLab.
    ///
    /// # Errors
    /// When the repository cannot be written.
    pub async fn protect(&self, path: &str, branch: &str) -> Result<()> {
        let line = format!("refs/heads/{branch}\n");
        tokio::fs::write(self.directory(path).join("protected"), line).await.context("protecting the branch")
    }

    /// Whether the repository takes push options.
    ///
    /// # Errors
    /// When the repository cannot be written.
    pub async fn take_push_options(&self, path: &str, take: bool) -> Result<()> {
        let value = if take { "true" } else { "false" };
        self.git(path, &["config", "receive.advertisePushOptions", value], b"").await.map(drop)
    }

    /// Every reference moved by a push so far, in order.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub async fn effects(&self, path: &str) -> Result<Vec<RefUpdate>> {
        let recorded =
            tokio::fs::read_to_string(self.directory(path).join("effects")).await.unwrap_or_default();
        let mut updates = Vec::new();
        for line in recorded.lines() {
            let mut parts = line.splitn(3, ' ').map(str::to_owned);
            let (Some(old), Some(new), Some(reference)) = (parts.next(), parts.next(), parts.next()) else {
                bail!("the record of effects is damaged: {line}");
            };
            let trailers =
                self.git(path, &["log", "-1", "--format=%(trailers:only,unfold)", &new], b"").await?;
            let pair =
                |line: &str| line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned()));
            updates.push(RefUpdate {
                old,
                new,
                reference,
                trailers: trailers.lines().filter_map(pair).collect(),
            });
        }
        Ok(updates)
    }

    /// Every push option received so far.
    pub async fn push_options(&self, path: &str) -> Vec<String> {
        let recorded = tokio::fs::read_to_string(self.directory(path).join("push-options")).await;
        recorded.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Runs Git plumbing in the repository and returns its output.
    ///
    /// # Errors
    /// When Git fails, with what it said.
    pub async fn git(&self, path: &str, arguments: &[&str], input: &[u8]) -> Result<String> {
        let mut child = Command::new("git")
            .args(arguments)
            .current_dir(self.root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_DIR", self.directory(path))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting git")?;
        let mut stdin = child.stdin.take().context("git has no input")?;
        let input = input.to_vec();
        let feed = async move { stdin.write_all(&input).await };
        let (fed, output) = tokio::join!(feed, child.wait_with_output());
        let output = output.context("running git")?;
        if !output.status.success() {
            bail!("git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        fed.context("feeding git")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

async fn write_executable(path: &std::path::Path, script: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    tokio::fs::write(path, script).await.context("writing a hook")?;
    tokio::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).await.context("enabling a hook")
}

/// The input of `git fast-import` for one commit.
fn import_stream(branch: &str, parent: Option<&str>, files: &[TreeFile], message: &str) -> Vec<u8> {
    let mut stream =
        format!("commit refs/heads/{branch}\ncommitter Somebody <somebody@example.org> 1700000000 +0000\n");
    stream.push_str(&format!("data {}\n{message}\n", message.len()));
    if let Some(parent) = parent {
        stream.push_str(&format!("from {parent}\n"));
    }
    let mut stream = stream.into_bytes();
    for file in files {
        let quoted = file.path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let mode = match file.mode {
            FileMode::File => "100644",
            FileMode::Executable => "100755",
            FileMode::Symlink => "120000",
            FileMode::Submodule => {
                let id = String::from_utf8_lossy(&file.contents);
                stream.extend_from_slice(format!("M 160000 {id} \"{quoted}\"\n").as_bytes());
                continue;
            }
        };
        stream.extend_from_slice(
            format!("M {mode} inline \"{quoted}\"\ndata {}\n", file.contents.len()).as_bytes(),
        );
        stream.extend_from_slice(&file.contents);
        stream.push(b'\n');
    }
    stream
}
