//! `slipway.toml` as the chart writes it, read by the loader of the programs.

use std::io::Write as _;

use slipway_common::config::Config;

use crate::{NAMESPACE, SETS, helm, object, parsed, said, template, values};

/// What the programs make of the settings in a rendered chart.
fn loaded(rendered: &str, name: &str) -> Config {
    let objects = parsed(rendered);
    let settings = object(&objects, "ConfigMap", name)["data"]["slipway.toml"].as_str().expect("settings");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(settings.as_bytes()).expect("written");
    Config::load(Some(file.path()), []).unwrap_or_else(|error| panic!("{error}\n{settings}"))
}

async fn settings(set: &str, name: &str) -> Option<Config> {
    let (_, kubernetes) = SETS.into_iter().find(|(known, _)| *known == set).expect("a set of values");
    Some(loaded(&helm().await?.render(set, kubernetes).await, name))
}

#[tokio::test]
async fn the_services_of_the_release_are_found() {
    let Some(config) = settings("trial", "slipway-config").await else { return };
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:8640");
    assert_eq!(config.health.listen.to_string(), "0.0.0.0:8641");
    assert_eq!(config.data.dir, "/var/lib/slipway");
    assert_eq!(config.broker.urls, ["amqp://slipway-rabbitmq:5672/%2f"]);
    assert_eq!(config.broker.username, "slipway");
    assert_eq!(config.broker.password_file, "/etc/slipway/secrets/broker-password");
    assert_eq!(config.redis.url, "redis://slipway-redis:6379/0");
    assert_eq!(config.redis.password_file, "/etc/slipway/secrets/redis-password");
    assert_eq!(config.secrets.key_file, "/etc/slipway/secrets/sealing-key");
    assert_eq!(config.auth.first_token_file, "/etc/slipway/secrets/first-token");
    let (name, here) = config.kubernetes.first_key_value().expect("a target");
    assert_eq!((name.as_str(), here.in_cluster, here.domain.as_str()), ("here", true, "apps.example.com"));
    assert!(!config.docker.enabled, "with a cluster there is no Docker target unless it is asked for");
}

#[tokio::test]
async fn every_value_of_a_production_arrives() {
    let Some(config) = settings("production", "slipway-ship-config").await else { return };
    assert_eq!((config.worker.slots, config.worker.build_timeout_s), (8, 3_600));
    assert_eq!(config.git.mirrors_max_bytes, 21_474_836_480);
    assert_eq!(config.git.author_name, "Slipway \"bot\"");
    assert_eq!(config.templates.ci_runner_tags, ["linux", "large & fast"]);
    assert_eq!(config.docker.host, "tcp://builder.example.com:2375");
    assert_eq!(config.docker.push_to, "registry.example.com/team");
    assert_eq!(config.log.filter, "info,slipway_worker=debug");
    let nodes = ["amqps://rabbit-1.example.com:5671/%2f", "amqps://rabbit-2.example.com/%2f"];
    assert_eq!(config.broker.urls, nodes);
    assert_eq!(config.broker.ca_file, "/etc/slipway/secrets/broker-ca.crt");
    assert_eq!(config.redis.url, "rediss://redis.example.com:6380/1");
    assert_eq!(config.redis.username, "store");
    assert_eq!(config.redis.ca_file, "/etc/slipway/secrets/redis-ca.crt");
    let elsewhere = &config.kubernetes[&"elsewhere".parse().expect("a name")];
    assert_eq!(elsewhere.token_file, "/etc/slipway/elsewhere/token");
    assert_eq!(elsewhere.trouble_max_s, 60);
    let here = &config.kubernetes[&"here".parse().expect("a name")];
    assert_eq!((here.ingress_class.as_str(), here.tls_issuer.as_str()), ("nginx", "letsencrypt"));
}

#[tokio::test]
async fn sentinels_and_other_addresses_arrive() {
    let Some(config) = settings("namespaces", "slipway-config").await else { return };
    assert_eq!(config.redis.sentinels, ["sentinel-1.example.com:26379", "sentinel-2.example.com:26379"]);
    assert_eq!(config.redis.master_name, "primary");
    let Some(config) = settings("docker", "ship-config").await else { return };
    assert_eq!(config.server.listen.to_string(), "[::]:8640");
    assert!(config.docker.enabled && config.kubernetes.is_empty());
}

#[tokio::test]
async fn whatever_stands_in_the_values_stands_in_the_settings() {
    let Some(helm) = helm().await else { return };
    let author = "Zoë \"the\" \\ bot\t<&> 'x' #1 🚢";
    let given = serde_json::json!({
        "config": {
            "git": { "author_name": author },
            "templates": { "base_images": { "node.js 22": "registry.example.com/node:22", "static": "nginx:1" } },
            "limits": { "memory_max_bytes": 9_007_199_254_740_991_u64, "cpu_max_millis": 1_000_000 },
            "data": { "queue_max_jobs": 0 },
            "auth": { "open_loopback": true },
            "log": { "format": "text" },
        },
    });
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a temporary file");
    file.write_all(given.to_string().as_bytes()).expect("written");
    let (trial, more) = (values("trial"), file.path().to_string_lossy().into_owned());
    let arguments = ["--values", &trial, "--values", &more, "--set", "config.worker.slots=3"];
    let output = helm.run(&template(&arguments)).await;
    assert!(output.status.success(), "{}", said(&output));
    let config = loaded(&String::from_utf8_lossy(&output.stdout), "slipway-config");
    assert_eq!(config.git.author_name, author);
    assert_eq!(config.limits.memory_max_bytes, 9_007_199_254_740_991);
    assert_eq!(config.limits.cpu_max_millis, 1_000_000);
    assert_eq!(config.data.queue_max_jobs, 0);
    assert!(config.auth.open_loopback);
    assert_eq!(config.worker.slots, 3);
    assert_eq!(config.log.format, slipway_common::telemetry::LogFormat::Text);
    let images = serde_json::to_value(&config.templates.base_images).expect("JSON");
    assert_eq!(images["node.js 22"], "registry.example.com/node:22");
    assert_eq!(images["static"], "nginx:1");
}

#[tokio::test]
async fn a_new_setting_is_a_new_pod() {
    let Some(helm) = helm().await else { return };
    let trial = values("trial");
    let mut sums = Vec::new();
    for slots in ["config.worker.slots=2", "config.worker.slots=3"] {
        let output = helm.run(&template(&["--values", &trial, "--set", slots])).await;
        assert!(output.status.success(), "{}", said(&output));
        let objects = parsed(&String::from_utf8_lossy(&output.stdout));
        let worker = object(&objects, "Deployment", "slipway-worker");
        sums.push(worker["spec"]["template"]["metadata"]["annotations"]["checksum/config"].clone());
    }
    assert!(sums[0].is_string() && sums[0] != sums[1], "{sums:?} in {NAMESPACE}");
}
