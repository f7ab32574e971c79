//! Processes that are killed, and one that is frozen, while pushes arrive: every push that somebody was told is taken is
//! deployed in the end, once, and told once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_integration_tests::chaos::Dice;
use slipway_integration_tests::distributed::{READY_TIMEOUT, SlipwayPart, ended_as};
use slipway_integration_tests::effects::Ended;
use slipway_integration_tests::gitlab::{Fault, GitlabServer, Place};
use tokio_util::sync::CancellationToken;

use crate::installation::{Connected, Installation, is_long, is_of};
use crate::world::{TIMEOUT, files, page};

/// Pushes while processes are killed, and in the long variant.
const PUSHES: u64 = 30;
const PUSHES_LONG: u64 = 60;
/// Repeats a run that failed: its seed is printed.
const SEED_VARIABLE: &str = "SLIPWAY_TEST_SEED";
/// Between two kills, and before who was killed is there again, in ms.
const PAUSE_MS: (u64, u64) = (300, 900);
const DOWN_MS: (u64, u64) = (10, 200);
/// How often each is killed: processes of the API, then workers.
const WEIGHTS: [u64; 4] = [1, 1, 2, 2];
/// Every third push is to the default branch, the others are to a proposal.
const BRANCHES: [(&str, &str); 2] = [("main", "production"), ("feature", "review-1")];
/// States of a commit's status to which nothing more happens.
const OVER: [&str; 3] = ["success", "failed", "canceled"];
/// For how long GitLab holds back what a worker needs that is then frozen.
const HELD: Duration = Duration::from_secs(2);
/// What a worker says whose look came too late.
const TOO_LATE: &str = "somebody else has looked at it since";

fn millis(dice: &mut Dice, (from, to): (u64, u64)) -> Duration {
    Duration::from_millis(dice.between(from, to))
}

fn seed() -> anyhow::Result<u64> {
    match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{SEED_VARIABLE}={text}")),
        Err(_) => Ok(uuid::Uuid::now_v7().as_u64_pair().1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_the_last_push_is_deployed_once_and_told_once() {
    killed().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn killed() -> anyhow::Result<()> {
    let ground = Installation::start().await?;
    let (project, _) = ground.connect("group/killed", json!({ "review": {} })).await?;
    ground.gitlab.push(&project.path, "feature", &page("0"), "A proposal").await?;
    let iid = ground.gitlab.open_merge_request(&project.path, "feature").await?;
    ensure!(iid == 1, "the first merge request");
    let seed = seed()?;
    println!("seed {seed}");
    let over = CancellationToken::new();
    let (last, kills) = tokio::try_join!(
        push_all(&ground, &project, Dice::new(seed), &over),
        kill_all(&ground, Dice::new(seed.wrapping_add(1)), &over)
    )
    .with_context(|| format!("seed {seed}"))?;
    println!("{kills} processes were killed");
    outcome(&ground, &project, &last).await.with_context(|| format!("seed {seed}"))
}

/// Pushes, and sends what GitLab would, once; only of the last ones somebody sees that nobody took them, and sends them
/// again. Answers the last commit of each branch, which was taken.
async fn push_all(
    ground: &Installation,
    project: &Connected,
    mut dice: Dice,
    over: &CancellationToken,
) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let mut last = BTreeMap::new();
    let mut taken = 0;
    let pushes = if is_long() { PUSHES_LONG } else { PUSHES };
    for number in 1..=pushes {
        let branch = if number % 3 == 0 { "main" } else { "feature" };
        let words = format!("push {number}");
        let commit = ground.gitlab.push(&project.path, branch, &page(&words), &words).await?;
        taken += u64::from(is_taken(ground, project, number, branch, &commit).await?);
        last.insert(branch, commit);
        tokio::time::sleep(millis(&mut dice, (0, 200))).await;
    }
    for (branch, commit) in &last {
        let mut number = 0;
        while !is_taken(ground, project, number, branch, commit).await? {
            ensure!(number < 1_000, "nobody takes the last push");
            number += 1;
            tokio::time::sleep(millis(&mut dice, (10, 50))).await;
        }
    }
    println!("{taken} of {pushes} deliveries were taken the first time");
    over.cancel();
    Ok(last)
}

/// Whether a delivery is taken by the one or the other API. One that answers at all takes it, or says that it is to be
/// sent again.
async fn is_taken(
    ground: &Installation,
    project: &Connected,
    number: u64,
    branch: &str,
    commit: &str,
) -> anyhow::Result<bool> {
    let hook = ground.hook(project, branch, commit)?;
    let Ok(told) = ground.send(project, usize::from(number % 2 == 1), &hook).await else { return Ok(false) };
    ensure!((200..300).contains(&told.status) || told.status == 503, "{told:?}\n{}", ground.slipway.logs());
    Ok(told.status < 300)
}

/// Kills one process after the other until the pushes are over; then all at once, for the last delivery was taken a
/// moment ago. All are there again afterwards. Answers how many were killed.
async fn kill_all(ground: &Installation, mut dice: Dice, over: &CancellationToken) -> anyhow::Result<usize> {
    let parts: Vec<&SlipwayPart> = ground.slipway.parts().collect();
    let mut kills = 0;
    while !over.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep(millis(&mut dice, PAUSE_MS)) => {}
            () = over.cancelled() => break,
        }
        let victim = parts.get(dice.weighted(&WEIGHTS)).context("four processes")?;
        victim.kill().await?;
        kills += 1;
        tokio::time::sleep(millis(&mut dice, DOWN_MS)).await;
        victim.start().await?;
    }
    for part in &parts {
        part.kill().await?;
    }
    for part in &parts {
        part.start().await?;
    }
    ground.slipway.wait_ready(READY_TIMEOUT).await?;
    Ok(kills + parts.len())
}

async fn outcome(
    ground: &Installation,
    project: &Connected,
    last: &BTreeMap<&'static str, String>,
) -> anyhow::Result<()> {
    ground.let_minutes_pass().await?;
    let heads: Vec<(&str, &String)> = BRANCHES
        .iter()
        .map(|(branch, environment)| Some((*environment, last.get(branch)?)))
        .collect::<Option<_>>()
        .context("a branch without a push")?;
    let all = ground.until("the last pushes to be deployed", async || {
        let all = ground.deployments(project).await?;
        let is_deployed = heads.iter().all(|(place, commit)| all.iter().any(|it| is_of(it, place, commit)));
        Ok((is_deployed && all.iter().all(is_at_rest)).then_some(all))
    });
    let all = all.await?;
    is_once(&all)?;
    for (environment, commit) in &heads {
        let newest = all.iter().find(|it| it["environment"] == *environment).context("no deployment")?;
        ensure!(is_of(newest, environment, commit), "another one came later: {newest:#}");
        let jobs: Vec<_> = jobs(newest).map(ended_as).collect();
        ensure!(jobs == [Some(Ended::Succeeded)], "{newest:#}\n{}", ground.slipway.logs());
    }
    ground.let_minutes_pass().await?;
    is_told(ground, project, &heads).await
}

fn jobs(deployment: &Value) -> impl Iterator<Item = &Value> {
    deployment["jobs"].as_array().into_iter().flatten()
}

fn is_at_rest(deployment: &Value) -> bool {
    jobs(deployment).all(|job| ended_as(job).is_some())
}

/// No commit was deployed twice into one environment, and nothing failed.
fn is_once(all: &[Value]) -> anyhow::Result<()> {
    let mut seen: BTreeMap<(String, String), Vec<&Value>> = BTreeMap::new();
    for deployment in all {
        let place = (&deployment["environment"], &deployment["trigger"]["revision"]);
        seen.entry((place.0.to_string(), place.1.to_string())).or_default().push(&deployment["id"]);
        let is_good = |job: &Value| matches!(ended_as(job), Some(Ended::Succeeded | Ended::Superseded));
        ensure!(jobs(deployment).all(is_good), "{deployment:#}");
    }
    let twice: Vec<_> = seen.iter().filter(|(_, ids)| ids.len() > 1).collect();
    ensure!(twice.is_empty(), "(environment, commit) with more than one deployment: {twice:#?}");
    Ok(())
}

/// GitLab shows of every commit how it ended, and one note.
async fn is_told(
    ground: &Installation,
    project: &Connected,
    heads: &[(&str, &String)],
) -> anyhow::Result<()> {
    let told = ground.until("GitLab to be told", async || {
        let seen = ground.gitlab.project(&project.path)?;
        let mut own = seen.statuses.iter().filter(|it| it.name.starts_with("slipway/") && !it.retried);
        let are_over = own.all(|status| OVER.contains(&status.state));
        let succeeded = heads.iter().all(|(environment, commit)| {
            let status = seen.status_of(commit, &format!("slipway/{environment}"));
            status.is_some_and(|status| status.state == "success")
        });
        let proposed = heads.iter().find(|(environment, _)| environment.starts_with("review-"));
        let mut notes = seen.merge_requests.iter().flat_map(|it| &it.notes);
        let is_noted = proposed.is_some_and(|(_, commit)| {
            notes.any(|note| note.body.contains(commit.as_str()) && note.body.contains("in service"))
        });
        Ok((are_over && succeeded && is_noted).then_some(()))
    });
    let waited = told.await;
    let seen = ground.gitlab.project(&project.path)?;
    let request = seen.merge_requests.first().context("the merge request")?;
    waited.with_context(|| format!("{:#?}\n{:#?}", seen.statuses, request.notes))?;
    ensure!(request.notes.len() == 1, "one note: {:#?}", request.notes);
    let listed = seen.deployments.iter().filter(|it| it.status == "running").count();
    println!("{} deployments listed by GitLab, {listed} of them as under way", seen.deployments.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_between_deploying_and_saying_so_is_followed_by_another() {
    died().await.unwrap_or_else(|error| panic!("{error:?}"));
}

/// The worker dies when of two environments one is deployed: it needs another commit from GitLab for the second one.
async fn died() -> anyhow::Result<()> {
    let ground = Installation::start().await?;
    let path = "group/died";
    ground.gitlab.create_project(path, &files("one")).await?;
    let main = ground.gitlab.git().tip(path, "main").await?.context("a first commit")?;
    let staging = ground.gitlab.push(path, "staging", &page("two"), "Next").await?;
    // The first commit is fetched for the rules in it.
    let halt = ground.slipway.arm_workers("mirror_fetch.before#2").await?;
    let environments = json!([
        { "name": "production", "default_branch": true }, { "name": "staging", "branch": "staging" },
    ]);
    let project = ground.register(path, json!({ "environments": environments })).await?;
    let worker = halt.wait(&ground.slipway, TIMEOUT).await?;
    let all = ground.deployments(&project).await?;
    ensure!(all.len() == 1 && is_of(&all[0], "production", &main), "{all:#?}");
    worker.kill().await?;

    ground.let_minutes_pass().await?;
    ground.ended(&project, "staging", &staging).await?;
    ground.ended(&project, "production", &main).await?;
    ground.slipway.disarm_workers().await?;
    ground.sweep(&project).await?;
    is_once(&ground.deployments(&project).await?)?;
    ensure!(ground.deployments(&project).await?.len() == 2, "one of each");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_frozen_in_the_middle_of_a_look_deploys_nothing_again() {
    frozen().await.unwrap_or_else(|error| panic!("{error:?}"));
}

/// Two workers look at the same time and know the same: the one goes on where it was after the other has deployed.
async fn frozen() -> anyhow::Result<()> {
    let ground = Installation::start().await?;
    let environments = json!([
        { "name": "production", "default_branch": true }, { "name": "staging", "branch": "staging" },
    ]);
    let (project, _) = ground.connect("group/frozen", json!({ "environments": environments })).await?;
    let (first, second) = (ground.slipway.worker_process(0)?, ground.slipway.worker_process(1)?);
    // Alone, so that it has what the default branch says, and needs nothing but the new commit the next time.
    second.freeze().await?;
    let staging = ground.push(&project, "staging", "two").await?;
    ground.deployed(&project, "staging", &staging).await?;
    second.thaw()?;
    ground.ended(&project, "staging", &staging).await?;

    second.freeze().await?;
    let commit = ground.gitlab.push(&project.path, "staging", &page("three"), "Three").await?;
    let (asked_before, late_before) = (asked(&ground.gitlab), times_late(first));
    // Where the refs stand is answered at once: this host's commands are known. What is in the new commit, a little later.
    ground.gitlab.spoil(Place::Git, "/info/refs", Fault::Slow(HELD), Some(1));
    ground.tell(&project, 0, &ground.hook(&project, "staging", &commit)?).await?;
    let held = ground.until("a worker that asks for the commit", async || {
        Ok((asked(&ground.gitlab) > asked_before).then_some(()))
    });
    held.await?;
    first.freeze().await?;
    ground.end_looks().await?;
    second.thaw()?;
    ground.deployed(&project, "staging", &commit).await?;
    first.thaw()?;
    let late = ground.until("the first worker to come too late", async || {
        Ok((times_late(first) > late_before).then_some(()))
    });
    late.await?;
    ground.ended(&project, "staging", &commit).await?;
    let all = ground.deployments(&project).await?;
    is_once(&all)?;
    ensure!(all.len() == 3, "{} deployments of three pushes", all.len());
    Ok(())
}

/// How often a worker has looked for so long that another has looked meanwhile.
fn times_late(worker: &SlipwayPart) -> usize {
    worker.log().matches(TOO_LATE).count()
}

/// How often somebody has begun to read from GitLab.
fn asked(gitlab: &GitlabServer) -> usize {
    gitlab.count("GET", "/info/refs?service=git-upload-pack")
}
