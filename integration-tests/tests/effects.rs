//! The effect ledger reads what a real engine and a real registry have.

use std::collections::HashMap;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use slipway_common::model::label;
use slipway_integration_tests::docker_engine;
use slipway_integration_tests::effects::{EffectKind, ViolationKind, check, containers, images, manifests};
use slipway_integration_tests::registry::{PASSWORD, Registry, USER};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn digest(bytes: &[u8]) -> String {
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

#[tokio::test]
async fn a_registry_tells_its_tags_and_their_jobs() {
    let registry = Registry::start().await.unwrap();
    assert_eq!(manifests(&registry).await.unwrap(), []);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://{}/v2/team/shop", registry.host());
    let config = serde_json::to_vec(&json!({ "config": { "Labels": { (label::JOB): "job-1" } } })).unwrap();
    let begun =
        client.post(format!("{base}/blobs/uploads/")).basic_auth(USER, Some(PASSWORD)).send().await.unwrap();
    let place = begun.headers()["location"].to_str().unwrap().to_owned();
    let sent = client.put(format!("{place}&digest={}", digest(&config))).basic_auth(USER, Some(PASSWORD));
    assert_eq!(sent.body(config.clone()).send().await.unwrap().status(), 201);
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": config.len(),
            "digest": digest(&config),
        },
        "layers": [],
    }))
    .unwrap();
    let put = client.put(format!("{base}/manifests/one")).basic_auth(USER, Some(PASSWORD));
    let put = put.header("Content-Type", MANIFEST).body(manifest.clone()).send().await.unwrap();
    assert_eq!(put.status(), 201, "{}", put.text().await.unwrap());

    let found = manifests(&registry).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].kind, found[0].job.as_str()), (EffectKind::Manifest, "job-1"));
    assert_eq!((found[0].place.as_str(), &found[0].value), ("team/shop:one", &digest(&manifest)));
}

#[tokio::test]
async fn an_engine_tells_its_containers_and_a_doubled_replica_is_seen() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let docker = docker_engine::connect(&host).unwrap();
    let base = "slipway-test/static:effects";
    docker_engine::base_image(&docker, base).await.unwrap();
    let project = docker_engine::unique_name("effects");
    let labels = [
        (label::MANAGED, "true"),
        (label::PROJECT, project.as_str()),
        (label::ENVIRONMENT, "default"),
        (label::JOB, "job-1"),
        (label::ROLE, label::ROLE_APP),
        (label::REPLICA, "1"),
    ];
    let labels: HashMap<String, String> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut ids = Vec::new();
    for index in 0..2 {
        let options = CreateContainerOptionsBuilder::default().name(&format!("{project}-{index}")).build();
        let body = ContainerCreateBody {
            image: Some(base.to_owned()),
            labels: Some(labels.clone()),
            ..ContainerCreateBody::default()
        };
        ids.push(docker.create_container(Some(options), body).await.unwrap().id);
    }
    let found = containers(&docker, &project).await.unwrap();
    let none = images(&docker, &project).await.unwrap();
    for id in &ids {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        docker.remove_container(id, Some(options)).await.unwrap();
    }
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|effect| effect.job == "job-1" && effect.place == "default app 1"), "{found:?}");
    assert_eq!(none, [], "the base image is nobody's");
    let job = slipway_integration_tests::effects::JobHistory {
        job: "job-1".to_owned(),
        deployment: "deployment-1".to_owned(),
        ended: Some(slipway_integration_tests::effects::Ended::Succeeded),
        wanted: vec![(EffectKind::Container, "default app 1".to_owned())],
    };
    let violations = check(&[job], &found);
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert_eq!(violations[0].kind, ViolationKind::Duplicated);
}
