//! The chart on a control plane: it comes up in a restricted namespace, an upgrade keeps what was generated, and
//! nothing is left of it afterwards.

use std::sync::Arc;

use serde_json::{Value, json};
use slipway_integration_tests::control_plane::ControlPlane;

use crate::{Helm, helm, said, values};

/// A release of the chart on the shared control plane. Its objects are called `slipway-…`; release and namespace have a
/// name of their own.
pub(crate) struct Installation {
    pub(crate) plane: Arc<ControlPlane>,
    pub(crate) namespace: String,
    helm: &'static Helm,
    values: Vec<String>,
}

impl Installation {
    /// Installs the chart with a set of values and further arguments; nothing where helm or a control plane is missing.
    pub(crate) async fn new(set: &str, more: &[&str]) -> Option<Self> {
        let helm = helm().await?;
        if !ControlPlane::available().await {
            return None;
        }
        let plane = ControlPlane::shared().await.expect("a control plane");
        let namespace = plane.new_namespace().await.expect("a namespace");
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        plane.kubectl(&["label", "namespace", &namespace, restricted]).await.expect("labelled");
        let given = ["--values", &values(set), "--set", "fullnameOverride=slipway"].map(str::to_owned);
        let more = more.iter().map(|argument| (*argument).to_owned());
        let installation = Self { plane, namespace, helm, values: given.into_iter().chain(more).collect() };
        installation.helm("install", &[]).await;
        Some(installation)
    }

    /// Runs `helm install` or `helm upgrade` with the values of this release and further arguments.
    async fn helm(&self, verb: &str, more: &[&str]) {
        let mut arguments = vec![verb, &self.namespace, "helm/slipway"];
        arguments.extend(self.values.iter().map(String::as_str).chain(more.iter().copied()));
        self.succeed(&arguments).await;
    }

    /// Removes the release.
    pub(crate) async fn uninstall(&self) {
        self.succeed(&["uninstall", &self.namespace]).await;
    }

    /// Runs helm for the namespace; the release bears its name.
    async fn succeed(&self, arguments: &[&str]) {
        let kubeconfig = self.plane.kubeconfig();
        let kubeconfig = kubeconfig.to_str().expect("UTF-8");
        let place = ["--namespace", &self.namespace, "--kubeconfig", kubeconfig];
        let output = self.helm.run(&[arguments, &place].concat()).await;
        assert!(output.status.success(), "helm {arguments:?}: {}", said(&output));
    }

    async fn secret(&self, name: &str) -> Value {
        let path = format!("/api/v1/namespaces/{}/secrets/{name}", self.namespace);
        self.plane.get(&path).await.expect("a secret")["data"].clone()
    }

    /// Names of everything that bears the release's label, wherever it is.
    async fn objects(&self, kinds: &str) -> String {
        let label = format!("app.kubernetes.io/instance={}", self.namespace);
        let list = ["get", kinds, "--all-namespaces", "--selector", &label, "--output", "name"];
        self.plane.kubectl(&list).await.expect("a list")
    }

    /// Volumes for the claims of RabbitMQ and Redis: nobody else provides them here. Answers their names.
    async fn provide_volumes(&self) -> Vec<String> {
        let mut names = Vec::new();
        for service in ["rabbitmq", "redis"] {
            let name = format!("{}-{service}", self.namespace);
            let claim = json!({ "namespace": self.namespace, "name": format!("data-slipway-{service}-0") });
            let volume = json!({
                "metadata": { "name": name },
                "spec": {
                    "capacity": { "storage": "100Gi" },
                    "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": { "path": "/nowhere" },
                    "claimRef": claim,
                },
            });
            self.plane.create("/api/v1/persistentvolumes", &volume).await.expect("a volume");
            names.push(name);
        }
        names
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_up_is_upgraded_and_leaves_nothing() {
    let Some(release) = Installation::new("trial", &[]).await else { return };
    let volumes = release.provide_volumes().await;
    let namespace = &release.namespace;
    for (kind, name, replicas) in [
        ("deployments", "slipway-api", 2),
        ("deployments", "slipway-worker", 2),
        ("deployments", "slipway-scaler", 1),
        ("statefulsets", "slipway-rabbitmq", 1),
        ("statefulsets", "slipway-redis", 1),
    ] {
        let path = format!("/apis/apps/v1/namespaces/{namespace}/{kind}/{name}");
        let all_ready = |seen: &Value| seen["status"]["readyReplicas"] == replicas;
        release.plane.wait_for(&path, "all of its pods are ready", all_ready).await.expect("it comes up");
    }

    let generated = ["slipway-sealing-key", "slipway-first-token", "slipway-rabbitmq", "slipway-redis"];
    let mut before = Vec::new();
    for name in generated {
        before.push(release.secret(name).await);
    }
    release.helm("upgrade", &["--set", "config.worker.slots=3"]).await;
    for (name, before) in generated.iter().zip(before) {
        assert!(release.secret(name).await == before, "an upgrade has replaced {name}");
    }
    let settings = format!("/api/v1/namespaces/{namespace}/configmaps/slipway-config");
    let settings = release.plane.get(&settings).await.expect("settings");
    assert!(
        settings["data"]["slipway.toml"].as_str().unwrap_or_default().contains("slots = 3"),
        "{settings}"
    );

    release.uninstall().await;
    let kinds =
        release.plane.kubectl(&["api-resources", "--verbs=list", "--output", "name"]).await.expect("kinds");
    let kinds = kinds.lines().collect::<Vec<_>>().join(",");
    nothing_is_left(&release, &kinds).await;
    for volume in volumes {
        release.plane.kubectl(&["delete", "persistentvolume", &volume]).await.expect("deleted");
    }
}

/// Waits until the cluster has removed what belonged to the release.
async fn nothing_is_left(release: &Installation, kinds: &str) {
    for _ in 0..600 {
        if release.objects(kinds).await.is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    panic!("this is left:\n{}", release.objects(kinds).await);
}
