//! A Kubernetes control plane of its own: real etcd, API server, controllers and scheduler as private processes, with the
//! means to kill and freeze the API. Nodes and pods are simulated; what a pod does is said by the name of its image.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::{Certificate, Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::docker_engine::unique_name;
use crate::process_control::{PrivateFolder, ProcessControl, free_port, in_background};

/// Names the folder of a control plane that runs already; set by `scripts/control-plane.sh run`.
pub const FOLDER_VARIABLE: &str = "SLIPWAY_TEST_CLUSTER";
/// Says why there shall be none.
pub const WITHOUT_VARIABLE: &str = "SLIPWAY_NO_TEST_CLUSTER";

/// In the name of an image: it cannot be pulled (`ErrImagePull`, then `ImagePullBackOff`).
pub const IMAGE_PULL_FAILS: &str = "fail-image-pull";
/// In the name of an image: its container lacks a secret (`CreateContainerConfigError`).
pub const IMAGE_CONFIG_FAILS: &str = "fail-config";
/// In the name of an image: it ends with the status 1, over and over (`CrashLoopBackOff`).
pub const IMAGE_CRASHES: &str = "fail-crash";
/// In the name of an image: it is killed for its memory, over and over (`OOMKilled`, `CrashLoopBackOff`).
pub const IMAGE_OUT_OF_MEMORY: &str = "fail-oom";
/// In the name of an image: it runs, but is never ready.
pub const IMAGE_NEVER_READY: &str = "fail-readiness";
/// In the name of an image: it is ready only after three seconds.
pub const IMAGE_SLOWLY_READY: &str = "slow-ready";
/// In the name of an image: in a pod that is not restarted it ends with the status 1.
pub const IMAGE_EXITS: &str = "fail-exit";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/control-plane.sh");
/// The status of the script when the programs cannot be had.
const STATUS_UNAVAILABLE: i32 = 3;
/// Tries to start one; another process may take one of its ports in between.
const START_TRIES_MAX: u32 = 3;
/// Longest wait for anything to come true. Usually it is seconds; machines are shared.
const WAIT_TIMEOUT: Duration = Duration::from_secs(180);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Lines of a log that an error shows.
const LOG_LINES: usize = 20;

/// Somebody the API server knows by a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClusterUser {
    /// May do everything (`system:masters`).
    Admin,
    /// The user `slipway-api`, without any right until a test binds a role.
    Api,
    /// The user `slipway-scaler`, without any right until a test binds a role.
    Scaler,
    /// The user `slipway-worker`, without any right until a test binds a role.
    Worker,
}

impl ClusterUser {
    const ALL: [Self; 4] = [Self::Admin, Self::Api, Self::Scaler, Self::Worker];

    /// The name that roles are bound to.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Api => "slipway-api",
            Self::Scaler => "slipway-scaler",
            Self::Worker => "slipway-worker",
        }
    }
}

/// A control plane. One that this process started ends with this value, and with the test process in any case.
#[derive(Debug)]
pub struct ControlPlane {
    own: Option<Processes>,
    folder: PathBuf,
    server_url: String,
    ca_pem: String,
    tokens: HashMap<ClusterUser, String>,
    client: reqwest::Client,
}

#[derive(Debug)]
struct Processes {
    api: Mutex<Arc<ProcessControl>>,
    others: Vec<ProcessControl>,
    _folder: PrivateFolder,
}

impl ControlPlane {
    /// Whether there can be one; otherwise says once more that a test does not run, in the form that is counted.
    pub async fn available() -> bool {
        if std::env::var_os(FOLDER_VARIABLE).is_some() {
            return true;
        }
        // What else is wrong, the start says.
        let Ok(Err(reason)) = programs().await else { return true };
        skip(reason);
        false
    }

    /// Starts one of the test's own and waits until its nodes are ready, 5 to 10 seconds.
    ///
    /// # Errors
    /// When the programs cannot be had, or it does not come up; with the end of the log.
    pub async fn start() -> anyhow::Result<Self> {
        let programs = programs().await?.as_ref().map_err(|reason| anyhow::anyhow!("{reason}"))?;
        let mut last = None;
        for _ in 0..START_TRIES_MAX {
            match Self::try_start(programs).await {
                Ok(plane) => return Ok(plane),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no try was made")?)
    }

    async fn try_start(programs: &Path) -> anyhow::Result<Self> {
        let private = PrivateFolder::new("control-plane").await?;
        let folder = private.path().to_owned();
        let mut words =
            vec!["prepare".to_owned(), folder.display().to_string(), programs.display().to_string()];
        for _ in 0..4 {
            words.push(free_port()?.to_string());
        }
        script(&words).await?;
        let etcd = launch(&folder, "etcd").await?;
        let api = Mutex::new(Arc::new(launch(&folder, "kube-apiserver").await?));
        let own = Processes { api, others: vec![etcd], _folder: private };
        let mut plane = Self { own: Some(own), ..Self::open(&folder)? };
        plane.wait_api().await?;
        for name in ["kube-controller-manager", "kube-scheduler", "kwok"] {
            let process = launch(&folder, name).await?;
            plane.own.as_mut().context("it is our own")?.others.push(process);
        }
        let settled = script(&["settle".to_owned(), folder.display().to_string()]).await;
        settled.with_context(|| format!("programs that ended: {}", plane.logs_of_the_dead()))?;
        Ok(plane)
    }

    /// One that runs already, by its folder.
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let ca_pem = read("ca.pem")?;
        let tokens = ClusterUser::ALL
            .into_iter()
            .map(|user| Ok((user, read(&format!("tokens/{}", user.name()))?)))
            .collect::<anyhow::Result<_>>()?;
        // A connection of its own for each question: whatever befell an earlier one does not matter.
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([Certificate::from_pem(ca_pem.as_bytes())?])
            .pool_max_idle_per_host(0)
            .timeout(ANSWER_TIMEOUT)
            .build()?;
        Ok(Self { own: None, folder: folder.to_owned(), server_url: read("server")?, ca_pem, tokens, client })
    }

    /// The one that tests share: that of the whole run if there is one, otherwise one of this process, started by the
    /// first that asks. Tests keep apart by namespaces of their own, and never stop it.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn shared() -> anyhow::Result<Arc<Self>> {
        static SHARED: OnceCell<Arc<ControlPlane>> = OnceCell::const_new();
        let started = SHARED.get_or_try_init(|| {
            in_background(async {
                Ok(Arc::new(match std::env::var_os(FOLDER_VARIABLE) {
                    Some(folder) => Self::open(Path::new(&folder))?,
                    None => Self::start().await?,
                }))
            })
        });
        started.await.cloned()
    }

    /// `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn server_url(&self) -> &str {
        &self.server_url
    }

    /// The certificate of the authority that vouches for the server.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The token of somebody who may do everything.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        self.token_for(ClusterUser::Admin)
    }

    /// This user's token.
    #[must_use]
    pub fn token_for(&self, user: ClusterUser) -> &str {
        self.tokens.get(&user).map_or("", String::as_str)
    }

    /// A kubeconfig of the administrator; every other user has a context with the user's name in it.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// A name for a namespace that no other test uses.
    #[must_use]
    pub fn namespace(&self) -> String {
        unique_name("test")
    }

    /// Makes a namespace of that kind, and waits until pods can be made in it.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn new_namespace(&self) -> anyhow::Result<String> {
        let name = self.namespace();
        self.create("/api/v1/namespaces", &json!({"metadata": {"name": name}})).await?;
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        self.wait_for(&account, "exists", |_| true).await?;
        Ok(name)
    }

    /// Asks the API as this user; answers the status and the object.
    ///
    /// # Errors
    /// When it does not answer, or not with JSON.
    pub async fn request(
        &self,
        user: ClusterUser,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let url = format!("{}{path}", self.server_url);
        let mut request = self.client.request(method, url).bearer_auth(self.token_for(user));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("asking for {path}"))?;
        Ok((answer.status(), answer.json().await?))
    }

    /// Makes an object of this collection, such as `/api/v1/namespaces`, as the administrator.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn create(&self, path: &str, object: &Value) -> anyhow::Result<Value> {
        let (status, answer) = self.request(ClusterUser::Admin, Method::POST, path, Some(object)).await?;
        ensure!(status.is_success(), "creating in {path}: {status}: {}", answer["message"]);
        Ok(answer)
    }

    /// The object, or the list, as the administrator sees it.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (status, answer) = self.request(ClusterUser::Admin, Method::GET, path, None).await?;
        ensure!(status.is_success(), "{path}: {status}: {}", answer["message"]);
        Ok(answer)
    }

    /// Asks for the object again and again until it is as it should be; an API that is away for a while is waited for.
    ///
    /// # Errors
    /// When it never is; with what it was last.
    pub async fn wait_for(
        &self,
        path: &str,
        what: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let deadline = Instant::now() + WAIT_TIMEOUT;
        loop {
            let seen = self.get(path).await;
            if let Ok(object) = &seen
                && is_so(object)
            {
                return seen;
            }
            if Instant::now() > deadline {
                let last =
                    seen.map(|object| format!("{object:#}")).unwrap_or_else(|error| format!("{error:#}"));
                bail!("{path} is not so after {WAIT_TIMEOUT:?}: {what}; it is: {last}");
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// `kubectl` as the administrator; answers what it prints.
    ///
    /// # Errors
    /// When it fails, with what it says.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(self.folder.join("programs/kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments)
            .env_clear()
            .env("HOME", &self.folder)
            .stdin(Stdio::null())
            .output()
            .await
            .context("starting kubectl")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {arguments:?}: {}", said.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `kill -9` of the API server. What it has answered is kept.
    ///
    /// # Errors
    /// When it does not go, or is shared with others.
    pub async fn kill_api(&self) -> anyhow::Result<()> {
        self.api()?.kill().await
    }

    /// Starts the API server again on the same data and port, and waits until it answers.
    ///
    /// # Errors
    /// When it still runs, does not come up, or is shared with others.
    pub async fn start_api_again(&self) -> anyhow::Result<()> {
        ensure!(self.api()?.has_ended(), "the API server still runs");
        let process = Arc::new(launch(&self.folder, "kube-apiserver").await?);
        *self.own()?.api.lock().unwrap_or_else(PoisonError::into_inner) = process;
        self.wait_api().await
    }

    /// Stops the API server where it is: connections stay open, nothing answers.
    ///
    /// # Errors
    /// When it does not run, or is shared with others.
    pub async fn freeze_api(&self) -> anyhow::Result<()> {
        self.api()?.freeze().await
    }

    /// Lets it go on after [`ControlPlane::freeze_api`].
    ///
    /// # Errors
    /// When it does not run, or is shared with others.
    pub fn thaw_api(&self) -> anyhow::Result<()> {
        self.api()?.thaw()
    }

    fn own(&self) -> anyhow::Result<&Processes> {
        self.own.as_ref().context("this control plane is shared with other processes; start one of your own")
    }

    fn api(&self) -> anyhow::Result<Arc<ProcessControl>> {
        Ok(Arc::clone(&self.own()?.api.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// What the programs that are gone said last.
    fn logs_of_the_dead(&self) -> String {
        let others = self.own.iter().flat_map(|own| &own.others);
        others.filter(|process| process.has_ended()).map(end_of_log).collect::<Vec<_>>().join("\n")
    }

    /// Waits until the API server says it is ready.
    async fn wait_api(&self) -> anyhow::Result<()> {
        let process = self.api()?;
        let deadline = Instant::now() + WAIT_TIMEOUT;
        let url = format!("{}/readyz", self.server_url);
        loop {
            if let Ok(answer) = self.client.get(&url).send().await
                && answer.status().is_success()
            {
                return Ok(());
            }
            if process.has_ended() {
                bail!("the API server ended instead of starting: {}", end_of_log(&process));
            }
            if Instant::now() > deadline {
                bail!("the API server is not ready after {WAIT_TIMEOUT:?}: {}", end_of_log(&process));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Says that a test does not run: a line on standard error, past the test runner, which keeps what a passing test
/// prints to itself.
fn skip(reason: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "SKIP cluster: {reason}").ok();
}

/// Where the programs are, or why they cannot be had. They are built when that has to be.
async fn programs() -> anyhow::Result<&'static Result<PathBuf, String>> {
    static PROGRAMS: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    PROGRAMS
        .get_or_try_init(|| async {
            if let Ok(reason) = std::env::var(WITHOUT_VARIABLE) {
                return Ok(Err(reason));
            }
            // What it says of a build that takes minutes is for whoever waits for the tests.
            let output = Command::new(SCRIPT)
                .arg("ensure")
                .stdin(Stdio::null())
                .stderr(Stdio::inherit())
                .output()
                .await
                .context("starting scripts/control-plane.sh")?;
            if output.status.code() == Some(STATUS_UNAVAILABLE) {
                return Ok(Err("the programs of the control plane cannot be had, see above".to_owned()));
            }
            ensure!(output.status.success(), "the programs of the control plane could not be built");
            Ok(Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim())))
        })
        .await
}

async fn script(words: &[String]) -> anyhow::Result<()> {
    let output = Command::new(SCRIPT).args(words).stdin(Stdio::null()).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "control-plane.sh {words:?}: {}", said.trim());
    Ok(())
}

/// Starts one of the programs with the command line that the script wrote.
async fn launch(folder: &Path, name: &str) -> anyhow::Result<ProcessControl> {
    let text = std::fs::read_to_string(folder.join("commands").join(name))?;
    let mut words = text.lines().map(str::to_owned);
    let program = words.next().context("an empty command line")?;
    let environment = vec![("HOME".to_owned(), folder.display().to_string())];
    ProcessControl::spawn(&program, words.collect(), environment, &folder.join("logs").join(name)).await
}

fn end_of_log(process: &ProcessControl) -> String {
    let log = process.log();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
