//! The control loop: events and looks come in, decisions and orders go out. One task, which waits for nothing else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::health::Progress;
use slipway_common::metric::{Heard, MetricEvent, MetricSubscription};
use slipway_common::model::DeploymentId;
use slipway_common::model::autoscaler::{AutoscalerState, Decision, Place};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::actions::carry_out;
use super::figures::{Figures, Totals};
use super::kept::{Kept, Order};
use super::measure::seconds;
use super::notes::Notes;
use super::roster::Listed;
use super::shards::Shards;
use super::targets::{Look, Targets};
use crate::target::TargetError;

/// Pause between two rounds without events: how soon silence and orders are looked at.
const TICK: Duration = Duration::from_millis(200);
/// What is new is written in so many turns, one after each round: of thousands of deployments, all at once would take much
/// memory for a moment.
const TURNS: u32 = 5;
/// Longest wait for orders at the end.
const ACTIONS_END: Duration = Duration::from_secs(5);
/// Orders carried out at once.
const ACTIONS_MAX: usize = 64;

/// How an order ended.
type Acted = (Place, Order, Result<u32, TargetError>);

/// The loop and what it knows.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) backend: Backend,
    pub(crate) name: Arc<str>,
    pub(crate) shards: Shards,
    pub(crate) targets: Arc<Targets>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) notes: Notes,
    pub(crate) kept: HashMap<Place, Box<Kept>>,
    pub(crate) places: HashMap<DeploymentId, Place>,
    pub(crate) actions: JoinSet<Acted>,
    pub(crate) totals: Totals,
    /// Whose turn it is.
    pub(crate) turn: u32,
    pub(crate) stop: CancellationToken,
}

impl Rounds {
    pub(crate) fn new(
        backend: Backend,
        name: &str,
        shards: Shards,
        targets: Arc<Targets>,
        figures: Arc<Figures>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            notes: Notes::new(backend.clone()),
            backend,
            name: Arc::from(name),
            shards,
            targets,
            figures,
            kept: HashMap::new(),
            places: HashMap::new(),
            actions: JoinSet::new(),
            totals: Totals::default(),
            turn: 0,
            stop,
        }
    }

    /// Runs until `stop`; then what is being carried out is given up, and what is known is kept.
    pub(crate) async fn run(
        mut self,
        mut events: Box<dyn MetricSubscription>,
        mut lists: mpsc::Receiver<Vec<Listed>>,
        mut looks: mpsc::Receiver<Look>,
        progress: Progress,
    ) {
        let stop = self.stop.clone();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = events.next() => self.hear(heard),
                Some(list) = lists.recv() => self.list(list),
                Some(look) = looks.recv() => self.look(look),
                Some(ended) = self.actions.join_next() => self.ended(ended.ok()),
                _ = ticks.tick() => {
                    progress.mark();
                    self.tick().await;
                }
                () = stop.cancelled() => break,
            }
        }
        // Orders end by themselves then, and give their leases back.
        let ended = async { while self.actions.join_next().await.is_some() {} };
        if tokio::time::timeout(ACTIONS_END, ended).await.is_err() {
            self.actions.shutdown().await;
        }
        let at = Timestamp::now();
        for kept in self.kept.values_mut() {
            let rest = kept.chunk(true);
            self.notes.observed(kept.place(), rest);
            let learned = kept.learned(seconds(at), true);
            self.notes.learned(kept.place(), learned);
        }
        let name = &self.name;
        let states = self.kept.iter_mut().filter_map(|(place, kept)| state(place, kept, name, at)).collect();
        self.notes.finish(states).await;
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Events(events) => self.take(&events),
            Heard::Refused(refusal) => {
                self.totals.messages_refused += 1;
                tracing::debug!(%refusal, "a message is no metric event");
            }
            Heard::Missed(count) => self.totals.messages_missed += count,
        }
    }

    /// All events of a message count before anything is decided on them.
    fn take(&mut self, events: &[MetricEvent]) {
        let at = Timestamp::now();
        let now_s = seconds(at);
        let mut touched = HashSet::new();
        for event in events {
            let kept = self.places.get(&event.deployment).and_then(|place| self.kept.get_mut(place));
            match kept.map(|kept| kept.take(event, now_s)) {
                Some(true) => {
                    self.totals.events += 1;
                    touched.insert(event.deployment);
                }
                Some(false) => self.totals.events_dropped += 1,
                None => self.totals.events_elsewhere += 1,
            }
        }
        for deployment in touched {
            if let Some(place) = self.places.get(&deployment).cloned() {
                self.step_if_due(&place, now_s, at);
            }
        }
    }

    fn list(&mut self, list: Vec<Listed>) {
        let mut places = HashSet::with_capacity(list.len());
        self.places.clear();
        for Listed { entry, subject, fence, before } in list {
            let place = entry.autoscaler.place.clone();
            if let Some(subject) = &subject {
                self.places.insert(subject.deployment, place.clone());
            }
            // Under another token somebody else may have kept it meanwhile.
            if self.kept.get(&place).is_some_and(|kept| !kept.is_under(fence)) {
                self.kept.remove(&place);
            }
            let begin = || {
                let before = before.unwrap_or_default();
                Box::new(Kept::new(Arc::clone(&entry), fence, before.state.as_ref(), before.learned.as_ref()))
            };
            self.kept.entry(place.clone()).or_insert_with(begin).update(Arc::clone(&entry), subject, fence);
            places.insert(place);
        }
        let gone: Vec<Place> = self.kept.keys().filter(|place| !places.contains(*place)).cloned().collect();
        for place in gone {
            self.kept.remove(&place);
            self.figures.forget(&place);
        }
    }

    fn look(&mut self, look: Look) {
        let now_s = seconds(Timestamp::now());
        for subject in &look.subjects {
            let kept = self.kept.get_mut(&subject.place).filter(|kept| kept.subject() == Some(subject));
            let Some(kept) = kept else { continue };
            match &look.seen {
                Ok(seen) => kept.see(seen.get(&subject.deployment).cloned(), now_s),
                Err(error) => kept.see_nothing(error),
            }
        }
    }

    fn ended(&mut self, acted: Option<Acted>) {
        // One that panicked has said so; its place is looked at again.
        let Some((place, order, result)) = acted else { return };
        let at = Timestamp::now();
        match &result {
            Ok(replicas) => tracing::info!(%place, from = order.from, replicas, "scaled"),
            Err(error) => {
                self.totals.failed += 1;
                tracing::warn!(%place, from = order.from, to = order.to, %error, "not scaled");
            }
        }
        self.targets.look_soon(&order.subject.target);
        let Some(kept) = self.kept.get_mut(&place) else { return };
        if let Some(decision) = kept.acted(&order, &result, seconds(at), at) {
            self.notes.decided(&place, decision);
        }
        self.order(&place, seconds(at));
    }

    async fn tick(&mut self) {
        let at = Timestamp::now();
        let now_s = seconds(at);
        let places: Vec<Place> = self.kept.keys().cloned().collect();
        for place in places {
            self.step_if_due(&place, now_s, at);
            self.order(&place, now_s);
        }
        self.write(now_s, at).await;
        self.totals.notes_given_up = self.notes.given_up();
        self.totals.shards = u64::try_from(self.shards.held()).unwrap_or(u64::MAX);
        self.figures.set_totals(self.totals);
    }

    /// Has written what is new of those whose turn it is. The next turn begins when that of before has been written.
    async fn write(&mut self, now_s: f64, at: Timestamp) {
        if self.notes.is_writing() {
            return;
        }
        self.turn = (self.turn + 1) % TURNS;
        let mut states = Vec::new();
        for (place, kept) in self.kept.iter_mut().filter(|(_, kept)| kept.turn(TURNS) == self.turn) {
            self.notes.learned(place, kept.learned(now_s, false));
            if let Some((place, state)) = state(place, kept, &self.name, at) {
                self.figures.show(&place, &state, kept.cpu_target());
                states.push((place, state));
            }
        }
        for place in self.notes.write(states).await {
            if let Some(kept) = self.kept.get_mut(&place) {
                kept.is_news_again();
            }
        }
    }

    fn step_if_due(&mut self, place: &Place, now_s: f64, at: Timestamp) {
        let Some(kept) = self.kept.get_mut(place).filter(|kept| kept.is_due(now_s)) else { return };
        let stepped = kept.step(now_s, at);
        self.totals.steps += 1;
        if let Some(entry) = stepped.decision {
            if matches!(entry.decision, Decision::Scale { .. }) {
                self.totals.scaled += 1;
            }
            self.notes.decided(place, entry);
        }
        self.notes.observed(place, stepped.observed);
        self.order(place, now_s);
    }

    /// Has carried out what has to be done at a place, while this scaler may.
    fn order(&mut self, place: &Place, now_s: f64) {
        if self.actions.len() >= ACTIONS_MAX {
            return;
        }
        let Some(kept) = self.kept.get_mut(place) else { return };
        let Some(guard) = self.shards.guard(place).filter(|guard| kept.is_under(guard.token())) else {
            return;
        };
        let Some(order) = kept.order(now_s) else { return };
        let (backend, targets, name) =
            (self.backend.clone(), Arc::clone(&self.targets), Arc::clone(&self.name));
        let (place, stop) = (place.clone(), self.stop.clone());
        self.actions.spawn(async move {
            let result = carry_out(&backend, &targets, &name, &order, guard, &stop).await;
            (place, order, result)
        });
    }
}

/// What is to be said of a place, if that is new.
fn state(place: &Place, kept: &mut Kept, name: &str, at: Timestamp) -> Option<(Place, AutoscalerState)> {
    Some((place.clone(), kept.news(name, at)?))
}
