//! Token canaries: a whole deployment with logs at trace level, and then a search for its secrets in every place
//! they could have reached: logs, the database, the work folder, the process list, API answers, the repository.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use serde_json::json;
use slipway_integration_tests::docker_engine;
use slipway_integration_tests::git_server::{GitServer, TreeFile};
use slipway_integration_tests::slipway_process::SlipwayProcess;
use tokio_util::sync::CancellationToken;

const REPOSITORY_TOKEN: &str = "glpat-canary-repository/8d1+f7";
const ENV_VALUE: &str = "canary-variable=5b90 &e2";
const CREDENTIAL: &str = "canary-credential/41c7+aa";
const BASE_IMAGE: &str = "slipway-test/static:canary";

#[tokio::test(flavor = "multi_thread")]
async fn s11_no_secret_is_found_anywhere() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let mut project = String::new();
    let outcome = deploy_and_search(&host, &mut project).await;
    let docker = docker_engine::connect(&host).expect("the engine answers");
    docker_engine::remove_all(&docker, &format!("io.slipway.project={project}")).await.expect("cleaned up");
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn deploy_and_search(host: &str, project: &mut String) -> anyhow::Result<()> {
    let docker = docker_engine::connect(host)?;
    docker_engine::base_image(&docker, BASE_IMAGE).await?;
    let git = GitServer::start().await?;
    git.require_token(Some(REPOSITORY_TOKEN));
    let path = format!("group/{}", docker_engine::unique_name("canary"));
    let url = git.create_repo(&path, &[TreeFile::new("index.html", "<p>canary\n")]).await?;
    let settings = format!(
        "[docker]\nhost = \"{host}\"\ndrain_ms = 100\nstop_grace_s = 1\n\
         [templates.base_images]\nstatic = \"{BASE_IMAGE}\"\n[log]\nfilter = \"trace\"\n[gateway]\nport_min = 14600\nport_max = 15599\n"
    );
    let slipway = SlipwayProcess::start(&settings, &[]).await?;
    let watch = ProcessWatch::start();
    let body = json!({ "secret": CREDENTIAL, "username": "robot" });
    let (status, stored) = slipway.request("PUT", "/credentials/canary", Some(&body)).await?;
    ensure!(status < 300, "PUT /credentials answered {status}: {stored}");
    let request = json!({
        "repository_url": url, "repository_token": REPOSITORY_TOKEN, "env": { "CANARY": ENV_VALUE },
        "supports": [{ "name": "side", "image": BASE_IMAGE, "port": 8080, "env": { "CANARY": ENV_VALUE } }],
    });
    let id = slipway.deploy(&request).await?;
    let deployment = slipway.wait_resting(&id).await?;
    *project = deployment["project_slug"].as_str().unwrap_or_default().to_owned();
    ensure!(deployment["status"] == "active", "{deployment:#}\n{}", slipway.log());
    let mut wrong = request.clone();
    wrong["repository_url"] = json!(git.url("group/absent"));
    let failed = slipway.deploy(&wrong).await?;
    slipway.wait_resting(&failed).await?;
    let answers = answers(&slipway, &[&id, &failed]).await?;
    let arguments = watch.stop().await?;
    ensure!(arguments.iter().any(|line| line.contains("git")), "the watch saw Git run");
    for (what, text) in [("the log", slipway.log()), ("an answer", answers), ("argv", join(&arguments))] {
        ensure!(!text.is_empty(), "{what} was looked at");
        for spelling in spellings() {
            ensure!(!text.contains(&spelling), "{spelling} is in {what}");
        }
    }
    search_files(&slipway.data_folder())?;
    search_files(&git.directory(&path))
}

/// Everything the API says about these deployments.
async fn answers(slipway: &SlipwayProcess, ids: &[&str]) -> anyhow::Result<String> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let mut paths: Vec<String> =
        ["/deployments", "/credentials", "/credentials/canary", "/tokens", "/metrics"]
            .map(str::to_owned)
            .to_vec();
    for id in ids {
        paths.push(format!("/deployments/{id}"));
        paths.push(format!("/deployments/{id}/events"));
        for stage in ["clone", "template", "commit", "build", "apply"] {
            paths.push(format!("/deployments/{id}/logs?stage={stage}"));
        }
    }
    let mut all = String::new();
    for path in paths {
        let request = client.get(format!("{}{path}", slipway.address())).bearer_auth(slipway.token());
        let answer = request.send().await.with_context(|| path.clone())?;
        ensure!(answer.status().is_success(), "{path} answered {}", answer.status());
        all.push_str(&answer.text().await.with_context(|| path.clone())?);
    }
    Ok(all)
}

fn search_files(folder: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    ensure!(!files.is_empty(), "{} has files", folder.display());
    for file in files {
        let bytes = std::fs::read(&file)?;
        for spelling in spellings() {
            let found = bytes.windows(spelling.len()).any(|window| window == spelling.as_bytes());
            ensure!(!found, "{spelling} is in {}", file.display());
        }
    }
    Ok(())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// Each secret in clear, base64, hexadecimal, URL-encoded, and as the header Git sends.
fn spellings() -> Vec<String> {
    let base64 = base64::engine::general_purpose::STANDARD;
    let header = base64.encode(format!("oauth2:{REPOSITORY_TOKEN}"));
    let each = |secret: &str| {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        [secret.to_owned(), base64.encode(secret).trim_end_matches('=').to_owned(), hex, url]
    };
    [REPOSITORY_TOKEN, ENV_VALUE, CREDENTIAL].into_iter().flat_map(each).chain([header]).collect()
}

fn join(lines: &BTreeSet<String>) -> String {
    lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// Collects the command lines of all processes until it is stopped.
struct ProcessWatch {
    stop: CancellationToken,
    seen: tokio::task::JoinHandle<BTreeSet<String>>,
}

impl ProcessWatch {
    fn start() -> Self {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let seen = tokio::spawn(async move {
            let mut seen = BTreeSet::new();
            while !stopping.is_cancelled() {
                for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                    if let Ok(line) = std::fs::read(entry.path().join("cmdline")) {
                        seen.insert(String::from_utf8_lossy(&line).replace('\0', " "));
                    }
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            seen
        });
        Self { stop, seen }
    }

    async fn stop(self) -> anyhow::Result<BTreeSet<String>> {
        self.stop.cancel();
        Ok(self.seen.await?)
    }
}
