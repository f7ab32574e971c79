//! U1: a rolling restart of every process under load.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use slipway_common::model::{Event, EventKind};
use slipway_integration_tests::distributed::ApiClient;
use slipway_integration_tests::pace::allowed;
use slipway_integration_tests::rabbitmq::RabbitMq;
use slipway_integration_tests::rig::{Accepted, Rig, events_of, key_of, p99};
use tokio::sync::watch;

use super::machine;

/// Jobs without restarts, to compare with.
const QUIET_JOBS: usize = 30;
/// Jobs under restarts; 1,000 in the requirement.
const JOBS: usize = 70;
/// Pause between two jobs.
const JOB_PACE: Duration = Duration::from_millis(500);
/// Pause between two questions: 20 a second; 50 in the requirement.
const ASK_PACE: Duration = Duration::from_millis(50);
/// Rounds over every process at least.
const ROUNDS_MIN: usize = 2;
/// What rolling restarts may add to the 99th percentile of a job's time.
const SLOWER_MAX: Duration = Duration::from_secs(10);
/// Time a balancer needs to take a process out of rotation before it is ended, as `preStop` hooks grant it.
const OUT_OF_ROTATION: Duration = Duration::from_millis(300);
const DEADLINE: Duration = Duration::from_secs(90);
const NONE: usize = usize::MAX;

/// Two processes of the API behind a balancer and two workers; each in turn is taken out of rotation, ended with
/// SIGTERM and started again, round after round, while jobs and questions come in: nothing lost, nothing done twice, no
/// refused connection, no 5xx, and the 99th percentile of a job's time grows by at most 10 s. 70 jobs of the 1,000 and 20
/// questions a second of the 50 of the requirement; Slipway's own processes only, as a single broker cannot be
/// restarted without 503.
#[tokio::test(flavor = "multi_thread")]
async fn u1_rolling_restart_under_load() -> anyhow::Result<()> {
    let _machine = machine().await;
    let rig = Rig::start(QUIET_JOBS + JOBS, RabbitMq::shared().await?, |options| options.with(2, 2)).await?;
    let result = u1(&rig).await;
    rig.explained(result)
}

/// The balancer: two processes of the API, one of which may be out of rotation.
struct Balancer {
    apis: [ApiClient; 2],
    out: AtomicUsize,
    turn: AtomicUsize,
    wrong: Mutex<BTreeMap<String, usize>>,
    answered: AtomicUsize,
}

impl Balancer {
    fn pick(&self) -> &ApiClient {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % 2;
        let index = if turn == self.out.load(Ordering::Relaxed) { 1 - turn } else { turn };
        &self.apis[index]
    }

    /// Counts an answer; a 5xx or none at all is wrong.
    fn count<T: std::fmt::Debug>(&self, answer: &anyhow::Result<(u16, T)>) {
        let wrong = match answer {
            Ok((status, _)) if *status < 500 => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Ok((status, body)) => format!("{status}: {body:?}"),
            Err(error) => format!("{error:#}"),
        };
        if let Ok(mut counts) = self.wrong.lock() {
            *counts.entry(wrong).or_default() += 1;
        }
    }

    async fn post(&self, rig: &Rig, index: usize) -> anyhow::Result<Accepted> {
        let answer = self.pick().post_deployment(&rig.site.request(index), Some(&key_of(index))).await;
        self.count(&answer);
        let (status, body) = answer?;
        ensure!(status == 202, "request {index} was answered {status}: {body}");
        Accepted::read(index, &body)
    }
}

async fn u1(rig: &Rig) -> anyhow::Result<()> {
    let balancer = Balancer {
        apis: [rig.slipway.api(0)?, rig.slipway.api(1)?],
        out: AtomicUsize::new(NONE),
        turn: AtomicUsize::new(0),
        wrong: Mutex::default(),
        answered: AtomicUsize::new(0),
    };
    let quiet = post_all(rig, &balancer, 0..QUIET_JOBS).await?;
    rig.ends(&quiet, DEADLINE).await?;
    let (done, seen) = watch::channel(false);
    let posting = async {
        let posted = post_all(rig, &balancer, QUIET_JOBS..QUIET_JOBS + JOBS).await;
        done.send_replace(true);
        posted
    };
    let (busy, rounds, ()) = tokio::join!(
        posting,
        restart_round_after_round(rig, &balancer, seen.clone()),
        ask_on(&balancer, &quiet[0], seen),
    );
    let (busy, rounds) = (busy?, rounds?);
    let all: Vec<Accepted> = quiet.iter().chain(&busy).cloned().collect();
    rig.all_succeed(&all, DEADLINE).await?;
    let wrong = balancer.wrong.lock().map(|wrong| wrong.clone()).unwrap_or_default();
    let answered = balancer.answered.load(Ordering::Relaxed);
    ensure!(wrong.is_empty(), "wrong answers beside {answered} good ones: {wrong:#?}");
    ensure!(rounds >= ROUNDS_MIN, "only {rounds} rounds");
    let events = rig.events().await?;
    let (before, under) = (p99(&times(&events, &quiet)?), p99(&times(&events, &busy)?));
    eprintln!(
        "figure u1: {rounds} rounds over 4 processes, {JOBS} jobs, {answered} answers, 0 refused, 0 5xx; p99 of a job {under:?}, without restarts {before:?}"
    );
    ensure!(under <= before + allowed(SLOWER_MAX), "p99 {under:?}, and {before:?} without restarts");
    Ok(())
}

async fn post_all(
    rig: &Rig,
    balancer: &Balancer,
    jobs: std::ops::Range<usize>,
) -> anyhow::Result<Vec<Accepted>> {
    let mut accepted = Vec::new();
    let mut pace = tokio::time::interval(JOB_PACE);
    for index in jobs {
        pace.tick().await;
        accepted.push(balancer.post(rig, index).await?);
    }
    Ok(accepted)
}

/// Asks for one deployment again and again.
async fn ask_on(balancer: &Balancer, asked: &Accepted, done: watch::Receiver<bool>) {
    let mut pace = tokio::time::interval(ASK_PACE);
    while !*done.borrow() {
        pace.tick().await;
        balancer.count(&balancer.pick().deployment(&asked.deployment).await);
    }
}

/// Restarts one process after another until all jobs are posted; answers how many rounds were completed.
async fn restart_round_after_round(
    rig: &Rig,
    balancer: &Balancer,
    done: watch::Receiver<bool>,
) -> anyhow::Result<usize> {
    let mut rounds = 0;
    while !*done.borrow() {
        for index in 0..2 {
            balancer.out.store(index, Ordering::Relaxed);
            tokio::time::sleep(OUT_OF_ROTATION).await;
            let api = rig.slipway.api_process(index)?;
            api.terminate().await?;
            api.start_again().await?;
            balancer.out.store(NONE, Ordering::Relaxed);
        }
        for index in 0..2 {
            rig.worker(index)?.terminate().await?;
            rig.worker(index)?.start_again().await?;
        }
        rounds += 1;
    }
    Ok(rounds)
}

/// From acceptance to success, of each job, by the ledger.
fn times(events: &[Event], jobs: &[Accepted]) -> anyhow::Result<Vec<Duration>> {
    let time = |job: &Accepted| {
        let own = events_of(events, &job.job);
        let begun = own.first().context("the job has no events")?.at;
        let ended = own.iter().find(|event| event.kind == EventKind::Succeeded);
        let ended = ended.context("the job has no end")?.at;
        anyhow::Ok(Duration::try_from(ended.duration_since(begun))?)
    };
    jobs.iter().map(time).collect()
}
