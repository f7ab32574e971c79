//! What the worker needs, resolved from the configuration once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use slipway_common::config::{Config, DriftConfig, ExposeConfig, KubernetesConfig, PodSecurityConfig};
use slipway_common::model::{CredentialName, Stage, TargetName};

use crate::docker::{EngineSettings, PortRange};
use crate::git::{GitLimits, SnapshotLimits};
use crate::kubernetes::{Access, ClusterSettings, Expose, PodSecurity, Tls};
use crate::policy::RetryLimits;
use crate::template::{CiBuilder, TemplateSettings};

/// Where the engine is when nothing says otherwise.
const DOCKER_SOCKET: &str = "unix:///var/run/docker.sock";
/// Longest wait for running stages at shutdown; then their jobs are handed back.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Why the worker cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A setting cannot be used.
    #[error("setting `{key}`: {reason}")]
    Setting {
        /// Its path.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The work folder cannot be made.
    #[error("the work folder {path} cannot be made", path = path.display())]
    WorkFolder {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The worker's settings.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Jobs worked on at once.
    pub slots: usize,
    /// A claim not renewed for this long is lost.
    pub claim_ttl: Duration,
    /// How often claims are renewed.
    pub claim_renew: Duration,
    /// How patient the worker is.
    pub retry: RetryLimits,
    /// Crashes on one job before it is set aside.
    pub crashes_max: u32,
    /// Longest time of each stage.
    pub stage_timeouts: StageTimeouts,
    /// Largest log of one stage.
    pub stage_log_max_bytes: u64,
    /// How often what runs is looked at.
    pub observe_interval: Duration,
    /// Longest wait for running stages at shutdown.
    pub drain_limit: Duration,
    /// Where mirrors live.
    pub mirrors: PathBuf,
    /// Limits of Git.
    pub git: GitLimits,
    /// Author of generated commits: name and address.
    pub author: (String, String),
    /// Generated files.
    pub templates: TemplateSettings,
    /// The Docker target.
    pub docker: DockerSettings,
    /// The Kubernetes targets.
    pub clusters: Vec<ClusterSettings>,
}

/// Longest time of each stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageTimeouts {
    clone: Duration,
    template: Duration,
    commit: Duration,
    build: Duration,
    apply: Duration,
    stop: Duration,
}

impl StageTimeouts {
    /// Longest time of `stage`.
    #[must_use]
    pub fn of(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Clone => self.clone,
            Stage::Template => self.template,
            Stage::Commit => self.commit,
            Stage::Build => self.build,
            Stage::Apply => self.apply,
            Stage::Stop => self.stop,
        }
    }
}

/// The Docker target.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// Whether it is a target; otherwise it only builds.
    pub enabled: bool,
    /// Its name.
    pub name: TargetName,
    /// Where the engine is.
    pub engine: EngineSettings,
    /// Largest build context.
    pub context_max_bytes: u64,
    /// Most files in a build context.
    pub context_max_files: usize,
    /// How long replaced containers may finish what they had.
    pub drain: Duration,
    /// Seconds a container has to end after SIGTERM.
    pub stop_grace_s: u32,
    /// Images of a project kept for rollback.
    pub images_keep: usize,
    /// Where to push built images, if anywhere.
    pub push_to: Option<String>,
    /// Stored credential for the registry.
    pub push_credential: Option<String>,
    /// Stable ports.
    pub ports: PortRange,
    /// Address people reach the stable ports at.
    pub gateway_host: String,
}

impl WorkerSettings {
    /// Resolves the settings; `data_dir` is where the worker keeps its files.
    ///
    /// # Errors
    /// When a setting cannot be used or the work folder cannot be made.
    pub fn from_config(config: &Config, data_dir: &Path) -> Result<Self, SetupError> {
        let mirrors = data_dir.join("mirrors");
        std::fs::create_dir_all(&mirrors)
            .map_err(|source| SetupError::WorkFolder { path: mirrors.clone(), source })?;
        let worker = &config.worker;
        let seconds = Duration::from_secs;
        Ok(Self {
            slots: worker.slots,
            claim_ttl: Duration::from_millis(worker.claim_ttl_ms),
            claim_renew: Duration::from_millis(worker.claim_renew_ms),
            retry: RetryLimits {
                attempts_max: worker.attempts_max,
                backoff_min: Duration::from_millis(worker.backoff_min_ms),
                backoff_max: Duration::from_millis(worker.backoff_max_ms),
            },
            crashes_max: worker.crashes_max,
            stage_timeouts: StageTimeouts {
                clone: seconds(worker.clone_timeout_s),
                template: seconds(worker.template_timeout_s),
                commit: seconds(worker.commit_timeout_s),
                build: seconds(worker.build_timeout_s),
                apply: seconds(worker.apply_timeout_s),
                stop: seconds(worker.stop_timeout_s),
            },
            stage_log_max_bytes: worker.stage_log_max_bytes,
            observe_interval: Duration::from_millis(worker.observe_interval_ms),
            drain_limit: DRAIN_LIMIT,
            mirrors,
            git: git_limits(config)?,
            author: (config.git.author_name.clone(), config.git.author_email.clone()),
            templates: template_settings(config)?,
            docker: docker_settings(config)?,
            clusters: config
                .kubernetes
                .iter()
                .map(|(name, cluster)| cluster_settings(name, cluster))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn fits<T, U: TryFrom<T>>(key: &'static str, value: T) -> Result<U, SetupError> {
    U::try_from(value).map_err(|_| SetupError::Setting { key, reason: "the number is too large".to_owned() })
}

fn git_limits(config: &Config) -> Result<GitLimits, SetupError> {
    let git = &config.git;
    Ok(GitLimits {
        fetch_timeout: Duration::from_secs(config.worker.clone_timeout_s),
        low_speed_bytes_per_second: fits("git.low_speed_min_bytes_per_s", git.low_speed_min_bytes_per_s)?,
        low_speed_window: Duration::from_secs(git.low_speed_time_s),
        max_mirror_bytes: git.repository_max_bytes,
        max_mirrors_total_bytes: git.mirrors_max_bytes,
        snapshot: SnapshotLimits {
            max_files: fits("git.files_max", git.files_max)?,
            max_total_bytes: git.repository_max_bytes,
            ..SnapshotLimits::default()
        },
        ..GitLimits::default()
    })
}

fn template_settings(config: &Config) -> Result<TemplateSettings, SetupError> {
    let templates = &config.templates;
    let mut settings = TemplateSettings::default();
    for (role, image) in &templates.base_images {
        let Some(slot) = settings.base_images.get_mut(role) else {
            let known = settings.base_images.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(SetupError::Setting {
                key: "templates.base_images",
                reason: format!("there is no role `{role}`; roles are {known}"),
            });
        };
        slot.clone_from(image);
    }
    settings.ci_builder = match templates.ci_builder.as_str() {
        "docker_in_docker" => CiBuilder::DockerInDocker,
        _ => CiBuilder::BuildkitRootless,
    };
    settings.ci_runner_tags.clone_from(&templates.ci_runner_tags);
    Ok(settings)
}

fn docker_settings(config: &Config) -> Result<DockerSettings, SetupError> {
    let docker = &config.docker;
    let from_environment = || std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let host = Some(docker.host.clone()).filter(|host| !host.is_empty()).or_else(from_environment);
    let optional = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let reachable = if config.gateway.bind.is_unspecified() {
        "127.0.0.1".to_owned()
    } else {
        config.gateway.bind.to_string()
    };
    Ok(DockerSettings {
        enabled: docker.enabled,
        name: docker.name.clone(),
        engine: EngineSettings::at(host.unwrap_or_else(|| DOCKER_SOCKET.to_owned())),
        context_max_bytes: docker.context_max_bytes,
        context_max_files: fits("docker.context_max_files", docker.context_max_files)?,
        drain: Duration::from_millis(docker.drain_ms),
        stop_grace_s: docker.stop_grace_s,
        images_keep: docker.images_keep,
        push_to: optional(&docker.push_to),
        push_credential: optional(&docker.push_credential),
        ports: PortRange::new(config.gateway.port_min, config.gateway.port_max)
            .map_err(|error| SetupError::Setting { key: "gateway.port_min", reason: error.to_string() })?,
        gateway_host: reachable,
    })
}

fn cluster_settings(name: &TargetName, cluster: &KubernetesConfig) -> Result<ClusterSettings, SetupError> {
    let optional = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let pull_credential = optional(&cluster.pull_credential).map(|text| text.parse::<CredentialName>());
    let tls = match (optional(&cluster.tls_issuer), optional(&cluster.tls_secret)) {
        (Some(issuer), _) => Tls::Issuer(issuer),
        (None, Some(secret)) => Tls::Secret(secret),
        (None, None) => Tls::Nothing,
    };
    Ok(ClusterSettings {
        name: name.clone(),
        access: Access::of_config(cluster),
        expose: match cluster.expose {
            ExposeConfig::Ingress => Expose::Ingress,
            ExposeConfig::LoadBalancer => Expose::LoadBalancer,
            ExposeConfig::Nothing => Expose::Nothing,
        },
        domain: optional(&cluster.domain),
        ingress_class: optional(&cluster.ingress_class),
        tls,
        pull_credential: pull_credential.transpose().map_err(|error| SetupError::Setting {
            key: "kubernetes.*.pull_credential",
            reason: error.to_string(),
        })?,
        pod_security: match cluster.pod_security {
            PodSecurityConfig::Restricted => PodSecurity::Restricted,
            PodSecurityConfig::Baseline => PodSecurity::Baseline,
        },
        repairs_drift: match cluster.drift {
            DriftConfig::Show => false,
            DriftConfig::Repair => true,
        },
        trouble_max: Duration::from_secs(cluster.trouble_max_s),
        load_balancer_wait: Duration::from_secs(cluster.load_balancer_wait_s),
        drain: Duration::from_secs(cluster.drain_s),
        stop_grace: Duration::from_secs(cluster.stop_grace_s),
    })
}
