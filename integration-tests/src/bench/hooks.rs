//! Webhooks in the distributed form: 200 signed deliveries of pushes a second for 50 projects, from the moment each was due to
//! its answer, beside what the broker alone takes for a record of that size; and from a push to the start of its job.

mod load;
mod starts;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use slipway_common::Backend;
use slipway_common::model::{Delivery as Kept, DeliveryKind, DeploymentState};
use slipway_common::record::Record;

use self::load::{BUSY, Load, Mix, PROJECTS, Shop, USUAL, WARM_UP};
use super::cpu;
use super::figure::{Figure, Goal};
use super::floor::Publisher;
use super::installation::{Installation, wait_until_all};
use super::load::{Outcome, open_loop};
use super::samples::{Samples, millis};
use crate::git_server::TreeFile;
use crate::gitlab::{GitlabServer, MAINTAINER, delivery};

/// Worker processes, each with the default two slots.
const WORKERS: usize = 2;
/// Longest wait for all jobs to end.
const TIMEOUT: Duration = Duration::from_secs(180);
/// How long the projects are left alone before, so that what follows from registering them is over.
const SETTLE: Duration = Duration::from_secs(5);
/// The goals of the issue.
const ANSWER_MS: f64 = 500.0;
const START_P99_MS: f64 = 1_000.0;

/// Takes the figures.
///
/// # Errors
/// When something does not start or cannot be asked. Deliveries that are refused are a figure, not an error.
pub async fn measure() -> Result<Vec<Figure>> {
    let gitlab = GitlabServer::start().await?;
    let site = Installation::start(WORKERS, None).await?;
    let own = site.join().await?;
    let backend = own.backend();
    let shops = register(&gitlab, &site).await?;
    wait_until_all(&backend, DeploymentState::Failed, u32::try_from(PROJECTS)?, TIMEOUT).await?;
    gitlab.git().keep_answers();
    tokio::time::sleep(SETTLE).await;

    let record_bytes = serde_json::to_vec(&sample_record(&shops)?)?.len();
    let floor = Arc::new(Publisher::open_stream(&site.rabbit.url(), "floor.hooks", record_bytes).await?);
    let bare = open_loop(BUSY.schedule, |_| Arc::clone(&floor).publish()).await;
    let load = Arc::new(Load::new(gitlab, site.client()?, shops)?);
    let warmed = open_loop(WARM_UP, |index| Arc::clone(&load).warm_up(index)).await;
    ensure!(warmed.errors == 0, "the warm-up failed: {:?}", warmed.first_error);

    let (load, busy) = under(&site, &backend, load, BUSY).await?;
    let (load, usual) = under(&site, &backend, load, USUAL).await?;
    own.close().await;

    let mut figures = vec![
        Figure::told("hooks-projects", number(PROJECTS)?, "projects"),
        Figure::told("hooks-delivery", number(load.delivery_bytes())?, "bytes"),
        Figure::told("hooks-record", number(record_bytes)?, "bytes"),
    ];
    figures.extend(answers(&busy.outcome, &bare)?);
    figures.extend(started("hooks", busy.starts)?);
    figures.extend(busy.spent.figures("hooks", busy.outcome.took));
    figures.extend(usual_answers(&usual.outcome)?);
    figures.extend(started("hooks-usual", usual.starts)?);
    figures.extend(usual.spent.figures("hooks-usual", usual.outcome.took));
    Ok(figures)
}

/// What a load came to.
struct Under {
    outcome: Outcome,
    spent: Spent,
    starts: starts::Starts,
}

/// Puts the installation under a load, and waits until something came of every push.
async fn under(
    site: &Installation,
    backend: &Backend,
    load: Arc<Load>,
    mix: Mix,
) -> Result<(Arc<Load>, Under)> {
    tokio::time::sleep(SETTLE).await;
    let load = Arc::into_inner(load).context("a delivery is still under way")?;
    let load = Arc::new(load.plan(mix)?.sign()?);
    let before = Spent::now(site)?;
    let outcome = open_loop(mix.schedule, |index| Arc::clone(&load).send(index)).await;
    let spent = Spent::now(site)?.since(&before);
    let starts = starts::wait(backend, &load, TIMEOUT).await?;
    Ok((load, Under { outcome, spent, starts }))
}

/// Projects on the forge, each registered with a secret of its own, and the commits that will be pushed.
async fn register(gitlab: &GitlabServer, site: &Installation) -> Result<Vec<Shop>> {
    let token = gitlab.add_token("slipway", &["api"], MAINTAINER);
    let api = site.slipway.api(0)?;
    let credential = json!({ "username": "oauth2", "secret": token });
    let (status, answer) = api.send("PUT", "/credentials/gitlab", &credential).await?;
    ensure!(status < 300, "PUT /credentials answered {status}: {answer}");
    let mut shops = Vec::new();
    for number in 0..PROJECTS {
        let path = format!("bench/shop-{number}");
        let commits = commits(gitlab, &path).await?;
        let secret = delivery::signing_secret();
        let body = json!({
            "repository_url": gitlab.project(&path)?.clone_url(), "forge": "gitlab",
            "credential": "gitlab", "commit": "none",
            "environments": [{ "name": "production", "default_branch": true }],
            "hook": { "signing_secret": secret },
            // What is told would cost the stand-in of the forge more than Slipway.
            "notify": { "statuses": false, "deployments": false, "notes": false },
        });
        let (status, answer) = api.send("POST", "/projects", &body).await?;
        ensure!(status == 201, "POST /projects answered {status}: {answer}");
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a text is missing");
        shops.push(Shop {
            slug: text(&answer["slug"])?,
            url: text(&answer["hook"]["url"])?,
            secret,
            commits,
            project: gitlab.project(&path)?,
        });
    }
    Ok(shops)
}

/// Commits on top of each other, all of them in the repository; its branch stands at the first. Nothing of it can be built,
/// so that jobs end soon.
async fn commits(gitlab: &GitlabServer, path: &str) -> Result<Vec<String>> {
    let file = |number: usize| [TreeFile::new("README.md", format!("{path}, change {number}\n"))];
    gitlab.create_project(path, &file(0)).await?;
    let git = gitlab.git();
    let mut commits = vec![git.tip(path, "main").await?.context("there is no first commit")?];
    for number in 1..=load::COMMITS {
        commits.push(git.commit(path, "main", &file(number), "A change").await?);
    }
    git.move_branch(path, "main", &commits[0]).await?;
    Ok(commits)
}

/// What the ledger keeps of one delivery.
fn sample_record(shops: &[Shop]) -> Result<Record> {
    let shop = shops.first().context("there are no projects")?;
    Ok(Record::DeliveryReceived(Kept {
        id: uuid::Uuid::now_v7().to_string(),
        project: shop.slug.parse()?,
        at: Timestamp::now(),
        kind: DeliveryKind::Push {
            reference: "refs/heads/main".to_owned(),
            revision: shop.commits.first().cloned(),
        },
    }))
}

/// How deliveries were answered, beside the floor.
fn answers(ours: &Outcome, bare: &Outcome) -> Result<Vec<Figure>> {
    for (who, outcome) in [("hooks", ours), ("floor", bare)] {
        if let Some(error) = &outcome.first_error {
            eprintln!("hooks: {who}: the first that failed: {error}");
        }
    }
    let latencies = ours.latencies.as_ref().context("no delivery was answered")?;
    let floor = bare.latencies.as_ref().context("no publication was confirmed")?;
    let (p50, p99) = (latencies.median_ms(), latencies.per_mille_ms(990));
    let (floor_p50, floor_p99) = (floor.median_ms(), floor.per_mille_ms(990));
    let rate = f64::from(BUSY.schedule.requests - ours.errors) / ours.took.as_secs_f64();
    Ok(vec![
        Figure::told("hooks-floor-p50", floor_p50, "ms"),
        Figure::told("hooks-floor-p99", floor_p99, "ms"),
        Figure::told("hooks-rate", rate, "deliveries/s"),
        Figure::told("hooks-answer-p50", p50, "ms"),
        Figure::new("hooks-answer-p99", p99, "ms", Goal::AtMost(ANSWER_MS)),
        Figure::new("hooks-answer-p99.9", latencies.per_mille_ms(999), "ms", Goal::AtMost(ANSWER_MS)),
        Figure::told("hooks-answer-max", latencies.max_ms(), "ms"),
        Figure::new("hooks-errors", f64::from(ours.errors), "deliveries", Goal::AtMost(0.0)),
        Figure::told("hooks-answer-p50-to-floor-p50", p50 / floor_p50, "ratio"),
        Figure::told("hooks-answer-p99-to-floor-p99", p99 / floor_p99, "ratio"),
        Figure::told("hooks-generator-behind-max", millis(ours.behind_max), "ms"),
    ])
}

/// How deliveries were answered under the usual load.
fn usual_answers(outcome: &Outcome) -> Result<Vec<Figure>> {
    let latencies = outcome.latencies.as_ref().context("no delivery was answered")?;
    Ok(vec![
        Figure::told("hooks-usual-answer-p50", latencies.median_ms(), "ms"),
        Figure::new("hooks-usual-answer-p99.9", latencies.per_mille_ms(999), "ms", Goal::AtMost(ANSWER_MS)),
        Figure::new("hooks-usual-errors", f64::from(outcome.errors), "deliveries", Goal::AtMost(0.0)),
    ])
}

/// How soon the jobs of pushes were accepted and begun.
fn started(of: &str, starts: starts::Starts) -> Result<Vec<Figure>> {
    let samples = Samples::new(starts.took).context("no job was begun")?;
    let accepted = Samples::new(starts.accepted).context("no job was accepted")?;
    let pushes = samples.count() + starts.lost;
    let lost = number(starts.lost)?;
    let p99 = samples.per_mille_ms(990);
    Ok(vec![
        Figure::told(format!("{of}-pushes"), number(pushes)?, "pushes"),
        Figure::told(format!("{of}-pushes-overtaken"), number(starts.overtaken)?, "pushes"),
        Figure::new(format!("{of}-pushes-lost"), lost, "pushes", Goal::AtMost(0.0)),
        Figure::told(format!("{of}-accepted-p50"), accepted.median_ms(), "ms"),
        Figure::told(format!("{of}-accepted-p99"), accepted.per_mille_ms(990), "ms"),
        Figure::told(format!("{of}-start-p50"), samples.median_ms(), "ms"),
        Figure::new(format!("{of}-start-p99"), p99, "ms", Goal::AtMost(START_P99_MS)),
        Figure::told(format!("{of}-start-max"), samples.max_ms(), "ms"),
    ])
}

fn number(count: usize) -> Result<f64> {
    Ok(f64::from(u32::try_from(count)?))
}

/// Processor time of the parts; what Git used for the workers apart.
struct Spent(Vec<(&'static str, Duration)>);

impl Spent {
    fn now(site: &Installation) -> Result<Self> {
        let mut parts = site.processor_time(WORKERS)?.to_vec();
        let mut git = Duration::ZERO;
        for index in 0..WORKERS {
            git += cpu::used_by_children(site.slipway.worker_process(index)?.pid()?)?;
        }
        parts.push(("workers-git", git));
        parts.push(("git-host", cpu::used_by_children(std::process::id())?));
        Ok(Self(parts))
    }

    fn since(self, before: &Self) -> Self {
        let parts = self.0.into_iter().zip(&before.0);
        Self(parts.map(|((part, now), (_, before))| (part, now.saturating_sub(*before))).collect())
    }

    /// In processors that were busy all the time.
    fn figures(&self, of: &str, took: Duration) -> Vec<Figure> {
        let told = |(part, spent): &(&'static str, Duration)| {
            let busy = spent.as_secs_f64() / took.as_secs_f64();
            Figure::told(format!("{of}-processor-{part}"), busy, "processors")
        };
        self.0.iter().map(told).collect()
    }
}
