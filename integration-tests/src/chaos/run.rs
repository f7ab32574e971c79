//! One run from beginning to end: everything is started, jobs are asked for while faults happen, everything is healed,
//! every job is awaited, and the effects are compared with the answers.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::{Asked, Counted, ask_for_all};
use super::faults::{Brokers, Field};
use super::history::{self, History};
use super::plan::{Plan, Shape};
use super::report::{Report, Tally};
use super::site::Site;
use super::watch::watch;
use crate::distributed::{ApiClient, DistributedOptions, DistributedSlipway, ended_as};
use crate::effects::{
    Effect, Ended, JobHistory, STALL_MAX, Sample, Stall, Violation, ViolationKind, check, stalls,
};
use crate::redis_server::{RedisOptions, RedisServer};

/// Longest wait for all processes to be ready after the last fault.
const HEAL_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest time without any job coming to an end before the open ones count as lost: four leases of 15 seconds, and
/// the longest stage.
const DEADLINE_WITHOUT_AN_END: Duration = Duration::from_secs(120);
/// Pause between two looks at the open jobs, and looks under way at once.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
const LOOKS_AT_ONCE: usize = 8;
/// Open jobs that are looked at in turn: to look at thousands all the time takes the processors from those who work.
const LOOKS_MAX: usize = 100;
/// A quorum queue whose node is killed in the moment of its declaration may stay without a leader for good, so the first
/// fault comes some time after the topology was declared.
const DECLARED_BEFORE: Duration = Duration::from_secs(3);
/// Pause between two looks at how far the client is.
const PACE_INTERVAL: Duration = Duration::from_millis(50);

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct ChaosSettings {
    /// What everything random comes from.
    pub seed: u64,
    /// Jobs to ask for.
    pub jobs: usize,
    /// Faults to spread over them.
    pub faults: usize,
    /// Parts.
    pub shape: Shape,
    /// Jobs asked for in a second at most.
    pub rate: f64,
    /// A fault to plant in every process.
    pub plant: Option<String>,
    /// Where report and logs are kept.
    pub folder: PathBuf,
}

/// Runs it. A violation is no error; the report tells it.
///
/// # Errors
/// When something the run needs does not work; Slipway's own failures are in the report.
pub async fn run(settings: &ChaosSettings) -> anyhow::Result<Report> {
    let plan = Plan::draw(settings.seed, settings.jobs, settings.faults, settings.shape);
    let site = Arc::new(Site::start(settings.jobs).await.context("making the repositories")?);
    let field = Arc::new(start(settings).await?);
    tokio::time::sleep(DECLARED_BEFORE).await;
    let begun = Instant::now();
    let watched = Watched::start(&field, begun);
    let mut background = JoinSet::new();
    background.spawn(Arc::clone(&field).supervise());

    let counted = Arc::new(Counted::default());
    let faults = tokio::spawn(fault_after_fault(Arc::clone(&field), plan.clone(), Arc::clone(&counted)));
    let asking = ask_for_all(
        Arc::clone(&site),
        clients(&field, settings.shape)?,
        settings.jobs,
        settings.rate,
        Arc::clone(&counted),
    );
    let asked = asking.await;
    faults.await.context("the faults")?;
    field.slipway.wait_ready(HEAL_TIMEOUT).await.context("after the last fault")?;
    let (histories, mut violations) = ends(&site, &field, settings.shape, asked.clone()).await?;
    let effects = promised(&site, &asked, site.effects().await?);

    violations.extend(check(&histories, &effects));
    let stalls = watched.stalls();
    violations.extend(stalls.iter().map(|stall| {
        let what = format!("{:?} with {} jobs ready", stall.lasted, stall.ready);
        Violation::new(ViolationKind::Stall, &format!("{:?}", stall.from), what)
    }));
    let happened = field.happened();
    let resumed = watched.resumed(&happened);
    violations.extend(history::late(&resumed));
    let mut report = Report {
        plan,
        shape: settings.shape,
        planted: settings.plant.clone(),
        took: begun.elapsed(),
        tally: Tally::of(settings.jobs, &histories),
        answers: counted.answers(),
        violations,
        stalls,
        resumed_after_kill: Vec::new(),
        resumed_after_freeze: Vec::new(),
        resumed_under_other_faults: 0,
        faults: Report::count_faults(&happened),
        ended_by_themselves: field.ended_by_themselves(),
        troubles: field.troubles(),
    };
    report.set_resumed(resumed);
    keep(settings, &field, &report, &histories)?;
    Ok(report)
}

async fn start(settings: &ChaosSettings) -> anyhow::Result<Field> {
    let brokers = Brokers::start(settings.shape.brokers).await.context("starting RabbitMQ")?;
    let redis = RedisServer::start(RedisOptions::default()).await.context("starting Redis")?;
    let mut options = DistributedOptions::new(brokers.urls(), redis.url())
        .with(settings.shape.apis, settings.shape.workers)
        .variable("SLIPWAY_LAST_STAGE", "commit")
        // No job gets as far as an engine; whatever engine this machine has is left alone.
        .variable("SLIPWAY__DOCKER__HOST", "unix:///nonexistent/docker.sock")
        // There is nothing to look at, and thousands of deployments that would be looked for.
        .variable("SLIPWAY__WORKER__OBSERVE_INTERVAL_MS", "600000")
        .variable("SLIPWAY__LOG__FILTER", "info,slipway=debug,actix_server=warn");
    if let Some(plant) = &settings.plant {
        options = options.variable("SLIPWAY_PLANT", plant);
    }
    let slipway = DistributedSlipway::start(options).await.context("starting Slipway")?;
    Ok(Field::new(slipway, brokers, redis, settings.shape))
}

fn clients(field: &Field, shape: Shape) -> anyhow::Result<Vec<ApiClient>> {
    (0..shape.apis).map(|index| field.slipway.api(index)).collect()
}

/// Those who look on while the run lasts.
struct Watched {
    history: history::Shared,
    samples: Arc<Mutex<Vec<Sample>>>,
    _tasks: JoinSet<()>,
}

impl Watched {
    fn start(field: &Arc<Field>, begun: Instant) -> Self {
        let history = Arc::new(Mutex::new(History::default()));
        let samples = Arc::new(Mutex::new(Vec::new()));
        let prefix = field.slipway.prefix();
        let queues = vec![format!("{prefix}.jobs.front"), format!("{prefix}.jobs.backlog")];
        let mut tasks = JoinSet::new();
        tasks.spawn(history::follow(field.brokers.urls(), format!("{prefix}.ledger"), Arc::clone(&history)));
        let (watching, into) = (Arc::clone(&history), Arc::clone(&samples));
        tasks.spawn(watch(Arc::clone(field), queues, watching, begun, into));
        Self { history, samples, _tasks: tasks }
    }

    fn stalls(&self) -> Vec<Stall> {
        stalls(&self.samples.lock().unwrap_or_else(PoisonError::into_inner), STALL_MAX)
    }

    fn resumed(&self, happened: &[history::Happened]) -> history::Resumed {
        history::resumed(self.history.lock().unwrap_or_else(PoisonError::into_inner).jobs(), happened)
    }
}

/// Begins each fault when its number of jobs was accepted; waits for the end of all.
async fn fault_after_fault(field: Arc<Field>, plan: Plan, counted: Arc<Counted>) {
    let mut under_way = JoinSet::new();
    let mut stuck = (0, Instant::now());
    for planned in plan.faults {
        while counted.accepted() < planned.after_jobs {
            // When nothing is accepted any more, the faults still to come would never be: the end tells why.
            if stuck.0 != counted.accepted() {
                stuck = (counted.accepted(), Instant::now());
            }
            if stuck.1.elapsed() > DEADLINE_WITHOUT_AN_END {
                break;
            }
            tokio::time::sleep(PACE_INTERVAL).await;
        }
        let field = Arc::clone(&field);
        under_way.spawn(async move { field.hit(planned.fault).await });
    }
    under_way.join_all().await;
}

/// Waits for the end of every accepted job. Answers their histories, and a violation for each good request that was
/// refused.
async fn ends(
    site: &Site,
    field: &Field,
    shape: Shape,
    asked: Vec<(usize, Asked)>,
) -> anyhow::Result<(Vec<JobHistory>, Vec<Violation>)> {
    let (mut histories, mut violations) = (Vec::new(), Vec::new());
    for (index, asked) in asked {
        match asked {
            Asked::Accepted { deployment, job } => {
                histories.push(JobHistory { job, deployment, ended: None, wanted: site.wanted(index) });
            }
            Asked::Refused { status, body } => {
                let what = format!("a good request was answered {status}: {body}");
                violations.push(Violation::new(ViolationKind::Wrong, &format!("request {index}"), what));
            }
            Asked::NeverAnswered { last } => eprintln!("chaos: request {index} was never answered: {last}"),
        }
    }
    let apis = clients(field, shape)?;
    let mut progress = Instant::now();
    let mut from = 0;
    while progress.elapsed() < DEADLINE_WITHOUT_AN_END {
        let open = histories.iter().filter(|history| history.ended.is_none()).count();
        if open == 0 {
            break;
        }
        from = if from + LOOKS_MAX < open { from + LOOKS_MAX } else { 0 };
        let some = histories.iter_mut().enumerate().filter(|(_, history)| history.ended.is_none());
        let looks = some.skip(from).take(LOOKS_MAX).map(|(index, history)| {
            let api = &apis[index % apis.len()];
            async move {
                history.ended = look(api, history).await;
                history.ended.is_some()
            }
        });
        let found: Vec<bool> = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).collect().await;
        if found.iter().any(|ended| *ended) {
            progress = Instant::now();
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    Ok((histories, violations))
}

async fn look(api: &ApiClient, history: &JobHistory) -> Option<Ended> {
    let Ok((200, deployment)) = api.deployment(&history.deployment).await else { return None };
    let jobs = deployment["jobs"].as_array()?;
    ended_as(jobs.iter().find(|job| job["id"] == history.job.as_str())?)
}

/// The effects of requests whose client knows what was promised. One that never had an answer may or may not have been
/// carried out, once.
fn promised(site: &Site, asked: &[(usize, Asked)], effects: Vec<Effect>) -> Vec<Effect> {
    let open: Vec<_> = asked
        .iter()
        .filter(|(_, asked)| matches!(asked, Asked::NeverAnswered { .. }))
        .flat_map(|(index, _)| site.wanted(*index))
        .collect();
    let promised =
        |effect: &Effect| !open.iter().any(|(kind, place)| *kind == effect.kind && *place == effect.place);
    effects.into_iter().filter(promised).collect()
}

/// Keeps what a replay needs, and the logs.
fn keep(
    settings: &ChaosSettings,
    field: &Field,
    report: &Report,
    histories: &[JobHistory],
) -> anyhow::Result<()> {
    let folder = settings.folder.join(format!("seed-{}", settings.seed));
    std::fs::create_dir_all(&folder)?;
    let write =
        |name: &str, text: &str| std::fs::write(folder.join(name), text).with_context(|| name.to_owned());
    write("report.json", &serde_json::to_string_pretty(report)?)?;
    write("report.txt", &report.to_string())?;
    write("jobs.json", &serde_json::to_string_pretty(histories)?)?;
    write("faults.json", &serde_json::to_string_pretty(&field.happened())?)?;
    for part in field.slipway.parts() {
        part.keep_log(&folder)?;
    }
    for (name, log) in field.brokers.logs() {
        write(&format!("{name}.log"), &log)?;
    }
    write("redis.log", &field.redis.log())?;
    Ok(())
}
