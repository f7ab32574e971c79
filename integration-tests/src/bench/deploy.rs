//! A whole deployment through Slipway against the same done by a script of git and docker commands: cold, and warm
//! after a change of one line. The two take turns, and either is first as often.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::baseline::{self, Baseline};
use super::figure::{Figure, Goal};
use super::samples::Samples;
use super::watch::{self, Watched};
use crate::docker_engine;
use crate::git_server::{GitServer, TreeFile};
use crate::slipway_process::SlipwayProcess;

const TOKEN: &str = "glpat-bench-0c2f91";
const BASE_IMAGE: &str = "bench-slipway/static:1";
/// None, on both sides: waiting would only move the ratio towards 1.
const DRAIN: Duration = Duration::ZERO;
const COLD_RATIO_MOST: f64 = 1.1;
const WARM_RATIO_LIMIT: f64 = 1.0;

/// A repository to deploy.
#[derive(Debug, Clone, Copy)]
struct Sample {
    name: &'static str,
    /// Files besides the page.
    files: u32,
    /// Size of each in units of 32 bytes, of contents that cannot be compressed.
    file_blocks: u32,
}

const SAMPLES: [Sample; 2] = [
    Sample { name: "small", files: 2, file_blocks: 32 },
    Sample { name: "medium", files: 500, file_blocks: 512 },
];

/// Times of one side.
#[derive(Debug, Default)]
struct Side {
    cold: Vec<Duration>,
    warm: Vec<Duration>,
}

/// What both sides took, in the same order.
#[derive(Debug, Default)]
struct Taken {
    slipway: Side,
    script: Side,
    watched: Vec<Watched>,
}

/// Measures every sample repository so many times.
///
/// # Errors
/// When a deployment fails on either side.
pub async fn measure(engine: &str, repetitions: u32) -> Result<Vec<Figure>> {
    let bench = Bench::start(engine).await?;
    let mut figures = Vec::new();
    let mut watched = Vec::new();
    for sample in SAMPLES {
        let mut taken = Taken::default();
        for repetition in 0..repetitions {
            bench.repeat(sample, repetition, &mut taken).await?;
        }
        figures.extend(compare(sample.name, "cold", &taken.slipway.cold, &taken.script.cold)?);
        figures.extend(compare(sample.name, "warm", &taken.slipway.warm, &taken.script.warm)?);
        watched.extend(taken.watched);
    }
    figures.extend(events(&watched)?);
    Ok(figures)
}

/// Everything that stays from one repetition to the next.
#[derive(Debug)]
struct Bench {
    git: GitServer,
    docker: bollard::Docker,
    process: SlipwayProcess,
    script: Baseline,
}

impl Bench {
    async fn start(engine: &str) -> Result<Self> {
        let docker = docker_engine::connect(engine)?;
        docker_engine::base_image(&docker, BASE_IMAGE).await?;
        let git = GitServer::start().await?;
        git.require_token(Some(TOKEN));
        let settings = format!(
            "[docker]\nhost = \"{engine}\"\ndrain_ms = {}\n\
             [templates.base_images]\nstatic = \"{BASE_IMAGE}\"\n\
             [gateway]\nport_min = 28600\nport_max = 29599\n",
            DRAIN.as_millis()
        );
        let process = SlipwayProcess::start(&settings, &[]).await?;
        let path = format!("bench/{}", docker_engine::unique_name("template"));
        let url = git.create_repo(&path, &files(SAMPLES[0], "template")).await?;
        let first = watch::deploy(&process, &request(&url)).await?;
        let script = Baseline::new(&git, &path, engine, TOKEN, DRAIN).await?;
        let bench = Self { git, docker, process, script };
        bench.remove_deployed(&first.id).await?;
        Ok(bench)
    }

    /// One cold and one warm deployment on each side, each side on a fresh repository of its own.
    async fn repeat(&self, sample: Sample, repetition: u32, taken: &mut Taken) -> Result<()> {
        let (ours, theirs) = (docker_engine::unique_name("site"), docker_engine::unique_name("script"));
        let our_url = self.git.create_repo(&path(&ours), &files(sample, &ours)).await?;
        let their_url = self.git.create_repo(&path(&theirs), &files(sample, &theirs)).await?;
        let mut last = None;
        for phase in ["cold", "warm"] {
            if phase == "warm" {
                self.change_one_line(&ours).await?;
                self.change_one_line(&theirs).await?;
            }
            for slipways_turn in [repetition.is_multiple_of(2), !repetition.is_multiple_of(2)] {
                let (side, time) = if slipways_turn {
                    let watched = watch::deploy(&self.process, &request(&our_url)).await?;
                    let time = watched.active;
                    last = Some(watched.id.clone());
                    taken.watched.push(watched);
                    (&mut taken.slipway, time)
                } else {
                    (&mut taken.script, self.script.deploy(&theirs, &their_url).await?)
                };
                if phase == "cold" { side.cold.push(time) } else { side.warm.push(time) }
            }
        }
        self.remove_deployed(&last.context("nothing was deployed")?).await?;
        docker_engine::remove_all(&self.docker, &format!("{}={theirs}", baseline::LABEL)).await
    }

    async fn change_one_line(&self, name: &str) -> Result<()> {
        let page = page(&format!("{name}, changed"));
        self.git.commit(&path(name), "main", &[page], "Change one line").await.map(drop)
    }

    /// Stops the deployment through Slipway and removes its images, so that the next repetition meets the same engine.
    async fn remove_deployed(&self, id: &str) -> Result<()> {
        let (status, body) = self.process.request("DELETE", &format!("/deployments/{id}"), None).await?;
        anyhow::ensure!(status == 202, "DELETE answered {status}: {body}");
        let stopped = self.process.wait_for(id, |deployment| deployment["status"] == "stopped").await?;
        let slug = stopped["project_slug"].as_str().context("a deployment has no project_slug")?;
        docker_engine::remove_all(&self.docker, &format!("io.slipway.project={slug}")).await
    }
}

fn path(name: &str) -> String {
    format!("bench/{name}")
}

fn request(url: &str) -> Value {
    json!({
        "repository_url": url, "repository_token": TOKEN, "health": { "path": "/", "interval_ms": 100 }
    })
}

fn page(text: &str) -> TreeFile {
    TreeFile::new("index.html", format!("<!doctype html>\n<title>Site</title>\n<p>{text}\n"))
}

/// The files of a sample; `seed` makes them differ from every other repository's, so that no layer is cached.
fn files(sample: Sample, seed: &str) -> Vec<TreeFile> {
    let contents = |file: u32| -> Vec<u8> {
        (0..sample.file_blocks).flat_map(|block| Sha256::digest(format!("{seed}/{file}/{block}"))).collect()
    };
    let others = (0..sample.files).map(|file| TreeFile::new(format!("assets/{file:04}.bin"), contents(file)));
    std::iter::once(page(seed)).chain(others).collect()
}

/// The figures of one comparison: medians and spread of both sides, the ratio of the medians, and the spread of the
/// ratios of the single repetitions.
fn compare(sample: &str, phase: &str, slipway: &[Duration], script: &[Duration]) -> Result<Vec<Figure>> {
    let goal = if phase == "cold" { Goal::AtMost(COLD_RATIO_MOST) } else { Goal::Below(WARM_RATIO_LIMIT) };
    let name = |what: &str| format!("deploy-{sample}-{phase}-{what}");
    let mut figures = Vec::new();
    let mut medians = Vec::new();
    for (side, times) in [("slipway", slipway), ("script", script)] {
        let times = Samples::new(times.to_vec()).context("nothing was deployed")?;
        medians.push(times.median_ms());
        figures.extend([
            Figure::told(name(&format!("{side}-median")), times.median_ms(), "ms"),
            Figure::told(name(&format!("{side}-min")), times.min_ms(), "ms"),
            Figure::told(name(&format!("{side}-max")), times.max_ms(), "ms"),
        ]);
    }
    let ratios = slipway.iter().zip(script).map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64());
    let (least, most) =
        ratios.fold((f64::INFINITY, 0.0_f64), |(least, most), ratio| (least.min(ratio), most.max(ratio)));
    figures.extend([
        Figure::told(name("ratio-min"), least, "ratio"),
        Figure::told(name("ratio-max"), most, "ratio"),
        Figure::new(name("ratio"), medians[0] / medians[1], "ratio", goal),
    ]);
    Ok(figures)
}

/// How soon a client hears of its deployment.
fn events(watched: &[Watched]) -> Result<Vec<Figure>> {
    let of = |pick: fn(&Watched) -> Duration| {
        Samples::new(watched.iter().map(pick).collect()).context("nothing was deployed")
    };
    let accepted = of(|it| it.accepted)?;
    let first_event = of(|it| it.first_event)?;
    let first_stage = of(|it| it.first_stage)?;
    Ok(vec![
        Figure::told("deploy-accepted-p50", accepted.median_ms(), "ms"),
        Figure::told("deploy-first-event-p50", first_event.median_ms(), "ms"),
        Figure::told("deploy-first-event-max", first_event.max_ms(), "ms"),
        Figure::told("deploy-first-stage-p50", first_stage.median_ms(), "ms"),
        Figure::told("deploy-first-stage-max", first_stage.max_ms(), "ms"),
    ])
}
