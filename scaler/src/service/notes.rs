//! What is kept of autoscalers: states, decisions and observations, written in batches beside the loop, so that a slow
//! store delays no decision.

use std::collections::HashMap;

use slipway_common::Backend;
use slipway_common::model::autoscaler::{AutoscalerState, DecisionEntry, Learned, Observed, Place};
use slipway_common::store::StoreError;
use slipway_common::telemetry::chain;
use tokio::task::JoinHandle;

/// Decisions and observations that wait for a store that is away; beyond it the oldest are given up.
const WAITING_MAX: usize = 10_000;

/// States that are written at once: of thousands, all at once would take much memory for a moment.
const STATES_AT_ONCE: usize = 100;

/// What is to be written.
#[derive(Debug, Default)]
struct Batch {
    states: Vec<(Place, AutoscalerState)>,
    decisions: Vec<(Place, DecisionEntry)>,
    observed: Vec<(Place, Vec<Observed>)>,
    /// The newest of each place. It is not kept for a store that is away: it comes again.
    learned: HashMap<Place, Learned>,
}

/// The notes of one scaler.
#[derive(Debug)]
pub(crate) struct Notes {
    backend: Backend,
    waiting: Batch,
    writing: Option<JoinHandle<Batch>>,
    given_up: u64,
}

impl Notes {
    pub(crate) fn new(backend: Backend) -> Self {
        Self { backend, waiting: Batch::default(), writing: None, given_up: 0 }
    }

    pub(crate) fn decided(&mut self, place: &Place, decision: DecisionEntry) {
        self.waiting.decisions.push((place.clone(), decision));
    }

    pub(crate) fn observed(&mut self, place: &Place, observed: Vec<Observed>) {
        if !observed.is_empty() {
            self.waiting.observed.push((place.clone(), observed));
        }
    }

    pub(crate) fn learned(&mut self, place: &Place, learned: Option<Learned>) {
        self.waiting.learned.extend(learned.map(|learned| (place.clone(), learned)));
    }

    /// How many notes were given up because the store was away for long.
    pub(crate) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Whether something is being written.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.as_ref().is_some_and(|writing| !writing.is_finished())
    }

    /// Writes these states and what waits. Answers the places whose states were not kept last time.
    pub(crate) async fn write(&mut self, states: Vec<(Place, AutoscalerState)>) -> Vec<Place> {
        let unkept = self.settle().await;
        let batch = Batch { states, ..std::mem::take(&mut self.waiting) };
        if !batch.is_empty() {
            let backend = self.backend.clone();
            self.writing = Some(tokio::spawn(async move { batch.written(&backend).await }));
        }
        unkept
    }

    /// Writes all there is, and waits for it.
    pub(crate) async fn finish(mut self, states: Vec<(Place, AutoscalerState)>) {
        drop(self.settle().await);
        let batch = Batch { states, ..self.waiting };
        if !batch.is_empty() {
            drop(batch.written(&self.backend).await);
        }
    }

    /// Takes back what the last write could not keep.
    async fn settle(&mut self) -> Vec<Place> {
        let Some(writing) = self.writing.take() else { return Vec::new() };
        let left = writing.await.unwrap_or_default();
        let newer = std::mem::take(&mut self.waiting);
        self.waiting.decisions = joined(left.decisions, newer.decisions, &mut self.given_up);
        self.waiting.observed = joined(left.observed, newer.observed, &mut self.given_up);
        self.waiting.learned = newer.learned;
        left.states.into_iter().map(|(place, _)| place).collect()
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.states.is_empty()
            && self.decisions.is_empty()
            && self.observed.is_empty()
            && self.learned.is_empty()
    }

    /// Writes; answers what could not be written.
    async fn written(mut self, backend: &Backend) -> Self {
        let autoscalers = &backend.autoscalers;
        if !self.decisions.is_empty() && told(autoscalers.append_decisions(&self.decisions).await) {
            self.decisions.clear();
        }
        let mut unkept = Vec::new();
        for some in self.states.chunks(STATES_AT_ONCE) {
            if !unkept.is_empty() || !told(autoscalers.put_states(some).await) {
                unkept.extend_from_slice(some);
            }
        }
        self.states = unkept;
        let learned: Vec<(Place, Learned)> = self.learned.drain().collect();
        told(autoscalers.put_learned(&learned).await);
        let mut left = Vec::new();
        for (place, observed) in self.observed {
            if !left.is_empty() || !told(autoscalers.append_observed(&place, &observed).await) {
                left.push((place, observed));
            }
        }
        Self { observed: left, ..self }
    }
}

fn told(written: Result<(), StoreError>) -> bool {
    if let Err(error) = &written {
        tracing::debug!(error = chain(error), "notes of the scaler wait for the store");
    }
    written.is_ok()
}

/// The older and the newer ones, without the oldest of too many. Pure.
fn joined<T>(mut older: Vec<T>, newer: Vec<T>, given_up: &mut u64) -> Vec<T> {
    older.extend(newer);
    let surplus = older.len().saturating_sub(WAITING_MAX);
    *given_up += u64::try_from(surplus).unwrap_or(u64::MAX);
    older.split_off(surplus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_notes_the_oldest_are_given_up() {
        let mut given_up = 0;
        assert_eq!(joined(vec![1, 2], vec![3], &mut given_up), [1, 2, 3]);
        let kept = joined((0..WAITING_MAX).collect(), vec![WAITING_MAX], &mut given_up);
        assert_eq!((kept.first(), kept.last(), kept.len()), (Some(&1), Some(&WAITING_MAX), WAITING_MAX));
        assert_eq!(given_up, 1);
    }
}
