//! The pipeline over a real Git server with token authentication and a real Docker engine: what a deployment does,
//! and what is said and left when it fails.

#[path = "pipeline/logs.rs"]
mod logs;
#[path = "pipeline/redeploy_under_load.rs"]
mod redeploy_under_load;
#[path = "pipeline/repair.rs"]
mod repair;
#[path = "pipeline/world.rs"]
mod world;

use anyhow::{Context as _, ensure};
use slipway_common::model::{CommitMode, Deployment, DeploymentState, JobState, Stage};
use slipway_common::secrets::SecretText;
use slipway_integration_tests::docker_engine;
use slipway_integration_tests::git_server::TreeFile;
use slipway_integration_tests::registry::{self, Registry};
use world::{BASE_IMAGE, TOKEN, World, page};

/// Runs `body` in a world of its own and cleans up whatever happened.
macro_rules! pipeline_test {
    ($(#[$doc:meta])* $name:ident, $extra:expr, |$world:ident| $body:block) => {
        $(#[$doc])*
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let host = match docker_engine::docker_host().await {
                Ok(host) => host,
                Err(reason) => return docker_engine::skip(&reason),
            };
            let $world = World::start(&host, $extra).await.expect("the world starts");
            let outcome: anyhow::Result<()> = async { $body; Ok(()) }.await;
            let cleaned = $world.clean_up().await;
            outcome.unwrap_or_else(|error| panic!("{error:?}"));
            cleaned.expect("the engine is cleaned up");
        }
    };
}

fn dockerfile(lines: &str) -> TreeFile {
    TreeFile::new("Dockerfile", format!("FROM {BASE_IMAGE}\n{lines}\n"))
}

fn ci_file() -> TreeFile {
    TreeFile::new(".gitlab-ci.yml", "build:\n  script: [\"true\"]\n")
}

pipeline_test!(
    /// The main job: no Dockerfile, no CI file, one commit, one image, the page.
    a_bare_repository_ends_as_a_page, &[], |world| {
        let (path, url) = world.static_site("hello from main").await?;
        let deployment = world.deploy(&world.request(&url)).await?;
        ensure!(world.fetch(&deployment, "/").await?.contains("hello from main"));
        let effects = world.git.effects(&path).await?;
        ensure!(effects.len() == 1, "{effects:#?}");
        let wanted = ("Slipway-Deployment".to_owned(), deployment.id.to_string());
        ensure!(effects[0].trailers.contains(&wanted), "{effects:#?}");
        let files = world.git.git(&path, &["ls-tree", "--name-only", "main"], b"").await?;
        ensure!(files.contains("Dockerfile") && files.contains(".gitlab-ci.yml"), "{files}");
        ensure!(deployment.stages.iter().all(|stage| stage.duration_ms().is_some()), "{deployment:#?}");
    }
);

pipeline_test!(existing_files_are_never_touched, &[], |world| {
    let files = [page("mine"), dockerfile("COPY index.html /usr/share/nginx/html/"), ci_file()];
    let (path, url) = world.repository(&files).await?;
    let deployment = world.deploy(&world.request(&url)).await?;
    ensure!(world.fetch(&deployment, "/").await?.contains("mine"));
    ensure!(world.git.effects(&path).await?.is_empty(), "nothing was pushed");
});

pipeline_test!(a_redeploy_of_the_same_commit_reuses_the_image, &[], |world| {
    let (path, url) = world.static_site("same").await?;
    let first = world.deploy(&world.request(&url)).await?;
    let second = world.deploy(&world.request(&url)).await?;
    ensure!(world.git.effects(&path).await?.len() == 1, "the generated commit serves the second one too");
    let digest = |deployment: &slipway_common::model::Deployment| {
        deployment.facts.image.as_ref().map(|image| image.digest.clone())
    };
    ensure!(digest(&first) == digest(&second), "one image");
    ensure!(world.deployment(first.id).await?.state == DeploymentState::Stopped, "the first was replaced");
    ensure!(world.containers(first.project.slug.as_str()).await?.len() == 1, "one container");
});

pipeline_test!(a_protected_branch_gets_a_merge_request, &[], |world| {
    let (path, url) = world.static_site("protected").await?;
    world.git.protect(&path, "main").await?;
    let deployment = world.deploy(&world.request(&url)).await?;
    let commit = deployment.facts.commit.clone().expect("a commit fact");
    ensure!(commit.branch.as_deref().is_some_and(|branch| branch.starts_with("slipway/")), "{commit:?}");
    ensure!(world.git.push_options(&path).await.iter().any(|it| it == "merge_request.create"));
    ensure!(world.fetch(&deployment, "/").await?.contains("protected"), "it went on from that commit");
});

pipeline_test!(generated_files_can_be_proposed_or_kept_out, &[], |world| {
    let (path, url) = world.static_site("kept out").await?;
    let mut request = world.request(&url);
    request.commit = Some(CommitMode::None);
    let deployment = world.deploy(&request).await?;
    ensure!(world.fetch(&deployment, "/").await?.contains("kept out"));
    ensure!(world.git.effects(&path).await?.is_empty(), "nothing was pushed");
    request.commit = Some(CommitMode::MergeRequest);
    let proposed = world.deploy(&request).await?.facts.commit.expect("a commit fact");
    ensure!(proposed.branch.as_deref().is_some_and(|branch| branch.starts_with("slipway/")), "{proposed:?}");
});

pipeline_test!(one_revision_can_be_deployed, &[], |world| {
    let (path, url) = world.static_site("first").await?;
    let first = world.git.tip(&path, "main").await?.expect("a tip");
    world.git.commit(&path, "main", &[page("second")], "Second").await?;
    let mut request = world.request(&url);
    request.revision = Some(first.clone());
    let deployment = world.deploy(&request).await?;
    ensure!(world.fetch(&deployment, "/").await?.contains("first"));
    ensure!(deployment.facts.source.is_some_and(|source| source.revision == first));
});

pipeline_test!(an_image_is_run_as_it_is, &[], |world| {
    let (path, url) = world.static_site("ignored").await?;
    let mut request = world.request(&url);
    request.image = Some(BASE_IMAGE.to_owned());
    request.port = Some(8080);
    let deployment = world.deploy(&request).await?;
    ensure!(world.fetch(&deployment, "/").await?.contains("hello"));
    ensure!(world.git.effects(&path).await?.is_empty() && world.git.requests().is_empty(), "no Git");
});

pipeline_test!(an_image_that_cannot_be_pulled_is_named_after_its_retries, &[], |world| {
    let (_, url) = world.static_site("ignored").await?;
    let mut request = world.request(&url);
    request.image = Some("127.0.0.1:1/nobody/nothing:1".to_owned());
    request.port = Some(8080);
    let failed = world.fails(&request, Stage::Build, "image_pull_failed").await?;
    ensure!(failed.stage(Stage::Build).is_some_and(|stage| stage.attempts == 2), "{failed:#?}");
});

pipeline_test!(
    /// The data folder was lost while containers kept running: a fresh one takes them over.
    a_fresh_data_folder_takes_over_what_runs, &[], |world| {
        let (_, url) = world.static_site("before").await?;
        let request = world.request(&url);
        let before = world.deploy(&request).await?;
        let fresh = World::start(&world.host, &[]).await?;
        let outcome = fresh.deploy(&request).await;
        let containers = world.containers(before.project.slug.as_str()).await;
        fresh.clean_up().await?;
        outcome?;
        ensure!(containers?.len() == 1, "the old container was replaced");
    }
);

pipeline_test!(support_containers_are_reachable_by_name, &[], |world| {
    let cgi = "#!/bin/sh\necho Content-Type: text/plain\necho\ntimeout 5 wget -q -O - http://backend:8080/\n";
    let files = [
        page("front"),
        TreeFile::new("cgi-bin/ask", cgi),
        dockerfile(
            "COPY index.html /usr/share/nginx/html/\nCOPY --chown=1000:1000 cgi-bin /usr/share/nginx/html/cgi-bin\nUSER 0\nRUN [\"/bin/busybox\", \"chmod\", \"0755\", \"/usr/share/nginx/html/cgi-bin/ask\"]\nUSER 1000:1000",
        ),
        ci_file(),
    ];
    let (_, url) = world.repository(&files).await?;
    let mut request = world.request(&url);
    request.supports = serde_json::from_value(serde_json::json!([
        { "name": "backend", "image": BASE_IMAGE, "port": 8080, "env": { "SECRET": "support-canary" } }
    ]))?;
    request.env.insert("GREETING".to_owned(), SecretText::from("app-canary".to_owned()));
    let deployment = world.deploy(&request).await?;
    ensure!(
        world.fetch(&deployment, "/cgi-bin/ask").await?.contains("hello"),
        "the support container answers"
    );
});

pipeline_test!(credentials_that_do_not_fit_are_named, &[], |world| {
    let (_, url) = world.static_site("secret").await?;
    let mut wrong = world.request(&url);
    wrong.repository_token = Some(SecretText::from("glpat-wrong".to_owned()));
    let failed = world.fails(&wrong, Stage::Clone, "git_authentication_failed").await?;
    ensure!(!format!("{failed:?}").contains("glpat-wrong"), "the token is not repeated");
    let mut unknown = world.request(&url);
    unknown.repository_token = None;
    unknown.credential = Some("nobody".to_owned());
    world.fails(&unknown, Stage::Clone, "credential_not_found").await?;
});

pipeline_test!(a_branch_or_host_that_is_not_there_is_named, &[], |world| {
    let (_, url) = world.static_site("x").await?;
    let mut request = world.request(&url);
    request.branch = Some("no-such-branch".to_owned());
    world.fails(&request, Stage::Clone, "git_branch_not_found").await?;
    let unknown = world.request("https://no-such-host.invalid/group/site");
    world.fails(&unknown, Stage::Clone, "git_host_unknown").await?;
});

pipeline_test!(a_repository_of_no_family_is_told_what_was_looked_for, &[], |world| {
    let (_, url) = world.repository(&[TreeFile::new("notes.xyz", "nothing to run")]).await?;
    let failed = world.fails(&world.request(&url), Stage::Template, "no_family").await?;
    let failure = failed.failure.context("a failure")?;
    ensure!(failure.reason.contains("package.json"), "it says what was looked for: {failure:#?}");
    ensure!(
        failure.log_tail.iter().any(|line| line.starts_with("FROM ")),
        "it hands back a template: {failure:#?}"
    );
});

pipeline_test!(
    /// Each way a new version can fail leaves the previous one serving, and nothing of the new one.
    a_failing_version_leaves_the_previous_one_serving, &[], |world| {
        let good = [page("good"), dockerfile("COPY index.html /usr/share/nginx/html/"), ci_file()];
        let (path, url) = world.repository(&good).await?;
        let request = world.request(&url);
        let serving = world.deploy(&request).await?;
        let cases = [
            ("RUN [\"/bin/busybox\", \"false\"]", Stage::Build, "build_failed"),
            ("CMD [\"/bin/busybox\", \"sh\", \"-c\", \"echo last words; exit 3\"]", Stage::Apply, "container_exited"),
            ("CMD [\"/bin/busybox\", \"sleep\", \"600\"]", Stage::Apply, "port_unreachable"),
        ];
        for (line, stage, code) in cases {
            world.git.commit(&path, "main", &[dockerfile(line)], code).await?;
            let mut request = request.clone();
            request.health = serde_json::from_value(serde_json::json!({
                "path": "/", "interval_ms": 100, "timeout_ms": 500, "deadline_ms": 3_000
            })).ok();
            let failed = world.fails(&request, stage, code).await?;
            let failure = failed.failure.expect("a failure");
            if code == "container_exited" {
                ensure!(failure.log_tail.iter().any(|line| line.contains("last words")), "{failure:#?}");
            }
            ensure!(world.fetch(&serving, "/").await?.contains("good"), "{code}: the previous one serves");
            ensure!(world.containers(serving.project.slug.as_str()).await?.len() == 1, "{code}: nothing is left");
            ensure!(world.deployment(serving.id).await?.state.in_service(), "{code}: it says so");
        }
    }
);

pipeline_test!(a_symlinked_dockerfile_is_refused, &[], |world| {
    use slipway_integration_tests::git_server::FileMode;
    let link = TreeFile::new("Dockerfile", "/etc/passwd").stored_as(FileMode::Symlink);
    let (_, url) = world.repository(&[page("x"), link, ci_file()]).await?;
    world.fails(&world.request(&url), Stage::Template, "symlinked_file").await?;
});

pipeline_test!(a_context_that_leaves_the_checkout_is_refused, &[], |world| {
    use slipway_integration_tests::git_server::FileMode;
    let link = TreeFile::new("escape", "../../etc/passwd").stored_as(FileMode::Symlink);
    let files = [page("x"), link, dockerfile("COPY . /usr/share/nginx/html/"), ci_file()];
    let (_, url) = world.repository(&files).await?;
    world.fails(&world.request(&url), Stage::Build, "context_escape").await?;
});

pipeline_test!(a_stop_removes_everything_it_owns, &[], |world| {
    let (_, url) = world.static_site("to stop").await?;
    let deployment = world.deploy(&world.request(&url)).await?;
    world.stop(deployment.id).await?;
    let stopped = world.ended(deployment.id).await?;
    ensure!(stopped.state == DeploymentState::Stopped, "{stopped:#?}");
    let label = format!("io.slipway.project={}", deployment.project.slug);
    docker_engine::assert_no_leftovers(&world.docker, &label).await?;
});

pipeline_test!(a_running_build_is_cancelled_within_seconds, &[], |world| {
    let files = [page("x"), dockerfile("RUN [\"/bin/busybox\", \"sleep\", \"60\"]"), ci_file()];
    let (_, url) = world.repository(&files).await?;
    let id = world.submit(&world.request(&url)).await?;
    world.wait_for(id, |it| it.state == DeploymentState::Building).await?;
    let asked = std::time::SystemTime::now();
    world.cancel(id).await?;
    let ended = world.ended(id).await?;
    let waited = asked.elapsed()?;
    ensure!(ended.latest_job().is_some_and(|job| job.state == JobState::Cancelled), "{ended:#?}");
    ensure!(waited.as_secs() < 15, "it took {waited:?}");
});

pipeline_test!(
    /// Newest wins: while the first one builds, two more arrive; the one in between is never built.
    the_newest_deployment_supersedes_those_still_queued, &[], |world| {
        let files = [page("x"), dockerfile("RUN [\"/bin/busybox\", \"sleep\", \"2\"]"), ci_file()];
        let (_, url) = world.repository(&files).await?;
        let request = world.request(&url);
        let first = world.submit(&request).await?;
        world.wait_for(first, |it| it.state == DeploymentState::Building).await?;
        let second = world.submit(&request).await?;
        let third = world.submit(&request).await?;
        let third = world.ended(third).await?;
        ensure!(third.state == DeploymentState::Active, "{third:#?}");
        let second = world.ended(second).await?;
        ensure!(second.state == DeploymentState::Superseded, "{second:#?}");
        let first = world.ended(first).await?;
        ensure!(matches!(first.state, DeploymentState::Stopped | DeploymentState::Superseded), "{first:#?}");
        ensure!(world.containers(third.project.slug.as_str()).await?.len() == 1);
    }
);

pipeline_test!(
    a_waiting_job_is_superseded_at_once,
    &[("SLIPWAY__WORKER__BACKOFF_MIN_MS", "30000")],
    |world| {
        use slipway_integration_tests::git_server::Fault;
        let (_, url) = world.static_site("later").await?;
        world.git.set_fault(Fault::ServerError);
        let first = world.submit(&world.request(&url)).await?;
        world
            .wait_for(first, |it| {
                it.latest_job().is_some_and(|job| matches!(job.state, JobState::Waiting { .. }))
            })
            .await?;
        world.git.set_fault(Fault::None);
        let second = world.deploy(&world.request(&url)).await?;
        let first = world.ended(first).await?;
        ensure!(
            first.state == DeploymentState::Superseded && first.succeeded_by == Some(second.id),
            "{first:#?}"
        );
    }
);

pipeline_test!(a_passing_fault_is_retried, &[("SLIPWAY__WORKER__ATTEMPTS_MAX", "8")], |world| {
    use slipway_integration_tests::git_server::Fault;
    let (_, url) = world.static_site("after a fault").await?;
    world.git.set_fault(Fault::ServerError);
    let id = world.submit(&world.request(&url)).await?;
    world.wait_for(id, |it| it.stage(Stage::Clone).is_some_and(|stage| stage.attempts >= 2)).await?;
    world.git.set_fault(Fault::None);
    let deployment = world.ended(id).await?;
    ensure!(deployment.state == DeploymentState::Active, "{deployment:#?}");
});

pipeline_test!(
    /// The line is cut after the host has taken the push: the commit is found, not made twice.
    i7_a_push_of_unknown_outcome_is_found, &[("SLIPWAY__WORKER__ATTEMPTS_MAX", "8")], |world| {
        use slipway_integration_tests::git_server::Fault;
        let (path, url) = world.static_site("cut").await?;
        world.git.set_fault(Fault::CutAfterPush);
        let id = world.submit(&world.request(&url)).await?;
        world.wait_for(id, |it| it.stage(Stage::Commit).is_some_and(|stage| stage.attempts >= 1)).await?;
        while world.git.effects(&path).await?.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        world.git.set_fault(Fault::None);
        let deployment = world.ended(id).await?;
        ensure!(deployment.state == DeploymentState::Active, "{deployment:#?}");
        ensure!(world.git.effects(&path).await?.len() == 1, "one commit");
    }
);

#[tokio::test(flavor = "multi_thread")]
async fn built_images_are_pushed_with_a_stored_credential() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let registry = Registry::start().await.expect("the registry starts");
    let push_to = format!("{}/team", registry.host());
    let extra =
        [("SLIPWAY__DOCKER__PUSH_TO", push_to.as_str()), ("SLIPWAY__DOCKER__PUSH_CREDENTIAL", "registry")];
    let world = World::start(&host, &extra).await.expect("the world starts");
    let outcome = push_and_compare(&world, &registry).await;
    let cleaned = world.clean_up().await;
    outcome.unwrap_or_else(|error| panic!("{error:?}"));
    cleaned.expect("the engine is cleaned up");
}

/// With the wrong password the build stage says so; with the right one the registry and the fact agree on the digest.
async fn push_and_compare(world: &World, registry: &Registry) -> anyhow::Result<()> {
    let (_, url) = world.static_site("pushed").await?;
    let request = world.request(&url);
    world.store_credential("registry", registry::USER, "wrong-password", registry.host()).await?;
    world.fails(&request, Stage::Build, "registry_unauthorized").await?;
    world.store_credential("registry", registry::USER, registry::PASSWORD, registry.host()).await?;
    let deployment = world.deploy(&request).await?;
    let revision = deployment.facts.revision().map(str::to_owned).context("a revision")?;
    let pushed = deployment.facts.image.and_then(|image| image.pushed).context("a pushed image")?;
    let name = format!("team/{}", deployment.project.slug);
    let digest = registry.digest(&name, &revision).await?;
    ensure!(pushed == format!("{}/{name}@{digest}", registry.host()), "{pushed} is not {digest}");
    Ok(())
}

pipeline_test!(what_runs_is_observed, &[], |world| {
    let (_, url) = world.static_site("observed").await?;
    let deployment = world.deploy(&world.request(&url)).await?;
    let containers = world.containers(deployment.project.slug.as_str()).await?;
    let id = containers[0].id.clone().expect("an id");
    world.docker.stop_container(&id, None::<bollard::query_parameters::StopContainerOptions>).await?;
    let degraded = world.wait_for(deployment.id, |it| it.state == DeploymentState::Degraded).await?;
    ensure!(degraded.degraded.is_some_and(|reason| reason.contains("0 of 1")));
    world.docker.start_container(&id, None::<bollard::query_parameters::StartContainerOptions>).await?;
    world.wait_for(deployment.id, |it| it.state == DeploymentState::Active).await?;
    let live = world.backend.store.live(deployment.id).await?.expect("an observation");
    ensure!(live.replicas_wanted == 1 && live.replicas.len() == 1, "{live:?}");
});

pipeline_test!(
    /// Canaries in the repository token and the variables are in no file of the data folder.
    secrets_reach_no_file, &[], |world| {
        let (_, url) = world.static_site("canary").await?;
        let mut request = world.request(&url);
        request.env.insert("API_KEY".to_owned(), SecretText::from("env-canary-91b2".to_owned()));
        world.deploy(&request).await?;
        for canary in [TOKEN, "env-canary-91b2"] {
            let hits = files_with(world.data.path(), canary.as_bytes())?;
            ensure!(hits.is_empty(), "{canary} is in {hits:?}");
        }
    }
);

pipeline_test!(
    /// F13: the disk under the mirrors is full. The job waits and says why, the previous deployment serves, and once
    /// there is room again the same job goes on to its end.
    f13_a_full_disk_is_named_and_nothing_is_lost, &[], |world| {
        let (path, url) = world.static_site("before the disk filled up").await?;
        let serving = world.deploy(&world.request(&url)).await?;
        if let Some(disk) = SmallDisk::mount(&world.data.path().join("mirrors")).await? {
            let noise = incompressible(4 << 20);
            world.git.commit(&path, "main", &[TreeFile::new("noise.bin", noise)], "Too much").await?;
            let id = world.submit(&world.request(&url)).await?;
            let waits = world.wait_for(id, says_that_the_disk_is_full).await;
            let still = world.fetch(&serving, "/").await;
            disk.unmount().await?;
            waits?;
            ensure!(still?.contains("before the disk filled up"), "the previous one serves");
            let ended = world.ended(id).await?;
            ensure!(ended.state == DeploymentState::Active, "ended as {ended:#?}");
        } else {
            docker_engine::skip("mounting a small disk needs root");
        }
    }
);

/// Whether the job waits in its first stage for room on the disk.
fn says_that_the_disk_is_full(deployment: &Deployment) -> bool {
    let states = deployment.jobs.iter().map(|job| &job.state);
    states.into_iter().any(|state| match state {
        JobState::Waiting { stage: Stage::Clone, reason, .. } => reason.contains("disk"),
        JobState::Waiting { .. }
        | JobState::Queued
        | JobState::Running { .. }
        | JobState::Succeeded
        | JobState::Failed { .. }
        | JobState::Cancelled
        | JobState::Superseded { .. } => false,
    })
}

/// Bytes that no packing makes smaller (xorshift64).
fn incompressible(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// A file system of one mebibyte.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    async fn mount(place: &std::path::Path) -> anyhow::Result<Option<Self>> {
        let mounted = tokio::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(place)
            .output()
            .await?;
        Ok(mounted.status.success().then(|| Self(place.to_owned())))
    }

    async fn unmount(self) -> anyhow::Result<()> {
        let ended = tokio::process::Command::new("umount").arg("--lazy").arg(&self.0).output().await?;
        ensure!(ended.status.success(), "{ended:?}");
        Ok(())
    }
}

/// Files below `folder` that contain `needle`.
fn files_with(folder: &std::path::Path, needle: &[u8]) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut hits = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            hits.extend(files_with(&path, needle)?);
        } else if std::fs::read(&path)?.windows(needle.len()).any(|window| window == needle) {
            hits.push(path);
        }
    }
    Ok(hits)
}
