//! Values that the chart refuses, and what it says: those of the wrong form by the schema, those that contradict each
//! other by the templates.

use crate::{helm, said, template, values};

/// Changes of the values for trying out, and words of the answer, which every version of helm puts differently.
const REFUSED: [(&[&str], &[&str]); 29] = [
    // By the schema.
    (&["api.replica=3"], &["api", "replica"]),
    (&["api.replicas=0"], &["api.replicas: ", "1"]),
    (&["api.terminationGracePeriodSeconds=10"], &["api.terminationGracePeriodSeconds: ", "35"]),
    (&["image.tag=a/b"], &["image.tag: ", "pattern"]),
    (&["image.digest=sha256:12"], &["image.digest: ", "pattern"]),
    (&["image.pullPolicy=Sometimes"], &["image.pullPolicy: ", "IfNotPresent"]),
    (&["podSecurity.runAsUser=0"], &["podSecurity.runAsUser: ", "1"]),
    (&["broker.urls[0]=amqp://slipway:secret@rabbit/%2f"], &["broker.urls.0: ", "pattern"]),
    (&["redis.url=http://redis"], &["redis.url: ", "pattern"]),
    (&["redis.sentinels[0]=sentinel"], &["redis.sentinels.0: ", "pattern"]),
    (&["rbac.scope=all"], &["rbac.scope: ", "namespaces"]),
    (&["rbac.namespaces[0]=*"], &["rbac.namespaces.0: ", "pattern"]),
    (&["worker.mirrors.kind=hostPath"], &["worker.mirrors.kind: ", "ephemeral"]),
    (&["worker.mirrors.size=plenty"], &["worker.mirrors.size: "]),
    (
        &["worker.extraVolumes[0].name=host", "worker.extraVolumes[0].hostPath.path=/"],
        &["worker.extraVolumes.0: ", "hostPath"],
    ),
    (&["commonLabels.app\\.kubernetes\\.io/name=other"], &["commonLabels: "]),
    (&["listenAddress=10.0.0.1"], &["listenAddress: ", "0.0.0.0"]),
    (&["networkPolicy.workerPorts[0]=0"], &["networkPolicy.workerPorts.0: ", "1"]),
    // By the templates.
    (&["config.server.listen=0.0.0.0:1"], &["config.server.listen is set by the chart; use listenAddress"]),
    (
        &["config.redis.password_file=/x"],
        &["config.redis.password_file is set by the chart; use redis.passwordSecret"],
    ),
    (&["image.tag=latest"], &["the image slipway needs a tag that does not move"]),
    (&["config.kubernetes.a.in_cluster=true"], &["use targets.kubernetes"]),
    (&["rabbitmq.enabled=false"], &["say where RabbitMQ is with broker.urls"]),
    (&["broker.urls[0]=amqp://rabbit/%2f"], &["rabbitmq.enabled and broker.urls exclude each other"]),
    (&["redis.enabled=false"], &["say where Redis is with redis.url"]),
    (&["redis.url=redis://redis:6379/0"], &["redis.enabled excludes redis.url"]),
    (&["redis.sentinels[0]=sentinel:26379"], &["redis.sentinels and redis.masterName belong together"]),
    (&["rbac.scope=namespaces"], &["rbac.scope=namespaces needs rbac.namespaces"]),
    (&["api.ingress.enabled=true"], &["api.ingress.host must name the host of the API"]),
];

#[tokio::test]
async fn wrong_values_are_refused_by_name() {
    let Some(helm) = helm().await else { return };
    let trial = values("trial");
    let mut taken = Vec::new();
    for (changes, words) in REFUSED {
        let mut arguments = template(&["--values", &trial]);
        arguments.extend(changes.iter().flat_map(|change| ["--set", change]));
        let output = helm.run(&arguments).await;
        let text = said(&output);
        let refused = !output.status.success() && words.iter().all(|word| names(&text, word));
        taken
            .extend((!refused).then(|| format!("{changes:?} should be refused with {words:?}: {text:.400}")));
    }
    assert!(taken.is_empty(), "{taken:#?}");
}

/// Whether the answer has the word; paths are written with slashes and quotes by one version and with dots by another.
fn names(text: &str, word: &str) -> bool {
    text.contains(word) || text.replace("'/", "").replace("':", ":").replace('/', ".").contains(word)
}

#[tokio::test]
async fn without_any_value_it_says_what_is_missing() {
    let Some(helm) = helm().await else { return };
    let output = helm.run(&template(&[])).await;
    assert!(!output.status.success());
    assert!(said(&output).contains("rabbitmq.enabled=true for trying out"), "{}", said(&output));
}

#[tokio::test]
async fn too_old_a_kubernetes_is_refused() {
    let Some(helm) = helm().await else { return };
    let trial = values("trial");
    for (version, words) in [("1.28.0", "kubeVersion"), ("1.29.0", "rbac.confine needs Kubernetes 1.30")] {
        let output = helm.run(&template(&["--values", &trial, "--kube-version", version])).await;
        assert!(!output.status.success() && said(&output).contains(words), "{version}: {}", said(&output));
    }
}
