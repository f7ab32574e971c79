//! O4: thousands of hooks about one project. All are taken before the forge gives up, and no more deployments run or wait
//! for each environment than one each.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use jiff::Timestamp;
use serde_json::json;
use slipway_integration_tests::gitlab::delivery::{Delivery, Told};
use slipway_integration_tests::gitlab::samples;
use tokio::task::JoinSet;

use crate::world::{HOOKS_ONLY, Registered, World, files, page, text};

/// Set for the whole of the requirement: 5,000 hooks in a minute.
const LONG_VARIABLE: &str = "SLIPWAY_TEST_LONG";
/// How long a forge waits for an answer; one that takes longer is a failed delivery. How fast answers are is measured, in
/// `BENCHMARKS.md`, not judged here.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Pushes that happen meanwhile.
const PUSHES: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn o4_a_flood_of_hooks_is_taken_and_makes_no_flood_of_deployments() {
    flood().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn flood() -> anyhow::Result<()> {
    let (count, per_second) =
        if std::env::var_os(LONG_VARIABLE).is_some() { (5_000, 84.0) } else { (1_500, 125.0) };
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let (path, first) = world.project(&files("one")).await?;
    let project = world.register(&path, json!({})).await?;
    world.wait_commit(&project, "production", &first).await?;
    let seen = world.gitlab.project(&path)?;
    world.gitlab.lose_hooks(true);

    let sending = send(&world, &project, &seen, count, per_second);
    let pushing = push_and_watch(&world, &project, count, per_second);
    let (told, last) = tokio::try_join!(sending, pushing)?;
    let refused: Vec<&Told> = told.iter().filter(|it| !(200..300).contains(&it.status)).collect();
    ensure!(refused.is_empty(), "{} of {count} were refused: {:?}", refused.len(), refused.first());
    let mut times: Vec<Duration> = told.iter().map(|it| it.took).collect();
    times.sort_unstable();
    let rank = |per_mille: usize| times.get((times.len() * per_mille).div_ceil(1_000).saturating_sub(1));
    let [p50, p99, slowest] = [500, 990, 1_000].map(|per_mille| rank(per_mille).copied().unwrap_or_default());
    println!("O4: {count} hooks at {per_second}/s: p50 {p50:?}, p99 {p99:?}, slowest {slowest:?}");
    world.wait_commit(&project, "production", &last).await?;
    let made = world.deployments(&project).await?.len();
    ensure!(made <= 1 + PUSHES, "{made} deployments of {PUSHES} pushes");
    Ok(())
}

/// Sends so many hooks at this rate, each with an id of its own, signed as it is sent.
async fn send(
    world: &World,
    project: &Registered,
    seen: &slipway_integration_tests::gitlab::Project,
    count: usize,
    per_second: f64,
) -> anyhow::Result<Vec<Told>> {
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build()?;
    let plain = Delivery::gitlab(
        "Push Hook",
        world.gitlab.url(),
        &samples::gitlab_push(seen, "main", samples::COMMIT),
    );
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second));
    let mut sending = JoinSet::new();
    for _ in 0..count {
        pace.tick().await;
        let delivery = plain.clone().anew().signed(&project.signing_secret, Timestamp::now())?;
        let (client, url) = (client.clone(), project.hook_url.clone());
        sending.spawn(async move { delivery.send(&client, &url).await });
    }
    sending.join_all().await.into_iter().collect()
}

/// Pushes now and then while the flood lasts, and looks all the time how many deployments run and wait; answers the
/// last commit.
async fn push_and_watch(
    world: &World,
    project: &Registered,
    count: usize,
    per_second: f64,
) -> anyhow::Result<String> {
    let hooks = f64::from(u32::try_from(count)?);
    let lasts = Duration::from_secs_f64(hooks / per_second);
    let begun = tokio::time::Instant::now();
    let mut last = String::new();
    let mut pushed = 0;
    while begun.elapsed() < lasts {
        let due = lasts.mul_f64(f64::from(u32::try_from(pushed)?) / f64::from(u32::try_from(PUSHES)?));
        if pushed < PUSHES && begun.elapsed() >= due {
            pushed += 1;
            let words = format!("push {pushed}");
            last = world.gitlab.push(&project.path, "main", &page(&words), &words).await?;
        }
        one_of_each(world, project).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(last)
}

/// At most one deployment of each environment runs, and at most one waits.
async fn one_of_each(world: &World, project: &Registered) -> anyhow::Result<()> {
    let mut counts: BTreeMap<(String, bool), usize> = BTreeMap::new();
    for deployment in world.deployments(project).await? {
        let status = text(&deployment["status"])?;
        let (waits, runs) = (status == "queued", matches!(status, "preparing" | "building" | "deploying"));
        if waits || runs {
            *counts.entry((text(&deployment["environment"])?.to_owned(), waits)).or_default() += 1;
        }
    }
    ensure!(counts.values().all(|count| *count <= 1), "(environment, waits): {counts:?}");
    Ok(())
}
