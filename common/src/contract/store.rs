//! The laws of the store, S1 to S9.

mod history;
mod lists;
mod locks;
mod logs;
mod replay;

pub use history::{
    changes_are_hinted, check_says_whether_it_works, live_states_are_the_latest,
    s1_is_the_fold_of_its_events, s1_survives_restart, s2_applying_twice_is_applying_once,
    s3_an_illegal_event_changes_nothing, s3_what_comes_before_an_illegal_event_stays,
    s4_numbers_have_no_gaps,
};
pub use lists::{s5_filters_and_totals, s5_newest_and_in_service, s5_pages_are_complete_and_newest_first};
pub use locks::{
    s6_concurrent_holders_exclude_each_other, s6_fences_grow, s6_one_holder_at_a_time,
    s7_concurrent_reservations_agree, s7_the_first_reservation_wins,
};
pub use logs::{s8_a_full_log_is_cut_with_one_marker, s8_a_log_is_its_lines_in_order};
pub use replay::{s9_a_replay_gives_an_equal_store, s9_credentials_and_tokens};

use jiff::Timestamp;

use super::Fixture;
use super::sample::deploy_job;
use crate::Backend;
use crate::model::{Deployment, DeploymentId, Event, EventKind, JobMessage};
use crate::record::Record;

/// Keeps an event the way the product does: ledger first, then the store.
async fn record(backend: &Backend, event: &Event) -> u64 {
    backend.record(&Record::Event(event.clone())).await.expect("a legal event is taken")
}

/// Accepts a job the way the product does.
async fn submit(fixture: &dyn Fixture, backend: &Backend, message: &JobMessage) {
    crate::submit::submit(backend, message).await.expect("a job is accepted");
    fixture.settled().await;
}

/// A deployment of the project called `name`, just accepted.
async fn accepted(fixture: &dyn Fixture, backend: &Backend, name: &str) -> JobMessage {
    let message = deploy_job(name, Timestamp::now());
    submit(fixture, backend, &message).await;
    message
}

async fn deployment(backend: &Backend, id: DeploymentId) -> Deployment {
    backend.store.deployment(id).await.expect("the store answers").expect("the deployment is known")
}

/// The fold of the events, by the pure state machine.
fn fold(message: &JobMessage, events: &[Event]) -> Deployment {
    let mut folded = crate::state::begin(&Event::accepted(message)).expect("a deploy job begins a history");
    for event in events {
        crate::state::apply(&mut folded, event).expect("the sample history is legal");
    }
    folded
}

/// An event that can follow no acceptance.
fn illegal(message: &JobMessage) -> Event {
    super::sample::event(message, 1, Timestamp::now(), EventKind::Succeeded)
}
