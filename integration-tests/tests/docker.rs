//! The Docker target on a real engine: build, apply, observe and stop, and what happens when they fail half-way.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, RemoveContainerOptions, RemoveImageOptions,
};
use futures_util::StreamExt as _;
use slipway_integration_tests::docker_engine::{
    assert_no_leftovers, base_image, connect, docker_host, objects_with, remove_all, skip, unique_name,
};
use slipway_worker::docker::labels::RoutingState;
use slipway_worker::docker::{
    ApplySpec, BuildLimits, BuildRequest, DockerError, DrainPolicy, Engine, EngineSettings, HealthCheck,
    LogOptions, LogSink, PortRange, Resources, RestartPolicy, Scope, Support, Usage, allocate_gateway_port,
    apply, build, ensure_image, events, logs, observe, prune_images, stop,
};
use slipway_worker::source::{MemoryTree, SourceKind};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "canary-7f3a91-secret";

/// Collects the lines of a run.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl LogSink for Lines {
    fn line(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

impl Lines {
    fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

/// One test's corner of the engine: its own project and base image.
struct Corner {
    engine: Engine,
    docker: Docker,
    scope: Scope,
    base: String,
    log: Lines,
}

impl Corner {
    async fn new(prefix: &str) -> Option<Self> {
        let host = match docker_host().await {
            Ok(host) => host,
            Err(reason) => {
                skip(&reason);
                return None;
            }
        };
        let engine = Engine::connect(&EngineSettings::at(&host)).unwrap();
        let docker = connect(&host).unwrap();
        let project = unique_name(prefix);
        let base = format!("{project}-base:latest");
        base_image(&docker, &base).await.unwrap();
        let scope = Scope::new(project, "default").unwrap();
        Some(Self { engine, docker, scope, base, log: Lines::default() })
    }

    fn label(&self) -> String {
        format!("io.slipway.project={}", self.scope.project())
    }

    fn request(&self, commit: &str) -> BuildRequest {
        BuildRequest {
            project: self.scope.project().to_owned(),
            deployment: "d-build".to_owned(),
            job: "j-build".to_owned(),
            commit: commit.to_owned(),
            dockerfile: "Dockerfile".to_owned(),
            tag: format!("{}:{commit}", self.scope.project()),
            labels: BTreeMap::new(),
            build_args: BTreeMap::new(),
            pull_base: false,
            limits: BuildLimits { timeout_ms: 60_000, network: false, ..BuildLimits::default() },
            registry_auth: Vec::new(),
        }
    }

    async fn build(
        &self,
        commit: &str,
        dockerfile: &str,
    ) -> Result<slipway_worker::docker::Built, DockerError> {
        let tree = MemoryTree::of([("Dockerfile", dockerfile.replace("BASE", &self.base))]);
        self.build_tree(commit, tree).await
    }

    async fn build_tree(
        &self,
        commit: &str,
        tree: MemoryTree,
    ) -> Result<slipway_worker::docker::Built, DockerError> {
        let cancel = CancellationToken::new();
        build(&self.engine, &self.request(commit), Arc::new(tree), &self.log, &cancel).await
    }

    async fn base_id(&self) -> String {
        ensure_image(&self.engine, &self.base, None, &self.log).await.unwrap()
    }

    fn spec(&self, deployment: &str, fence: u64, image_id: &str) -> ApplySpec {
        ApplySpec {
            scope: self.scope.clone(),
            deployment: deployment.to_owned(),
            job: format!("job-{fence}"),
            fence,
            image_id: image_id.to_owned(),
            port: 8080,
            replicas: 1,
            env: BTreeMap::from([("APP_TOKEN".to_owned(), SECRET.into())]),
            resources: Resources { memory_bytes: 64 * 1024 * 1024, cpu_millis: 500, pids: 50 },
            supports: Vec::new(),
            health: HealthCheck {
                path: Some("/index.html".to_owned()),
                interval_ms: 50,
                timeout_ms: 1000,
                deadline_ms: 4000,
                successes: 2,
            },
            gateway_port: None,
            drain: DrainPolicy { drain_ms: 200, stop_timeout_s: 2 },
            restart: RestartPolicy::UnlessStopped,
        }
    }

    async fn apply(&self, spec: &ApplySpec) -> Result<slipway_worker::docker::Applied, DockerError> {
        apply(&self.engine, spec, &self.log, &CancellationToken::new()).await
    }

    /// Names of the scope's application containers with their state.
    async fn routing(&self) -> Vec<(String, RoutingState)> {
        let live = observe(&self.engine, &self.scope, Usage::Skip).await.unwrap();
        live.replicas.into_iter().map(|replica| (replica.deployment, replica.routing)).collect()
    }

    async fn inspect(&self, name: &str) -> ContainerInspectResponse {
        self.docker.inspect_container(name, None::<InspectContainerOptions>).await.unwrap()
    }

    async fn finish(self) {
        let policy = DrainPolicy { drain_ms: 0, stop_timeout_s: 1 };
        stop(&self.engine, &self.scope, None, u64::MAX, &policy, &self.log).await.unwrap();
        assert_no_leftovers(&self.docker, &self.label()).await.unwrap();
        remove_all(&self.docker, &self.label()).await.unwrap();
        self.docker
            .remove_image(&self.base, Some(RemoveImageOptions { force: true, ..Default::default() }), None)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn the_engine_tells_its_version() {
    let Some(corner) = Corner::new("ping").await else { return };
    let version = corner.engine.ping().await.unwrap();
    assert!(version.engine.contains('.') && version.api.starts_with("1."), "{version:?}");
    corner.finish().await;
}

#[tokio::test]
async fn a_second_build_of_a_commit_finds_the_first() {
    let Some(corner) = Corner::new("build").await else { return };
    let dockerfile = "FROM BASE\nRUN echo made > /tmp/made\n";
    let first = corner.build("c1", dockerfile).await.unwrap();
    assert!(first.image_id.starts_with("sha256:") && !first.reused && first.size_bytes > 0);
    assert!(corner.log.text().contains("Step 2/"), "{}", corner.log.text());
    let second = corner.build("c1", dockerfile).await.unwrap();
    assert_eq!((second.image_id, second.reused), (first.image_id.clone(), true));
    let other = corner.build("c2", "FROM BASE\nRUN echo other > /tmp/made\n").await.unwrap();
    assert!(!other.reused && other.image_id != first.image_id);
    corner.finish().await;
}

#[tokio::test]
async fn a_failing_build_tells_step_code_and_last_lines() {
    let Some(corner) = Corner::new("fail").await else { return };
    let error = corner.build("c1", "FROM BASE\nRUN echo before-the-end; exit 7\n").await.unwrap_err();
    let DockerError::BuildFailed { step, exit_code, log_tail, .. } = &error else { panic!("{error:?}") };
    assert!(step.contains("exit 7"), "{step}");
    assert_eq!(*exit_code, Some(7));
    assert!(log_tail.iter().any(|line| line == "before-the-end"), "{log_tail:?}");
    let mount = corner.build("c2", "FROM BASE\nRUN --mount=type=cache,target=/x true\n").await.unwrap_err();
    assert_eq!(mount.code(), "buildkit_required", "{mount:?}");
    let heredoc = corner.build("c3", "FROM BASE\nRUN <<EOF\ntrue\nEOF\n").await.unwrap_err();
    assert_eq!(heredoc.code(), "buildkit_required", "{heredoc:?}");
    let base = corner.build("c4", "FROM 127.0.0.1:9/none:1\n").await.unwrap_err();
    assert!(matches!(base.code(), "image_pull_failed" | "image_not_found"), "{base:?}");
    assert!(base.to_string().contains("127.0.0.1:9/none:1"));
    corner.finish().await;
}

#[tokio::test]
async fn a_context_that_points_outside_is_refused() {
    let Some(corner) = Corner::new("escape").await else { return };
    let mut linked = MemoryTree::of([("real", "FROM scratch")]);
    linked.insert("Dockerfile", SourceKind::Symlink, "/etc/passwd");
    assert_eq!(corner.build_tree("c1", linked).await.unwrap_err().code(), "dockerfile_not_a_file");
    let mut escaping = MemoryTree::of([("Dockerfile", "FROM scratch")]);
    escaping.insert("data", SourceKind::Symlink, "../../etc/passwd");
    assert_eq!(corner.build_tree("c2", escaping).await.unwrap_err().code(), "context_escape");
    corner.finish().await;
}

#[tokio::test]
async fn the_context_arrives_as_the_ignore_file_says() {
    let Some(corner) = Corner::new("ignore").await else { return };
    let dockerfile = format!(
        "FROM {}\nCOPY . /ctx\nRUN : {}; find /ctx | sort; cat /ctx/link\n",
        corner.base,
        corner.scope.project()
    );
    let mut tree = MemoryTree::of([
        ("Dockerfile", dockerfile.as_str()),
        (".dockerignore", "*.md\n!README.md\nDockerfile\n"),
        ("README.md", "kept"),
        ("notes.md", "dropped"),
        ("docs/notes.md", "deeper"),
    ]);
    tree.insert("link", SourceKind::Symlink, "docs/notes.md");
    corner.build_tree("c1", tree).await.unwrap();
    let text = corner.log.text();
    for present in ["/ctx/README.md", "/ctx/docs/notes.md", "deeper"] {
        assert!(text.contains(present), "{present}: {text}");
    }
    for absent in ["/ctx/notes.md", "/ctx/Dockerfile"] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
    corner.finish().await;
}

#[tokio::test]
async fn replicas_run_locked_down_beside_their_support() {
    let Some(corner) = Corner::new("apply").await else { return };
    let image = corner.base_id().await;
    let mut spec = corner.spec("dep-00000001", 1, &image);
    spec.replicas = 2;
    spec.gateway_port = Some(20_123);
    spec.supports = vec![Support {
        name: "cache".to_owned(),
        image_id: image.clone(),
        port: Some(8080),
        env: BTreeMap::new(),
        resources: spec.resources,
    }];
    let applied = corner.apply(&spec).await.unwrap();
    assert_eq!(applied.replicas.len(), 2);
    let inspected = corner.inspect(&applied.replicas[0].name).await;
    let host = inspected.host_config.unwrap();
    assert_eq!((host.memory, host.pids_limit), (Some(64 * 1024 * 1024), Some(50)));
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
    assert!(host.binds.unwrap_or_default().is_empty());
    let config = inspected.config.unwrap();
    assert!(config.env.unwrap().contains(&format!("APP_TOKEN={SECRET}")));
    let labels = config.labels.unwrap();
    assert_eq!(labels["io.slipway.gateway.port"], "20123");
    assert!(!format!("{labels:?}").contains(SECRET) && !corner.log.text().contains(SECRET));
    assert!(reaches_support(&corner, &applied.replicas[1].name).await);

    let again = corner.apply(&spec).await.unwrap();
    assert!(again.unchanged && again.replicas == applied.replicas, "{again:?}");
    let port =
        allocate_gateway_port(&corner.engine, &corner.scope, PortRange::new(30_000, 30_010).unwrap()).await;
    assert_eq!(port.unwrap(), 20_123);
    let live = observe(&corner.engine, &corner.scope, Usage::Measure).await.unwrap();
    assert_eq!((live.replicas.len(), live.supports.len()), (2, 1));
    assert!(live.replicas.iter().all(|replica| replica.state == "running" && replica.memory_bytes.is_some()));
    assert_eq!(live.supports[0].name, "cache");

    spec.replicas = 1;
    assert_eq!(corner.apply(&spec).await.unwrap().removed.len(), 1);
    corner.finish().await;
}

/// Whether a replica reaches the support called `cache` by that name.
async fn reaches_support(corner: &Corner, container: &str) -> bool {
    let exec = bollard::models::ExecConfig {
        cmd: Some(["wget", "-q", "-O", "-", "http://cache:8080/index.html"].map(str::to_owned).to_vec()),
        attach_stdout: Some(true),
        ..Default::default()
    };
    let created = corner.docker.create_exec(container, exec).await.unwrap();
    let started =
        corner.docker.start_exec(&created.id, None::<bollard::exec::StartExecOptions>).await.unwrap();
    let bollard::exec::StartExecResults::Attached { mut output, .. } = started else { return false };
    let mut text = String::new();
    while let Some(Ok(chunk)) = output.next().await {
        text.push_str(&chunk.to_string());
    }
    text.contains("hello")
}

#[tokio::test]
async fn a_redeploy_never_leaves_a_client_without_an_answer() {
    let Some(corner) = Corner::new("swap").await else { return };
    let image = corner.base_id().await;
    let mut first = corner.spec("dep-00000001", 1, &image);
    first.replicas = 2;
    corner.apply(&first).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let client = tokio::spawn(client(corner.engine.clone(), corner.scope.clone(), Arc::clone(&done)));
    let mut second = corner.spec("dep-00000002", 2, &image);
    second.replicas = 2;
    let applied = corner.apply(&second).await.unwrap();
    done.store(true, Ordering::Relaxed);
    let (requests, failures) = client.await.unwrap();
    assert!(requests > 5, "{requests} requests");
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(applied.removed.len(), 2);
    let serving = ("dep-00000002".to_owned(), RoutingState::Serving);
    assert_eq!(corner.routing().await, [serving.clone(), serving]);
    corner.finish().await;
}

/// Asks a serving container, as the gateway would, until told to stop. Returns the number of requests and what failed.
async fn client(engine: Engine, scope: Scope, done: Arc<AtomicBool>) -> (u64, Vec<String>) {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().unwrap();
    let (mut requests, mut failures) = (0, Vec::new());
    while !done.load(Ordering::Relaxed) {
        let live = observe(&engine, &scope, Usage::Skip).await.unwrap();
        let serving = live.replicas.iter().filter(|replica| replica.routing == RoutingState::Serving);
        let Some(ip) = serving.filter_map(|replica| replica.ip.clone()).next() else {
            failures.push(format!("nobody serves: {live:?}"));
            continue;
        };
        match http.get(format!("http://{ip}:8080/index.html")).send().await {
            Ok(answer) if answer.status().is_success() => requests += 1,
            other => failures.push(format!("{other:?}")),
        }
    }
    (requests, failures)
}

#[tokio::test]
async fn a_version_that_does_not_come_up_leaves_the_old_one_serving() {
    let Some(corner) = Corner::new("bad").await else { return };
    let image = corner.base_id().await;
    corner.apply(&corner.spec("dep-00000001", 1, &image)).await.unwrap();
    let before = objects_with(&corner.docker, &corner.label()).await.unwrap();

    let dying = corner.build("c1", "FROM BASE\nCMD echo last words $APP_TOKEN; exit 3\n").await.unwrap();
    let exited = corner.apply(&corner.spec("dep-00000002", 2, &dying.image_id)).await.unwrap_err();
    assert!(matches!(exited, DockerError::Exited { exit_code: 3, .. }), "{exited:?}");
    assert!(exited.log_tail().iter().any(|line| line == "last words [secret]"), "{exited:?}");

    let mut closed = corner.spec("dep-00000003", 3, &image);
    closed.port = 9999;
    closed.health.deadline_ms = 500;
    let unreachable = corner.apply(&closed).await.unwrap_err();
    assert_eq!(unreachable.code(), "port_unreachable");
    assert!(unreachable.to_string().contains("9999") && unreachable.to_string().contains("8080/tcp"));

    let mut sick = corner.spec("dep-00000004", 4, &image);
    sick.health.path = Some("/missing".to_owned());
    sick.health.deadline_ms = 500;
    let unhealthy = corner.apply(&sick).await.unwrap_err();
    assert!(
        matches!(&unhealthy, DockerError::Unhealthy { last, .. } if last.contains("404")),
        "{unhealthy:?}"
    );

    for error in [exited, unreachable, unhealthy] {
        assert!(!format!("{error:?} {error}").contains(SECRET));
    }
    assert_eq!(objects_with(&corner.docker, &corner.label()).await.unwrap(), before);
    assert_eq!(corner.routing().await, [("dep-00000001".to_owned(), RoutingState::Serving)]);
    corner.finish().await;
}

#[tokio::test]
async fn a_container_that_eats_all_memory_is_told_apart() {
    let Some(corner) = Corner::new("oom").await else { return };
    let greedy = corner.build("c1", "FROM BASE\nCMD [\"tail\", \"/dev/zero\"]\n").await.unwrap();
    let mut spec = corner.spec("dep-00000001", 1, &greedy.image_id);
    spec.resources.memory_bytes = 16 * 1024 * 1024;
    let error = corner.apply(&spec).await.unwrap_err();
    assert_eq!(error.code(), "out_of_memory", "{error:?}");
    corner.finish().await;
}

#[tokio::test]
async fn an_apply_cut_off_anywhere_is_finished_by_the_next_run() {
    let Some(corner) = Corner::new("resume").await else { return };
    let image = corner.base_id().await;
    corner.apply(&corner.spec("dep-00000000", 1, &image)).await.unwrap();
    let started = Instant::now();
    for round in 0..8_u64 {
        let mut spec = corner.spec(&format!("dep-1000000{round}"), 10 + round, &image);
        spec.replicas = 2;
        // From before the first call to after the last one, at no instant in particular.
        for cut in [round * 37, 150 + round * 83, 700 + round * 61] {
            let run = tokio::time::timeout(Duration::from_millis(cut), corner.apply(&spec)).await;
            assert!(run.is_err() || run.unwrap().is_ok());
            let serving = corner.routing().await.iter().any(|(_, state)| *state == RoutingState::Serving);
            assert!(serving, "nobody serves after a cut at {cut} ms in round {round}");
        }
        corner.apply(&spec).await.unwrap();
        let wanted = (spec.deployment.clone(), RoutingState::Serving);
        assert_eq!(corner.routing().await, [wanted.clone(), wanted], "round {round}");
        assert!(started.elapsed() < Duration::from_secs(240), "the rounds take too long");
    }
    corner.finish().await;
}

#[tokio::test]
async fn a_cancelled_apply_removes_what_it_started() {
    let Some(corner) = Corner::new("cancel").await else { return };
    let image = corner.base_id().await;
    let mut spec = corner.spec("dep-00000001", 1, &image);
    spec.health.path = Some("/missing".to_owned());
    spec.health.deadline_ms = 60_000;
    let cancel = CancellationToken::new();
    let stopping = async {
        while corner.routing().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(apply(&corner.engine, &spec, &corner.log, &cancel), stopping);
    assert_eq!(ended.unwrap_err().code(), "cancelled");
    assert!(corner.routing().await.is_empty());
    corner.finish().await;
}

#[tokio::test]
async fn an_overtaken_job_stops_and_touches_nothing() {
    let Some(corner) = Corner::new("fence").await else { return };
    let image = corner.base_id().await;
    corner.apply(&corner.spec("dep-00000002", 7, &image)).await.unwrap();
    let before = objects_with(&corner.docker, &corner.label()).await.unwrap();
    let error = corner.apply(&corner.spec("dep-00000001", 6, &image)).await.unwrap_err();
    assert!(matches!(error, DockerError::Stale { fence: 6, seen: 7 }), "{error:?}");
    let policy = DrainPolicy { drain_ms: 0, stop_timeout_s: 1 };
    let stopped = stop(&corner.engine, &corner.scope, None, 6, &policy, &corner.log).await;
    assert!(matches!(stopped, Err(DockerError::Stale { .. })));
    assert_eq!(objects_with(&corner.docker, &corner.label()).await.unwrap(), before);
    corner.finish().await;
}

#[tokio::test]
async fn foreign_containers_are_never_touched() {
    let Some(corner) = Corner::new("foreign").await else { return };
    let image = corner.base_id().await;
    let spec = corner.spec("dep-00000001", 1, &image);
    let name = format!("{}-starting", corner.scope.replica_name(&spec.deployment, 1));
    let options = CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
    let body = ContainerCreateBody { image: Some(image.clone()), ..Default::default() };
    let foreign = corner.docker.create_container(Some(options), body).await.unwrap().id;
    let error = corner.apply(&spec).await.unwrap_err();
    assert!(matches!(&error, DockerError::Conflict { name: taken, .. } if *taken == name), "{error:?}");
    let policy = DrainPolicy { drain_ms: 0, stop_timeout_s: 1 };
    stop(&corner.engine, &corner.scope, None, u64::MAX, &policy, &corner.log).await.unwrap();
    assert_eq!(corner.inspect(&name).await.id, Some(foreign.clone()));
    corner.docker.remove_container(&foreign, None::<RemoveContainerOptions>).await.unwrap();
    corner.finish().await;
}

#[tokio::test]
async fn output_and_events_reach_the_reader() {
    let Some(corner) = Corner::new("logs").await else { return };
    let seen = Arc::new(AtomicU64::new(0));
    let mut stream = Box::pin(events(&corner.engine));
    let (counter, project) = (Arc::clone(&seen), corner.scope.project().to_owned());
    let watcher = tokio::spawn(async move {
        while let Some(Ok(event)) = stream.next().await {
            if event.project == project && event.what == "start" {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let talker = "FROM BASE\nCMD echo one; echo two; exec httpd -f -p 8080 -h /usr/share/nginx/html\n";
    let built = corner.build("c1", talker).await.unwrap();
    let spec = corner.spec("dep-00000001", 1, &built.image_id);
    corner.apply(&spec).await.unwrap();
    let options = LogOptions { tail_lines: 10, follow: false };
    let lines = logs(&corner.engine, &spec.deployment, options).await.unwrap();
    let lines: Vec<String> = lines.map(|line| line.unwrap().line).collect().await;
    assert_eq!(lines, ["one", "two"]);
    let started = Instant::now();
    while seen.load(Ordering::Relaxed) == 0 {
        assert!(started.elapsed() < Duration::from_secs(5), "no event arrived");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    watcher.abort();
    corner.finish().await;
}

#[tokio::test]
async fn old_images_go_but_the_newest_and_the_used_stay() {
    let Some(corner) = Corner::new("prune").await else { return };
    let mut built = Vec::new();
    for number in 0..3 {
        let dockerfile =
            format!("FROM BASE\nRUN echo {number} > /tmp/n\nCMD httpd -f -p 8080 -h /usr/share/nginx/html\n");
        built.push(corner.build(&format!("c{number}"), &dockerfile).await.unwrap().image_id);
        // The engine tells the age of an image in whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    corner.apply(&corner.spec("dep-00000001", 1, &built[0])).await.unwrap();
    let removed = prune_images(&corner.engine, corner.scope.project(), 1).await.unwrap();
    assert_eq!(removed, [built[1].clone()]);
    for kept in [&built[0], &built[2]] {
        assert!(corner.docker.inspect_image(kept).await.is_ok());
    }
    corner.finish().await;
}
