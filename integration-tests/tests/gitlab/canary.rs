//! Secrets of a connected project are nowhere: not in what is logged, answered, kept, told to GitLab or given to
//! programs.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use slipway_integration_tests::gitlab::{DEVELOPER, End, MAINTAINER, delivery};

use crate::world::{HOOK_TOKEN, HOOKS_ONLY, Registered, World, files, page, text};

const TOKEN: &str = "glpat-canary/9f3e+connected";
const ENV_VALUE: &str = "canary-variable=77d1 &q4";

#[tokio::test(flavor = "multi_thread")]
async fn s11_no_secret_of_a_connected_project_is_found_anywhere() {
    search().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn search() -> anyhow::Result<()> {
    let settings = format!("{HOOKS_ONLY}[log]\nfilter = \"trace\"\n[pipelines]\npoll_interval_s = 1\n");
    let world = World::start(&settings, "build").await?;
    world.gitlab.add_token_of("canary", TOKEN, &["api"], MAINTAINER);
    world.store_credential("canary", "oauth2", TOKEN).await?;
    let outgoing = delivery::signing_secret();
    let (path, first) = world.project(&files("one")).await?;
    let more = json!({
        "credential": "canary", "build": "gitlab", "env": { "CANARY": ENV_VALUE },
        "pipeline": { "image": format!("127.0.0.1:1/{path}"), "job": "build" },
        "notify": { "webhooks": [{ "url": "http://127.0.0.1:1/nobody", "secret": outgoing }] },
    });
    let project = world.register(&path, more).await?;
    let id = fails(&world, &project, &first).await?;
    // A push the token is no longer good enough for, and a hook that proves nothing.
    world.gitlab.change_token("canary", |token| token.level = DEVELOPER);
    world.gitlab.change_token("canary", |token| token.scopes = vec!["read_repository".to_owned()]);
    let second = world.gitlab.push(&path, "main", &page("two"), "A change").await?;
    let deployment = world.wait_commit(&project, "production", &second).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let forged = delivery::Delivery::gitlab("Push Hook", "http://127.0.0.1:1", &json!({}));
    forged.with_token("nobody knows").send(&client, &project.hook_url).await?;
    world.sweep(&project).await?;

    let secrets = [TOKEN, ENV_VALUE, HOOK_TOKEN, project.signing_secret.as_str(), outgoing.as_str()];
    let spellings = spellings(&secrets);
    let log = world.slipway.log();
    ensure!(log.contains(&project.slug), "the log was written");
    is_clean("the log", log.as_bytes(), &spellings)?;
    let ids = [id, text(&deployment["id"])?.to_owned()];
    is_clean("an answer", answers(&world, &project, &ids).await?.as_bytes(), &spellings)?;
    let seen = world.gitlab.project(&path)?;
    let shown = format!("{:?}{:?}{:?}", seen.statuses, seen.deployments, seen.merge_requests);
    is_clean("what GitLab was told", shown.as_bytes(), &spellings)?;
    let asked: String = world.gitlab.requests().iter().map(|it| format!("{}\n", it.target)).collect();
    is_clean("an address", asked.as_bytes(), &spellings)?;
    let searched = files_are_clean(&world.slipway.data_folder(), &spellings)?;
    ensure!(searched > 0, "files were searched");
    Ok(())
}

/// The first deployment fails with a log in which the runner printed a variable's value.
async fn fails(world: &World, project: &Registered, commit: &str) -> anyhow::Result<String> {
    let deployment = world.wait_commit(project, "production", commit).await?;
    let end = End::Failed("script_failure".to_owned());
    let printed = format!("CANARY={ENV_VALUE}");
    let lines = ["$ env", printed.as_str(), "error: it broke"];
    world.gitlab.end_job(&project.path, commit, "build", &end, &lines)?;
    let id = text(&deployment["id"])?.to_owned();
    let ended = world.slipway.wait_resting(&id).await?;
    ensure!(ended["failure"]["code"] == "pipeline_failed", "{ended:#}");
    world
        .eventually("the commit's status", |gitlab| {
            let seen = gitlab.project(&project.path).ok();
            let status = seen.as_ref().and_then(|it| it.status_of(commit, "slipway/production"));
            status.is_some_and(|status| status.state == "failed")
        })
        .await?;
    Ok(id)
}

/// In clear, in base64, in hexadecimal, in an address, and as a password of GitLab's.
fn spellings(secrets: &[&str]) -> Vec<String> {
    let mut spellings = Vec::new();
    for secret in secrets {
        spellings.push((*secret).to_owned());
        spellings.push(STANDARD.encode(secret).trim_end_matches('=').to_owned());
        spellings.push(secret.bytes().map(|byte| format!("{byte:02x}")).collect());
        spellings.push(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect());
        spellings.push(STANDARD.encode(format!("oauth2:{secret}")).trim_end_matches('=').to_owned());
    }
    spellings
}

fn is_clean(what: &str, bytes: &[u8], spellings: &[String]) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(bytes);
    for spelling in spellings {
        if let Some(at) = text.find(spelling.as_str()) {
            let around: String = text[..at].chars().rev().take(200).collect();
            let around: String = around.chars().rev().collect();
            anyhow::bail!("{spelling} is in {what}, after: {around}");
        }
    }
    Ok(())
}

/// Everything the API says of the project and these deployments.
async fn answers(world: &World, project: &Registered, ids: &[String]) -> anyhow::Result<String> {
    let mut all = String::new();
    let mut paths = vec!["/projects".to_owned(), format!("/projects/{}", project.slug)];
    paths.extend(["/deployments", "/credentials", "/credentials/canary"].map(str::to_owned));
    for id in ids {
        paths.push(format!("/deployments/{id}"));
    }
    for path in paths {
        let (status, answer): (u16, Value) = world.slipway.request("GET", &path, None).await?;
        ensure!(status == 200, "GET {path} answered {status}");
        all.push_str(&answer.to_string());
    }
    let client = reqwest::Client::builder().no_proxy().build()?;
    // The streams of one that has not ended do not end either.
    let ended = ids.first().context("a deployment that has ended")?;
    for part in ["events", "logs?stage=build"] {
        let address = format!("{}/deployments/{ended}/{part}", world.slipway.address());
        let answer = client.get(address).bearer_auth(world.slipway.token()).send().await?;
        all.push_str(&answer.text().await.context("reading an answer")?);
    }
    Ok(all)
}

fn files_are_clean(folder: &std::path::Path, spellings: &[String]) -> anyhow::Result<usize> {
    let mut searched = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            searched += files_are_clean(&path, spellings)?;
        } else if let Ok(bytes) = std::fs::read(&path) {
            // Slipway goes on writing, and throws old files away.
            is_clean(&path.display().to_string(), &bytes, spellings)?;
            searched += 1;
        }
    }
    Ok(searched)
}
