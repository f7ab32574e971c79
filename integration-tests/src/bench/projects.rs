//! Many registered projects: what they cost in memory, and how long it takes to look at all of them. They are all on one host,
//! which answers from memory and serves the same small repository under every address; so what is measured is Slipway and
//! its Git. Nothing has moved: this is what looking costs when there is nothing to do.

mod fleet;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::config::Config;
use slipway_common::store::{DeploymentFilter, Page};
use tokio::time::Instant;

use self::fleet::Fleet;
use super::cpu;
use super::figure::{Figure, Goal};
use super::installation::Installation;
use super::memory::{Memory, mib};
use crate::git_server::{Asked, GitServer, TreeFile};

/// The repository that all of them are.
const REPOSITORY: &str = "bench/one";
/// How long processes are left alone before their memory is looked at: the API reads all hooks every 5 s.
const SETTLE: Duration = Duration::from_secs(15);
/// How long first looks are counted, each of which makes a mirror and fetches.
const FIRST_SPAN: Duration = Duration::from_secs(60);
/// Longest wait for a round; after it the rest is extrapolated.
const ROUND_MAX: Duration = Duration::from_secs(300);
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Measures with so many projects.
///
/// # Errors
/// When something does not start, a record is refused, or nothing is looked at.
pub async fn measure(projects: u32) -> Result<Vec<Figure>> {
    let interval_s = Config::load(None, [])?.sweeps.interval_s;
    let host = GitServer::start().await?;
    host.create_repo(REPOSITORY, &files()).await?;
    let tip = host.tip(REPOSITORY, "main").await?.context("there is no commit")?;
    host.serve_everywhere(REPOSITORY);
    let site = Installation::start(1, None).await?;
    let own = site.join().await?;
    let bench = Bench { host: &host, site: &site, backend: own.backend(), projects };
    tokio::time::sleep(SETTLE).await;
    let idle = bench.resident()?;

    let worker = site.slipway.worker_process(0)?;
    worker.terminate().await?;
    let fleet = Fleet::register(&bench.backend, &host.base_url(), &tip, projects).await?;
    worker.start_again().await?;
    let mut figures = bench.first_looks().await?;

    worker.terminate().await?;
    fleet.make_mirrors(&worker.data_folder(), &tip).await?;
    worker.start_again().await?;
    let restarted = bench.round(&fleet).await?;
    figures.push(restarted.duration("projects-restart-round", interval_s)?);

    let round = bench.round(&fleet).await?;
    figures.extend(round.figures(interval_s)?);
    tokio::time::sleep(SETTLE).await;
    figures.extend(bench.memory(idle)?);
    let filter = DeploymentFilter::default();
    let made = bench.backend.store.deployments(&filter, &Page::default()).await?.total;
    ensure!(made == 0, "{made} deployments were made of refs that did not move");
    own.close().await;
    Ok(figures)
}

/// A repository with a file of its own for Slipway, as whoever uses this many projects would have.
fn files() -> Vec<TreeFile> {
    let rules = "environments:\n  - name: production\n    default_branch: true\n";
    vec![
        TreeFile::new("slipway.yml", rules),
        TreeFile::new("index.html", "<p>One of many\n"),
        TreeFile::new("Dockerfile", "FROM scratch\nCOPY index.html /index.html\nEXPOSE 8080\n"),
    ]
}

/// What is measured, and with what.
struct Bench<'a> {
    host: &'a GitServer,
    site: &'a Installation,
    backend: Backend,
    projects: u32,
}

/// Memory of the parts, in KiB.
type Resident = [(&'static str, u32); 3];

impl Bench<'_> {
    fn resident(&self) -> Result<Resident> {
        let of = |pid| Memory::of(pid).map(|memory| memory.resident_kib);
        Ok([
            ("api", of(self.site.slipway.api_process(0)?.pid()?)?),
            ("worker", of(self.site.slipway.worker_process(0)?.pid()?)?),
            ("redis", of(self.site.redis_pid())?),
        ])
    }

    /// What is resident now, beside what was without any project.
    fn memory(&self, idle: Resident) -> Result<Vec<Figure>> {
        let mut figures = vec![Figure::told("projects-registered", f64::from(self.projects), "projects")];
        for ((part, before), (_, after)) in idle.into_iter().zip(self.resident()?) {
            let name = |what: &str| format!("projects-memory-{part}-{what}");
            let bytes = f64::from(after.saturating_sub(before)) * 1_024.0 / f64::from(self.projects);
            figures.extend([
                Figure::told(name("before"), mib(before), "MiB"),
                Figure::told(name("after"), mib(after), "MiB"),
                Figure::told(name("per-project"), bytes, "bytes"),
            ]);
        }
        Ok(figures)
    }

    /// How fast projects are looked at that this worker has never seen.
    async fn first_looks(&self) -> Result<Vec<Figure>> {
        let (before, begun) = (self.counts().await?, Instant::now());
        tokio::time::sleep(FIRST_SPAN).await;
        let (counts, took) = (self.counts().await?.since(before), begun.elapsed());
        ensure!(counts.done > 0, "nothing was looked at\n{}", self.site.slipway.logs());
        let looks = number(counts.done)?;
        let rate = looks / took.as_secs_f64();
        Ok(vec![
            Figure::told("projects-first-rate", rate, "looks/s"),
            Figure::told("projects-first-round-extrapolated", f64::from(self.projects) / rate, "s"),
            Figure::told("projects-first-requests", number(counts.asked.requests)? / looks, "requests/look"),
        ])
    }

    /// Has all of them looked at.
    async fn round(&self, fleet: &Fleet) -> Result<Round> {
        let before = self.counts().await?;
        let spent = self.spent()?;
        let begun = Instant::now();
        let noted_at = Timestamp::now();
        fleet.note_all(&self.backend, noted_at).await?;
        let mut pending = fleet.slugs();
        let (took, seen) = loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let done = self.counts().await?.since(before).done;
            let is_over = begun.elapsed() > ROUND_MAX;
            if done < u64::from(self.projects) && !is_over {
                continue;
            }
            // Some may have been looked at twice meanwhile, so the number alone proves nothing.
            pending = fleet::not_looked_at(&self.backend, &pending, noted_at).await?;
            if pending.is_empty() || is_over {
                break (begun.elapsed(), self.projects - u32::try_from(pending.len())?);
            }
        };
        let spent = self.spent()?.into_iter().zip(spent);
        ensure!(seen > 0, "nothing was looked at\n{}", self.site.slipway.logs());
        Ok(Round {
            took,
            seen,
            projects: self.projects,
            counts: self.counts().await?.since(before),
            spent: spent.map(|((part, now), (_, before))| (part, now.saturating_sub(before))).collect(),
        })
    }

    /// What the worker and the host have counted.
    async fn counts(&self) -> Result<Counts> {
        let series = self.site.worker_series(0, "slipway_worker_sweeps_total{").await?;
        let of = |outcome: &str| {
            let name = format!("slipway_worker_sweeps_total{{outcome=\"{outcome}\"}}");
            let found = series.iter().find(|(known, _)| *known == name).map(|(_, count)| *count);
            found.with_context(|| format!("the worker does not tell {name}"))
        };
        Ok(Counts {
            done: of("done")?,
            failed: of("failed")?,
            put_off: of("put_off")?,
            asked: self.host.asked().context("the host does not count")?,
        })
    }

    /// Processor time used by now; what Git used for the worker apart. This process is the host.
    fn spent(&self) -> Result<Vec<(&'static str, Duration)>> {
        let mut parts = self.site.processor_time(1)?.to_vec();
        let worker = self.site.slipway.worker_process(0)?.pid()?;
        parts.push(("worker-git", cpu::used_by_children(worker)?));
        Ok(parts)
    }
}

/// What was counted.
#[derive(Debug, Clone, Copy)]
struct Counts {
    done: u64,
    failed: u64,
    put_off: u64,
    asked: Asked,
}

impl Counts {
    fn since(self, earlier: Self) -> Self {
        Self {
            done: self.done.saturating_sub(earlier.done),
            failed: self.failed.saturating_sub(earlier.failed),
            put_off: self.put_off.saturating_sub(earlier.put_off),
            asked: self.asked.since(earlier.asked),
        }
    }
}

/// A round through all projects, or what there was time for.
struct Round {
    took: Duration,
    /// Projects that were looked at.
    seen: u32,
    projects: u32,
    counts: Counts,
    spent: Vec<(&'static str, Duration)>,
}

impl Round {
    /// How long it takes, as a figure whose name says so when that was not waited for.
    fn duration(&self, name: &str, interval_s: u64) -> Result<Figure> {
        let whole = self.took.as_secs_f64() * f64::from(self.projects) / f64::from(self.seen);
        let is_whole = self.seen == self.projects;
        let name = if is_whole { name.to_owned() } else { format!("{name}-extrapolated") };
        Ok(Figure::new(name, whole, "s", Goal::AtMost(number(interval_s)?)))
    }

    fn figures(&self, interval_s: u64) -> Result<Vec<Figure>> {
        let looks = number(self.counts.done + self.counts.failed)?;
        let each = |count: u64| number(count).map(|count| count / looks);
        let (listings, requests) = (each(self.counts.asked.listings)?, each(self.counts.asked.requests)?);
        let failed = number(self.counts.failed)?;
        let mut figures = vec![
            self.duration("projects-round", interval_s)?,
            Figure::told("projects-round-rate", looks / self.took.as_secs_f64(), "looks/s"),
            Figure::new("projects-round-ls-remotes", listings, "ls-remotes/look", Goal::AtMost(1.0)),
            Figure::told("projects-round-requests", requests, "requests/look"),
            Figure::told("projects-round-put-off", each(self.counts.put_off)?, "times/look"),
            Figure::new("projects-round-failed", failed, "looks", Goal::AtMost(0.0)),
        ];
        for (part, spent) in &self.spent {
            let spent_ms = spent.as_secs_f64() * 1_000.0 / looks;
            figures.push(Figure::told(format!("projects-round-processor-{part}"), spent_ms, "ms/look"));
        }
        Ok(figures)
    }
}

fn number(count: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(count)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(seen: u32) -> Round {
        let asked = Asked { listings: u64::from(seen), requests: 2 * u64::from(seen) };
        let counts = Counts { done: u64::from(seen), failed: 0, put_off: 5, asked };
        Round { took: Duration::from_secs(100), seen, projects: 1_000, counts, spent: Vec::new() }
    }

    #[test]
    fn what_was_not_waited_for_is_extrapolated_and_says_so() {
        let told = |seen| round(seen).duration("round", 240).unwrap().to_string();
        assert_eq!(told(1_000), "bench round 100.000 s goal <=240 met");
        assert_eq!(told(250), "bench round-extrapolated 400.000 s goal <=240 missed");
    }

    #[test]
    fn requests_are_told_for_each_look() {
        let figures = round(500).figures(240).unwrap();
        let told = |name: &str| figures.iter().find(|figure| figure.name == name).unwrap().to_string();
        assert_eq!(
            told("projects-round-ls-remotes"),
            "bench projects-round-ls-remotes 1.000 ls-remotes/look goal <=1 met"
        );
        assert_eq!(
            told("projects-round-requests"),
            "bench projects-round-requests 2.000 requests/look goal -"
        );
    }
}
