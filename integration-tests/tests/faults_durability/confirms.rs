//! D2 and D3: what an acceptance is worth when the broker's answer is lost, and when there is no queue behind it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::stream::{self, StreamExt as _};
use slipway_common::model::EventKind;
use slipway_integration_tests::line::Line;
use slipway_integration_tests::pace::allowed;
use slipway_integration_tests::rabbitmq::RabbitMq;
use slipway_integration_tests::rig::{Accepted, Rig, key_of};
use tokio::time::Instant;

use super::machine;

/// Requests whose confirmation is lost.
const D2_REQUESTS: usize = 5;
/// Longest time to an answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Requests of D3; 1,000 in the requirement.
const D3_REQUESTS: usize = 200;
/// Longest time a queue that was taken away stays away before the next fault.
const D3_FAULT_EVERY: Duration = Duration::from_millis(1_500);
/// Requests of D3 under way at once.
const D3_AT_ONCE: usize = 4;
/// Longest time in which the API is whole again.
const HEAL_MAX: Duration = Duration::from_secs(30);
/// Longest time to the end of all jobs.
const DEADLINE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);

/// The broker has the job and its confirmation is lost: the answer is 503 or 504 within 3 s,
/// never 202; asked again under the same key after the heal there is exactly one job.
#[tokio::test(flavor = "multi_thread")]
async fn d2_a_lost_confirmation_is_no_acceptance() -> anyhow::Result<()> {
    let broker = RabbitMq::shared().await?;
    let line = Line::start(broker.address().to_string()).await?;
    let url = broker.url_at(line.address());
    let rig = Rig::start(D2_REQUESTS, broker, |options| options.broker_for("api-0", vec![url])).await?;
    let result = d2(&rig, &line).await;
    rig.explained(result)
}

async fn d2(rig: &Rig, line: &Line) -> anyhow::Result<()> {
    let api = rig.api()?;
    let mut slowest = Duration::ZERO;
    let mut accepted = Vec::new();
    for index in 0..D2_REQUESTS {
        let (request, key) = (rig.site.request(index), key_of(index));
        line.blackhole_answers();
        let begun = Instant::now();
        let (status, answer) = api.post_deployment(&request, Some(&key)).await?;
        slowest = slowest.max(begun.elapsed());
        ensure!(
            [503, 504].contains(&status),
            "the confirmation was lost, and the answer is {status}: {answer}"
        );
        // What was held back is lost for good.
        line.cut().await?;
        line.heal().await?;
        accepted.push(insist(rig, index).await?);
    }
    rig.all_succeed(&accepted, DEADLINE).await?;
    ensure!(slowest <= allowed(ANSWER_MAX), "the slowest answer took {slowest:?}");
    let events = rig.events().await?;
    for one in &accepted {
        let environment = format!("e{}", one.index);
        let jobs: BTreeSet<String> = events
            .iter()
            .filter(|event| {
                matches!(&event.kind, EventKind::Accepted { message } if message.environment.to_string() == environment)
            })
            .map(|event| event.job.to_string())
            .collect();
        ensure!(
            jobs == BTreeSet::from([one.job.clone()]),
            "{environment}: {jobs:?} and not only {}",
            one.job
        );
    }
    eprintln!(
        "figure d2: {D2_REQUESTS} lost confirmations, slowest answer {slowest:?} (bound 3 s), one job each"
    );
    Ok(())
}

/// Asks for the job under its key until it is accepted.
async fn insist(rig: &Rig, index: usize) -> anyhow::Result<Accepted> {
    let deadline = Instant::now() + HEAL_MAX;
    loop {
        let told = rig.api()?.post_deployment(&rig.site.request(index), Some(&key_of(index))).await?;
        if let (202, answer) = &told {
            return Accepted::read(index, answer);
        }
        ensure!(Instant::now() < deadline, "not accepted after {HEAL_MAX:?}: {told:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Queues and their bindings are taken away under a live API: whatever was accepted completes, and nothing that no
/// queue holds is accepted. 200 requests of the 1,000 of the requirement.
#[tokio::test(flavor = "multi_thread")]
async fn d3_no_acceptance_without_a_queue() -> anyhow::Result<()> {
    let _machine = machine().await;
    let rig = Rig::start(D3_REQUESTS, RabbitMq::shared().await?, |options| options).await?;
    let result = d3(&rig).await;
    rig.explained(result)
}

async fn d3(rig: &Rig) -> anyhow::Result<()> {
    let api = rig.api()?;
    let (done, mut seen) = tokio::sync::watch::channel(false);
    let asking = async {
        let requests = (0..D3_REQUESTS).map(|index| {
            let api = &api;
            async move {
                // A pace at which all faults fall into the requests.
                tokio::time::sleep(PAUSE).await;
                (index, api.post_deployment(&rig.site.request(index), Some(&key_of(index))).await)
            }
        });
        let answers: Vec<_> = stream::iter(requests).buffer_unordered(D3_AT_ONCE).collect().await;
        done.send_replace(true);
        answers
    };
    let faults = async {
        let mut count = 0_usize;
        while !*seen.borrow() {
            take_away(rig, count).await?;
            count += 1;
            drop(tokio::time::timeout(D3_FAULT_EVERY, seen.changed()).await);
        }
        anyhow::Ok(count)
    };
    let (answers, faults) = tokio::join!(asking, faults);
    let faults = faults?;
    ensure!(faults >= 4, "only {faults} faults");
    let mut accepted = Vec::new();
    let mut refused = BTreeSet::new();
    for (index, answer) in answers {
        let (status, body) = answer.with_context(|| format!("request {index}"))?;
        if status == 202 {
            accepted.push(Accepted::read(index, &body)?);
        } else {
            ensure!(status == 503, "request {index} was answered {status}: {body}");
            refused.insert(index);
        }
    }
    ensure!(!accepted.is_empty(), "nothing was accepted");
    let histories = rig.ends(&accepted, DEADLINE).await?;
    // A request that was refused may have been carried out, once; it was not promised.
    let places: Vec<_> = refused.iter().flat_map(|index| rig.site.wanted(*index)).collect();
    let mut effects = rig.site.effects().await?;
    effects.retain(|effect| !places.contains(&(effect.kind, effect.place.clone())));
    let violations = slipway_integration_tests::effects::check(&histories, &effects);
    ensure!(violations.is_empty(), "{violations:#?}");
    eprintln!(
        "figure d3: {D3_REQUESTS} requests under {faults} faults: {} accepted and completed, {} refused",
        accepted.len(),
        refused.len()
    );
    Ok(())
}

/// One fault after another: both queues, and every binding a new job needs.
async fn take_away(rig: &Rig, count: usize) -> anyhow::Result<()> {
    let (front, backlog) = (rig.queue("jobs.front"), rig.queue("jobs.backlog"));
    let intake = rig.queue("intake");
    match count % 4 {
        0 => rig.broker.delete_queue(&front).await,
        1 => rig.broker.unbind(&intake, &front, "job.front").await,
        2 => rig.broker.delete_queue(&backlog).await,
        _ => rig.broker.unbind(&intake, &backlog, "job.backlog").await,
    }
}
