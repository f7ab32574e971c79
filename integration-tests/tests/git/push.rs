//! Committing and pushing by compare-and-swap.

use std::sync::Arc;

use slipway_integration_tests::git_server::Fault;
use slipway_worker::git::{
    Author, BranchName, CommitDraft, MergeRequest, Mirror, PushOutcome, PushRequest, find_by_trailer, push,
    write_commit,
};

use crate::fixture::{TOKEN, World, any_file_contains, branch, credential, readme};

struct Cloned {
    world: World,
    mirror: Arc<Mirror>,
    tip: String,
}

const PATH: &str = "group/project";

async fn cloned() -> Cloned {
    let world = World::new().await;
    let url = world.server.create_repo(PATH, &readme()).await.unwrap();
    let mirror = world.open(&url).await.unwrap();
    let tip = world.server.tip(PATH, "main").await.unwrap().unwrap();
    mirror.fetch(&tip, None, None).await.unwrap();
    Cloned { world, mirror, tip }
}

fn draft<'a>(
    parent: &'a str,
    files: &'a [(&'a str, &'a [u8])],
    trailers: &'a [(&'a str, &'a str)],
) -> CommitDraft<'a> {
    let author = Author { name: "Slipway", email: "slipway@example.org" };
    let time = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    CommitDraft { parent, files, message: "Add a Dockerfile", author, time, trailers }
}

fn generated(mirror: &Mirror, parent: &str, job: &str) -> String {
    let contents = format!("FROM scratch\n# {job}\n");
    write_commit(mirror, &draft(parent, &[("Dockerfile", contents.as_bytes())], &[("Slipway-Job", job)]))
        .unwrap()
}

fn request<'a>(revision: &'a str, branch: &'a BranchName, expected_old: Option<&'a str>) -> PushRequest<'a> {
    PushRequest { revision, branch, expected_old, options: &[] }
}

#[tokio::test]
async fn a_commit_is_deterministic_pushed_once_and_found_again() {
    let Cloned { world, mirror, tip } = cloned().await;
    let main = branch("main");
    let commit = generated(&mirror, &tip, "job-1");
    assert_eq!(commit, generated(&mirror, &tip, "job-1"));
    assert_ne!(commit, generated(&mirror, &tip, "job-2"));

    let pushed = push(&mirror, request(&commit, &main, Some(&tip)), None).await.unwrap();
    assert_eq!(pushed, PushOutcome::Pushed { merge_request: None, options_taken: false });
    let again = push(&mirror, request(&commit, &main, Some(&tip)), None).await.unwrap();
    assert_eq!(again, PushOutcome::AlreadyThere);

    let effects = world.server.effects(PATH).await.unwrap();
    assert_eq!(effects.len(), 1);
    assert_eq!((effects[0].old.as_str(), effects[0].new.as_str()), (tip.as_str(), commit.as_str()));
    assert_eq!(effects[0].trailers, [("Slipway-Job".to_owned(), "job-1".to_owned())]);
    world.server.git(PATH, &["fsck", "--strict"], b"").await.unwrap();

    let other = World::new().await;
    let fresh = other.open(&world.server.url(PATH)).await.unwrap();
    fresh.fetch_history(&main, 10, None).await.unwrap();
    let found = find_by_trailer(&fresh, &commit, "Slipway-Job", "job-1", 10).unwrap().unwrap();
    assert_eq!((found.revision, found.parent), (commit.clone(), Some(tip)));
    assert_eq!(find_by_trailer(&fresh, &commit, "Slipway-Job", "job-9", 10).unwrap(), None);
}

#[tokio::test]
async fn a_commit_never_replaces_anything() {
    let Cloned { world: _world, mirror, tip } = cloned().await;
    for path in ["README.md", "src", "README.md/Dockerfile", "src/main.rs/x"] {
        let error = write_commit(&mirror, &draft(&tip, &[(path, b"x")], &[])).unwrap_err();
        assert_eq!(error.code(), "git_path_exists", "{path}: {error}");
    }
    for path in ["", "/etc/x", "../x", "a//b", "a/./b", ".git/hooks/x", "a/.GIT/config", "a\nb", "a\\b"] {
        let error = write_commit(&mirror, &draft(&tip, &[(path, b"x")], &[])).unwrap_err();
        assert_eq!(error.code(), "git_path_refused", "{path}: {error}");
    }
    write_commit(&mirror, &draft(&tip, &[("src/new/file", b"x")], &[])).unwrap();
}

#[tokio::test]
async fn of_two_pushers_with_the_same_parent_one_wins() {
    let Cloned { world, mirror, tip } = cloned().await;
    let main = branch("main");
    let (one, two) = (generated(&mirror, &tip, "job-1"), generated(&mirror, &tip, "job-2"));
    let (first, second) = tokio::join!(
        push(&mirror, request(&one, &main, Some(&tip)), None),
        push(&mirror, request(&two, &main, Some(&tip)), None)
    );
    let outcomes = [first.unwrap(), second.unwrap()];
    let won = outcomes.iter().filter(|outcome| matches!(outcome, PushOutcome::Pushed { .. })).count();
    let lost =
        outcomes.iter().filter(|outcome| matches!(outcome, PushOutcome::Stale { tip: Some(_) })).count();
    assert_eq!((won, lost), (1, 1), "{outcomes:?}");
    assert_eq!(world.server.effects(PATH).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_stale_parent_a_lost_branch_and_a_rewind_are_refused() {
    let Cloned { world, mirror, tip } = cloned().await;
    let main = branch("main");
    let ours = generated(&mirror, &tip, "job-1");
    let newer = world.server.commit(PATH, "main", &readme(), "Newer").await.unwrap();
    let stale = push(&mirror, request(&ours, &main, Some(&tip)), None).await.unwrap();
    assert_eq!(stale, PushOutcome::Stale { tip: Some(newer) });
    let lost = push(&mirror, request(&ours, &branch("gone"), Some(&tip)), None).await.unwrap();
    assert_eq!(lost, PushOutcome::Stale { tip: None });
    let exists = push(&mirror, request(&ours, &main, None), None).await.unwrap();
    assert!(matches!(exists, PushOutcome::Stale { tip: Some(_) }), "{exists:?}");
    let rewind = push(&mirror, request(&tip, &main, Some(&ours)), None).await.unwrap_err();
    assert_eq!(rewind.code(), "git_not_a_fast_forward");
    assert!(world.server.effects(PATH).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_protected_branch_leads_to_a_merge_request() {
    let Cloned { world, mirror, tip } = cloned().await;
    world.server.protect(PATH, "main").await.unwrap();
    let (main, side) = (branch("main"), branch("slipway/job-1"));
    let commit = generated(&mirror, &tip, "job-1");
    let refused = push(&mirror, request(&commit, &main, Some(&tip)), None).await.unwrap();
    let PushOutcome::Protected { message } = refused else { panic!("{refused:?}") };
    assert!(message.contains("not allowed to push code to protected branches"), "{message}");

    let options =
        MergeRequest { target: &main, title: "Add a\nDockerfile", remove_source_branch: true }.options();
    let asked = PushRequest { options: &options, ..request(&commit, &side, None) };
    let outcome = push(&mirror, asked, None).await.unwrap();
    let expected = format!("{}/{PATH}/-/merge_requests/1", world.server.base_url());
    assert_eq!(outcome, PushOutcome::Pushed { merge_request: Some(expected), options_taken: true });
    let received = world.server.push_options(PATH).await;
    assert!(received.contains(&"merge_request.title=Add a Dockerfile".to_owned()), "{received:?}");
    assert_eq!(received.len(), 4);
}

#[tokio::test]
async fn a_host_without_push_options_still_takes_the_commit() {
    let Cloned { world, mirror, tip } = cloned().await;
    world.server.take_push_options(PATH, false).await.unwrap();
    let (main, side) = (branch("main"), branch("slipway/job-1"));
    let commit = generated(&mirror, &tip, "job-1");
    let options = MergeRequest { target: &main, title: "t", remove_source_branch: false }.options();
    let asked = PushRequest { options: &options, ..request(&commit, &side, None) };
    let outcome = push(&mirror, asked, None).await.unwrap();
    assert_eq!(outcome, PushOutcome::Pushed { merge_request: None, options_taken: false });
    assert_eq!(world.server.effects(PATH).await.unwrap().len(), 1);
}

#[tokio::test]
async fn after_a_cut_line_the_tip_tells_that_the_push_arrived() {
    let Cloned { world, mirror, tip } = cloned().await;
    let main = branch("main");
    let commit = generated(&mirror, &tip, "job-1");
    world.server.set_fault(Fault::CutAfterPush);
    let error = push(&mirror, request(&commit, &main, Some(&tip)), None).await.unwrap_err();
    assert_eq!(error.code(), "git_host_unreachable", "{error}");
    world.server.set_fault(Fault::None);
    assert_eq!(mirror.remote_tip(&main, None).await.unwrap(), Some(commit.clone()));
    let again = push(&mirror, request(&commit, &main, Some(&tip)), None).await.unwrap();
    assert_eq!(again, PushOutcome::AlreadyThere);
    assert_eq!(world.server.effects(PATH).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_token_is_on_no_command_line_no_disk_and_in_no_error() {
    let Cloned { world, mirror, tip } = cloned().await;
    world.server.require_token(Some(TOKEN));
    let (main, right) = (branch("main"), credential(TOKEN));
    let commit = generated(&mirror, &tip, "job-1");
    let pushed = push(&mirror, request(&commit, &main, Some(&tip)), Some(&right)).await.unwrap();
    assert!(matches!(pushed, PushOutcome::Pushed { .. }), "{pushed:?}");
    world.server.require_token(Some("another"));
    let refused = push(&mirror, request(&commit, &main, Some(&tip)), Some(&right)).await.unwrap_err();
    assert_eq!(refused.code(), "git_authentication_failed");

    let header =
        world.server.requests().iter().rev().find_map(|r| r.header("authorization").map(str::to_owned));
    let encoded = header.unwrap().trim_start_matches("Basic ").to_owned();
    let calls = world.calls().join("\n");
    assert!(calls.contains(" push "), "the recorder saw nothing: {calls}");
    for secret in ["CANARY", encoded.as_str()] {
        assert!(!calls.contains(secret), "on a command line");
        assert!(!format!("{refused} {refused:?} {right:?}").contains(secret), "in an error");
        assert!(!any_file_contains(world.directory.path(), secret), "on disk");
    }
}

#[tokio::test]
async fn many_jobs_on_one_branch_all_land_in_a_line() {
    const JOBS: usize = 10;
    let Cloned { world, mirror, tip } = cloned().await;
    let main = branch("main");
    let land = async |job: usize| {
        let (path, name) = (format!("generated/{job}"), format!("job-{job}"));
        for _ in 0..100 {
            let tip = mirror.remote_tip(&main, None).await.unwrap().unwrap();
            mirror.fetch(&tip, Some(&main), None).await.unwrap();
            let files = [(path.as_str(), b"x".as_slice())];
            let commit = write_commit(&mirror, &draft(&tip, &files, &[("Slipway-Job", &name)])).unwrap();
            match push(&mirror, request(&commit, &main, Some(&tip)), None).await.unwrap() {
                PushOutcome::Pushed { .. } => return,
                PushOutcome::Stale { .. } => {}
                other @ (PushOutcome::AlreadyThere
                | PushOutcome::Protected { .. }
                | PushOutcome::Rejected { .. }) => panic!("{name}: {other:?}"),
            }
        }
        panic!("{name} never landed");
    };
    futures_util::future::join_all((0..JOBS).map(land)).await;
    let effects = world.server.effects(PATH).await.unwrap();
    let mut parent = tip;
    for effect in &effects {
        assert_eq!(effect.old, parent, "the history is not a line");
        parent.clone_from(&effect.new);
    }
    let mut jobs: Vec<_> = effects.iter().map(|effect| effect.trailers[0].1.clone()).collect();
    jobs.sort();
    jobs.dedup();
    assert_eq!((effects.len(), jobs.len()), (JOBS, JOBS));
}
