//! Deliveries: one that arrives often is taken once (I5, S14), one that proves nothing is refused (S13), what it says
//! of addresses is not believed (S15), and what nothing follows from is thanked for (S16).

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use slipway_integration_tests::gitlab::delivery::{self, Delivery, Told};
use slipway_integration_tests::gitlab::{GitlabServer, samples};

use crate::world::{HOOK_TOKEN, HOOKS_ONLY, Registered, World, files, page};

/// A registered project whose first commit is deployed, on a GitLab that sends no hooks of its own.
async fn quiet() -> anyhow::Result<(World, Registered)> {
    let world = World::start(HOOKS_ONLY, "commit").await?;
    let (path, _) = world.project(&files("one")).await?;
    let project = world.register(&path, json!({})).await?;
    world.wait_deployments(&project, 1).await?;
    world.gitlab.lose_hooks(true);
    Ok((world, project))
}

/// A push of the second commit, and what GitLab would have sent of it, not signed yet.
async fn pushed(world: &World, project: &Registered) -> anyhow::Result<Delivery> {
    let commit = world.gitlab.push(&project.path, "main", &page("two"), "A change").await?;
    let seen = world.gitlab.project(&project.path)?;
    let payload = samples::gitlab_push(&seen, "main", &commit);
    Ok(Delivery::gitlab("Push Hook", world.gitlab.url(), &payload))
}

fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(10)).build()?)
}

fn is_taken(told: &Told) -> anyhow::Result<()> {
    ensure!((200..300).contains(&told.status), "{told:?}");
    ensure!(told.body.is_empty(), "nothing is to be read: {told:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_s14_the_same_delivery_a_hundred_times_makes_one_deployment() {
    hundred_times().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn hundred_times() -> anyhow::Result<()> {
    let (world, project) = quiet().await?;
    let delivery = pushed(&world, &project).await?.signed(&project.signing_secret, Timestamp::now())?;
    let client = client()?;
    let sending = (0..100).map(|_| delivery.send(&client, &project.hook_url));
    for told in futures_util::future::join_all(sending).await {
        is_taken(&told?)?;
    }
    world.wait_deployments(&project, 2).await?;
    // A captured one, replayed later; and the same push told by deliveries of their own.
    is_taken(&delivery.send(&client, &project.hook_url).await?)?;
    for _ in 0..20 {
        let another = delivery.clone().anew().signed(&project.signing_secret, Timestamp::now())?;
        is_taken(&another.send(&client, &project.hook_url).await?)?;
    }
    world.sweep(&project).await?;
    world.wait_deployments(&project, 2).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_what_does_not_prove_itself_is_refused_and_changes_nothing() {
    refused().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn refused() -> anyhow::Result<()> {
    let (world, project) = quiet().await?;
    let (secret, client) = (project.signing_secret.clone(), client()?);
    let plain = pushed(&world, &project).await?;
    let now = Timestamp::now();
    let at = |minutes: i64| now.checked_add(SignedDuration::from_mins(minutes));
    let good = plain.clone().signed(&secret, now)?;
    let signature = good.header("webhook-signature").context("a signature")?.to_owned();
    let cut = &signature[..signature.len() - 2];
    let bad = [
        ("nothing", plain.clone()),
        ("another secret", plain.clone().signed(&delivery::signing_secret(), now)?),
        ("a wrong signature beside the right token", {
            good.clone().with("webhook-signature", "v1,AAAA").with_token(HOOK_TOKEN)
        }),
        ("a truncated signature", good.clone().with("webhook-signature", cut)),
        ("no version", good.clone().with("webhook-signature", signature.trim_start_matches("v1,"))),
        ("another body", good.clone().saying(&json!({ "object_kind": "push" }))),
        ("another id", good.clone().with("webhook-id", "another")),
        ("six minutes old", plain.clone().signed(&secret, at(-6)?)?),
        ("six minutes ahead", plain.clone().signed(&secret, at(6)?)?),
        ("no time", good.clone().without("webhook-timestamp")),
        ("a time that is none", good.clone().with("webhook-timestamp", "soon")),
        ("a wrong token", plain.clone().with_token("hook-token-canary-4b1e78")),
        ("the beginning of the token", plain.clone().with_token("hook-token")),
        ("an empty token", plain.clone().with_token("")),
    ];
    for (what, delivery) in bad {
        let told = delivery.send(&client, &project.hook_url).await?;
        ensure!(told.status == 401, "{what}: {told:?}");
    }
    let (inbox, _) = project.hook_url.rsplit_once('/').context("an address of an inbox")?;
    let told = good.send(&client, &format!("{inbox}/{}", uuid::Uuid::now_v7())).await?;
    ensure!(told.status == 404, "another hook: {told:?}");
    world.wait_deployments(&project, 1).await?;
    // Each of the two secrets is enough by itself, and one good signature among others.
    let token_only = plain.clone().anew().with_token(HOOK_TOKEN);
    is_taken(&token_only.send(&client, &project.hook_url).await?)?;
    let among_others = good.with("webhook-signature", &format!("v1,AAAA v2,BBBB {signature}"));
    is_taken(&among_others.send(&client, &project.hook_url).await?)?;
    world.wait_deployments(&project, 2).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s15_the_registered_repository_is_used_whatever_a_payload_names() {
    other_addresses().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn other_addresses() -> anyhow::Result<()> {
    let (world, project) = quiet().await?;
    let foreign = GitlabServer::start().await?;
    foreign.create_project("evil/shop", &files("evil")).await?;
    let delivery = pushed(&world, &project).await?;
    let client = client()?;
    for address in [foreign.project("evil/shop")?.clone_url(), "http://169.254.169.254/latest".to_owned()] {
        let mut payload = delivery.payload()?;
        for field in ["git_http_url", "http_url", "url", "git_ssh_url", "homepage", "web_url"] {
            payload["project"][field] = json!(address);
            payload["repository"][field] = json!(address);
        }
        payload["project"]["path_with_namespace"] = json!("evil/shop");
        payload["after"] = json!(samples::COMMIT);
        payload["checkout_sha"] = json!(samples::COMMIT);
        let wrong = delivery.clone().anew().saying(&payload);
        let wrong = wrong.signed(&project.signing_secret, Timestamp::now())?;
        is_taken(&wrong.send(&client, &project.hook_url).await?)?;
    }
    let deployments = world.wait_deployments(&project, 2).await?;
    let id = deployments[0]["id"].as_str().context("no id")?;
    let newest = world.slipway.wait_resting(id).await?;
    ensure!(
        newest["spec"]["repository_url"] == world.gitlab.project(&project.path)?.clone_url(),
        "{newest:#}"
    );
    ensure!(newest["trigger"]["reference"] == "refs/heads/main", "{newest:#}");
    ensure!(foreign.requests().is_empty(), "nobody went there: {:#?}", foreign.requests());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_authentic_events_that_mean_nothing_are_thanked_for() {
    uninteresting().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn uninteresting() -> anyhow::Result<()> {
    let (world, project) = quiet().await?;
    let client = client()?;
    let mut events = samples::gitlab();
    let strange: [(&'static str, Value); 6] = [
        ("Wiki Page Hook", json!({ "object_kind": "wiki_page" })),
        ("Resource Access Token Hook", json!({ "event_name": "expiring_access_token" })),
        ("System Hook", json!({ "event_name": "project_create" })),
        ("Push Hook", json!({})),
        ("Push Hook", json!(["not", "an", "object"])),
        ("Push Hook", json!({ "object_kind": "push", "ref": 7, "after": null, "commits": "many" })),
    ];
    events.extend(strange);
    for (event, payload) in events {
        let delivery = Delivery::gitlab(event, world.gitlab.url(), &payload);
        let signed = delivery.signed(&project.signing_secret, Timestamp::now())?;
        is_taken(&signed.send(&client, &project.hook_url).await?).with_context(|| payload.to_string())?;
    }
    let mut garbage = Delivery::gitlab("Push Hook", world.gitlab.url(), &Value::Null);
    garbage.body = bytes::Bytes::from_static(b"\xff\xfe{{{");
    let signed = garbage.signed(&project.signing_secret, Timestamp::now())?;
    is_taken(&signed.send(&client, &project.hook_url).await?)?;
    world.sweep(&project).await?;
    world.wait_deployments(&project, 1).await?;
    Ok(())
}
