//! How the environment of a merge request is stopped, and what is said of it meanwhile.

use jiff::SignedDuration;
use slipway_common::contract::sample;
use slipway_common::model::DeploymentState;
use slipway_common::model::registered::{RegisteredProject, ReviewRule};

use super::*;
use crate::git::Heads;
use crate::sweep::decide::{Answer, Answers, Input, Plan, decide};
use crate::testing::Installation;

fn message() -> JobMessage {
    JobMessage { environment: "review-7".parse().unwrap(), ..sample::deploy_job("shop", Timestamp::now()) }
}

async fn deployments(tools: &Tools, message: &JobMessage) -> Vec<Deployment> {
    deployments_in(tools, &message.project.slug, &message.environment).await.unwrap()
}

async fn stop_it(tools: &Tools, message: &JobMessage) {
    stop(tools, &message.project.slug, &message.environment).await.unwrap();
}

#[tokio::test]
async fn what_serves_is_stopped_by_one_job_however_often_it_is_asked_for() {
    let installation = Installation::open();
    let tools = installation.tools();
    let message = message();
    submit(&tools.backend, &message).await.unwrap();
    for event in sample::course(&message, 1, Timestamp::now()) {
        installation.backend.record(&Record::Event(event)).await.unwrap();
    }
    assert!(place(&deployments(&tools, &message).await).is_alive);
    for _ in 0..3 {
        stop_it(&tools, &message).await;
    }
    let found = deployments(&tools, &message).await;
    assert_eq!((found.len(), found[0].state, found[0].jobs.len()), (1, DeploymentState::Stopping, 2));
    let (agenda, ttl) = (&installation.backend.agenda, std::time::Duration::from_secs(60));
    let noted = agenda.claim(slipway_common::agenda::List::Reports, 9, ttl, Timestamp::now()).await.unwrap();
    let noted: Vec<&str> = noted.iter().map(|due| due.key.as_str()).collect();
    assert_eq!(noted, [message.deployment.to_string()], "it is told, whatever becomes of this process");
    let stop = &found[0].jobs[1];
    assert_eq!(stop.kind, STOP);
    assert!(place(&found).is_alive, "until it is stopped");
    let stopping = JobMessage { id: stop.id, ..sample::stop_job(&message, Timestamp::now()) };
    for event in sample::course(&stopping, 2, Timestamp::now()) {
        installation.backend.record(&Record::Event(event)).await.unwrap();
    }
    assert!(!place(&deployments(&tools, &message).await).is_alive);
    stop_it(&tools, &message).await;
    assert_eq!(deployments(&tools, &message).await[0].jobs.len(), 2, "there is nothing left to stop");
}

#[tokio::test]
async fn what_is_on_its_way_is_cancelled_once() {
    let installation = Installation::open();
    let tools = installation.tools();
    let message = message();
    submit(&tools.backend, &message).await.unwrap();
    for _ in 0..3 {
        stop_it(&tools, &message).await;
    }
    assert_eq!(installation.history(&message).await, ["accepted", "cancel_requested"]);
    let found = deployments(&tools, &message).await;
    assert!(found[0].jobs[0].cancel_requested);
    assert_eq!(place(&found).deployed_at, Some(found[0].created_at));
}

#[test]
fn an_environment_without_deployments_is_not_alive() {
    assert_eq!(place(&[]), ReviewPlace { is_alive: false, deployed_at: None });
}

#[test]
fn a_fork_has_no_branch_in_the_project() {
    let found = |source_project_id| MergeRequest {
        iid: 7,
        source_branch: "work".to_owned(),
        target_branch: "main".to_owned(),
        sha: "1".repeat(40),
        source_project_id,
        target_project_id: 1,
        draft: false,
        web_url: String::new(),
    };
    let own = request(found(1));
    assert_eq!((own.is_fork, own.source), (false, BranchName::parse("work").ok()));
    let fork = request(found(2));
    assert_eq!((fork.is_fork, fork.source), (true, None));
}

/// The project with one merge request, which is open, and what is remembered of it.
struct Proposal {
    installation: Installation,
    tools: std::sync::Arc<Tools>,
    slug: ProjectSlug,
    rule: ReviewRule,
}

impl Proposal {
    const REFERENCE: &str = "refs/merge-requests/7/head";

    /// What a look comes to that finds the merge request at `revision`, when it is `now`.
    async fn look(&self, revision: &str, now: Timestamp) -> Plan {
        let known = self.tools.backend.projects.heads(&self.slug).await.unwrap();
        let reviews = places(&self.tools, &self.slug, &known).await.unwrap();
        let mut heads = Heads { default_branch: BranchName::parse("main").ok(), ..Heads::default() };
        heads.branches.insert("main".to_owned(), "f".repeat(40));
        heads.merge_requests.insert(7, revision.to_owned());
        let source = BranchName::parse("work").ok();
        let open = [OpenRequest { iid: 7, source, target: "main".to_owned(), is_fork: false }];
        let place = ("review-7".parse().unwrap(), Self::REFERENCE.to_owned());
        decide(&Input {
            environments: &[],
            review: Some(&self.rule),
            known: &known,
            heads: &heads,
            requests: Some(&open),
            reviews: &reviews,
            answers: &Answers::from([(place, Answer::Deploy)]),
            now,
        })
    }

    /// A job runs to its end.
    async fn run(&self, message: &JobMessage, fence: u64) {
        for event in sample::course(message, fence, message.accepted_at) {
            self.installation.backend.record(&Record::Event(event)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn one_that_rests_for_too_long_is_stopped_and_only_a_push_brings_it_back() {
    let installation = Installation::open();
    let now = Timestamp::now();
    let pushed_at = now - SignedDuration::from_hours(11);
    let rule = ReviewRule { ttl_h: 10, ..ReviewRule::default() };
    let project = RegisteredProject { review: Some(rule.clone()), ..sample::registered("shop", pushed_at) };
    let slug = project.project.slug.clone();
    installation.backend.record(&Record::ProjectStored(Box::new(project))).await.unwrap();
    let tools = installation.tools();
    let proposal = Proposal { installation, tools, slug, rule };
    let (first, second) = ("1".repeat(40), "2".repeat(40));
    let message = JobMessage {
        environment: "review-7".parse().unwrap(),
        ..sample::pushed_job("shop", Proposal::REFERENCE, &first, pushed_at)
    };
    submit(&proposal.tools.backend, &message).await.unwrap();
    proposal.run(&message, 1).await;

    let early = pushed_at + SignedDuration::from_hours(9);
    assert_eq!(proposal.look(&first, early).await, Plan::default(), "it lives");
    let plan = proposal.look(&first, now).await;
    assert_eq!((plan.stop.len(), plan.notes.len()), (1, 1), "{plan:?}");
    for _ in 0..2 {
        stop(&proposal.tools, &proposal.slug, &plan.stop[0]).await.unwrap();
    }
    let found = deployments(&proposal.tools, &message).await;
    assert_eq!((found[0].state, found[0].jobs.len()), (DeploymentState::Stopping, 2));
    let stopping = JobMessage { id: found[0].jobs[1].id, ..sample::stop_job(&message, now) };
    proposal.run(&stopping, 2).await;

    let later = now + SignedDuration::from_hours(100);
    assert_eq!(proposal.look(&first, later).await, Plan::default(), "it stays stopped");
    let plan = proposal.look(&second, later).await;
    assert_eq!((plan.deploy.len(), plan.stop.len()), (1, 0), "{plan:?}");
    let wanted = &plan.deploy[0];
    let before = wanted.before.as_ref().map(|head| (head.revision.as_str(), head.deployment));
    assert_eq!(before, Some((first.as_str(), Some(message.deployment))));
    assert_eq!((wanted.revision.as_str(), wanted.merge_request), (second.as_str(), Some(7)));
}
