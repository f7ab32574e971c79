//! Settings that depend on each other, checked together. Pure.

use url::Url;

use super::{Config, ConfigError};

/// Checks every relation between settings.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let relations = [
        (
            config.worker.claim_renew_ms * 2 < config.worker.claim_ttl_ms,
            "`worker.claim_renew_ms` must be less than half of `worker.claim_ttl_ms`, so that one lost renewal is no lost claim",
        ),
        (config.worker.slots > 0, "`worker.slots` must be at least 1"),
        (config.worker.attempts_max > 0, "`worker.attempts_max` must be at least 1"),
        (config.worker.crashes_max > 0, "`worker.crashes_max` must be at least 1"),
        (
            config.worker.backoff_min_ms <= config.worker.backoff_max_ms,
            "`worker.backoff_min_ms` must not exceed `worker.backoff_max_ms`",
        ),
        (
            config.limits.health_deadline_max_ms
                + config.docker.drain_ms
                + u64::from(config.docker.stop_grace_s) * 1_000
                < config.worker.apply_timeout_s * 1_000,
            "`worker.apply_timeout_s` must exceed `limits.health_deadline_max_ms`, `docker.drain_ms` and `docker.stop_grace_s` together",
        ),
        (
            config.gateway.port_min > 0 && config.gateway.port_min <= config.gateway.port_max,
            "`gateway.port_min` must be from 1 to `gateway.port_max`",
        ),
        (
            config.limits.env_total_max_bytes * 2 < config.server.request_body_max_bytes,
            "`server.request_body_max_bytes` must be more than twice `limits.env_total_max_bytes`",
        ),
        (
            config.limits.memory_min_bytes <= config.limits.memory_max_bytes,
            "`limits.memory_min_bytes` must not exceed `limits.memory_max_bytes`",
        ),
        (
            config.git.repository_max_bytes <= config.git.mirrors_max_bytes,
            "`git.repository_max_bytes` must not exceed `git.mirrors_max_bytes`",
        ),
        (config.data.keep_finished_days >= 7, "`data.keep_finished_days` must be at least 7"),
        (
            config.docker.push_to.is_empty() == config.docker.push_credential.is_empty()
                || config.docker.push_credential.is_empty(),
            "`docker.push_credential` needs `docker.push_to`",
        ),
        (
            config.docker.enabled || !config.kubernetes.is_empty(),
            "without `docker.enabled` there must be a `kubernetes` target",
        ),
        (
            matches!(config.templates.ci_builder.as_str(), "buildkit_rootless" | "docker_in_docker"),
            "`templates.ci_builder` must be `buildkit_rootless` or `docker_in_docker`",
        ),
    ];
    for (target, cluster) in &config.kubernetes {
        if let Some(broken) = cluster.broken() {
            return Err(ConfigError::Relation(format!("`kubernetes.{target}`: {broken}")));
        }
    }
    if config.docker.enabled && config.kubernetes.contains_key(&config.docker.name) {
        return Err(ConfigError::Relation("`docker.name` is the name of a Kubernetes target too".to_owned()));
    }
    match relations
        .into_iter()
        .chain(projects(config))
        .chain(scaler(config))
        .chain(distributed(config))
        .find(|(holds, _)| !holds)
    {
        Some((_, broken)) => Err(ConfigError::Relation(broken.to_owned())),
        None => Ok(()),
    }
}

/// The relations of registered projects: how they are looked at, and who is told.
fn projects(config: &Config) -> Vec<(bool, &'static str)> {
    vec![
        (
            is_public_url(&config.server.public_url),
            "`server.public_url` must be empty, or an address such as https://slipway.example.com without path, query, fragment, user name and password",
        ),
        (
            (1_024..=64 * 1_024 * 1_024).contains(&config.inbox.delivery_max_bytes),
            "`inbox.delivery_max_bytes` must be from 1024 to 67108864",
        ),
        (
            (1..=3_600).contains(&config.inbox.signature_tolerance_s),
            "`inbox.signature_tolerance_s` must be from 1 to 3600",
        ),
        ((1..=86_400).contains(&config.sweeps.interval_s), "`sweeps.interval_s` must be from 1 to 86400"),
        (
            config.sweeps.per_host_at_once > 0 && config.sweeps.per_host_at_once <= config.sweeps.at_once,
            "`sweeps.per_host_at_once` must be from 1 to `sweeps.at_once`",
        ),
        (config.sweeps.timeout_s > 0, "`sweeps.timeout_s` must be at least 1"),
        (
            config.pipelines.poll_interval_s > 0
                && config.pipelines.appear_max_s > 0
                && config.pipelines.appear_max_s <= config.pipelines.timeout_s,
            "`pipelines.poll_interval_s` must be at least 1, and `pipelines.appear_max_s` from 1 to `pipelines.timeout_s`",
        ),
        (
            config.reports.per_host_at_once > 0 && config.reports.per_host_at_once <= config.reports.at_once,
            "`reports.per_host_at_once` must be from 1 to `reports.at_once`",
        ),
        (config.reports.timeout_ms > 0, "`reports.timeout_ms` must be at least 1"),
    ]
}

/// Whether paths of the API can be written behind it: nothing, or scheme, host and port alone.
fn is_public_url(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
    let is_web = text.split_once("://").is_some_and(|(scheme, _)| matches!(scheme, "http" | "https"));
    let is_origin =
        |url: Url| url.has_host() && url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    text.is_empty() || (is_plain && is_web && Url::parse(text).is_ok_and(is_origin))
}

/// The relations of the scaler.
fn scaler(config: &Config) -> Vec<(bool, &'static str)> {
    vec![
        (
            (1_000..=60_000).contains(&config.scaler.lease_ttl_ms),
            "`scaler.lease_ttl_ms` must be from 1000 to 60000",
        ),
        (
            [config.scaler.docker_sample_interval_ms, config.scaler.kubernetes_sample_interval_ms]
                .iter()
                .all(|interval_ms| (500..=60_000).contains(interval_ms)),
            "`scaler.docker_sample_interval_ms` and `scaler.kubernetes_sample_interval_ms` must be from 500 to 60000",
        ),
    ]
}

/// The relations of the distributed form.
fn distributed(config: &Config) -> Vec<(bool, &'static str)> {
    vec![
        (!config.broker.urls.is_empty(), "`broker.urls` must name at least one node"),
        (
            !config.broker.prefix.is_empty()
                && config.broker.prefix.len() <= 64
                && config
                    .broker
                    .prefix
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
            "`broker.prefix` must be 1 to 64 letters, digits, `-`, `_` or `.`",
        ),
        (
            config.broker.heartbeat_s > 0 && config.broker.heartbeat_s <= 60,
            "`broker.heartbeat_s` must be from 1 to 60",
        ),
        (
            config.broker.connect_timeout_ms > 0 && config.broker.confirm_timeout_ms > 0,
            "`broker.connect_timeout_ms` and `broker.confirm_timeout_ms` must be at least 1",
        ),
        (
            config.broker.confirm_timeout_ms < config.server.answer_timeout_ms,
            "`server.answer_timeout_ms` must exceed `broker.confirm_timeout_ms`, so that a broker's silence is named as such",
        ),
        (
            config.broker.delivery_hold_max_s * 1_000 > config.worker.claim_ttl_ms,
            "`broker.delivery_hold_max_s` must be more than `worker.claim_ttl_ms`",
        ),
        (
            config.broker.delivery_limit > config.worker.crashes_max,
            "`broker.delivery_limit` must exceed `worker.crashes_max`",
        ),
        (config.broker.queue_max_jobs > 0, "`broker.queue_max_jobs` must be at least 1"),
        (
            config.redis.sentinels.is_empty() == config.redis.master_name.is_empty(),
            "`redis.sentinels` and `redis.master_name` belong together",
        ),
    ]
}
