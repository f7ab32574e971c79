//! Slow, silent, failing and killed: every fetch ends within its limits, and the next one recovers.

use std::path::Path;
use std::time::{Duration, Instant};

use slipway_common::failure::FailureClass;
use slipway_integration_tests::git_server::{Fault, GitServer};
use slipway_worker::git::{GitLimits, Reference};
use slipway_worker::source::SourceTree as _;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::fixture::{TOKEN, World, address, branch, credential, eventually, noise, quick_limits, readme};

fn leftovers(mirror: &Path) -> Vec<String> {
    let names = |directory: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let mut found = names(&mirror.join("objects/pack"));
    found.extend(names(mirror));
    found.retain(|name| name.starts_with("tmp_") || name.starts_with(".tmp-") || name.ends_with(".lock"));
    found
}

#[tokio::test]
async fn a_trickle_and_a_silence_end_by_their_limits() {
    let limits = GitLimits {
        low_speed_window: Duration::from_secs(2),
        command_timeout: Duration::from_secs(20),
        ..quick_limits()
    };
    let world = World::with_limits(limits).await;
    let url = world.server.create_repo("slow/project", &noise(200_000)).await.unwrap();
    let tip = world.server.tip("slow/project", "main").await.unwrap().unwrap();
    let mirror = world.open(&url).await.unwrap();
    for fault in
        [Fault::Trickle { bytes_per_tick: 20 }, Fault::StallPack { after_bytes: 5_000 }, Fault::Stall]
    {
        world.server.set_fault(fault.clone());
        let started = Instant::now();
        let error = mirror.fetch(&tip, Some(&branch("main")), None).await.unwrap_err();
        assert!(matches!(error.code(), "git_too_slow" | "git_host_unreachable"), "{fault:?}: {error}");
        assert_eq!(error.class(), FailureClass::Transient);
        assert!(started.elapsed() < Duration::from_secs(15), "{fault:?} took {:?}", started.elapsed());
        assert_eq!(leftovers(mirror.directory()), [""; 0], "{fault:?}");
    }
    world.server.set_fault(Fault::None);
    mirror.fetch(&tip, None, None).await.unwrap();
}

#[tokio::test]
async fn a_deadline_and_a_cancellation_end_a_silent_host() {
    let limits = GitLimits { command_timeout: Duration::from_secs(1), ..quick_limits() };
    let world = World::with_limits(limits).await;
    let url = world.server.create_repo("silent/project", &readme()).await.unwrap();
    world.server.set_fault(Fault::Stall);
    let cancel = CancellationToken::new();
    let mirror = world.store.open(&address(&url), &cancel).await.unwrap();
    let error = mirror.resolve(&Reference::DefaultBranch, None).await.unwrap_err();
    assert_eq!(error.code(), "git_timeout", "{error}");

    let revision = "1".repeat(40);
    let fetch = mirror.fetch(&revision, None, None);
    let before = world.server.requests().len();
    let stop = async {
        eventually("the fetch has reached the host", || world.server.requests().len() > before).await;
        cancel.cancel();
    };
    let (fetched, ()) = tokio::join!(fetch, stop);
    let error = fetched.unwrap_err();
    assert_eq!((error.code(), error.class()), ("git_cancelled", FailureClass::Cancelled));
}

#[tokio::test]
async fn a_failing_host_is_worth_another_try() {
    let world = World::new().await;
    let url = world.server.create_repo("failing/project", &readme()).await.unwrap();
    world.server.set_fault(Fault::ServerError);
    let error = world.snapshot(&url, &Reference::DefaultBranch).await.unwrap_err();
    assert_eq!((error.code(), error.class()), ("git_host_failed", FailureClass::Transient));
    world.server.set_fault(Fault::None);
    world.snapshot(&url, &Reference::DefaultBranch).await.unwrap();
}

#[tokio::test]
async fn a_redirect_carries_no_credential_to_another_host() {
    let world = World::new().await;
    let foreign = GitServer::start().await.unwrap();
    foreign.create_repo("group/project", &readme()).await.unwrap();
    let url = world.server.create_repo("group/project", &readme()).await.unwrap();
    world.server.set_fault(Fault::Redirect { to: foreign.base_url() });
    let mirror = world.open(&url).await.unwrap();
    let error = mirror.resolve(&Reference::DefaultBranch, Some(&credential(TOKEN))).await.unwrap_err();
    assert_eq!(error.code(), "git_redirected", "{error}");
    assert!(foreign.requests().is_empty(), "the redirect was followed");
}

#[tokio::test]
async fn a_host_that_wants_the_suffix_gets_it() {
    let world = World::new().await;
    let url = world.server.create_repo("group/suffix", &readme()).await.unwrap();
    world.server.set_fault(Fault::RedirectToSuffix);
    let without = url.trim_end_matches(".git");
    assert_eq!(world.snapshot(without, &Reference::DefaultBranch).await.unwrap().entries().len(), 2);
}

#[tokio::test]
async fn a_killed_git_leaves_nothing_that_hinders_the_next() {
    let world = World::new().await;
    let url = world.server.create_repo("killed/project", &noise(2_000_000)).await.unwrap();
    let tip = world.server.tip("killed/project", "main").await.unwrap().unwrap();
    let mirror = world.open(&url).await.unwrap();
    world.server.set_fault(Fault::StallPack { after_bytes: 500_000 });
    let pack = mirror.directory().join("objects/pack");
    let kill = async {
        eventually("a pack is half written", || {
            pack.read_dir().is_ok_and(|mut files| files.next().is_some())
        })
        .await;
        let call = world.calls().into_iter().rfind(|call| call.contains(" fetch ")).unwrap();
        let process = call.split(' ').next().unwrap().to_owned();
        Command::new("kill")
            .args(["-9", &process])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .status()
            .await
            .unwrap()
    };
    let (fetched, killed) = tokio::join!(mirror.fetch(&tip, None, None), kill);
    assert!(killed.success());
    assert_eq!(fetched.unwrap_err().class(), FailureClass::Transient);
    assert!(!mirror.has(&tip).await.unwrap());
    assert_eq!(leftovers(mirror.directory()), [""; 0], "the disk is not restored");

    // What a worker that died together with its git would have left.
    for leftover in ["shallow.lock", "HEAD.lock", "objects/pack/tmp_pack_dead", "config.lock"] {
        std::fs::write(mirror.directory().join(leftover), b"half").unwrap();
    }
    drop(mirror);
    world.server.set_fault(Fault::None);
    let mirror = world.open(&url).await.unwrap();
    mirror.fetch(&tip, None, None).await.unwrap();
    assert_eq!(leftovers(mirror.directory()), [""; 0]);
}

#[tokio::test]
async fn a_damaged_mirror_is_made_anew() {
    let world = World::new().await;
    let url = world.server.create_repo("damaged/project", &readme()).await.unwrap();
    world.snapshot(&url, &Reference::DefaultBranch).await.unwrap();
    let directory = world.open(&url).await.unwrap().directory().to_path_buf();
    let damages: [fn(&Path); 4] = [
        |mirror| std::fs::remove_file(mirror.join("HEAD")).unwrap(),
        |mirror| std::fs::write(mirror.join("config"), b"[core\nnonsense").unwrap(),
        |mirror| each_pack(mirror, |pack| std::fs::remove_file(pack).unwrap()),
        |mirror| each_pack(mirror, |pack| std::fs::write(pack, b"").unwrap()),
    ];
    for (index, damage) in damages.iter().enumerate() {
        damage(&directory);
        let snapshot = world.snapshot(&url, &Reference::DefaultBranch).await;
        assert_eq!(snapshot.unwrap_or_else(|e| panic!("damage {index}: {e}")).entries().len(), 2);
    }
}

fn each_pack(mirror: &Path, act: fn(&Path)) {
    for entry in std::fs::read_dir(mirror.join("objects/pack")).unwrap().flatten() {
        // Git writes packs read-only; replacing them needs a new file.
        let path = entry.path();
        let contents = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, contents).unwrap();
        act(&path);
    }
}
