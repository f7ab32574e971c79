//! The containers that are measured: who is new, who is gone, since when each takes requests. Pure but for the tokens
//! that end streams.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bollard::models::ContainerStatsResponse;
use jiff::Timestamp;
use slipway_common::metric::{ContainerMeasure, Measured, MetricEvent};
use slipway_common::model::DeploymentId;
use slipway_common::model::label::RoutingState;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::measure;

/// Most containers that are measured.
const CONTAINERS_MAX: usize = 2_000;
/// A stream that says nothing for so long is opened again.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// What measurements say measured them.
const SOURCE: &str = "docker";

/// The containers of all subjects on the engine, at one moment.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The containers.
    pub(super) containers: Vec<Listed>,
    /// The deployments that are measured, whether they have containers or not.
    pub(super) deployments: HashSet<DeploymentId>,
}

/// One container in a listing.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) deployment: DeploymentId,
    /// Name without the suffix of its state: it stays the same.
    pub(super) name: String,
    pub(super) routing: RoutingState,
    /// What is known of it while it runs.
    pub(super) running: Option<Running>,
}

/// What is known of a container that runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Running {
    /// The cores its limits allow.
    pub(super) limit_cores: Option<f64>,
    /// When it was started last.
    pub(super) started_at: Option<Timestamp>,
}

/// What a listing changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Containers that are no more, with the event that says so.
    pub(super) gone: Vec<(String, MetricEvent)>,
    /// Containers a stream is to be opened for, until the token is cancelled.
    pub(super) opened: Vec<(String, CancellationToken)>,
}

/// The containers that are measured.
#[derive(Debug, Default)]
pub(super) struct Watchlist {
    watched: HashMap<String, Watched>,
}

#[derive(Debug)]
struct Watched {
    deployment: DeploymentId,
    name: String,
    running: Option<Running>,
    ready_since: Option<Timestamp>,
    /// CPU time at the last reading.
    cpu_total_ns: u64,
    /// When something was heard last, or the stream was opened.
    heard: Instant,
    /// Ends the stream when dropped.
    stream: Option<DropGuard>,
}

impl Watchlist {
    /// Takes over a listing.
    pub(super) fn list(&mut self, listing: &Listing, now: Timestamp, instant: Instant) -> Changes {
        self.watched.retain(|_, watched| listing.deployments.contains(&watched.deployment));
        let present: HashSet<&str> = listing.containers.iter().map(|listed| listed.id.as_str()).collect();
        let vanished = self.watched.extract_if(|id, _| !present.contains(id.as_str()));
        let mut changes = Changes {
            gone: vanished.map(|(id, watched)| (id, watched.gone(now))).collect(),
            opened: Vec::new(),
        };
        for listed in &listing.containers {
            if let Some(token) = self.look_at(listed, now, instant) {
                changes.opened.push((listed.id.clone(), token));
            }
        }
        changes
    }

    /// Takes over one container; answers the token of the stream that is to be opened for it.
    fn look_at(&mut self, listed: &Listed, now: Timestamp, instant: Instant) -> Option<CancellationToken> {
        let is_full = self.watched.len() >= CONTAINERS_MAX;
        let watched = match self.watched.entry(listed.id.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if is_full || listed.running.is_none() => return None,
            Entry::Vacant(free) => free.insert(Watched::new(listed, instant)),
        };
        watched.update(listed, now);
        if watched.running.is_none() {
            watched.stream = None;
            return None;
        }
        let is_silent = instant.saturating_duration_since(watched.heard) > SILENCE_MAX;
        if watched.stream.is_some() && !is_silent {
            return None;
        }
        let token = CancellationToken::new();
        watched.stream = Some(token.clone().drop_guard());
        watched.heard = instant;
        Some(token)
    }

    /// Takes a reading; answers the event it makes.
    pub(super) fn take(
        &mut self,
        id: &str,
        stats: &ContainerStatsResponse,
        now: Timestamp,
        instant: Instant,
    ) -> Option<MetricEvent> {
        let watched = self.watched.get_mut(id)?;
        watched.heard = instant;
        let limit_cores = watched.running.as_ref()?.limit_cores;
        let measured = measure::measure(stats, limit_cores)?;
        let at = measure::read_at(stats, now);
        let total_ns = measure::cpu_total_ns(stats)?;
        if total_ns < watched.cpu_total_ns && watched.ready_since.is_some() {
            // It was started again, too fast to be seen in a listing.
            watched.ready_since = Some(at);
        }
        watched.cpu_total_ns = total_ns;
        let measure = ContainerMeasure { ready_since: watched.ready_since, ..watched.named(measured) };
        Some(MetricEvent::new(watched.deployment, SOURCE, at, Measured::Container(measure)))
    }

    /// The engine says no more of a container: the next listing tells why.
    pub(super) fn close(&mut self, id: &str) {
        if let Some(watched) = self.watched.get_mut(id) {
            watched.stream = None;
        }
    }
}

impl Watched {
    fn new(listed: &Listed, instant: Instant) -> Self {
        Self {
            deployment: listed.deployment,
            name: listed.name.clone(),
            running: None,
            ready_since: None,
            cpu_total_ns: 0,
            heard: instant,
            stream: None,
        }
    }

    fn update(&mut self, listed: &Listed, now: Timestamp) {
        self.ready_since = self.ready_since(listed, now);
        if self.running.as_ref().and_then(|running| running.started_at) != started_at(listed) {
            self.cpu_total_ns = 0;
        }
        self.running.clone_from(&listed.running);
    }

    /// Since when it takes requests: one that was seen starting since it was seen renamed, one that served when it was
    /// first seen, or that was started again, since its start.
    fn ready_since(&self, listed: &Listed, now: Timestamp) -> Option<Timestamp> {
        if listed.routing != RoutingState::Serving || listed.running.is_none() {
            return None;
        }
        let started_at = started_at(listed);
        match &self.running {
            Some(before) if before.started_at == started_at => Some(self.ready_since.unwrap_or(now)),
            Some(_) | None => Some(started_at.unwrap_or(now)),
        }
    }

    fn named(&self, measure: ContainerMeasure) -> ContainerMeasure {
        let owner = Some(format!("deployment {}", self.deployment.short()));
        ContainerMeasure { container: self.name.clone(), owner, ..measure }
    }

    fn gone(&self, now: Timestamp) -> MetricEvent {
        let measure = self.named(ContainerMeasure { gone: true, ..ContainerMeasure::default() });
        MetricEvent::new(self.deployment, SOURCE, now, Measured::Container(measure))
    }
}

fn started_at(listed: &Listed) -> Option<Timestamp> {
    listed.running.as_ref().and_then(|running| running.started_at)
}

#[cfg(test)]
mod tests;
