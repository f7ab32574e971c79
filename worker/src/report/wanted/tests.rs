//! What is wanted in every state, and that what was told is not wanted again.

use slipway_common::model::registered::NotifySwitches;
use slipway_common::model::{CommitFact, EventKind, Facts, SourceFact, Stage};

use super::super::testing::{REVISION, Story, URL, another, at, failed, finished, started};
use super::super::told::{Step, ToldForge};
use super::*;

const GENERATED: &str = "2222222222222222222222222222222222222222";

/// The status of the first commit: course, description, address.
fn status(story: &Story) -> (Course, String, Option<String>) {
    let wanted = story.wanted().statuses.into_iter().next().expect("a commit is known");
    assert_eq!((wanted.sha.as_str(), wanted.name.as_str()), (REVISION, "slipway/default"));
    (wanted.course, wanted.description, wanted.target_url)
}

fn course_of_deployment(story: &Story) -> Option<Course> {
    story.wanted().deployment.map(|deployment| deployment.course)
}

fn waits() -> EventKind {
    EventKind::StageWaiting {
        stage: Stage::Build,
        attempt: 1,
        until: at(900),
        reason: "the pipeline runs".to_owned(),
        outcome_unknown: false,
    }
}

/// Tells everything that is missing, and answers how much that was.
fn tell(told: &mut ToldForge, wanted: &Wanted) -> usize {
    let missing = told.missing(wanted);
    for step in &missing {
        match step {
            Step::Status(status) => told.status_told(status),
            Step::Deployment(deployment) => told.deployment_told(deployment, 9),
            Step::Environment(environment) => told.environment_told(environment),
            Step::Note(note) => told.note_told(note, 11),
        }
    }
    missing.len()
}

#[test]
fn a_commit_has_a_status_in_every_state_of_the_job() {
    let running = || Story::of_push().then(started(Stage::Clone));
    let own_page = |story: &Story| format!("https://slipway.example.com/deployments/{}", story.deployment.id);
    let cases = [
        (Story::of_push(), Course::Pending, "Queued"),
        (running(), Course::Running, "Running: clone"),
        (running().then(waits()), Course::Running, "Waiting in build: the pipeline runs"),
        (
            running().then(failed(Stage::Clone)),
            Course::Failed,
            "Failed in clone: clone_refused: the host refused",
        ),
        (running().then(EventKind::Cancelled), Course::Canceled, "Cancelled"),
        (
            running().then(EventKind::Superseded { by: another() }),
            Course::Canceled,
            "Overtaken by a newer deployment",
        ),
    ];
    for (story, course, description) in cases {
        let expected = (course, description.to_owned(), Some(own_page(&story)));
        assert_eq!(status(&story), expected);
    }
    let served = Story::of_push().then_served();
    assert_eq!(status(&served), (Course::Success, "In service".to_owned(), Some(URL.to_owned())));
}

#[test]
fn what_happens_after_it_was_served_does_not_change_the_status() {
    let served = || Story::of_push().then_served();
    let before = served();
    let degraded = EventKind::Degraded { reason: "1 of 2 replicas serve".to_owned() };
    for later in [
        served().then(degraded),
        served().then(EventKind::Replaced { by: another() }),
        served().then_stopped(),
    ] {
        assert_eq!(status(&later).0, Course::Success, "{:?}", later.deployment.state);
        assert_eq!(course_of_deployment(&later), course_of_deployment(&before));
    }
}

#[test]
fn what_is_over_and_past_is_not_listed_anew() {
    let is_current = |story: &Story| story.wanted().deployment.expect("it began").is_current;
    let served = || Story::of_push().then_served();
    let running = || Story::of_push().then(started(Stage::Clone));
    assert!(is_current(&running()) && is_current(&served()));
    assert!(is_current(&Story { is_newest: false, ..served() }), "it still serves");
    assert!(is_current(&Story { is_newest: false, ..running() }), "it is under way");
    assert!(!is_current(&served().then(EventKind::Replaced { by: another() })));
    assert!(!is_current(&served().then_stopped()));
    let failed = || running().then(failed(Stage::Clone));
    assert!(is_current(&failed()));
    assert!(!is_current(&Story { is_newest: false, ..failed() }));
}

#[test]
fn a_failure_before_anything_is_cloned_is_on_the_commit_that_was_pushed() {
    let story = Story::of_push().then(failed(Stage::Clone));
    assert_eq!(status(&story).0, Course::Failed);
    assert_eq!(course_of_deployment(&story), None, "no worker had begun");
    let by_request = Story::of_request().then(failed(Stage::Clone));
    assert!(by_request.wanted().statuses.is_empty(), "no commit is known");
}

#[test]
fn a_deployment_by_request_has_the_commit_it_was_resolved_to() {
    let source = SourceFact { revision: REVISION.to_owned(), branch: Some("main".to_owned()) };
    let facts = Facts { source: Some(source), ..Facts::default() };
    let story = Story::of_request().then(started(Stage::Clone)).then(finished(Stage::Clone, facts));
    assert_eq!(status(&story).0, Course::Running);
    assert_eq!(story.wanted().statuses[0].reference.as_deref(), Some("main"));
    assert_eq!(story.wanted().deployment.unwrap().sha, REVISION);
}

#[test]
fn a_commit_that_was_made_and_pushed_has_a_status_too() {
    let commits = |generated: bool, revision: &str, branch: Option<&str>| {
        let commit = CommitFact {
            revision: revision.to_owned(),
            generated,
            branch: branch.map(str::to_owned),
            merge_request: None,
        };
        let facts = Facts { commit: Some(commit), ..Facts::default() };
        let story = Story::of_push().then(started(Stage::Commit)).then(finished(Stage::Commit, facts));
        story.wanted().statuses.into_iter().map(|status| (status.sha, status.reference)).collect::<Vec<_>>()
    };
    let first = (REVISION.to_owned(), Some("main".to_owned()));
    let second = (GENERATED.to_owned(), Some("slipway/x".to_owned()));
    assert_eq!(commits(true, GENERATED, Some("slipway/x")), [first.clone(), second]);
    assert_eq!(commits(true, GENERATED, None), std::slice::from_ref(&first), "the forge never saw it");
    assert_eq!(commits(false, REVISION, None), [first]);
}

#[test]
fn references_are_short() {
    let reference = |full: &str, spec: Reference| {
        let trigger = Trigger {
            reference: full.to_owned(),
            revision: REVISION.to_owned(),
            merge_request: None,
            delivered_at: None,
            notify: None,
        };
        short_reference(&trigger, &spec)
    };
    let pinned =
        || Reference::Pinned { branch: "topic/a".parse().unwrap(), revision: REVISION.parse().unwrap() };
    assert_eq!(reference("refs/heads/a/b", pinned()).as_deref(), Some("a/b"));
    assert_eq!(reference("refs/tags/v1.2", pinned()).as_deref(), Some("v1.2"));
    assert_eq!(reference("refs/merge-requests/5/head", pinned()).as_deref(), Some("topic/a"));
    assert_eq!(reference("refs/merge-requests/5/head", Reference::DefaultBranch), None);
    let mut tag = Story::of_push();
    tag.deployment.trigger.as_mut().unwrap().reference = "refs/tags/v1.2".to_owned();
    let deployment = tag.then(started(Stage::Clone)).wanted().deployment.unwrap();
    assert_eq!((deployment.reference.as_str(), deployment.is_tag), ("v1.2", true));
}

#[test]
fn a_deployment_is_listed_once_a_worker_has_begun() {
    assert_eq!(course_of_deployment(&Story::of_push()), None);
    let overtaken = Story::of_push().then(EventKind::Superseded { by: another() });
    assert_eq!(course_of_deployment(&overtaken), None, "it never began");
    let running = || Story::of_push().then(started(Stage::Clone));
    assert_eq!(course_of_deployment(&running()), Some(Course::Running));
    assert_eq!(course_of_deployment(&running().then(failed(Stage::Clone))), Some(Course::Failed));
    assert_eq!(course_of_deployment(&running().then(EventKind::Cancelled)), Some(Course::Canceled));
    assert_eq!(course_of_deployment(&Story::of_push().then_served()), Some(Course::Success));
}

#[test]
fn an_environment_is_open_while_it_serves_and_stopped_when_its_review_is_over() {
    let environment = |story: &Story| story.wanted().environment;
    assert_eq!(environment(&Story::of_push().then(started(Stage::Clone))), None);
    let open = EnvironmentWanted::Open { name: "default".to_owned(), url: URL.to_owned() };
    assert_eq!(environment(&Story::of_push().then_served()), Some(open));
    assert_eq!(environment(&Story::of_push().then_served().then_stopped()), None, "only reviews end");
    let stopped = EnvironmentWanted::Stopped { name: "review-5".to_owned() };
    let mut review = Story::of_merge_request(5).then_served().then_stopped();
    assert_eq!(environment(&review), Some(stopped));
    review.is_newest = false;
    assert_eq!(environment(&review), None, "a newer one has begun");
    let replaced = Story::of_merge_request(5).then_served().then(EventKind::Replaced { by: another() });
    assert_eq!(environment(&replaced), None);
}

#[test]
fn only_the_newest_deployment_of_a_merge_request_has_the_note() {
    assert!(Story::of_push().wanted().note.is_none());
    let mut story = Story::of_merge_request(5);
    let wanted = story.wanted().note.unwrap();
    assert_eq!(wanted.merge_request, 5);
    let marker = note::marker(&story.project.project.slug, &"review-5".parse().unwrap());
    assert!(wanted.marker == marker && wanted.body.starts_with(&marker));
    story.is_newest = false;
    assert!(story.wanted().note.is_none());
}

#[test]
fn what_nobody_wishes_to_see_is_not_wanted() {
    let mut story = Story::of_merge_request(5).then_served();
    story.project.notify =
        NotifySettings { statuses: false, deployments: false, notes: false, outgoing: Vec::new() };
    let wanted = story.wanted();
    assert!(ToldForge::default().missing(&wanted).is_empty(), "{wanted:?}");
    assert!(!wanted.messages.is_empty());
}

#[test]
fn what_the_repositorys_own_file_says_of_it_comes_before_what_is_registered() {
    let mut story = Story::of_merge_request(5).then_served();
    let trigger = story.deployment.trigger.as_mut().unwrap();
    trigger.notify = Some(NotifySwitches { statuses: Some(false), deployments: None, notes: Some(false) });
    let wanted = story.wanted();
    assert!(wanted.statuses.is_empty() && wanted.note.is_none(), "{wanted:?}");
    assert!(wanted.deployment.is_some() && wanted.environment.is_some(), "{wanted:?}");
    story.project.notify.deployments = false;
    story.deployment.trigger.as_mut().unwrap().notify =
        Some(NotifySwitches { notes: Some(true), ..NotifySwitches::default() });
    let wanted = story.wanted();
    assert!(!wanted.statuses.is_empty() && wanted.note.is_some(), "{wanted:?}");
    assert!(wanted.deployment.is_none() && wanted.environment.is_none(), "{wanted:?}");
}

#[test]
fn other_forges_than_gitlab_are_told_nothing() {
    for forge in [Forge::Github, Forge::Gitea] {
        let mut story = Story::of_push().then_served();
        story.project.forge = forge;
        let wanted = story.wanted();
        assert!(ToldForge::default().missing(&wanted).is_empty(), "{wanted:?}");
        assert_eq!(wanted.messages.len(), 3);
    }
}

#[test]
fn what_is_forgotten_is_taken_for_told() {
    let mut story = Story::of_merge_request(5).then_served().then_stopped();
    story.forgotten_before = at(1_000);
    assert_eq!(story.wanted(), Wanted::default());
    let degraded = EventKind::Degraded { reason: "none serves".to_owned() };
    let mut story = Story::of_push().then_served();
    story.forgotten_before = at(i64::try_from(story.events.len()).unwrap() + 1);
    let story = story.then(degraded);
    let wanted = story.wanted();
    assert!(ToldForge::default().missing(&wanted).is_empty(), "its success was told long ago: {wanted:?}");
    assert_eq!(wanted.messages.len(), 1);
}

#[test]
fn what_was_told_is_not_told_again() {
    let mut told = ToldForge::default();
    let queued = Story::of_merge_request(5);
    assert_eq!(tell(&mut told, &queued.wanted()), 2, "status and note");
    assert_eq!(tell(&mut told, &queued.wanted()), 0);
    let running = queued.then(started(Stage::Clone));
    assert_eq!(tell(&mut told, &running.wanted()), 3, "status, deployment and note");
    let waiting = running.then(waits());
    assert_eq!(tell(&mut told, &waiting.wanted()), 1, "the note; to GitLab the job runs as before");
    let failed = waiting.then(failed(Stage::Build));
    assert_eq!(tell(&mut told, &failed.wanted()), 3);
    assert_eq!(tell(&mut told, &failed.wanted()), 0);
    let deployment = told.deployment.clone().unwrap();
    let retried = failed.then_retried();
    assert_eq!(tell(&mut told, &retried.wanted()), 2, "the next job has a status of its own");
    let served = retried.then_served();
    assert_eq!(tell(&mut told, &served.wanted()), 4, "with the environment");
    assert_ne!(told.deployment.unwrap().job, deployment.job);
}

#[test]
fn steps_are_in_their_order() {
    let story = Story::of_merge_request(5).then_served();
    let wanted = story.wanted();
    let missing = ToldForge::default().missing(&wanted);
    let kinds: Vec<u8> = missing
        .iter()
        .map(|step| match step {
            Step::Status(_) => 1,
            Step::Deployment(_) => 2,
            Step::Environment(_) => 3,
            Step::Note(_) => 4,
        })
        .collect();
    assert_eq!(kinds, [1, 2, 3, 4]);
}

#[test]
fn texts_are_cut_to_what_gitlab_takes() {
    let reason = "ü".repeat(400);
    let kind = EventKind::Failed { failure: Failure::new(Stage::Clone, "code", reason) };
    let story = Story::of_push().then(kind);
    let description = status(&story).1;
    assert_eq!(description.chars().count(), GITLAB_TEXT_MAX);
    assert!(description.ends_with('…'));
}

#[test]
fn only_plain_web_addresses_are_shown() {
    let shown = |url: &str| {
        let mut story = Story::of_push().then_served();
        story.deployment.facts.inventory.as_mut().unwrap().url = Some(url.to_owned());
        app_url(&story.deployment).is_some()
    };
    assert!(shown("http://127.0.0.1:18600") && shown("https://a.example/b?c=d"));
    for hostile in
        ["javascript:alert(1)", "https://a> <b", "https://a b", "https://a`", "//a", "https://a\n/close"]
    {
        assert!(!shown(hostile), "{hostile:?}");
    }
}
