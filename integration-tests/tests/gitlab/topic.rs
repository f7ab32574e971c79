//! The topic at the broker: another service that has bound a queue hears what outgoing webhooks hear, in the same order
//! and under the same ids.

use anyhow::{Context as _, ensure};
use lapin::types::FieldTable;
use serde_json::{Value, json};
use slipway_integration_tests::gitlab::delivery;

use crate::installation::Installation;
use crate::outgoing::{Letter, Receiver};
use crate::world::{files, text};

/// What happens to a deployment that succeeds.
const COURSE: [&str; 3] = ["queued", "started", "succeeded"];

/// One message as somebody hears it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Heard {
    id: String,
    body: Value,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topic_tells_what_outgoing_webhooks_tell_in_order_and_under_the_same_ids() {
    told().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn told() -> anyhow::Result<()> {
    let ground = Installation::start().await?;
    let prefix = ground.slipway.prefix();
    let (queue, other) = (format!("{prefix}.listener"), format!("{prefix}.deaf"));
    for (queue, key) in [(&queue, "deployment.#"), (&other, "deployment.*.staging.#")] {
        ground.broker.declare_queue(queue, FieldTable::default()).await?;
        ground.broker.bind(&format!("{prefix}.events"), queue, key).await?;
    }
    let receiver = Receiver::start(0).await?;
    let path = "group/told";
    ground.gitlab.create_project(path, &files("one")).await?;
    let url = format!("http://{}/told", receiver.address);
    let webhook = json!({ "url": url, "secret": delivery::signing_secret() });
    let project = ground.register(path, json!({ "notify": { "webhooks": [webhook] } })).await?;
    let first = ground.gitlab.git().tip(path, "main").await?.context("a first commit")?;
    let deployment = ground.ended(&project, "production", &first).await?;

    let mut heard = Vec::new();
    while heard.len() < COURSE.len() {
        let message = ground.until("a message", async || ground.broker.take(&queue).await).await?;
        let kind = COURSE.get(heard.len()).context("more than is awaited")?;
        let key = format!("deployment.{}.production.{kind}", project.slug);
        ensure!(message.routing_key == key, "{} and not {key}", message.routing_key);
        let id = message.properties.message_id().as_ref().context("a message without an id")?;
        heard.push(Heard { id: id.as_str().to_owned(), body: serde_json::from_slice(&message.body)? });
    }
    let letters = ground.until("the webhooks", async || {
        let letters = receiver.letters();
        Ok((letters.len() >= COURSE.len()).then_some(letters))
    });
    let letters: Vec<Heard> = letters.await?.iter().map(of_letter).collect::<Result<_, _>>()?;
    ensure!(heard == letters, "the topic: {heard:#?}\nthe webhook: {letters:#?}");
    for (message, kind) in heard.iter().zip(COURSE) {
        ensure!(message.body["type"] == format!("deployment.{kind}"), "{message:#?}");
        ensure!(message.body["data"]["deployment"] == text(&deployment["id"])?, "{message:#?}");
        ensure!(message.body["data"]["revision"] == first.as_str(), "{message:#?}");
    }
    ensure!(ground.broker.messages(&queue).await? == 0, "each is told once");
    ensure!(ground.broker.messages(&other).await? == 0, "nothing happened in staging");
    for queue in [&queue, &other] {
        ground.broker.delete_queue(queue).await?;
    }
    Ok(())
}

fn of_letter((id, _, _, body): &Letter) -> anyhow::Result<Heard> {
    Ok(Heard { id: id.clone(), body: serde_json::from_slice(body)? })
}
