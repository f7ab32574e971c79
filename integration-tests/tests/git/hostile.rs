//! Input made to break out: addresses, names, repositories. Nothing runs, nothing is written, limits hold.

use slipway_integration_tests::git_server::{Fault, FileMode, TreeFile};
use slipway_worker::git::{
    AddressPolicy, BranchName, GitLimits, HttpPolicy, Reference, RepositoryAddress, RevisionSpec,
    SnapshotLimits,
};
use slipway_worker::source::{SourceKind, SourceTree as _};
use tokio_util::sync::CancellationToken;

use crate::fixture::{World, branch, noise, quick_limits};

/// `CANARY` stands for the path of a file that must not appear.
const HOSTILE_ADDRESSES: [&str; 50] = [
    "ext::sh -c touch% CANARY",
    "EXT::sh -c touch% CANARY",
    "ext::touch CANARY",
    "fd::17",
    "fd::17/repo",
    "file:///etc",
    "FILE:///etc",
    "file://localhost/etc",
    "/etc",
    "./x",
    "../x",
    "x.bundle",
    "~/x",
    "git://127.0.0.1/a/b",
    "ssh://-oProxyCommand=touch CANARY/x",
    "ssh://-oProxyCommand=touch${IFS}CANARY/x",
    "ssh://-Fcfg@h/",
    "ssh://git@h/a",
    "git@-oProxyCommand=x:a/b",
    "git@h:a/b",
    "h:a/b",
    "--upload-pack=touch CANARY",
    "-u touch CANARY",
    "--config=core.gitProxy=x",
    "-",
    "https://-oProxyCommand=x/a",
    "https://%2DoProxyCommand=x/a",
    "https:///a/b",
    "https://",
    "https://u@h/a/b",
    "https://u:p@h/a/b",
    "https://@h/a/b",
    "https://h@evil/a",
    "https://h/a/b?x",
    "https://h/a/b#x",
    "https://h/a/../b",
    "https://h/%2e%2e/b",
    "https://h/a\nb",
    "https://h/a\r\nHost: evil",
    "https://h/a\0b",
    "https://h\n/a",
    "https://h/\u{202e}a",
    "https://h/$(touch CANARY)",
    "https://h/a;touch CANARY",
    "https://h/`touch CANARY`",
    "https://h/a|b",
    "https://h/a b",
    "http://h\\@evil/a",
    "ftp://h/a",
    "javascript:alert(1)",
];

#[tokio::test]
async fn hostile_addresses_never_reach_git() {
    let world = World::new().await;
    let canary = world.canary().display().to_string();
    let mut hostile: Vec<String> =
        HOSTILE_ADDRESSES.iter().map(|text| text.replace("CANARY", &canary)).collect();
    hostile.extend([format!("https://h/{}", "a".repeat(3_000)), String::new()]);
    assert!(hostile.len() >= 40);
    for text in &hostile {
        if let Ok(address) = RepositoryAddress::parse(text, &AddressPolicy { http: HttpPolicy::Always }) {
            // So that a parser that lets one through is seen by what it leads to as well.
            let opened = world.store.open(&address, &CancellationToken::new()).await;
            panic!("accepted {text:?}: {opened:?}");
        }
    }
    for text in [
        "--upload-pack=x",
        "-x",
        "a..b",
        "a b",
        "a\nb",
        "a\0b",
        "a:b",
        "a^{}",
        "refs/../x",
        "\u{202e}x",
        "@{u}",
    ] {
        assert!(BranchName::parse(text).is_err(), "accepted {text:?}");
        assert!(RevisionSpec::parse(text).is_err(), "accepted {text:?}");
    }
    assert!(world.calls().is_empty(), "git was started: {:?}", world.calls());
    assert!(!world.canary().exists());
}

#[tokio::test]
async fn odd_but_valid_names_are_nothing_but_data() {
    let world = World::new().await;
    let shell = format!("x$(touch${{IFS}}{})", world.canary().display()).replace("/", "_");
    let long = "b".repeat(200);
    let names = [
        shell.as_str(),
        ";id",
        "`id`",
        "a|b",
        "a&b",
        "$HOME",
        "'quoted'",
        "\"x\"",
        "user/--x",
        "ünïcode",
        "%2e%2e",
        "a,b",
        "#1",
        &long,
    ];
    let url = world.server.create_repo("odd/names", &[]).await.unwrap();
    for name in names {
        let tip =
            world.server.commit("odd/names", name, &[TreeFile::new("name", name)], "odd").await.unwrap();
        let snapshot = world.snapshot(&url, &Reference::Branch(branch(name))).await.unwrap();
        assert_eq!(snapshot.revision(), tip, "{name}");
        assert_eq!(snapshot.read("name", 1_000).unwrap(), name.as_bytes());
    }
    assert!(!world.canary().exists());
}

#[tokio::test]
async fn nothing_in_a_repository_is_executed_or_followed() {
    let world = World::new().await;
    let touch = format!("touch {}", world.canary().display());
    let module = format!("[submodule \"x\"]\n\tpath = x\n\turl = {}\n", world.server.url("other/secret"));
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n";
    let files = [
        TreeFile::new(".gitattributes", "* filter=evil diff=evil merge=evil\n*.bin filter=lfs\n"),
        TreeFile::new(
            ".gitconfig",
            format!("[filter \"evil\"]\n\tsmudge = {touch}\n[core]\n\tfsmonitor = {touch}\n"),
        ),
        TreeFile::new(".gitmodules", module),
        TreeFile::new(".lfsconfig", "[lfs]\n\turl = http://127.0.0.1:9/\n"),
        TreeFile::new("hooks/post-checkout", format!("#!/bin/sh\n{touch}\n")).stored_as(FileMode::Executable),
        TreeFile::new("x", "8f7d8a1c0d6d1a0d1f4f3f0a3e5f8a9b7c6d5e4f").stored_as(FileMode::Submodule),
        TreeFile::new("big.bin", pointer),
        TreeFile::new("Dockerfile", "/etc/passwd").stored_as(FileMode::Symlink),
        TreeFile::new("escape", "../../../../etc").stored_as(FileMode::Symlink),
    ];
    let url = world.server.create_repo("evil/project", &files).await.unwrap();
    let snapshot = world.snapshot(&url, &Reference::DefaultBranch).await.unwrap();
    assert_eq!(snapshot.entry("Dockerfile").unwrap().kind, SourceKind::Symlink);
    assert_eq!(snapshot.entry("escape").unwrap().kind, SourceKind::Symlink);
    assert_eq!(snapshot.entry("x").unwrap().kind, SourceKind::Submodule);
    assert_eq!(snapshot.read("big.bin", 1_000).unwrap(), pointer.as_bytes());
    assert!(!world.canary().exists());
    assert!(!world.server.requests().iter().any(|request| request.target.contains("secret")));
    let mirror = world.open(&url).await.unwrap();
    assert!(!mirror.directory().join("hooks").exists(), "a mirror has no hooks");
    assert!(!mirror.directory().join("Dockerfile").exists(), "a mirror has no worktree");
}

#[tokio::test]
async fn a_bomb_of_few_objects_stops_at_the_count() {
    let world = World::new().await;
    let url = world.server.create_repo("bomb/project", &[]).await.unwrap();
    let blob = world.server.git("bomb/project", &["hash-object", "-w", "--stdin"], b"boom").await.unwrap();
    let mut line = format!("100644 blob {}", blob.trim());
    for _ in 0..10 {
        let listing: String = (0..10).map(|index| format!("{line}\tf{index}\n")).collect();
        let tree = world.server.git("bomb/project", &["mktree"], listing.as_bytes()).await.unwrap();
        line = format!("040000 tree {}", tree.trim());
    }
    let tree = line.rsplit(' ').next().unwrap();
    publish(&world, "bomb/project", tree).await;
    let error = world.snapshot(&url, &Reference::DefaultBranch).await.unwrap_err();
    assert_eq!(error.code(), "git_limit", "{error}");
    assert!(error.to_string().contains("100000"), "{error}");
}

#[tokio::test]
async fn every_limit_of_a_tree_holds() {
    let files = [TreeFile::new("a/b/c/d/e", vec![b'x'; 5_000]), TreeFile::new("n".repeat(200), "y")];
    let roomy = SnapshotLimits::default();
    let cases = [
        (SnapshotLimits { max_files: 3, ..roomy }, "files and directories"),
        (SnapshotLimits { max_path_bytes: 100, ..roomy }, "bytes of one path"),
        (SnapshotLimits { max_total_bytes: 4_999, ..roomy }, "bytes of all files"),
        (SnapshotLimits { max_depth: 2, ..roomy }, "levels of directories"),
        (SnapshotLimits { max_tree_object_bytes: 20, ..roomy }, "bytes of one directory listing"),
    ];
    for (snapshot, what) in cases {
        let world = World::with_limits(GitLimits { snapshot, ..quick_limits() }).await;
        let url = world.server.create_repo("large/project", &files).await.unwrap();
        let error = world.snapshot(&url, &Reference::DefaultBranch).await.unwrap_err();
        assert_eq!(error.code(), "git_limit", "{what}: {error}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[tokio::test]
async fn a_pack_beyond_the_mirror_limit_is_not_kept() {
    let world = World::with_limits(GitLimits { max_mirror_bytes: 300_000, ..quick_limits() }).await;
    let url = world.server.create_repo("huge/project", &noise(500_000)).await.unwrap();
    world.server.set_fault(Fault::Trickle { bytes_per_tick: 40_000 });
    let error = world.snapshot(&url, &Reference::DefaultBranch).await.unwrap_err();
    assert_eq!(error.code(), "git_limit", "{error}");
    let pack = world.open(&url).await.unwrap().directory().join("objects/pack");
    assert_eq!(std::fs::read_dir(pack).unwrap().count(), 0, "the disk is not restored");
}

#[tokio::test]
async fn a_path_that_is_no_text_is_refused_by_name() {
    let world = World::new().await;
    let url = world.server.create_repo("bytes/project", &[]).await.unwrap();
    let blob = world.server.git("bytes/project", &["hash-object", "-w", "--stdin"], b"x").await.unwrap();
    let listing = [b"100644 blob ", blob.trim().as_bytes(), b"\tcaf\xe9\0"].concat();
    let tree = world.server.git("bytes/project", &["mktree", "-z"], &listing).await.unwrap();
    publish(&world, "bytes/project", tree.trim()).await;
    let error = world.snapshot(&url, &Reference::DefaultBranch).await.unwrap_err();
    assert_eq!(error.code(), "git_path_refused", "{error}");
    assert!(error.to_string().contains("caf"), "{error}");
}

/// Makes a commit of `tree` the tip of `main`.
async fn publish(world: &World, path: &str, tree: &str) {
    let commit = format!(
        "tree {tree}\nauthor A <a@example.org> 1700000000 +0000\ncommitter A <a@example.org> 1700000000 +0000\n\nx\n"
    );
    let commit = world
        .server
        .git(path, &["hash-object", "-w", "-t", "commit", "--stdin"], commit.as_bytes())
        .await
        .unwrap();
    world.server.git(path, &["update-ref", "refs/heads/main", commit.trim()], b"").await.unwrap();
}
