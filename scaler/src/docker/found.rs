//! The containers Slipway has on the engine, read from labels and names, and what they say of each deployment.

use std::collections::HashMap;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::ListContainersOptions;
use slipway_common::model::DeploymentId;
use slipway_common::model::autoscaler::Place;
use slipway_common::model::label::{self, RoutingState};

use super::engine::{self, Engine, EngineError};
use crate::target::Seen;

/// One container that Slipway made.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) activity: Activity,
    pub(super) labels: HashMap<String, String>,
}

/// What a container is doing, as far as its count is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// Created and never started.
    Fresh,
    /// Runs.
    Running,
    /// Paused, or between two runs.
    Interrupted,
    /// Ended, and nobody starts it again.
    Ended,
}

impl Activity {
    fn of(state: ContainerSummaryStateEnum) -> Self {
        use ContainerSummaryStateEnum as State;
        match state {
            State::CREATED => Self::Fresh,
            State::RUNNING => Self::Running,
            State::PAUSED | State::RESTARTING => Self::Interrupted,
            State::EMPTY | State::EXITED | State::REMOVING | State::DEAD | State::STOPPING => Self::Ended,
        }
    }
}

/// All application containers on the engine.
pub(super) async fn apps(engine: &Engine) -> Result<Vec<Found>, EngineError> {
    list(engine, &[(label::MANAGED, "true"), (label::ROLE, label::ROLE_APP)]).await
}

/// All containers of one project and environment.
pub(super) async fn of_place(engine: &Engine, place: &Place) -> Result<Vec<Found>, EngineError> {
    let project = (label::PROJECT, place.project.as_str());
    let environment = (label::ENVIRONMENT, place.environment.as_str());
    list(engine, &[(label::MANAGED, "true"), project, environment]).await
}

async fn list(engine: &Engine, wanted: &[(&str, &str)]) -> Result<Vec<Found>, EngineError> {
    let filter: Vec<String> = wanted.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), filter)])),
        ..ListContainersOptions::default()
    };
    let listed = engine::call("list containers", engine.docker()?.list_containers(Some(options))).await?;
    // Checked here too: what is not of these labels must not be touched, whatever the engine makes of a filter.
    let fits = |found: &Found| wanted.iter().all(|(key, value)| found.label(key) == *value);
    let mut found: Vec<Found> = listed.into_iter().filter_map(Found::of).filter(fits).collect();
    found.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(found)
}

impl Found {
    fn of(summary: ContainerSummary) -> Option<Self> {
        let name = summary.names?.into_iter().next()?.trim_start_matches('/').to_owned();
        Some(Self {
            id: summary.id?,
            name,
            activity: summary.state.map_or(Activity::Ended, Activity::of),
            labels: summary.labels.unwrap_or_default(),
        })
    }

    /// The value of a label; empty when it is missing.
    pub(super) fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    /// Whether the gateway routes to it.
    pub(super) fn routing(&self) -> RoutingState {
        RoutingState::of_name(&self.name)
    }

    /// The deployment it belongs to.
    pub(super) fn deployment(&self) -> Option<DeploymentId> {
        self.label(label::DEPLOYMENT).parse().ok()
    }

    /// Its number within its deployment.
    pub(super) fn number(&self) -> Option<u32> {
        self.label(label::REPLICA).parse().ok()
    }

    /// Fencing token of whoever made it.
    pub(super) fn fence(&self) -> Option<u64> {
        self.label(label::FENCE).parse().ok()
    }

    pub(super) fn is_app(&self) -> bool {
        self.label(label::ROLE) == label::ROLE_APP
    }

    pub(super) fn is_running(&self) -> bool {
        self.activity == Activity::Running
    }

    pub(super) fn is_of(&self, place: &Place) -> bool {
        self.label(label::PROJECT) == place.project.as_str()
            && self.label(label::ENVIRONMENT) == place.environment.as_str()
    }
}

/// What the containers say of each deployment.
pub(super) fn seen(containers: &[Found]) -> HashMap<DeploymentId, Seen> {
    let mut all: HashMap<DeploymentId, Seen> = HashMap::new();
    for found in containers {
        let Some(deployment) = found.deployment() else { continue };
        let nothing = Seen { replicas: 0, ready: 0, unfinished: 0, hands_off: None };
        let seen = all.entry(deployment).or_insert(nothing);
        let ended = found.activity == Activity::Ended;
        match found.routing() {
            RoutingState::Serving => {
                seen.replicas += u32::from(!ended);
                seen.ready += u32::from(found.is_running());
                seen.unfinished += u32::from(ended);
            }
            RoutingState::Starting => {
                seen.replicas += u32::from(!ended);
                seen.unfinished += 1;
            }
            RoutingState::Draining => seen.unfinished += 1,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(deployment: &DeploymentId, name: &str, activity: Activity) -> Found {
        let labels = HashMap::from([(label::DEPLOYMENT.to_owned(), deployment.to_string())]);
        Found { id: name.to_owned(), name: name.to_owned(), activity, labels }
    }

    #[test]
    fn names_and_states_tell_how_many_are_ordered_serve_and_are_unfinished() {
        let (shop, zoo) = (DeploymentId::generate(), DeploymentId::generate());
        let containers = [
            found(&shop, "shop-1", Activity::Running),
            found(&shop, "shop-2", Activity::Interrupted),
            found(&shop, "shop-3", Activity::Ended),
            found(&shop, "shop-4-starting", Activity::Running),
            found(&shop, "shop-5-starting", Activity::Fresh),
            found(&shop, "shop-6-starting", Activity::Ended),
            found(&shop, "shop-7-draining", Activity::Running),
            found(&zoo, "zoo-1-draining", Activity::Ended),
        ];
        let all = seen(&containers);
        let of = |replicas, ready, unfinished| Seen { replicas, ready, unfinished, hands_off: None };
        assert_eq!(all[&shop], of(4, 1, 5));
        assert_eq!(all[&zoo], of(0, 0, 1));
    }

    #[test]
    fn a_container_without_a_readable_deployment_says_nothing() {
        let mut strange = found(&DeploymentId::generate(), "shop-1", Activity::Running);
        strange.labels.insert(label::DEPLOYMENT.to_owned(), "shop".to_owned());
        assert!(seen(&[strange]).is_empty());
    }

    #[test]
    fn a_summary_without_a_name_or_an_id_is_no_container() {
        let whole = ContainerSummary {
            id: Some("a".to_owned()),
            names: Some(vec!["/shop-1-draining".to_owned()]),
            state: Some(ContainerSummaryStateEnum::RESTARTING),
            ..ContainerSummary::default()
        };
        let read = Found::of(whole.clone()).unwrap();
        assert_eq!((read.name.as_str(), read.activity), ("shop-1-draining", Activity::Interrupted));
        assert_eq!(read.routing(), RoutingState::Draining);
        assert!(Found::of(ContainerSummary { id: None, ..whole.clone() }).is_none());
        assert!(Found::of(ContainerSummary { names: Some(Vec::new()), ..whole }).is_none());
    }
}
