//! Tests of the fold: every legal path, every typed refusal, and (in `properties`) arbitrary histories.

mod properties;

use jiff::Timestamp;

use super::{Illegal, apply, begin};
use crate::contract::sample::{course, deploy_job, event, stop_job};
use crate::failure::Failure;
use crate::model::{
    Deployment, DeploymentId, DeploymentState, Event, EventKind, Facts, JobId, JobKind, JobMessage, JobState,
    SourceFact, Stage, StageStatus,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn accepted() -> (JobMessage, Deployment) {
    let message = deploy_job("shop", at(0));
    let deployment = begin(&Event::accepted(&message)).unwrap();
    (message, deployment)
}

fn active() -> (JobMessage, Deployment) {
    let (message, mut deployment) = accepted();
    for event in course(&message, 1, at(0)) {
        apply(&mut deployment, &event).unwrap();
    }
    (message, deployment)
}

fn started(stage: Stage) -> EventKind {
    EventKind::StageStarted { stage, attempt: 1 }
}

fn finished(stage: Stage) -> EventKind {
    EventKind::StageFinished { stage, facts: Box::default(), skipped: None }
}

fn waiting(stage: Stage) -> EventKind {
    EventKind::StageWaiting {
        stage,
        attempt: 2,
        until: at(99),
        reason: "the registry is away".to_owned(),
        outcome_unknown: false,
    }
}

fn failed(stage: Stage) -> EventKind {
    EventKind::Failed { failure: Failure::new(stage, "no_port", "it does not listen") }
}

fn retry_of(message: &JobMessage, facts: Facts) -> JobMessage {
    let JobKind::Deploy { spec, .. } = &message.kind else { panic!("a deploy job") };
    let kind = JobKind::Deploy { spec: spec.clone(), facts };
    JobMessage { id: JobId::generate(), kind, ..message.clone() }
}

/// Applies events of `message` under fencing token 1, one second apart.
fn follow(deployment: &mut Deployment, message: &JobMessage, kinds: impl IntoIterator<Item = EventKind>) {
    for (second, kind) in (1..).zip(kinds) {
        apply(deployment, &event(message, 1, at(second), kind)).unwrap();
    }
}

#[test]
fn acceptance_brings_the_deployment_into_being() {
    let (message, deployment) = accepted();
    assert_eq!(deployment.state, DeploymentState::Queued);
    assert_eq!((deployment.id, deployment.created_at, deployment.fence), (message.deployment, at(0), 0));
    assert_eq!(deployment.jobs.len(), 1);
    assert_eq!(deployment.job(message.id).unwrap().state, JobState::Queued);
    assert!(deployment.stages.iter().all(|report| report.status == StageStatus::Pending));
}

#[test]
fn only_an_accepted_deploy_job_begins_a_history() {
    let (message, _) = accepted();
    let not_accepted = begin(&event(&message, 1, at(1), EventKind::Succeeded));
    assert_eq!(not_accepted, Err(Illegal::NotABeginning { event: "succeeded" }));
    let stop = begin(&Event::accepted(&stop_job(&message, at(1))));
    assert_eq!(stop, Err(Illegal::NotABeginning { event: "accepted" }));
}

#[test]
fn a_deploy_job_walks_its_stages_into_service() {
    let (message, mut deployment) = accepted();
    let mut seen = Vec::new();
    for event in course(&message, 7, at(0)) {
        apply(&mut deployment, &event).unwrap();
        if seen.last() != Some(&deployment.state) {
            seen.push(deployment.state);
        }
    }
    use DeploymentState::{Active, Building, Deploying, Preparing};
    assert_eq!(seen, [Preparing, Building, Deploying, Active]);
    assert!(deployment.stages.iter().all(|report| report.status == StageStatus::Succeeded));
    let job = deployment.job(message.id).unwrap();
    assert_eq!((job.started_at, job.finished_at), (Some(at(1)), Some(at(16))));
    assert!(deployment.was_active && deployment.facts.source.is_some());
    assert_eq!((deployment.fence, deployment.updated_at), (7, at(16)));
}

#[test]
fn a_waiting_job_goes_on_where_it_was() {
    let (message, mut deployment) = accepted();
    follow(&mut deployment, &message, [started(Stage::Build), waiting(Stage::Build)]);
    let state = &deployment.job(message.id).unwrap().state;
    assert!(matches!(state, JobState::Waiting { stage: Stage::Build, attempt: 2, .. }), "{state:?}");
    assert_eq!(deployment.stage(Stage::Build).unwrap().status, StageStatus::Waiting);
    assert_eq!(deployment.state, DeploymentState::Building, "waiting leaves the deployment where it is");
    follow(&mut deployment, &message, [started(Stage::Build)]);
    let report = deployment.stage(Stage::Build).unwrap();
    assert_eq!((report.status, report.started_at), (StageStatus::Running, Some(at(1))));
}

#[test]
fn a_job_may_wait_before_it_begins() {
    let (message, mut deployment) = accepted();
    follow(&mut deployment, &message, [waiting(Stage::Clone), started(Stage::Clone)]);
    assert_eq!(deployment.state, DeploymentState::Preparing);
}

#[test]
fn a_failure_is_kept_and_a_retry_starts_from_the_facts() {
    let (message, mut deployment) = accepted();
    follow(&mut deployment, &message, [started(Stage::Apply), failed(Stage::Apply)]);
    assert_eq!(deployment.state, DeploymentState::Failed);
    assert_eq!(deployment.failure.as_ref().unwrap().code, "no_port");
    assert_eq!(deployment.stage(Stage::Apply).unwrap().status, StageStatus::Failed);
    let source = SourceFact { revision: "1".repeat(40), branch: None };
    let retry = retry_of(&message, Facts { source: Some(source), ..Facts::default() });
    apply(&mut deployment, &Event::accepted(&retry)).unwrap();
    assert_eq!((deployment.state, &deployment.failure), (DeploymentState::Queued, &None));
    assert_eq!(deployment.stage(Stage::Clone).unwrap().status, StageStatus::Skipped);
    assert_eq!(deployment.stage(Stage::Apply).unwrap().status, StageStatus::Pending);
    assert_eq!(deployment.jobs.len(), 2);
}

#[test]
fn what_waits_can_be_ended_without_a_lease_and_what_runs_cannot() {
    let newer = DeploymentId::generate();
    for kind in [EventKind::Cancelled, EventKind::Superseded { by: newer }, failed(Stage::Clone)] {
        let (message, mut deployment) = accepted();
        apply(&mut deployment, &event(&message, 0, at(1), kind.clone())).unwrap();
        assert!(deployment.job(message.id).unwrap().state.is_terminal());
        let (message, mut deployment) = accepted();
        follow(&mut deployment, &message, [started(Stage::Clone)]);
        let refused = apply(&mut deployment, &event(&message, 0, at(2), kind));
        assert_eq!(refused, Err(Illegal::Fenced { fence: 0, newest: 1 }));
    }
}

#[test]
fn cancelled_and_superseded_end_job_stages_and_deployment() {
    let newer = DeploymentId::generate();
    let ends = [
        (EventKind::Cancelled, DeploymentState::Stopped, Some(at(2)), None),
        (EventKind::Superseded { by: newer }, DeploymentState::Superseded, None, Some(newer)),
    ];
    for (kind, state, stopped_at, succeeded_by) in ends {
        let (message, mut deployment) = accepted();
        follow(&mut deployment, &message, [started(Stage::Build), kind]);
        assert_eq!((deployment.state, deployment.stopped_at), (state, stopped_at));
        assert_eq!(deployment.succeeded_by, succeeded_by);
        assert_eq!(deployment.stage(Stage::Build).unwrap().status, StageStatus::Stopped);
    }
}

#[test]
fn a_cancel_request_only_marks_the_job() {
    let (message, mut deployment) = accepted();
    let request = EventKind::CancelRequested { by: "ada".to_owned() };
    apply(&mut deployment, &event(&message, 0, at(1), request)).unwrap();
    let job = deployment.job(message.id).unwrap();
    assert!(job.cancel_requested && job.state == JobState::Queued);
}

#[test]
fn service_degrades_recovers_and_is_replaced() {
    let (message, mut deployment) = active();
    let mut say = |fence, kind| {
        apply(&mut deployment, &event(&message, fence, at(30), kind)).map(|()| deployment.clone())
    };
    let degraded = say(0, EventKind::Degraded { reason: "1 of 2".to_owned() }).unwrap();
    assert_eq!((degraded.state, degraded.degraded.as_deref()), (DeploymentState::Degraded, Some("1 of 2")));
    let recovered = say(0, EventKind::Recovered).unwrap();
    assert_eq!((recovered.state, recovered.degraded), (DeploymentState::Active, None));
    let by = DeploymentId::generate();
    assert!(matches!(say(0, EventKind::Replaced { by }), Err(Illegal::Fenced { .. })), "it needs a lease");
    let replaced = say(2, EventKind::Replaced { by }).unwrap();
    assert_eq!((replaced.state, replaced.succeeded_by), (DeploymentState::Stopped, Some(by)));
    let again = say(2, EventKind::Recovered);
    let state = DeploymentState::Stopped;
    assert_eq!(again, Err(Illegal::WrongDeploymentState { event: "recovered", state }));
}

#[test]
fn a_stopped_deployment_that_is_deployed_again_forgets_what_stopped_it() {
    let (message, mut deployment) = active();
    follow(
        &mut deployment,
        &message,
        [
            EventKind::Degraded { reason: "1 of 2".to_owned() },
            EventKind::Replaced { by: DeploymentId::generate() },
        ],
    );
    apply(&mut deployment, &Event::accepted(&retry_of(&message, Facts::default()))).unwrap();
    assert_eq!((deployment.succeeded_by, deployment.stopped_at, deployment.degraded), (None, None, None));
}

#[test]
fn a_stop_takes_it_out_of_service() {
    let (message, mut deployment) = active();
    let stop = stop_job(&message, at(40));
    apply(&mut deployment, &Event::accepted(&stop)).unwrap();
    assert_eq!(deployment.state, DeploymentState::Stopping);
    for event in course(&stop, 2, at(40)) {
        apply(&mut deployment, &event).unwrap();
    }
    assert_eq!((deployment.state, deployment.stopped_at), (DeploymentState::Stopped, Some(at(44))));
}

#[test]
fn a_stop_asks_the_job_at_work_to_end_and_wins_over_it() {
    let (message, mut deployment) = accepted();
    follow(&mut deployment, &message, [started(Stage::Build)]);
    let stop = stop_job(&message, at(5));
    apply(&mut deployment, &Event::accepted(&stop)).unwrap();
    assert!(deployment.job(message.id).unwrap().cancel_requested);
    follow(&mut deployment, &message, [EventKind::Cancelled]);
    assert_eq!(deployment.state, DeploymentState::Stopping, "the older job does not decide any more");
}

#[test]
fn a_stop_that_does_not_succeed_leaves_it_in_service() {
    for kind in
        [failed(Stage::Stop), EventKind::Cancelled, EventKind::Superseded { by: DeploymentId::generate() }]
    {
        let (message, mut deployment) = active();
        let stop = stop_job(&message, at(40));
        apply(&mut deployment, &Event::accepted(&stop)).unwrap();
        follow(&mut deployment, &stop, [kind]);
        assert_eq!(deployment.state, DeploymentState::Degraded);
        assert!(deployment.state.in_service() && deployment.succeeded_by.is_none());
    }
}

fn repair_of(deployment: &Deployment, second: i64) -> JobMessage {
    JobMessage::repair(deployment, JobId::generate(), "ada".to_owned(), at(second))
}

/// Asks for a repair.
fn accept(deployment: &mut Deployment, second: i64) -> Result<(), Illegal> {
    let repair = repair_of(deployment, second);
    apply(deployment, &Event::accepted(&repair))
}

#[test]
fn a_repair_leaves_it_in_service_whatever_comes_of_it() {
    let (_, mut deployment) = active();
    for end in
        [EventKind::Succeeded, EventKind::Cancelled, EventKind::Superseded { by: DeploymentId::generate() }]
    {
        let repair = repair_of(&deployment, 40);
        apply(&mut deployment, &Event::accepted(&repair)).unwrap();
        assert_eq!(deployment.state, DeploymentState::Active);
        follow(&mut deployment, &repair, [started(Stage::Apply), finished(Stage::Apply), end]);
        assert_eq!(deployment.state, DeploymentState::Active);
        assert!(deployment.job(repair.id).unwrap().state.is_terminal());
    }
    let repair = repair_of(&deployment, 50);
    apply(&mut deployment, &Event::accepted(&repair)).unwrap();
    follow(&mut deployment, &repair, [started(Stage::Apply), failed(Stage::Apply)]);
    assert_eq!(deployment.state, DeploymentState::Degraded);
    assert_eq!(deployment.degraded.as_deref(), Some("the repair failed: it does not listen"));
    let next = repair_of(&deployment, 60);
    apply(&mut deployment, &Event::accepted(&next)).unwrap();
    assert_eq!(deployment.failure, None, "the next one begins anew");
}

#[test]
fn only_what_is_in_service_and_left_alone_is_repaired() {
    let (message, mut deployment) = accepted();
    let early = accept(&mut deployment, 1);
    assert_eq!(early, Err(Illegal::JobAtWork { job: message.id }));
    let (_, mut deployment) = active();
    let first = repair_of(&deployment, 40);
    apply(&mut deployment, &Event::accepted(&first)).unwrap();
    let second = accept(&mut deployment, 41);
    assert_eq!(second, Err(Illegal::JobAtWork { job: first.id }));
    let by = DeploymentId::generate();
    follow(&mut deployment, &first, [EventKind::Replaced { by }, EventKind::Cancelled]);
    let late = accept(&mut deployment, 42);
    assert_eq!(
        late,
        Err(Illegal::WrongDeploymentState { event: "accepted", state: DeploymentState::Stopped })
    );
}

#[test]
fn of_many_repairs_the_last_are_kept_and_no_other_job_is_forgotten() {
    let (message, mut deployment) = active();
    let mut repairs = Vec::new();
    for second in 0..30 {
        let repair = repair_of(&deployment, 40 + second);
        apply(&mut deployment, &Event::accepted(&repair)).unwrap();
        follow(&mut deployment, &repair, [started(Stage::Apply), EventKind::Succeeded]);
        repairs.push(repair.id);
    }
    let kept: Vec<JobId> = deployment.jobs.iter().map(|job| job.id).collect();
    assert_eq!(kept[0], message.id);
    assert_eq!(kept[1..], repairs[20..]);
}

#[test]
fn refusals_say_why() {
    let (message, mut deployment) = accepted();
    let mut refusal = |fence, message: &JobMessage, kind| {
        apply(&mut deployment, &event(message, fence, at(9), kind)).expect_err("it is illegal")
    };
    let stranger = JobMessage { id: JobId::generate(), ..message.clone() };
    let unknown = Illegal::UnknownJob { job: stranger.id };
    assert_eq!(refusal(1, &stranger, started(Stage::Clone)), unknown);
    let again = EventKind::Accepted { message: Box::new(message.clone()) };
    assert_eq!(refusal(0, &message, again), Illegal::AcceptedBefore { job: message.id });
    let second = EventKind::Accepted { message: Box::new(retry_of(&message, Facts::default())) };
    assert_eq!(refusal(0, &message, second), Illegal::JobAtWork { job: message.id });
    let queued = |event| Illegal::WrongState { event, state: "queued" };
    assert_eq!(refusal(1, &message, EventKind::Succeeded), queued("succeeded"));
    assert_eq!(refusal(1, &message, finished(Stage::Clone)), queued("stage_finished"));
    let foreign = |event| Illegal::WrongStage { event, stage: Stage::Stop };
    assert_eq!(refusal(1, &message, started(Stage::Stop)), foreign("stage_started"));
    assert_eq!(refusal(1, &message, waiting(Stage::Stop)), foreign("stage_waiting"));
    assert_eq!(refusal(0, &message, started(Stage::Clone)), Illegal::Fenced { fence: 0, newest: 0 });
    let state = DeploymentState::Queued;
    assert_eq!(
        refusal(0, &message, EventKind::Recovered),
        Illegal::WrongDeploymentState { event: "recovered", state }
    );
}

#[test]
fn stages_do_not_go_back_and_end_where_they_are() {
    let (message, mut deployment) = accepted();
    follow(&mut deployment, &message, [started(Stage::Build)]);
    let cases = [
        (started(Stage::Commit), "stage_started", Stage::Commit),
        (waiting(Stage::Clone), "stage_waiting", Stage::Clone),
        (finished(Stage::Apply), "stage_finished", Stage::Apply),
        (EventKind::Succeeded, "succeeded", Stage::Build),
    ];
    for (kind, name, stage) in cases {
        let refused = apply(&mut deployment, &event(&message, 1, at(9), kind));
        assert_eq!(refused, Err(Illegal::WrongStage { event: name, stage }));
    }
}

#[test]
fn an_overtaken_writer_is_fenced_off() {
    let (message, mut deployment) = accepted();
    apply(&mut deployment, &event(&message, 5, at(1), started(Stage::Clone))).unwrap();
    let refused = apply(&mut deployment, &event(&message, 4, at(2), started(Stage::Template)));
    assert_eq!(refused, Err(Illegal::Fenced { fence: 4, newest: 5 }));
    assert_eq!(deployment.fence, 5);
}

#[test]
fn nothing_follows_the_end_of_a_job() {
    let (message, mut deployment) = active();
    for kind in
        [started(Stage::Apply), EventKind::Cancelled, EventKind::CancelRequested { by: "ada".to_owned() }]
    {
        let event = event(&message, 9, at(50), kind);
        let refused = apply(&mut deployment, &event);
        assert_eq!(refused, Err(Illegal::Ended { event: event.kind.name(), state: "succeeded" }));
    }
    let redeploy = apply(&mut deployment, &Event::accepted(&retry_of(&message, Facts::default())));
    let state = DeploymentState::Active;
    assert_eq!(redeploy, Err(Illegal::WrongDeploymentState { event: "accepted", state }));
}
