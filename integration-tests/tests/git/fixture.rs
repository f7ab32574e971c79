//! What every test starts from: a host, a store of mirrors, and a `git` that records how it is called.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slipway_integration_tests::git_server::{GitServer, TreeFile};
use slipway_worker::git::{
    AddressPolicy, BranchName, Credential, GitError, GitLimits, Mirror, MirrorStore, Reference,
    RepositoryAddress, Snapshot,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) const TOKEN: &str = "glpat-CANARY/7+x y";

pub(crate) struct World {
    pub(crate) server: GitServer,
    pub(crate) directory: TempDir,
    pub(crate) store: MirrorStore,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_limits(quick_limits()).await
    }

    pub(crate) async fn with_limits(limits: GitLimits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = recorder(directory.path());
        let store = MirrorStore::new(directory.path().join("mirrors"), limits).with_program(program);
        Self { server: GitServer::start().await.unwrap(), directory, store }
    }

    pub(crate) async fn open(&self, url: &str) -> Result<Arc<Mirror>, GitError> {
        self.store.open(&address(url), &CancellationToken::new()).await
    }

    /// Resolves, fetches and opens `reference`.
    pub(crate) async fn snapshot(&self, url: &str, reference: &Reference) -> Result<Snapshot, GitError> {
        let mirror = self.open(url).await?;
        let resolved = mirror.resolve(reference, None).await?;
        mirror.fetch(&resolved.revision, resolved.branch.as_ref(), None).await?;
        mirror.snapshot(&resolved.revision).await
    }

    /// Every call of `git` so far: process id and arguments.
    pub(crate) fn calls(&self) -> Vec<String> {
        let recorded = std::fs::read_to_string(self.directory.path().join("argv")).unwrap_or_default();
        recorded.lines().map(str::to_owned).collect()
    }

    pub(crate) fn canary(&self) -> PathBuf {
        self.directory.path().join("canary")
    }
}

pub(crate) fn quick_limits() -> GitLimits {
    GitLimits {
        command_timeout: Duration::from_secs(30),
        fetch_timeout: Duration::from_secs(30),
        lock_timeout: Duration::from_secs(30),
        ..GitLimits::default()
    }
}

pub(crate) fn address(url: &str) -> RepositoryAddress {
    RepositoryAddress::parse(url, &AddressPolicy::default()).unwrap()
}

pub(crate) fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}

pub(crate) fn credential(token: &str) -> Credential {
    Credential::token(token.to_owned().into()).unwrap()
}

pub(crate) fn readme() -> Vec<TreeFile> {
    vec![TreeFile::new("README.md", "hello\n"), TreeFile::new("src/main.rs", "fn main() {}\n")]
}

/// One file of so many bytes that do not compress.
pub(crate) fn noise(bytes: u32) -> Vec<TreeFile> {
    let mut state = 1_u32;
    let contents: Vec<u8> = (0..bytes / 4)
        .flat_map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()
        })
        .collect();
    vec![TreeFile::new("noise", contents)]
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether any file below `directory` contains `needle`.
pub(crate) fn any_file_contains(directory: &Path, needle: &str) -> bool {
    std::fs::read_dir(directory).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return any_file_contains(&path, needle);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
    })
}

/// A program that notes its process id and arguments and then becomes `git`.
fn recorder(directory: &Path) -> PathBuf {
    let program = directory.join("recording-git");
    let log = directory.join("argv");
    let script =
        format!("#!/bin/sh\nprintf '%s ' $$ \"$@\" >> {0}\necho >> {0}\nexec git \"$@\"\n", log.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program
}
