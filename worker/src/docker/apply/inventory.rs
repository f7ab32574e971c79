//! What Slipway has on the engine for one scope, read from labels and names.

use std::collections::HashMap;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::ListContainersOptions;

use super::super::engine::Engine;
use super::super::error::DockerError;
use super::super::labels::{self, RoutingState};
use super::super::scope::Scope;

/// All containers of one scope at one moment.
pub(super) struct Inventory {
    containers: Vec<Found>,
}

/// One container that carries the scope's labels.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) running: bool,
    /// Created and never started.
    pub(super) fresh: bool,
    labels: HashMap<String, String>,
}

impl Inventory {
    pub(super) async fn read(engine: &Engine, scope: &Scope) -> Result<Self, DockerError> {
        let wanted = [
            (labels::MANAGED, "true"),
            (labels::PROJECT, scope.project()),
            (labels::ENVIRONMENT, scope.environment()),
        ];
        let options = ListContainersOptions {
            all: true,
            filters: Some(labels::filter(wanted)),
            ..ListContainersOptions::default()
        };
        let listed = engine.call("list containers", engine.docker().list_containers(Some(options))).await?;
        let mut containers: Vec<Found> = listed.into_iter().filter_map(Found::of).collect();
        containers.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(Self { containers })
    }

    /// Refuses to go on when a container was made under a higher fence.
    pub(super) fn check_fence(&self, fence: u64) -> Result<(), DockerError> {
        let seen = self.containers.iter().filter_map(Found::fence).max().unwrap_or(0);
        if seen > fence { Err(DockerError::Stale { fence, seen }) } else { Ok(()) }
    }

    pub(super) fn apps(&self) -> impl Iterator<Item = &Found> {
        self.containers.iter().filter(|found| found.label(labels::ROLE) == labels::ROLE_APP)
    }

    pub(super) fn supports(&self) -> impl Iterator<Item = &Found> {
        self.containers.iter().filter(|found| found.label(labels::ROLE) == labels::ROLE_SUPPORT)
    }
}

impl Found {
    fn of(summary: ContainerSummary) -> Option<Self> {
        let name = summary.names?.into_iter().next()?.trim_start_matches('/').to_owned();
        Some(Self {
            id: summary.id?,
            name,
            running: summary.state == Some(ContainerSummaryStateEnum::RUNNING),
            fresh: summary.state == Some(ContainerSummaryStateEnum::CREATED),
            labels: summary.labels.unwrap_or_default(),
        })
    }

    /// The value of a label; empty when it is missing.
    pub(super) fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    pub(super) fn state(&self) -> RoutingState {
        RoutingState::of_name(&self.name)
    }

    pub(super) fn replica(&self) -> Option<u32> {
        self.label(labels::REPLICA).parse().ok()
    }

    fn fence(&self) -> Option<u64> {
        self.label(labels::FENCE).parse().ok()
    }
}
