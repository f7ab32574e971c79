//! Jobs of one project and environment: strictly one at a time, and the newest wins (I10).

use std::collections::BTreeMap;
use std::time::Duration;

use slipway_integration_tests::effects::{EffectKind, Ended};
use slipway_integration_tests::ground::{Accepted, Ground, Plan, Step, steps, turn};

/// Rounds, each on a branch of its own, and jobs in each; one round of two in the requirement.
const ROUNDS: usize = 5;
const RIVALS: usize = 3;
const ENDS_MAX: Duration = Duration::from_secs(60);

/// The jobs whose steps of work overlap with another's, in the order of the ledger.
fn interleaved<'a>(steps: &'a [Step], rivals: &[&str]) -> Vec<&'a Step> {
    let mut at_work: Option<&str> = None;
    let mut ended = std::collections::BTreeSet::new();
    let mut found = Vec::new();
    for step in steps.iter().filter(|step| rivals.contains(&step.job.as_str())) {
        match step.event.as_str() {
            "stage_started" | "stage_progress" | "stage_finished" => {
                if ended.contains(step.job.as_str()) || at_work.is_some_and(|job| job != step.job) {
                    found.push(step);
                }
                at_work = Some(&step.job);
            }
            "succeeded" | "failed" | "cancelled" | "superseded" | "stage_waiting" => {
                if step.event != "stage_waiting" {
                    ended.insert(step.job.as_str());
                }
                if at_work == Some(&step.job) {
                    at_work = None;
                }
            }
            _ => {}
        }
    }
    found
}

/// I10: several jobs for one application and environment at once, and workers with many slots. One works at a time, in
/// order; the newest one is what stands in the end.
#[tokio::test(flavor = "multi_thread")]
async fn i10_one_at_a_time_and_the_newest_wins() {
    let _turn = turn().await;
    let plan = Plan::new(ROUNDS).with(1, 2).variable("SLIPWAY__WORKER__SLOTS", "4");
    let ground = Ground::start(plan).await.unwrap();
    let mut rounds: BTreeMap<usize, Vec<Accepted>> = BTreeMap::new();
    for round in 0..ROUNDS {
        for rival in 0..RIVALS {
            rounds
                .entry(round)
                .or_default()
                .push(ground.accept(round, &ground.request(round)).await.unwrap());
            // Some come while the one before waits, some while it is at work.
            tokio::time::sleep(Duration::from_millis(40 * u64::try_from(round * rival).unwrap())).await;
        }
    }
    let mut superseded = 0;
    for (round, rivals) in &rounds {
        let histories = ground.ends(rivals, ENDS_MAX).await.unwrap();
        let ends: Vec<&Ended> = histories.iter().filter_map(|history| history.ended.as_ref()).collect();
        assert_eq!(ends.len(), RIVALS, "round {round}: {histories:?}\n{}", ground.slipway.logs());
        assert_eq!(ends.last(), Some(&&Ended::Succeeded), "round {round}: the newest wins: {histories:?}");
        let older = &ends[..RIVALS - 1];
        assert!(older.iter().all(|end| matches!(end, Ended::Succeeded | Ended::Superseded)), "{histories:?}");
        superseded += older.iter().filter(|end| ***end == Ended::Superseded).count();
        for rival in &rivals[..RIVALS - 1] {
            let (status, deployment) =
                ground.slipway.api(0).unwrap().deployment(&rival.deployment).await.unwrap();
            assert_ne!(
                deployment["status"], "active",
                "round {round}: an older one stands: {status} {deployment}"
            );
        }
    }
    let records = ground.broker.read_stream(&ground.queue("ledger")).await.unwrap();
    let steps = steps(&records);
    for (round, rivals) in &rounds {
        let names: Vec<&str> = rivals.iter().map(|rival| rival.job.as_str()).collect();
        let mixed = interleaved(&steps, &names);
        assert!(mixed.is_empty(), "round {round}: {mixed:?}");
    }
    // The generated files are the same, so there is one commit in each round, whoever made it.
    let effects = ground.site.effects().await.unwrap();
    for round in 0..ROUNDS {
        let wanted = ground.site.wanted(round);
        let there = effects.iter().filter(|effect| wanted.contains(&(effect.kind, effect.place.clone())));
        let commits = there.filter(|effect| effect.kind == EffectKind::Commit).count();
        assert_eq!(commits, 1, "round {round}: {effects:?}");
    }
    println!("I10: {ROUNDS} rounds of {RIVALS}; {superseded} superseded; no interleaving");
}

#[test]
fn interleaving_is_seen() {
    let step =
        |job: &str, event: &str| Step { job: job.to_owned(), event: event.to_owned(), stage: None, fence: 1 };
    let serial = [
        step("a", "stage_started"),
        step("a", "succeeded"),
        step("b", "stage_started"),
        step("b", "succeeded"),
    ];
    assert!(interleaved(&serial, &["a", "b"]).is_empty());
    let mixed = [step("a", "stage_started"), step("b", "stage_started"), step("a", "succeeded")];
    assert_eq!(interleaved(&mixed, &["a", "b"]).len(), 1);
    assert!(interleaved(&mixed, &["a"]).is_empty());
}
