//! D13: jobs in back-off are tried again when they are due, whatever happens to the workers meanwhile.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use slipway_common::model::EventKind;
use slipway_integration_tests::effects::Ended;
use slipway_integration_tests::git_server::Fault;
use slipway_integration_tests::pace::allowed;
use slipway_integration_tests::rabbitmq::RabbitMq;
use slipway_integration_tests::rig::{Accepted, Rig, events_of, p99};
use tokio::time::Instant;

use super::machine;

/// Jobs in back-off; 1,000 in the requirement.
const JOBS: usize = 80;
/// The back-off is between half of this and all of it.
const BACKOFF_MS: &str = "40000";
/// Longest time from due to the next attempt.
const LATE_MAX: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(200);
const ALL_WAITING_MAX: Duration = Duration::from_secs(60);

/// The Git host is down, so every job is in back-off; all workers are restarted, one in good order and one by
/// `kill -9`. Each job is tried again not before it is due and within 5 s. 80 jobs of the 1,000 of the requirement.
#[tokio::test(flavor = "multi_thread")]
async fn d13_back_off_survives_a_restart_of_all_workers() -> anyhow::Result<()> {
    let _machine = machine().await;
    let rig = Rig::start(JOBS, RabbitMq::shared().await?, |options| {
        options
            .with(1, 2)
            .variable("SLIPWAY__WORKER__BACKOFF_MIN_MS", BACKOFF_MS)
            .variable("SLIPWAY__WORKER__BACKOFF_MAX_MS", BACKOFF_MS)
            .variable("SLIPWAY__WORKER__ATTEMPTS_MAX", "2")
            .variable("SLIPWAY__WORKER__SLOTS", "4")
    })
    .await?;
    let result = d13(&rig).await;
    rig.explained(result)
}

async fn d13(rig: &Rig) -> anyhow::Result<()> {
    rig.site.git().set_fault(Fault::ServerError);
    let accepted = rig.accept_all(0..JOBS).await?;
    all_wait(rig, &accepted).await?;
    rig.worker(0)?.terminate().await?;
    rig.worker(1)?.kill().await?;
    let restarted = Timestamp::now();
    rig.worker(0)?.start_again().await?;
    rig.worker(1)?.start_again().await?;
    let ready = Timestamp::now();

    let ends = rig.ends(&accepted, DEADLINE).await?;
    for end in &ends {
        ensure!(matches!(end.ended, Some(Ended::Failed { .. })), "two attempts, and then {end:#?}");
    }
    let events = rig.events().await?;
    let (mut lateness, mut due_while_down, mut before) = (Vec::new(), 0, 0);
    for one in &accepted {
        let own = events_of(&events, &one.job);
        let due = own.iter().find_map(|event| {
            if let EventKind::StageWaiting { until, .. } = &event.kind { Some(*until) } else { None }
        });
        let due = due.context("the job never waited")?;
        let again = own.iter().find(|event| matches!(event.kind, EventKind::StageStarted { attempt: 2, .. }));
        let at = again.context("there was no second attempt")?.at;
        ensure!(at >= due, "job {} was due at {due} and tried again at {at}", one.job);
        before += usize::from(at < restarted);
        due_while_down += usize::from(restarted <= due && due < ready);
        lateness.push(Duration::try_from(at.duration_since(due))?);
    }
    let (worst, most) = (lateness.iter().max().copied().unwrap_or_default(), p99(&lateness));
    ensure!(
        before * 2 < JOBS,
        "{before} jobs were due before the workers were restarted: the back-off is too short"
    );
    ensure!(worst <= allowed(LATE_MAX), "{worst:?} late at worst: {lateness:?}");
    eprintln!(
        "figure d13: {JOBS} jobs in back-off over a restart of all workers: none early, p99 {most:?} late, worst {worst:?} (bound 5 s); {due_while_down} were due before the workers were back"
    );
    Ok(())
}

/// Waits until every job has been put into back-off, by the ledger.
async fn all_wait(rig: &Rig, accepted: &[Accepted]) -> anyhow::Result<()> {
    let deadline = Instant::now() + ALL_WAITING_MAX;
    loop {
        let events = rig.events().await?;
        let waited: HashSet<String> = events
            .iter()
            .filter(|event| matches!(event.kind, EventKind::StageWaiting { .. }))
            .map(|event| event.job.to_string())
            .collect();
        if accepted.iter().all(|one| waited.contains(&one.job)) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "only {} of {JOBS} jobs are in back-off", waited.len());
        tokio::time::sleep(PAUSE).await;
    }
}
