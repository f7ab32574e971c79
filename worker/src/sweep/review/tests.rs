//! How the environment of a merge request is stopped, and what is said of it meanwhile.

use slipway_common::contract::sample;
use slipway_common::model::DeploymentState;

use super::*;
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
