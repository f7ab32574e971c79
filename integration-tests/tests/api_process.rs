//! `slipway-api` as a process of its own: how it starts without what it needs, what it says then, and how it ends.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use slipway_integration_tests::programs::Program;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

/// Longest wait for one command, and for the process to answer or to end.
const PROCESS_TIMEOUT: Duration = Duration::from_secs(30);
/// No answer takes longer (F2).
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Settings under which nothing answers but the API itself; with passwords in the addresses.
fn settings(folder: &Path) -> Result<(PathBuf, String)> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let file = folder.join("slipway.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n[data]\ndir = \"{}\"\n[broker]\nurls = \
         [\"amqp://ada:hunter2@127.0.0.1:1/%2f\"]\n[redis]\nurl = \"redis://:hunter3@127.0.0.1:1/0\"\n",
        folder.join("data").display()
    );
    std::fs::write(&file, text)?;
    Ok((file, format!("http://127.0.0.1:{port}")))
}

async fn command(file: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(Program::Api.path().await?);
    command.arg("--config").arg(file).args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

#[tokio::test]
async fn settings_are_shown_without_passwords() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, _) = settings(folder.path())?;
    let output = timeout(PROCESS_TIMEOUT, command(&file, &["--check-config"]).await?.output()).await??;
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(shown.contains("ada:***@127.0.0.1:1") && !shown.contains("hunter"), "{shown}");
    std::fs::write(&file, "[worker]\nslotz = 1\n")?;
    let output = timeout(PROCESS_TIMEOUT, command(&file, &["--check-config"]).await?.output()).await??;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn u11_it_starts_without_what_it_needs_and_says_what_is_missing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, url) = settings(folder.path())?;
    let log = std::fs::File::create(folder.path().join("log"))?;
    let mut child = command(&file, &[]).await?.stdout(log.try_clone()?).stderr(log).spawn()?;
    let http = reqwest::Client::builder().no_proxy().timeout(PROCESS_TIMEOUT).build()?;
    let give_up = Instant::now() + PROCESS_TIMEOUT;
    while http.get(format!("{url}/healthz")).send().await.is_err() {
        ensure!(Instant::now() < give_up && child.try_wait()?.is_none(), "it did not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let begun = Instant::now();
    let ready = http.get(format!("{url}/readyz")).send().await?;
    assert_eq!(ready.status(), 503);
    let ready: Value = ready.json().await?;
    let parts = ready["parts"].as_array().context("parts")?;
    let named: Vec<&str> = parts.iter().filter_map(|part| part["part"].as_str()).collect();
    for part in ["queue", "ledger", "store"] {
        assert!(named.contains(&part), "{ready}");
    }
    assert!(!ready.to_string().contains("hunter"), "{ready}");
    for request in [http.get(format!("{url}/deployments")), http.post(format!("{url}/deployments"))] {
        let answer = request.bearer_auth("slw_unknown").send().await?;
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
    }
    let metrics = http.get(format!("{url}/metrics")).send().await?.text().await?;
    assert!(metrics.contains("slipway_broker_reconnects_total"), "{metrics}");
    assert!(begun.elapsed() < ANSWER_MAX * 4, "each answer comes in time");
    let probe = timeout(PROCESS_TIMEOUT, command(&file, &["--probe"]).await?.output()).await??;
    assert_eq!(probe.status.code(), Some(1), "{probe:?}");
    let pid = child.id().context("it runs")?.to_string();
    Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &pid]).status().await?;
    let ended = timeout(PROCESS_TIMEOUT, child.wait()).await.context("it did not end")??;
    assert_eq!(ended.code(), Some(0));
    let said = std::fs::read_to_string(folder.path().join("log"))?;
    assert!(!said.contains("hunter"), "no password in the log: {said}");
    Ok(())
}
