//! The laws of what is kept of autoscalers, H1 to H7.

mod recorded;
mod said;

pub use recorded::{
    h1_all_are_answered_when_something_is_new, h1_an_autoscaler_is_what_was_recorded_last,
    h1_deleting_it_deletes_everything_of_its_place, h2_a_replay_gives_the_same_autoscalers,
};
pub use said::{
    h3_concurrent_states_leave_the_largest_token, h3_many_states_are_put_together,
    h3_the_largest_fencing_token_wins, h4_concurrent_appends_leave_no_gap,
    h4_decisions_are_numbered_in_order, h4_the_newest_decisions_are_kept, h5_observations_come_back_in_order,
    h5_the_newest_observations_are_kept, h6_who_announced_itself_is_present,
    h7_what_was_learned_is_what_was_put_last,
};

use jiff::Timestamp;
use uuid::Uuid;

use super::Fixture;
use crate::Backend;
use crate::autoscaler::Autoscalers;
use crate::model::DeploymentId;
use crate::model::autoscaler::{
    Autoscaler, AutoscalerSettings, AutoscalerState, ContainerUse, Decision, DecisionEntry, DroppedCounts,
    Evidence, Law, Learned, Mode, Observed, Place, RawSettings, Reason, Silence, Terms, Wish,
};
use crate::record::Record;

/// The place of the project called `project`.
///
/// # Panics
/// When `project` is no name of a project.
#[must_use]
pub fn place(project: &str) -> Place {
    let environment = "default".parse().expect("`default` is a name");
    Place { project: project.parse().expect("the sample name is a slug"), environment }
}

/// An autoscaler of this place with at most `replicas_max` replicas.
///
/// # Panics
/// When `replicas_max` is out of its range.
#[must_use]
pub fn autoscaler(place: &Place, replicas_max: u32) -> Autoscaler {
    let raw = RawSettings {
        law: Law::Standard,
        mode: Mode::Tight,
        cpu_target: 0.5,
        constants: None,
        replicas_min: 1,
        replicas_max,
        interval_s: 5,
        window_s: 5,
        stale_after_s: 30,
        hold_s: None,
        down_percent_per_min: None,
        hysteresis: None,
        actions_per_hour_max: None,
    };
    let settings = AutoscalerSettings::try_from(raw).expect("the sample settings fit each other");
    Autoscaler { place: place.clone(), settings, user: "ada".to_owned(), updated_at: Timestamp::now() }
}

/// A wish for this place.
#[must_use]
pub fn wish(place: &Place, replicas: u32) -> Wish {
    let (id, user) = (Uuid::now_v7(), "ada".to_owned());
    Wish { id, place: place.clone(), replicas, user, at: Timestamp::now() }
}

/// A state under this fencing token.
#[must_use]
pub fn state(fence: u64, replicas: u32) -> AutoscalerState {
    AutoscalerState {
        deployment: DeploymentId::generate(),
        at: Timestamp::now(),
        fence,
        scaler: "one".to_owned(),
        replicas,
        ready: replicas,
        evidence: Some(evidence(2.5)),
        decision: Some(Decision::Hold(Reason::OnTarget)),
        terms: Some(Terms::default()),
        startup_s: Some(12.5),
        wish: Some(Uuid::now_v7()),
        busy: true,
        containers: vec![ContainerUse { name: "shop-1".to_owned(), utilisation: 0.25 }],
        dropped: DroppedCounts { stale: 3, ..DroppedCounts::default() },
        fault: None,
    }
}

/// A decision about as many replicas: to hold when the number is odd, to add one when it is even.
#[must_use]
pub fn decision(replicas: u32) -> DecisionEntry {
    let decision = if replicas.is_multiple_of(2) {
        Decision::Scale { from: replicas, to: replicas + 1, terms: Terms::default() }
    } else {
        Decision::Hold(Reason::Silence { silence: Silence::Stale })
    };
    DecisionEntry {
        at: Timestamp::now(),
        deployment: DeploymentId::generate(),
        replicas,
        ready: 0,
        evidence: None,
        decision,
        terms: None,
        fault: None,
    }
}

/// What was learned under this fencing token.
#[must_use]
pub fn learned(fence: u64, what: &str) -> Learned {
    Learned { fence, body: format!("{{\"what\":\"{what}\"}}") }
}

/// An observation of as many replicas.
#[must_use]
pub fn observed(at: Timestamp, replicas: u32) -> Observed {
    let evidence = Some(evidence(0.5));
    Observed { at, replicas, ready: 1, evidence, arrivals_per_s: Some(1.5), inflight: None }
}

fn evidence(demand_replicas: f64) -> Evidence {
    Evidence {
        at_s: 100.5,
        window_s: 5.0,
        utilisation: 0.75,
        saturated_share: 0.0,
        demand_replicas,
        counting: 3,
        young: 1,
    }
}

fn stored(autoscaler: &Autoscaler) -> Record {
    Record::AutoscalerStored(Box::new(autoscaler.clone()))
}

/// Keeps records the way the product does.
async fn keep(backend: &Backend, records: &[Record]) {
    for record in records {
        backend.record(record).await.expect("the record is taken");
    }
}

/// An installation with an autoscaler at each of these places.
async fn with_autoscalers(fixture: &dyn Fixture, places: &[&Place]) -> Backend {
    let backend = fixture.backend().await;
    let records: Vec<Record> = places.iter().map(|place| stored(&autoscaler(place, 9))).collect();
    keep(&backend, &records).await;
    backend
}

async fn state_of(autoscalers: &dyn Autoscalers, place: &Place) -> Option<AutoscalerState> {
    autoscalers.state(place).await.expect("it answers")
}

async fn put(autoscalers: &dyn Autoscalers, place: &Place, state: &AutoscalerState) {
    autoscalers.put_states(&[(place.clone(), state.clone())]).await.expect("states are taken");
}

async fn newest(autoscalers: &dyn Autoscalers, place: &Place, limit: usize) -> Vec<(u64, DecisionEntry)> {
    autoscalers.newest_decisions(place, limit).await.expect("it answers")
}

async fn seen(autoscalers: &dyn Autoscalers, place: &Place) -> Vec<Observed> {
    autoscalers.observed(place, Timestamp::MIN).await.expect("it answers")
}

async fn learned_of(autoscalers: &dyn Autoscalers, place: &Place) -> Option<Learned> {
    autoscalers.learned(place).await.expect("it answers")
}
