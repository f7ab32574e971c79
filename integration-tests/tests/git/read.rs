//! Resolving, fetching and reading.

use slipway_integration_tests::git_server::{FileMode, TreeFile};
use slipway_worker::git::{GitLimits, Reference, RevisionSpec};
use slipway_worker::source::{SourceError, SourceKind, SourceTree};

use crate::fixture::{TOKEN, World, branch, credential, noise, quick_limits, readme};

fn revision(text: &str) -> Reference {
    Reference::Revision(RevisionSpec::parse(text).unwrap())
}

#[tokio::test]
async fn a_token_decides_who_may_read() {
    let world = World::new().await;
    let url = world.server.create_repo("group/project", &readme()).await.unwrap();
    world.server.require_token(Some(TOKEN));
    let mirror = world.open(&url).await.unwrap();

    let right = credential(TOKEN);
    let resolved = mirror.resolve(&Reference::DefaultBranch, Some(&right)).await.unwrap();
    mirror.fetch(&resolved.revision, resolved.branch.as_ref(), Some(&right)).await.unwrap();
    let snapshot = mirror.snapshot(&resolved.revision).await.unwrap();
    assert_eq!(snapshot.read("README.md", 100).unwrap(), b"hello\n");

    let wrong = credential("glpat-wrong");
    for credential in [Some(&wrong), None] {
        let error = mirror.resolve(&Reference::DefaultBranch, credential).await.unwrap_err();
        assert_eq!(error.code(), "git_authentication_failed", "{error}");
        assert!(!format!("{error} {error:?}").contains("glpat"), "{error:?}");
    }
}

#[tokio::test]
async fn a_snapshot_lists_every_entry_with_its_kind_and_bounds_reads() {
    let world = World::new().await;
    let files = [
        TreeFile::new("a/b.txt", "12345"),
        TreeFile::new("a.txt", "x"),
        TreeFile::new("run.sh", "#!/bin/sh\n").stored_as(FileMode::Executable),
        TreeFile::new("Dockerfile", "/etc/passwd").stored_as(FileMode::Symlink),
        TreeFile::new("vendored", "8f7d8a1c0d6d1a0d1f4f3f0a3e5f8a9b7c6d5e4f").stored_as(FileMode::Submodule),
        TreeFile::new("näme mit \"quotes\" $(id)", "odd"),
    ];
    let url = world.server.create_repo("group/kinds", &files).await.unwrap();
    let snapshot = world.snapshot(&url, &Reference::DefaultBranch).await.unwrap();
    let found: Vec<_> = snapshot.entries().iter().map(|e| (e.path.as_str(), e.kind, e.size_bytes)).collect();
    assert_eq!(
        found,
        [
            ("Dockerfile", SourceKind::Symlink, 11),
            ("a.txt", SourceKind::File, 1),
            ("a/b.txt", SourceKind::File, 5),
            ("näme mit \"quotes\" $(id)", SourceKind::File, 3),
            ("run.sh", SourceKind::Executable, 10),
            ("vendored", SourceKind::Submodule, 0),
        ]
    );
    assert!(matches!(snapshot.read("a/b.txt", 4), Err(SourceError::TooLarge { size_bytes: 5, .. })));
    assert!(matches!(snapshot.read("../a.txt", 4), Err(SourceError::NotFound { .. })));
    assert!(matches!(snapshot.read("vendored", 100), Err(SourceError::NotFound { .. })));
    assert_eq!(snapshot.read("Dockerfile", 100).unwrap(), b"/etc/passwd");
}

#[tokio::test]
async fn branches_tags_and_commits_resolve_to_one_commit() {
    let world = World::new().await;
    let url = world.server.create_repo("group/refs", &readme()).await.unwrap();
    let first = world.server.tip("group/refs", "main").await.unwrap().unwrap();
    world.server.git("group/refs", &["update-ref", "refs/tags/light", &first], b"").await.unwrap();
    let tag =
        format!("object {first}\ntype commit\ntag v1\ntagger T <t@example.org> 1700000000 +0000\n\nv1\n");
    let tag = world.server.git("group/refs", &["mktag"], tag.as_bytes()).await.unwrap();
    world.server.git("group/refs", &["update-ref", "refs/tags/v1", tag.trim()], b"").await.unwrap();
    let second =
        world.server.commit("group/refs", "main", &[TreeFile::new("b", "b")], "Second").await.unwrap();
    let third = world.server.commit("group/refs", "side/main", &readme(), "Third").await.unwrap();

    let mirror = world.open(&url).await.unwrap();
    let cases = [
        (Reference::DefaultBranch, &second, Some("main")),
        (Reference::Branch(branch("main")), &second, Some("main")),
        (Reference::Branch(branch("side/main")), &third, Some("side/main")),
        (revision("v1"), &first, None),
        (revision("light"), &first, None),
        (revision(&first), &first, None),
    ];
    for (reference, expected, expected_branch) in cases {
        let resolved = mirror.resolve(&reference, None).await.unwrap();
        assert_eq!(&resolved.revision, expected, "{reference:?}");
        assert_eq!(resolved.branch.as_ref().map(|b| b.as_str()), expected_branch, "{reference:?}");
        mirror.fetch(&resolved.revision, resolved.branch.as_ref(), None).await.unwrap();
        mirror.snapshot(&resolved.revision).await.unwrap();
    }
}

#[tokio::test]
async fn a_host_that_is_known_is_asked_once_and_one_that_changed_from_the_start() {
    let world = World::new().await;
    let url = world.server.create_repo("group/asked", &readme()).await.unwrap();
    let tip = world.server.tip("group/asked", "main").await.unwrap().unwrap();
    world.server.git("group/asked", &["update-ref", "refs/tags/v1", &tip], b"").await.unwrap();
    world.server.git("group/asked", &["update-ref", "refs/merge-requests/7/head", &tip], b"").await.unwrap();
    let mirror = world.open(&url).await.unwrap();
    let mut heads = Vec::new();
    for (only_tips, requests) in [(false, 2), (false, 1), (true, 2), (true, 1)] {
        // A host that hands out tips alone speaks an older version, and tells all its refs at once.
        world.server.serve_only_tips(only_tips);
        let before = world.server.requests().len();
        heads.push(mirror.heads(None, true).await.unwrap());
        assert_eq!(world.server.requests().len() - before, requests, "{only_tips}");
    }
    assert!(heads.iter().all(|found| *found == heads[0]), "{heads:?}");
    assert_eq!(heads[0].default_branch.as_ref().map(|branch| branch.as_str()), Some("main"));
    assert_eq!(heads[0].branches, [("main".to_owned(), tip.clone())].into());
    assert_eq!(heads[0].tags, [("v1".to_owned(), tip.clone())].into());
    assert_eq!(heads[0].merge_requests, [(7, tip)].into());
    assert!(mirror.heads(None, false).await.unwrap().merge_requests.is_empty());
    assert!(!world.calls().iter().any(|call| call.contains("ls-remote")), "no program is started for it");
}

#[tokio::test]
async fn a_list_of_refs_that_is_too_long_is_refused() {
    let world = World::with_limits(GitLimits { max_listing_bytes: 500, ..quick_limits() }).await;
    let url = world.server.create_repo("group/long", &readme()).await.unwrap();
    let mirror = world.open(&url).await.unwrap();
    mirror.resolve(&Reference::DefaultBranch, None).await.unwrap();
    let tip = world.server.tip("group/long", "main").await.unwrap().unwrap();
    for number in 0..8 {
        let name = format!("refs/heads/feature/{number}");
        world.server.git("group/long", &["update-ref", &name, &tip], b"").await.unwrap();
    }
    let error = mirror.heads(None, false).await.unwrap_err();
    assert_eq!(error.code(), "git_limit", "{error}");
    assert!(error.to_string().contains("500"), "{error}");
}

#[tokio::test]
async fn what_does_not_exist_is_said_plainly() {
    let world = World::new().await;
    let url = world.server.create_repo("group/project", &readme()).await.unwrap();
    let empty = world.server.create_repo("group/empty", &[]).await.unwrap();
    let missing = world.server.url("group/missing");
    let nowhere = "http://127.0.0.1:9/group/project";
    let unknown = "https://git.invalid/group/project";
    let main = Reference::Branch(branch("main"));
    let cases = [
        (url.as_str(), Reference::Branch(branch("nope")), "git_branch_not_found"),
        (&url, revision("v9"), "git_revision_not_found"),
        (&url, revision(&"1".repeat(40)), "git_revision_not_found"),
        (&empty, Reference::DefaultBranch, "git_repository_empty"),
        (&missing, main.clone(), "git_repository_not_found"),
        (nowhere, main.clone(), "git_host_unreachable"),
        (unknown, main, "git_host_unknown"),
    ];
    for (url, reference, code) in cases {
        let error = world.snapshot(url, &reference).await.unwrap_err();
        assert_eq!(error.code(), code, "{url} {reference:?}: {error}");
        assert!(!error.hint().is_empty());
    }
}

#[tokio::test]
async fn an_older_commit_is_found_through_its_branch_where_only_tips_are_served() {
    let world = World::new().await;
    let url = world.server.create_repo("group/tips", &readme()).await.unwrap();
    let first = world.server.tip("group/tips", "main").await.unwrap().unwrap();
    world.server.commit("group/tips", "main", &[TreeFile::new("b", "b")], "Second").await.unwrap();
    world.server.serve_only_tips(true);
    let mirror = world.open(&url).await.unwrap();
    mirror.fetch(&first, Some(&branch("main")), None).await.unwrap();
    assert_eq!(mirror.snapshot(&first).await.unwrap().entries().len(), 2);
    let error = mirror.fetch(&"1".repeat(40), Some(&branch("main")), None).await.unwrap_err();
    assert_eq!(error.code(), "git_branch_moved", "{error}");
}

#[tokio::test]
async fn a_warm_fetch_asks_the_host_nothing() {
    let world = World::new().await;
    let url = world.server.create_repo("group/warm", &readme()).await.unwrap();
    let snapshot = world.snapshot(&url, &Reference::DefaultBranch).await.unwrap();
    let revision = snapshot.revision().to_owned();
    drop(snapshot);
    let before = world.server.requests().len();
    assert!(world.server.requests().iter().any(|request| request.asks_for_pack));
    let mirror = world.open(&url).await.unwrap();
    mirror.fetch(&revision, None, None).await.unwrap();
    mirror.snapshot(&revision).await.unwrap();
    assert_eq!(world.server.requests().len(), before);
}

#[tokio::test]
async fn many_may_work_with_the_same_and_with_different_repositories() {
    let world = World::new().await;
    let mut urls = Vec::new();
    for name in ["one", "two", "three"] {
        urls.push(world.server.create_repo(&format!("many/{name}"), &readme()).await.unwrap());
    }
    let work = (0..12).map(|index| world.snapshot(&urls[index % urls.len()], &Reference::DefaultBranch));
    for snapshot in futures_util::future::join_all(work).await {
        assert_eq!(snapshot.unwrap().entries().len(), 2);
    }
    let packs = world.server.requests().iter().filter(|request| request.asks_for_pack).count();
    assert_eq!(packs, urls.len(), "each repository is fetched once");
}

#[tokio::test]
async fn the_least_recently_used_mirrors_make_room() {
    let limits = GitLimits { max_mirrors_total_bytes: 300_000, ..quick_limits() };
    let world = World::with_limits(limits).await;
    let mut directories = Vec::new();
    for name in ["old", "middle", "new"] {
        let mut files = noise(160_000);
        files.push(TreeFile::new("name", name));
        let url = world.server.create_repo(&format!("room/{name}"), &files).await.unwrap();
        world.snapshot(&url, &Reference::DefaultBranch).await.unwrap();
        directories.push(world.open(&url).await.unwrap().directory().to_path_buf());
    }
    assert!(!directories[0].exists(), "the oldest mirror is still there");
    assert!(directories[2].exists(), "the mirror in use was deleted");
}
