//! Routes from a Docker engine: its container list is the truth, its events are the wake-up.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use async_trait::async_trait;
use bollard::{
    Docker,
    models::{ContainerSummary, ContainerSummaryStateEnum, EndpointSettings},
    query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder},
};
use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::sync::OnceCell;

use super::RouteSource;
use crate::{
    SourceError,
    route::{Activity, Container, label},
};

/// Container events after which the list may read differently. Health probes inside containers emit many
/// others every few seconds.
const EVENTS: [&str; 9] =
    ["create", "start", "restart", "die", "stop", "destroy", "rename", "pause", "unpause"];

/// Reads the managed containers of one engine.
#[derive(Debug)]
pub struct DockerSource {
    docker: Docker,
    /// The client at the API version engine and client both speak, once the engine has answered.
    negotiated: OnceCell<Docker>,
}

impl DockerSource {
    /// A source that reads `docker`. The API version is negotiated at the first read.
    pub fn new(docker: Docker) -> Self {
        Self { docker, negotiated: OnceCell::new() }
    }

    async fn client(&self) -> Result<&Docker, SourceError> {
        let negotiate = || async { self.docker.clone().negotiate_version().await };
        self.negotiated.get_or_try_init(negotiate).await.map_err(|error| SourceError::List(error.into()))
    }
}

#[async_trait]
impl RouteSource for DockerSource {
    async fn containers(&self) -> Result<Vec<Container>, SourceError> {
        let filters = HashMap::from([("label", vec![managed()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let listed = self.client().await?.list_containers(Some(options)).await;
        let listed = listed.map_err(|error| SourceError::List(error.into()))?;
        Ok(listed.into_iter().filter_map(container).collect())
    }

    fn changes(&self) -> BoxStream<'static, Result<(), SourceError>> {
        // Before the engine has answered there is nothing to listen to; the next read brings the client.
        let Some(client) = self.negotiated.get().cloned() else { return stream::empty().boxed() };
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("label", vec![managed()]),
            ("event", EVENTS.map(str::to_owned).to_vec()),
        ]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let events = client.events(Some(options));
        events.map(|event| event.map(drop).map_err(|error| SourceError::Events(error.into()))).boxed()
    }
}

fn managed() -> String {
    format!("{}=true", label::MANAGED)
}

fn container(summary: ContainerSummary) -> Option<Container> {
    let name = summary.names.unwrap_or_default().into_iter().next()?;
    let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    Some(Container {
        id: summary.id?,
        name: name.trim_start_matches('/').to_owned(),
        created_unix_s: summary.created.unwrap_or(i64::MAX),
        activity: summary.state.map_or(Activity::Ended, activity),
        labels: summary.labels.unwrap_or_default(),
        addresses: addresses(networks),
    })
}

fn activity(state: ContainerSummaryStateEnum) -> Activity {
    use ContainerSummaryStateEnum as State;
    match state {
        State::RUNNING => Activity::Running,
        State::PAUSED | State::RESTARTING => Activity::Interrupted,
        State::EMPTY | State::CREATED | State::EXITED | State::REMOVING | State::DEAD | State::STOPPING => {
            Activity::Ended
        }
    }
}

fn addresses(networks: HashMap<String, EndpointSettings>) -> BTreeMap<String, IpAddr> {
    networks.into_iter().filter_map(|(name, endpoint)| Some((name, address(&endpoint)?))).collect()
}

fn address(endpoint: &EndpointSettings) -> Option<IpAddr> {
    let given = [&endpoint.ip_address, &endpoint.global_ipv6_address];
    given.into_iter().flatten().find_map(|address| address.parse().ok())
}
