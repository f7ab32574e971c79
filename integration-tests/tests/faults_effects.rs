//! Effects under crashes and cut lines, over RabbitMQ and Redis with two workers. I6: `kill -9` before, inside and
//! after every call a worker makes to the outside. I7: the line breaks after the other side did what it was asked to.
//! I12: what was done before the crash is not done again.

#[path = "faults_effects/engine.rs"]
mod engine;
#[path = "faults_effects/plan.rs"]
mod plan;
#[path = "faults_effects/push.rs"]
mod push;
#[path = "faults_effects/relay.rs"]
mod relay;
#[path = "faults_effects/resume.rs"]
mod resume;
#[path = "faults_effects/services.rs"]
mod services;
#[path = "faults_effects/unknown.rs"]
mod unknown;

use engine::EngineLane;
use plan::Scenario;
use push::PushLane;
use slipway_integration_tests::docker_engine;
use unknown::Outage;

#[test]
fn i6_every_point_is_in_the_plan() {
    let planned: usize = Scenario::ALL.into_iter().map(|scenario| plan::points(scenario).len()).sum();
    assert_eq!(planned, slipway_worker::failpoint::POINTS.len());
    let names = |scenario| plan::places(scenario).map(|place| place.as_str()).collect::<Vec<&str>>();
    // The rows of the crash matrix, which kills around stages.
    assert_eq!(names(Scenario::Stage), ["clone", "template", "commit", "build", "apply", "stop"]);
    // The kills of the suite `kubernetes`, one test for each kind of call.
    assert_eq!(
        names(Scenario::Cluster),
        ["object_dry_run", "object_apply", "object_create", "object_replace", "object_delete"]
    );
}

/// Everything up to the push: the lease, the credential, the Git host, the ledger, the store and the queue.
#[tokio::test(flavor = "multi_thread")]
async fn i6_kill_around_every_call_up_to_the_push() {
    let mut lane = PushLane::start().await.expect("the lane starts");
    for point in plan::points(Scenario::Push).into_iter().chain(plan::later_writes()) {
        lane.crash_at(&point).await.unwrap_or_else(|error| panic!("{point}: {error:#}"));
    }
    for point in plan::points(Scenario::Park) {
        lane.crash_while_parking(&point).await.unwrap_or_else(|error| panic!("{point}: {error:#}"));
    }
    for point in plan::points(Scenario::Bury) {
        lane.crash_while_burying(&point).await.unwrap_or_else(|error| panic!("{point}: {error:#}"));
    }
    lane.check_all().await.expect("every effect is there once and nothing is left");
}

/// Everything from the build on: the engine, the registry, the ports.
#[tokio::test(flavor = "multi_thread")]
async fn i6_kill_around_every_call_to_engine_and_registry() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let mut lane = EngineLane::start(&host, &host, None).await.expect("the lane starts");
    let ended = lane.crash_everywhere().await;
    lane.clean_up().await.expect("the engine is cleaned up");
    ended.unwrap_or_else(|error| panic!("{error:#}"));
}

/// The Git host took the push, and its answer is lost.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_push_whose_answer_is_lost_is_found() {
    unknown::push(Outage::Short).await.unwrap_or_else(|error| panic!("{error:#}"));
}

/// The same, and the host stays away for longer than the attempts of a job last: what nobody knows is no failure.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_push_whose_answer_is_lost_is_waited_for_beyond_the_attempts() {
    unknown::push(Outage::OutlastsAttempts).await.unwrap_or_else(|error| panic!("{error:#}"));
}

/// The registry took the manifest, and its answer is lost.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_manifest_whose_answer_is_lost_is_found() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    unknown::manifest(&host).await.unwrap_or_else(|error| panic!("{error:#}"));
}

/// The engine made the container, and its answer is lost.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_container_whose_answer_is_lost_is_found() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    unknown::container(&host).await.unwrap_or_else(|error| panic!("{error:#}"));
}

/// A crash in one stage causes no effect of an earlier one.
#[tokio::test(flavor = "multi_thread")]
async fn i12_stages_before_the_crash_are_not_repeated() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let mut lane = EngineLane::start(&host, &host, None).await.expect("the lane starts");
    let ended = resume::crash_in_each_stage(&mut lane).await;
    lane.clean_up().await.expect("the engine is cleaned up");
    ended.unwrap_or_else(|error| panic!("{error:#}"));
}
