//! A replica as others are copied from it: the same image, environment, limits, network and fencing token, with a number of
//! its own. Holds the environment with its secrets, so it cannot be shown.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HostConfig, NetworkingConfig,
    RestartPolicy, RestartPolicyNameEnum,
};
use slipway_common::model::label;

use super::health::Check;
use crate::target::TargetError;

/// The replica that is copied.
pub(super) struct Original {
    image_id: String,
    env: Option<Vec<String>>,
    exposed_ports: Option<Vec<String>>,
    labels: HashMap<String, String>,
    host: HostConfig,
    network: String,
    /// What the engine does when it ends.
    pub(super) restart: RestartPolicy,
    /// When one like it is healthy.
    pub(super) check: Check,
}

impl Original {
    /// Reads what a copy needs. The rest (command, user, folders) comes from the image, as it did for the original.
    pub(super) fn of(inspected: ContainerInspectResponse) -> Result<Self, TargetError> {
        let config = inspected.config.unwrap_or_default();
        let labels = config.labels.unwrap_or_default();
        let image_id = inspected.image.ok_or_else(|| unusable("names no image"))?;
        let mut host = inspected.host_config.ok_or_else(|| unusable("has no limits"))?;
        let network = labels.get(label::NETWORK).ok_or_else(|| unusable("names no network"))?.clone();
        let port = labels.get(label::PORT).and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0);
        let check = Check {
            network: network.clone(),
            port: port.ok_or_else(|| unusable("names no port"))?,
            path: labels.get(label::HEALTH_PATH).cloned(),
        };
        let never = RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None };
        // While a copy starts, nothing is restarted, so that an early exit is seen.
        let restart = host.restart_policy.replace(never.clone()).unwrap_or(never);
        Ok(Self {
            image_id,
            env: config.env,
            exposed_ports: config.exposed_ports,
            labels,
            host,
            network,
            restart,
            check,
        })
    }

    /// The container that replica `number` is created as.
    pub(super) fn copy(&self, number: u32) -> ContainerCreateBody {
        let mut labels = self.labels.clone();
        labels.insert(label::REPLICA.to_owned(), number.to_string());
        // The network alone: addresses and aliases belong to the original.
        let endpoints = HashMap::from([(self.network.clone(), EndpointSettings::default())]);
        ContainerCreateBody {
            image: Some(self.image_id.clone()),
            env: self.env.clone(),
            exposed_ports: self.exposed_ports.clone(),
            labels: Some(labels),
            host_config: Some(self.host.clone()),
            networking_config: Some(NetworkingConfig { endpoints_config: Some(endpoints) }),
            ..ContainerCreateBody::default()
        }
    }
}

fn unusable(what: &str) -> TargetError {
    TargetError::Refused {
        code: "replica_not_copyable",
        reason: format!("the replica to be copied {what}: deploy again"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn inspected() -> ContainerInspectResponse {
        serde_json::from_value(json!({
            "Id": "c1",
            "Name": "/slipway-shop-default-02098a80-1",
            "Image": "sha256:feed",
            "Config": {
                "Hostname": "c1c1c1",
                "Image": "shop:latest",
                "Env": ["A=1", "PATH=/bin"],
                "Cmd": ["serve"],
                "ExposedPorts": {"8080/tcp": {}},
                "Labels": {
                    "io.slipway.managed": "true", "io.slipway.replica": "1", "io.slipway.fence": "7",
                    "io.slipway.network": "slipway-shop-default", "io.slipway.port": "8080",
                    "io.slipway.health.path": "/healthz", "io.slipway.spec-hash": "one",
                },
            },
            "HostConfig": {
                "Memory": 268_435_456, "MemorySwap": 268_435_456, "NanoCpus": 500_000_000, "PidsLimit": 512,
                "CapDrop": ["ALL"], "CapAdd": ["NET_BIND_SERVICE"], "SecurityOpt": ["no-new-privileges"],
                "NetworkMode": "slipway-shop-default", "Init": true, "Isolation": "", "ConsoleSize": [0, 0],
                "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            },
            "NetworkSettings": {"Networks": {"slipway-shop-default": {
                "IPAddress": "172.18.0.2", "MacAddress": "02:42:ac:12:00:02", "Aliases": ["c1c1c1"],
            }}},
        }))
        .unwrap()
    }

    #[test]
    fn a_copy_has_the_image_environment_and_limits_of_the_original() {
        let source = inspected();
        let body = Original::of(source.clone()).unwrap().copy(4);
        let config = source.config.unwrap();
        assert_eq!(body.image.as_deref(), Some("sha256:feed"), "by content, never by tag");
        assert_eq!((body.env, body.exposed_ports), (config.env, config.exposed_ports));
        let host = body.host_config.unwrap();
        let never = RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None };
        assert_eq!(host.restart_policy, Some(never));
        let original = source.host_config.unwrap();
        assert_eq!(HostConfig { restart_policy: original.restart_policy.clone(), ..host }, original);
    }

    #[test]
    fn a_copy_has_its_own_number_and_none_of_the_addresses() {
        let original = Original::of(inspected()).unwrap();
        assert_eq!(original.restart.name, Some(RestartPolicyNameEnum::UNLESS_STOPPED));
        let body = original.copy(4);
        let labels = body.labels.unwrap();
        assert_eq!((labels[label::REPLICA].as_str(), labels[label::FENCE].as_str()), ("4", "7"));
        assert_eq!(labels[label::SPEC_HASH], "one");
        assert_eq!((body.hostname, body.cmd), (None, None));
        let endpoints = body.networking_config.unwrap().endpoints_config.unwrap();
        assert_eq!(endpoints["slipway-shop-default"], EndpointSettings::default());
    }

    #[test]
    fn what_cannot_be_checked_later_is_not_copied() {
        for missing in [label::NETWORK, label::PORT] {
            let mut source = inspected();
            if let Some(labels) = source.config.as_mut().and_then(|config| config.labels.as_mut()) {
                labels.remove(missing);
            }
            let error = Original::of(source).err().unwrap();
            assert_eq!(error.fault().code, "replica_not_copyable", "{missing}");
        }
        let without_image = ContainerInspectResponse { image: None, ..inspected() };
        assert!(Original::of(without_image).is_err());
    }
}
