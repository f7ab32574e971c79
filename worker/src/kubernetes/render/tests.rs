//! What a deployment is rendered to.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use slipway_cluster::Access;

use super::super::settings::{PodSecurity, Tls};
use super::super::wanted::{PullCredential, Support, Variables};
use super::*;

fn cluster() -> ClusterSettings {
    ClusterSettings {
        name: "production".parse().unwrap(),
        access: Access::InCluster,
        expose: Expose::Ingress,
        domain: Some("apps.example.com".to_owned()),
        ingress_class: Some("nginx".to_owned()),
        tls: Tls::Nothing,
        pull_credential: None,
        pod_security: PodSecurity::Restricted,
        repairs_drift: false,
        trouble_max: Duration::from_secs(30),
        load_balancer_wait: Duration::from_secs(60),
        drain: Duration::from_secs(5),
        stop_grace: Duration::from_secs(10),
    }
}

fn variables(name: &str, value: &str, hash: &str) -> Variables {
    let values = [(name.to_owned(), SecretString::from(value.to_owned()))];
    Variables { values: values.into(), hash: hash.to_owned() }
}

fn wanted() -> Wanted {
    Wanted {
        thorough: false,
        project: "shop-1a2b3c".parse().unwrap(),
        environment: "staging".parse().unwrap(),
        deployment: "d1".to_owned(),
        job: "j1".to_owned(),
        fence: 1,
        image: format!("registry.example/shop@sha256:{}", "a".repeat(64)),
        port: 8080,
        replicas: 3,
        is_scaled: false,
        env: variables("KEY", "value", "0123456789abcdef"),
        resources: slipway_common::model::ResourceSpec::default(),
        health: slipway_common::model::HealthSpec::default(),
        supports: vec![Support {
            name: "db".to_owned(),
            image: format!("registry.example/db@sha256:{}", "b".repeat(64)),
            port: Some(5432),
            env: Variables::default(),
            resources: slipway_common::model::ResourceSpec::default(),
        }],
        hostnames: vec!["shop.example.com".to_owned()],
        pull: Some(PullCredential {
            server: "registry.example".to_owned(),
            username: "robot".to_owned(),
            password: SecretString::from("pässword".to_owned()),
        }),
    }
}

fn rendered() -> Vec<Manifest> {
    render(&wanted(), &cluster()).unwrap()
}

fn find<'a>(manifests: &'a [Manifest], kind: Kind, name: &str) -> &'a Value {
    let found = manifests.iter().find(|manifest| manifest.kind == kind && manifest.name == name);
    &found.unwrap_or_else(|| panic!("no {kind:?} {name}")).body
}

fn pod(manifests: &[Manifest], name: &str) -> Value {
    find(manifests, Kind::Deployment, name)["spec"]["template"]["spec"].clone()
}

#[test]
fn the_same_wish_gives_the_same_objects_in_the_order_they_are_needed() {
    let manifests = rendered();
    assert_eq!(manifests, rendered());
    let kinds: Vec<Kind> = manifests.iter().map(|manifest| manifest.kind).collect();
    assert!(kinds.is_sorted(), "{kinds:?}");
    for manifest in &manifests {
        let labels = &manifest.body["metadata"]["labels"];
        assert_eq!(labels[labels::PROJECT], "shop-1a2b3c");
        assert_eq!(labels[labels::MANAGED_BY], "slipway");
        assert_eq!(manifest.body["metadata"]["namespace"], "shop-1a2b3c--staging");
    }
}

#[test]
fn another_deployment_of_the_same_image_replaces_no_pod() {
    let again = Wanted { deployment: "d2".to_owned(), job: "j2".to_owned(), fence: 2, ..wanted() };
    assert_eq!(render(&again, &cluster()).unwrap(), rendered());
}

#[test]
fn new_variables_are_a_new_secret_and_thereby_new_pods() {
    let changed = Wanted { env: variables("KEY", "other", "fedcba9876543210"), ..wanted() };
    let (before, after) = (rendered(), render(&changed, &cluster()).unwrap());
    assert_ne!(pod(&before, "shop"), pod(&after, "shop"));
    assert_eq!(pod(&before, "db"), pod(&after, "db"));
    let secret = find(&after, Kind::Secret, "shop-env-fedcba9876");
    assert_eq!((&secret["immutable"], &secret["data"]["KEY"]), (&json!(true), &json!("b3RoZXI=")));
}

#[test]
fn replicas_come_before_others_go_and_answer_until_nobody_asks() {
    let manifests = rendered();
    let deployment = find(&manifests, Kind::Deployment, "shop");
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    assert_eq!(deployment["spec"]["replicas"], 3);
    let pod = pod(&manifests, "shop");
    assert_eq!(pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"], 5);
    assert_eq!(pod["terminationGracePeriodSeconds"], 15);
    assert_eq!(pod["containers"][0]["readinessProbe"]["tcpSocket"]["port"], 8080);
}

#[test]
fn a_number_of_replicas_that_an_autoscaler_sets_is_no_part_of_the_objects() {
    let scaled = |replicas| render(&Wanted { replicas, is_scaled: true, ..wanted() }, &cluster()).unwrap();
    assert_eq!(scaled(3), scaled(7));
    assert!(find(&scaled(7), Kind::Deployment, "shop")["spec"].get("replicas").is_none());
    assert_eq!(find(&scaled(7), Kind::Deployment, "db")["spec"]["replicas"], 1);
    assert_ne!(render(&Wanted { replicas: 7, ..wanted() }, &cluster()).unwrap(), rendered());
}

#[test]
fn pods_meet_the_restricted_standard_unless_the_target_says_otherwise() {
    let restricted = pod(&rendered(), "shop");
    assert_eq!(restricted["securityContext"]["runAsNonRoot"], true);
    assert_eq!(restricted["containers"][0]["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(restricted["automountServiceAccountToken"], false);
    let baseline = ClusterSettings { pod_security: PodSecurity::Baseline, ..cluster() };
    let baseline = pod(&render(&wanted(), &baseline).unwrap(), "shop");
    assert!(baseline["securityContext"]["runAsNonRoot"].is_null());
}

#[test]
fn supports_run_on_their_own_and_are_reached_by_name() {
    let manifests = rendered();
    assert_eq!(find(&manifests, Kind::Service, "db")["spec"]["ports"][0]["port"], 5432);
    assert_eq!(find(&manifests, Kind::Deployment, "db")["spec"]["strategy"]["type"], "Recreate");
    let mut nameless = wanted();
    nameless.supports[0].port = None;
    let manifests = render(&nameless, &cluster()).unwrap();
    assert_eq!(find(&manifests, Kind::Service, "db")["spec"]["clusterIP"], "None");
    for taken in ["shop", "1db"] {
        let mut bad = wanted();
        bad.supports[0].name = taken.to_owned();
        assert!(render(&bad, &cluster()).is_err(), "{taken}");
    }
}

#[test]
fn host_names_lead_to_the_application_with_the_certificate_of_the_target() {
    let manifests = rendered();
    let hosts: Vec<&Value> = find(&manifests, Kind::Ingress, "shop")["spec"]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| &rule["host"])
        .collect();
    assert_eq!(hosts, ["shop-shop-1a2b3c--staging.apps.example.com", "shop.example.com"]);
    let issued = ClusterSettings { tls: Tls::Issuer("letsencrypt".to_owned()), ..cluster() };
    let manifests = render(&wanted(), &issued).unwrap();
    let ingress = find(&manifests, Kind::Ingress, "shop");
    assert_eq!(ingress["metadata"]["annotations"]["cert-manager.io/cluster-issuer"], "letsencrypt");
    assert_eq!(ingress["spec"]["tls"][0]["secretName"], "shop-tls");
    let nowhere = ClusterSettings { domain: None, ..cluster() };
    let manifests = render(&Wanted { hostnames: Vec::new(), ..wanted() }, &nowhere).unwrap();
    assert!(!manifests.iter().any(|manifest| manifest.kind == Kind::Ingress));
}

#[test]
fn the_pull_secret_is_what_nodes_understand() {
    use base64::Engine as _;
    let manifests = rendered();
    let secret = find(&manifests, Kind::Secret, "slipway-registry");
    let text = secret["data"][".dockerconfigjson"].as_str().unwrap();
    let config = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["auths"]["registry.example"]["password"], "pässword");
    assert_eq!(pod(&manifests, "db")["imagePullSecrets"][0]["name"], "slipway-registry");
}
