//! What is to be done for a count: which containers stay, which come, which go. Pure.

use std::collections::BTreeSet;

use slipway_common::model::label::{self, RoutingState};

use super::found::{Activity, Found};

/// What is to be done with the containers of one deployment.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// How many serve and stay.
    pub(super) kept: u32,
    /// Have ended: removed as they are.
    pub(super) ended: Vec<&'a Found>,
    /// Have never served and are not wanted: removed at once.
    pub(super) unwanted: Vec<&'a Found>,
    /// Serve and are too many, or were left draining: drained, ended, removed.
    pub(super) leaving: Vec<&'a Found>,
    /// Were left starting: go on, and serve once they are healthy.
    pub(super) adopted: Vec<&'a Found>,
    /// Numbers of the replicas that are missing.
    pub(super) missing: Vec<u32>,
}

/// The replica that others are copied from: the oldest that serves.
pub(super) fn original(own: &[Found]) -> Option<&Found> {
    let serves = |found: &&Found| found.is_running() && found.routing() == RoutingState::Serving;
    own.iter().filter(serves).min_by_key(|found| found.number().unwrap_or(u32::MAX))
}

/// What is to be done so that `to` replicas like `original` serve; without `to`, those that serve and start already.
pub(super) fn plan<'a>(own: &'a [Found], original: &Found, to: Option<u32>) -> Plan<'a> {
    let hash = original.label(label::SPEC_HASH);
    let alive = |state| of_state(own, state).filter(|found| found.activity != Activity::Ended);
    let mut serving: Vec<&Found> = alive(RoutingState::Serving).collect();
    serving.sort_by_key(|found| (!found.is_running(), found.number().unwrap_or(u32::MAX)));
    let (mut adopted, mut unwanted): (Vec<&Found>, Vec<&Found>) =
        alive(RoutingState::Starting).partition(|found| found.label(label::SPEC_HASH) == hash);
    adopted.sort_by_key(|found| (!found.is_running(), found.number().unwrap_or(u32::MAX)));

    let wanted = to.map_or(serving.len() + adopted.len(), length);
    let mut leaving = serving.split_off(wanted.min(serving.len()));
    unwanted.extend(adopted.split_off((wanted - serving.len()).min(adopted.len())));
    leaving.extend(alive(RoutingState::Draining));
    let missing = wanted - serving.len() - adopted.len();
    Plan {
        kept: count(serving.len()),
        ended: own.iter().filter(|found| found.activity == Activity::Ended).collect(),
        unwanted,
        leaving,
        adopted,
        missing: free_numbers(own, missing),
    }
}

/// What can be finished while nothing serves. What starts, and what served and has ended, is left to the next deploy
/// job: there is nothing to compare it with.
pub(super) fn leftovers(own: &[Found]) -> Plan<'_> {
    let ended = |found: &&Found| found.activity == Activity::Ended;
    Plan {
        kept: 0,
        ended: own.iter().filter(ended).filter(|found| found.routing() != RoutingState::Serving).collect(),
        unwanted: Vec::new(),
        leaving: of_state(own, RoutingState::Draining).filter(|found| !ended(found)).collect(),
        adopted: Vec::new(),
        missing: Vec::new(),
    }
}

fn of_state(own: &[Found], state: RoutingState) -> impl Iterator<Item = &Found> {
    own.iter().filter(move |found| found.routing() == state)
}

/// The lowest numbers no living container has; those that have ended are removed first.
fn free_numbers(own: &[Found], how_many: usize) -> Vec<u32> {
    let alive = own.iter().filter(|found| found.activity != Activity::Ended);
    let taken: BTreeSet<u32> = alive.filter_map(Found::number).collect();
    (1..).filter(|number| !taken.contains(number)).take(how_many).collect()
}

fn length(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
