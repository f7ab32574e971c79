//! Running deployments: the swap, its failures, interruptions, fences and foreign objects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptions};
use futures_util::StreamExt as _;
use slipway_common::failure::FailureClass;
use slipway_integration_tests::docker_engine::objects_with;
use slipway_worker::docker::labels::RoutingState;
use slipway_worker::docker::{
    ApplySpec, DockerError, DrainPolicy, Engine, GatewayPort, LogOptions, PortRange, Scope, Support, Usage,
    apply, events, gateway_port, logs, observe, stop,
};
use tokio_util::sync::CancellationToken;

use crate::corner::{Corner, SECRET};

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
    let port = gateway_port(&corner.engine, &corner.scope, PortRange::new(30_000, 30_010).unwrap()).await;
    assert_eq!(port.unwrap(), GatewayPort::Own(20_123));
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
        cmd: Some(
            ["timeout", "5", "wget", "-q", "-O", "-", "http://cache:8080/index.html"]
                .map(str::to_owned)
                .to_vec(),
        ),
        attach_stdout: Some(true),
        ..Default::default()
    };
    let created = corner.docker.create_exec(container, exec).await.unwrap();
    let started =
        corner.docker.start_exec(&created.id, None::<bollard::exec::StartExecOptions>).await.unwrap();
    let bollard::exec::StartExecResults::Attached { mut output, .. } = started else { return false };
    let mut text = String::new();
    let all = async {
        while let Some(Ok(chunk)) = output.next().await {
            text.push_str(&chunk.to_string());
        }
    };
    let answered = tokio::time::timeout(Duration::from_secs(20), all).await.is_ok();
    answered && text.contains("hello")
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
            if let Ok(Err(error)) =
                tokio::time::timeout(Duration::from_millis(cut), corner.apply(&spec)).await
            {
                assert_eq!(
                    error.class(),
                    FailureClass::Transient,
                    "round {round}, cut at {cut} ms: {error:?}"
                );
            }
            let serving = corner.routing().await.iter().any(|(_, state)| *state == RoutingState::Serving);
            assert!(serving, "nobody serves after a cut at {cut} ms in round {round}");
        }
        apply_patiently(&corner, &spec).await;
        let wanted = (spec.deployment.clone(), RoutingState::Serving);
        assert_eq!(corner.routing().await, [wanted.clone(), wanted], "round {round}");
        assert!(started.elapsed() < Duration::from_secs(240), "the rounds take too long");
    }
    corner.finish().await;
}

/// Applies again as a worker does: the engine may still be carrying out what a run that was cut off asked for.
async fn apply_patiently(corner: &Corner, spec: &ApplySpec) {
    const ATTEMPTS_MAX: u32 = 5;
    for attempt in 1.. {
        match corner.apply(spec).await {
            Ok(_) => return,
            Err(error) if error.class() == FailureClass::Transient && attempt < ATTEMPTS_MAX => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => panic!("attempt {attempt}: {error:?}"),
        }
    }
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
