//! `slipway-demo-git`: serves one folder as a Git repository over smart HTTP on loopback, behind a token, until it is
//! told to end. The token comes from DEMO_GIT_TOKEN. One JSON line says where the repository is, on the network and on
//! disk; the folder itself is only read.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use slipway_integration_tests::git_server::{GitServer, TreeFile};
use tokio::signal::unix::{SignalKind, signal};

/// Variable that holds the token.
const TOKEN_VARIABLE: &str = "DEMO_GIT_TOKEN";
/// Path of the repository on the server.
const REPOSITORY: &str = "demo/site";
/// Most files that are served.
const FILES_MAX: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        bail!("usage: {TOKEN_VARIABLE}=… slipway-demo-git FOLDER");
    };
    let token = std::env::var(TOKEN_VARIABLE).with_context(|| format!("{TOKEN_VARIABLE} is not set"))?;
    ensure!(!token.is_empty(), "{TOKEN_VARIABLE} is empty");
    let files = read_folder(Path::new(&folder)).context("reading the folder to serve")?;

    let mut terminated = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
    let server = GitServer::start().await?;
    let url = server.create_repo(REPOSITORY, &files).await?;
    server.require_token(Some(&token));
    println!("{}", serde_json::json!({ "url": url, "directory": server.directory(REPOSITORY) }));
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}

/// Every regular file below `root`, by its path from there.
fn read_folder(root: &Path) -> Result<Vec<TreeFile>> {
    let mut files = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                todo.push(path);
            } else if kind.is_file() {
                ensure!(files.len() < FILES_MAX, "more than {FILES_MAX} files");
                let name = path.to_str().context("a file's name is not UTF-8")?;
                files.push(TreeFile::new(name, std::fs::read(entry.path())?));
            }
        }
    }
    Ok(files)
}
