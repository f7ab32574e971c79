//! Deliveries of three forges with mutations, against an API that runs: nothing is answered with an error of the
//! server's, and nothing panics. `make fuzz` goes on for longer: FUZZ_SECONDS says for how long, FUZZ_SEED with which
//! numbers.

use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use slipway_integration_tests::chaos::Dice;
use slipway_integration_tests::git_server::GitServer;
use slipway_integration_tests::gitlab::delivery::Delivery;
use slipway_integration_tests::gitlab::samples;
use tokio::time::Instant;

use crate::world::{HOOK_TOKEN, HOOKS_ONLY, Registered, World, files};

const SECONDS_DEFAULT: u64 = 6;
/// Deliveries that are sent at once.
const AT_ONCE: usize = 8;
const SECRET: &str = "a secret that both sides know";
const ODD_TEXTS: [&str; 12] = [
    "",
    "refs/heads/",
    "refs/heads/../../etc/passwd",
    "refs/heads/main\0",
    "\u{202e}niam",
    "-upload-pack=touch /tmp/x",
    "0000000000000000000000000000000000000000",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "http://169.254.169.254/latest/meta-data",
    "{{7*7}}",
    "'; DROP TABLE jobs; --",
    "9999999999999999999999999",
];

/// Where deliveries of one forge go.
struct Target {
    forge: &'static str,
    project: Registered,
    events: Vec<(&'static str, Value)>,
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test(flavor = "multi_thread")]
async fn fuzz_no_delivery_is_too_strange() {
    let seed = number("FUZZ_SEED", u64::from(std::process::id()));
    let seconds = number("FUZZ_SECONDS", SECONDS_DEFAULT);
    fuzz(seed, Duration::from_secs(seconds)).await.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
}

async fn fuzz(seed: u64, lasts: Duration) -> anyhow::Result<()> {
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let git = GitServer::start().await?;
    let targets = targets(&world, &git).await?;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?;
    let (begun, mut dice) = (Instant::now(), Dice::new(seed));
    let mut sent = [0_usize; 6];
    while begun.elapsed() < lasts {
        let mut batch = Vec::new();
        for _ in 0..AT_ONCE {
            batch.push(delivery(&mut dice, &targets)?);
        }
        let sending = batch.iter().map(|(delivery, url)| delivery.send(&client, url));
        let answers = futures_util::future::join_all(sending).await;
        for ((delivery, url), told) in batch.iter().zip(answers) {
            let told = told?;
            let class = usize::from(told.status / 100).min(5);
            sent[class] += 1;
            ensure!(told.status < 500, "{url} answered {told:?} to {delivery:?}");
        }
    }
    ensure!(!world.slipway.log().contains("panicked"), "{}", world.slipway.log());
    let (status, _) = world.slipway.request("GET", "/healthz", None).await?;
    ensure!(status == 200, "it lives");
    ensure!(sent[2] > 0 && sent[4] > 0, "some were taken and some refused: {sent:?}");
    for target in &targets {
        let shown = world.sweep(&target.project).await?;
        let heads = shown["heads"].as_array().map_or(0, Vec::len);
        ensure!(heads <= 1, "nothing was made of what was not pushed: {shown:#}");
    }
    println!("fuzz: seed {seed}, {:?}: {} taken, {} refused", begun.elapsed(), sent[2], sent[4]);
    Ok(())
}

async fn targets(world: &World, git: &GitServer) -> anyhow::Result<Vec<Target>> {
    let (path, _) = world.project(&files("one")).await?;
    let project = world.register(&path, json!({})).await?;
    let mut targets = vec![Target { forge: "gitlab", project, events: samples::gitlab() }];
    for (forge, events) in [("github", samples::github()), ("gitea", samples::gitea())] {
        let path = format!("{forge}/shop");
        let url = git.create_repo(&path, &files("one")).await?;
        let body = json!({
            "repository_url": url, "forge": forge, "commit": "none", "hook": { "signing_secret": SECRET },
        });
        targets.push(Target { forge, project: world.post_project(&path, &body, SECRET).await?, events });
    }
    for target in &targets {
        world.wait_deployments(&target.project, 1).await?;
    }
    Ok(targets)
}

/// The next delivery: mutated, and most often proven, for what is not proven is not read.
fn delivery(dice: &mut Dice, targets: &[Target]) -> anyhow::Result<(Delivery, String)> {
    let target = &targets[pick(dice, targets.len())];
    let (event, payload) = &target.events[pick(dice, target.events.len())];
    let mut payload = payload.clone();
    for _ in 0..dice.between(0, 4) {
        mutate(dice, &mut payload, 0);
    }
    let mut body = payload.to_string().into_bytes();
    spoil(dice, &mut body);
    let mut delivery = proven(target, event, &Value::Null, Bytes::from(body))?;
    if dice.between(0, 4) == 0 {
        let index = pick(dice, delivery.headers.len());
        let odd = ["", "~", "application/xml", "v1,", "1e400", "sha256=", "ping"];
        delivery.headers[index].1 = odd[pick(dice, odd.len())].to_owned();
    }
    if dice.between(0, 9) == 0 {
        let index = pick(dice, delivery.headers.len());
        delivery.headers.remove(index);
    }
    Ok((delivery, target.project.hook_url.clone()))
}

/// These bytes as the forge would send them.
fn proven(target: &Target, event: &str, payload: &Value, body: Bytes) -> anyhow::Result<Delivery> {
    Ok(match target.forge {
        "gitlab" => {
            let mut delivery = Delivery::gitlab(event, "http://127.0.0.1:1", payload);
            delivery.body = body;
            delivery.with_token(HOOK_TOKEN).signed(&target.project.signing_secret, Timestamp::now())?
        }
        "github" => Delivery::github_of_bytes(event, body, SECRET),
        _ => Delivery::gitea_of_bytes(event, body, SECRET),
    })
}

fn pick(dice: &mut Dice, of: usize) -> usize {
    let last = u64::try_from(of.saturating_sub(1)).unwrap_or_default();
    usize::try_from(dice.between(0, last)).unwrap_or_default()
}

/// Changes something somewhere in a value.
fn mutate(dice: &mut Dice, value: &mut Value, depth: u32) {
    let inside = dice.between(0, 3) > 0 && depth < 6;
    match value {
        Value::Object(fields) if inside && !fields.is_empty() => {
            let index = pick(dice, fields.len());
            if let Some((_, field)) = fields.iter_mut().nth(index) {
                mutate(dice, field, depth + 1);
            }
        }
        Value::Array(items) if inside && !items.is_empty() => {
            let index = pick(dice, items.len());
            mutate(dice, &mut items[index], depth + 1);
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => *value = odd(dice, value),
    }
}

/// Something else in the place of a value.
fn odd(dice: &mut Dice, old: &Value) -> Value {
    match dice.between(0, 8) {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!(1.0e300),
        3 => json!(u64::MAX),
        4 => json!([old, old, old]),
        5 => json!({ "ref": old, "": old }),
        6 => json!("x".repeat(usize::try_from(dice.between(0, 70_000)).unwrap_or_default())),
        7 => Value::Object(Map::new()),
        _ => json!(ODD_TEXTS[pick(dice, ODD_TEXTS.len())]),
    }
}

/// Damages the text of a body now and then.
fn spoil(dice: &mut Dice, body: &mut Vec<u8>) {
    match dice.between(0, 9) {
        0 => body.truncate(pick(dice, body.len())),
        1 => {
            for _ in 0..dice.between(1, 8) {
                let index = pick(dice, body.len());
                if let Some(byte) = body.get_mut(index) {
                    *byte = u8::try_from(dice.between(0, 255)).unwrap_or_default();
                }
            }
        }
        2 => body.splice(0..0, "[".repeat(20_000).into_bytes()).for_each(drop),
        3 => body.extend_from_slice(b"{\"ref\":\"refs/heads/other\"}"),
        4 => body.splice(0..0, b"\xef\xbb\xbf".iter().copied()).for_each(drop),
        _ => {}
    }
}
