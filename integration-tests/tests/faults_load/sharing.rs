//! Work that is not evenly spread: one project with very many jobs (O3), one very long job (O7).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use slipway_integration_tests::ground::{Accepted, Ground, Plan, turn};
use slipway_integration_tests::pace::allowed;
use tokio::time::Instant;

/// O3: jobs of the one project; 10,000 in the requirement.
const MANY: usize = 300;
/// O3: until the other project's job has begun.
const BEGUN_MAX: Duration = Duration::from_secs(5);
/// O7: short jobs and workers; 99 and 10 in the requirement.
const SHORT: usize = 30;
const WORKERS: usize = 3;
const ENDS_MAX: Duration = Duration::from_secs(90);

fn time(job: &Value, field: &str) -> Timestamp {
    job[field].as_str().unwrap_or_else(|| panic!("no {field} in {job}")).parse().unwrap()
}

/// O3: one project has very many jobs in the queue. The single job of another project begins soon all the same.
#[tokio::test(flavor = "multi_thread")]
async fn o3_one_project_with_very_many_jobs() {
    let _turn = turn().await;
    let ground = Ground::start(Plan::new(8).idle()).await.unwrap();
    let asker = ground.asker(0).unwrap();
    // One repository and branch, an environment for each, so that none overtakes another.
    let of_project = |environment: usize| {
        let mut request = ground.request(0);
        request["environment"] = Value::String(format!("many-{environment}"));
        request
    };
    let answers = asker.post_at_rate(0..MANY, 60.0, of_project).await;
    let many: Vec<Accepted> =
        answers.iter().filter(|answer| answer.status == 202).map(Accepted::of).collect();
    assert_eq!(many.len(), MANY, "{:?}", answers.iter().find(|answer| answer.status != 202));
    ground.slipway.worker_process(0).unwrap().start_again().await.unwrap();
    ground.wait_running(&many[0].job, ENDS_MAX).await.unwrap();
    let mut worst = Duration::ZERO;
    for index in 1..=3 {
        let single = ground.accept(index, &ground.request(index)).await.unwrap();
        let begun = || async { ground.job(&single.job).await.is_ok_and(|job| job["started_at"].is_string()) };
        ground.wait("the single job to begin", ENDS_MAX, begun).await.unwrap();
        let job = ground.job(&single.job).await.unwrap();
        let waited =
            Duration::try_from(time(&job, "started_at").duration_since(time(&job, "accepted_at"))).unwrap();
        worst = worst.max(waited);
    }
    let left = ground.ready("jobs.backlog").await + ground.ready("jobs.front").await;
    println!(
        "O3: with {MANY} jobs of one project ({left} still queued), another project's job begins within {worst:?}"
    );
    assert!(left > 0, "the other project's jobs did not overtake anything");
    assert!(worst <= allowed(BEGUN_MAX), "{worst:?}");
}

/// Has the short jobs done; answers how long that took.
async fn short_jobs(ground: &Ground, first: usize) -> (Duration, Vec<Accepted>) {
    let begun = Instant::now();
    let jobs = ground.accept_all(first..first + SHORT).await.unwrap();
    let histories = ground.ends(&jobs, ENDS_MAX).await.unwrap();
    assert!(
        histories.iter().all(|history| history.ended.is_some()),
        "{histories:?}\n{}",
        ground.slipway.logs()
    );
    (begun.elapsed(), jobs)
}

/// O7: a very long job holds one worker. The others do all short jobs in the time they need without it: the held worker
/// has taken none of them for itself.
#[tokio::test(flavor = "multi_thread")]
async fn o7_one_very_long_job() {
    let _turn = turn().await;
    let plan = Plan::new(4 * SHORT).with(1, WORKERS).variable("SLIPWAY__WORKER__SLOTS", "1");
    let ground = Ground::start(plan).await.unwrap();
    // Mirrors are made first.
    let (_, mut jobs) = short_jobs(&ground, 0).await;
    ground.slipway.worker_process(WORKERS - 1).unwrap().freeze().await.unwrap();
    ground.slipway.worker_process(WORKERS - 1).unwrap().kill().await.unwrap();
    let (without, more) = short_jobs(&ground, SHORT).await;
    jobs.extend(more);
    ground.slipway.worker_process(WORKERS - 1).unwrap().start_again().await.unwrap();

    ground.git_line.blackhole();
    let long = ground.accept(3 * SHORT, &ground.slow_request(3 * SHORT)).await.unwrap();
    ground.wait_running(&long.job, ENDS_MAX).await.unwrap();
    let (with, more) = short_jobs(&ground, 2 * SHORT).await;
    jobs.extend(more);
    let state = ground.job(&long.job).await.unwrap();
    assert_eq!(state["state"]["status"], "running", "the long job still runs: {state}");
    println!(
        "O7: {SHORT} short jobs on {} workers in {without:?}; beside a long job on {WORKERS} in {with:?}",
        WORKERS - 1
    );
    assert!(with <= allowed(without) + Duration::from_secs(2), "{with:?} and {without:?}");
    ground.git_line.heal().await.unwrap();
    jobs.push(long);
    ground.expect_all_good(&jobs, ENDS_MAX).await.unwrap();
}
