//! Pods and Secrets of the chart: the restricted Pod Security Standard and more, limits and probes, who gets which
//! secret, and that no password has a default.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::{SETS, helm, items, object, texts};

/// Kinds of volumes that the restricted Pod Security Standard allows.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// The pods of a rendered chart: name of the object, and specification.
fn pods(objects: &[Value]) -> Vec<(String, &Value)> {
    let spec = |object: &Value| match object["kind"].as_str() {
        Some("Deployment" | "StatefulSet") => Some("/spec/template/spec"),
        Some("Pod") => Some("/spec"),
        _ => None,
    };
    let named = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    objects.iter().filter_map(|object| Some((named(object), object.pointer(spec(object)?)?))).collect()
}

#[tokio::test]
async fn every_pod_is_restricted() {
    let Some(helm) = helm().await else { return };
    for (set, kubernetes) in SETS {
        let objects = helm.objects(set, kubernetes).await;
        let pods = pods(&objects);
        assert!(pods.len() >= 3, "{set}");
        for (name, pod) in pods {
            check_pod(&format!("{set}: {name}"), pod);
        }
    }
}

/// The rules of the restricted Pod Security Standard.
fn check_pod(name: &str, pod: &Value) {
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[host].is_null(), "{name}: {host}");
    }
    assert_eq!(pod["enableServiceLinks"], false, "{name}");
    let security = &pod["securityContext"];
    assert_eq!(security["runAsNonRoot"], true, "{name}");
    assert_ne!(security["runAsUser"], 0, "{name}");
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{name}");
    for volume in items(&pod["volumes"]) {
        let kinds = volume.as_object().expect("a volume").keys().filter(|key| *key != "name");
        let kinds: Vec<&str> = kinds.map(String::as_str).collect();
        assert!(kinds.len() == 1 && VOLUMES.contains(&kinds[0]), "{name}: {volume}");
    }
    assert!(pod["initContainers"].is_null() && pod["ephemeralContainers"].is_null(), "{name}");
    let containers = items(&pod["containers"]);
    assert_eq!(containers.len(), 1, "{name}");
    check_container(name, &containers[0]);
}

fn check_container(name: &str, container: &Value) {
    let expected = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "privileged": false,
        "readOnlyRootFilesystem": true,
    });
    assert_eq!(container["securityContext"], expected, "{name}");
    for port in items(&container["ports"]) {
        assert!(port["hostPort"].is_null(), "{name}: {port}");
    }
    let resources = &container["resources"];
    assert!(resources["limits"]["memory"].is_string(), "{name} has a limit of memory");
    assert!(resources["requests"]["cpu"].is_string(), "{name} asks for processor time");
    let image = container["image"].as_str().expect("an image");
    let (_, version) = image.rsplit_once([':', '@']).unwrap_or_default();
    assert!(!version.is_empty() && version != "latest", "{name}: {image}");
    for variable in items(&container["env"]) {
        let setting = variable["name"].as_str().unwrap_or_default();
        let secret = ["PASS", "TOKEN", "KEY", "SECRET"].iter().any(|word| setting.contains(word));
        assert!(!secret || setting == "PASSWORD_FILE", "{name}: secrets are files, not {setting}");
    }
}

#[tokio::test]
async fn every_process_is_probed_and_has_time_to_end() {
    let Some(helm) = helm().await else { return };
    let objects = helm.objects("trial", "1.34.0").await;
    for (program, port, live, ready) in [
        ("api", "http", "/healthz", "/healthz"),
        ("worker", "health", "/livez", "/readyz"),
        ("scaler", "health", "/livez", "/readyz"),
    ] {
        let deployment = object(&objects, "Deployment", &format!("slipway-{program}"));
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let asks = |probe: &str| container[probe]["httpGet"].clone();
        assert_eq!(asks("livenessProbe"), json!({ "path": live, "port": port }), "{program}");
        assert_eq!(asks("readinessProbe"), json!({ "path": ready, "port": port }), "{program}");
        let slowest = slipway_common::process::STOP_TIMEOUT.as_secs();
        let waits = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap_or_default();
        let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
        assert!(grace > slowest + waits, "{program}: {grace} s are too few for {slowest} s and {waits} s");
    }
    let api = &object(&objects, "Deployment", "slipway-api")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(api["startupProbe"]["httpGet"]["path"], "/readyz", "a rollout waits until all is well");
    assert_eq!(api["lifecycle"]["preStop"], json!({ "sleep": { "seconds": 5 } }));
    let older = helm.objects("namespaces", "1.29.0").await;
    let api = &object(&older, "Deployment", "slipway-api")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(api["lifecycle"]["preStop"], json!({ "exec": { "command": ["sleep", "5"] } }));
}

#[tokio::test]
async fn only_who_uses_the_cluster_gets_a_token() {
    let Some(helm) = helm().await else { return };
    for (set, kubernetes) in SETS {
        let objects = helm.objects(set, kubernetes).await;
        for account in objects.iter().filter(|object| object["kind"] == "ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{set}: {account}");
        }
        for (name, pod) in pods(&objects) {
            let uses_cluster = name.ends_with("-worker") || name.ends_with("-scaler");
            let expected = uses_cluster && set != "docker";
            assert_eq!(pod["automountServiceAccountToken"], expected, "{set}: {name}");
            assert!(!pod["volumes"].to_string().contains("serviceAccountToken"), "{set}: {name}");
        }
    }
}

#[tokio::test]
async fn each_program_gets_the_secrets_it_uses() {
    let Some(helm) = helm().await else { return };
    let objects = helm.objects("production", "1.34.0").await;
    for (program, expected) in [
        (
            "api",
            &[
                "broker-password",
                "redis-password",
                "sealing-key",
                "first-token",
                "broker-ca.crt",
                "redis-ca.crt",
            ][..],
        ),
        ("worker", &["broker-password", "redis-password", "sealing-key", "broker-ca.crt", "redis-ca.crt"]),
        ("scaler", &["broker-password", "redis-password", "broker-ca.crt", "redis-ca.crt"]),
    ] {
        let pod =
            &object(&objects, "Deployment", &format!("slipway-ship-{program}"))["spec"]["template"]["spec"];
        let volume =
            items(&pod["volumes"]).iter().find(|volume| volume["name"] == "secrets").expect("secrets");
        assert_eq!(volume["projected"]["defaultMode"], 0o440, "{program}");
        let sources = items(&volume["projected"]["sources"]).iter();
        let files = sources.flat_map(|source| items(&source["secret"]["items"]));
        let files: Vec<&str> = files.filter_map(|item| item["path"].as_str()).collect();
        assert_eq!(files, expected, "{program}");
    }
    assert!(objects.iter().all(|object| object["kind"] != "Secret"), "given secrets are not made");
}

#[tokio::test]
async fn generated_secrets_are_random_and_cannot_be_replaced() {
    let Some(helm) = helm().await else { return };
    let [one, two] = [helm.objects("trial", "1.34.0").await, helm.objects("trial", "1.34.0").await];
    for (name, key) in [
        ("slipway-sealing-key", "sealing-key"),
        ("slipway-first-token", "token"),
        ("slipway-rabbitmq", "password"),
        ("slipway-redis", "password"),
    ] {
        let value = |objects: &[Value]| {
            let secret = object(objects, "Secret", name);
            assert_eq!(secret["immutable"], true, "{name}: a new rendering cannot replace it");
            assert!(secret["metadata"]["annotations"].is_null(), "{name} goes with the release");
            let encoded = secret["data"][key].as_str().expect("a value").to_owned();
            String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("UTF-8")
        };
        let (first, second) = (value(&one), value(&two));
        assert!(first.len() >= 44 && first != second, "{name}");
        if key == "sealing-key" {
            assert_eq!(STANDARD.decode(first).expect("base64").len(), 32);
        }
    }
    let kept = helm.objects("namespaces", "1.29.0").await;
    let key = object(&kept, "Secret", "slipway-sealing-key");
    assert_eq!(key["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
}

#[tokio::test]
async fn every_pod_is_behind_the_default_deny() {
    let Some(helm) = helm().await else { return };
    for set in ["trial", "production"] {
        let objects = helm.objects(set, "1.34.0").await;
        let policies: Vec<&Value> =
            objects.iter().filter(|object| object["kind"] == "NetworkPolicy").collect();
        let deny = policies
            .iter()
            .find(|policy| policy["spec"]["ingress"].is_null() && policy["spec"]["egress"].is_null());
        let all = &deny.expect("a policy that allows nothing")["spec"];
        assert_eq!(texts(&all["policyTypes"]), ["Ingress", "Egress"], "{set}");
        let selected = all["podSelector"]["matchLabels"].as_object().expect("labels");
        for workload in objects.iter().filter(|object| !object["spec"]["template"].is_null()) {
            let labels = &workload["spec"]["template"]["metadata"]["labels"];
            assert!(selected.iter().all(|(key, value)| labels[key] == *value), "{set}: {labels}");
        }
        let reaches = |component: &str| {
            let of = |policy: &&&Value| {
                policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == component
            };
            policies.iter().find(of).expect("a policy")["spec"]["egress"].to_string()
        };
        assert!(reaches("worker").contains("169.254.0.0/16"), "{set}: not the cloud's metadata");
        assert!(!reaches("api").contains("0.0.0.0/0") && !reaches("api").contains("443"), "{set}");
    }
}
