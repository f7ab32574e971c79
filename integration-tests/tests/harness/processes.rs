//! Nothing outlives the value it belongs to, nor the test process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use slipway_integration_tests::rabbitmq::{RabbitMq, RabbitOptions};
use slipway_integration_tests::redis_server::{RedisOptions, RedisServer};
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(15);
/// Where the process that is killed says what it has started.
const REPORT_VARIABLE: &str = "SLIPWAY_HARNESS_REPORT";

async fn gone_soon(path: &Path) {
    let begun = Instant::now();
    while path.exists() {
        assert!(begun.elapsed() < SOON, "{} is still there", path.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_and_its_folder_end_with_their_value() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let process = PathBuf::from(format!("/proc/{}", server.pid()));
    let folder = server.folder();
    assert!(process.exists() && folder.exists());
    server.freeze().await.unwrap();
    drop(server);
    gone_soon(&process).await;
    gone_soon(&folder).await;
}

/// Runs only as the child of the test below.
#[tokio::test]
#[ignore = "the process that the next test kills"]
async fn a_process_to_be_killed() {
    let Some(report) = std::env::var_os(REPORT_VARIABLE) else { return };
    let redis = RedisServer::start(RedisOptions::default()).await.unwrap();
    let broker = RabbitMq::start(RabbitOptions::default()).await.unwrap();
    redis.freeze().await.unwrap();
    let text =
        format!("/proc/{}\n/proc/{}\n{}\n", redis.pid(), broker.pid().unwrap(), redis.folder().display());
    let written = PathBuf::from(&report).with_extension("part");
    std::fs::write(&written, text).unwrap();
    std::fs::rename(&written, &report).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn nothing_outlives_a_killed_test_process() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "processes::a_process_to_be_killed"])
        .env(REPORT_VARIABLE, &report)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !report.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(begun.elapsed() < Duration::from_secs(90), "it says nothing");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let left: Vec<PathBuf> = std::fs::read_to_string(&report).unwrap().lines().map(PathBuf::from).collect();
    assert_eq!(left.len(), 3);
    assert!(left.iter().all(|path| path.exists()));
    child.kill().await.unwrap();
    for path in &left {
        gone_soon(path).await;
    }
}
