//! What the worker needs, resolved from the configuration once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use slipway_common::config::{Config, DriftConfig, ExposeConfig, KubernetesConfig, PodSecurityConfig};
use slipway_common::model::request::RequestLimits;
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
    /// Pipelines that build images.
    pub pipelines: PipelineSettings,
    /// The Docker target.
    pub docker: DockerSettings,
    /// The Kubernetes targets.
    pub clusters: Vec<ClusterSettings>,
    /// How registered projects are looked at.
    pub sweeps: SweepSettings,
    /// How results are told.
    pub reports: ReportSettings,
}

/// How registered projects are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepSettings {
    /// How often each is looked at, besides after deliveries.
    pub interval: Duration,
    /// Looks at once.
    pub at_once: usize,
    /// Of them, those at one host.
    pub per_host_at_once: usize,
    /// Longest wait for a host to say where refs stand.
    pub timeout: Duration,
    /// What a project's own file may ask for.
    pub limits: RequestLimits,
}

/// How results are told.
#[derive(Debug, Clone)]
pub struct ReportSettings {
    /// Deployments whose results are told at once.
    pub at_once: usize,
    /// Of them, those told at one host.
    pub per_host_at_once: usize,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// How long a receiver is tried again.
    pub give_up: Duration,
    /// How long it is remembered what was told.
    pub keep: Duration,
    /// Address under which people reach Slipway, if it is known.
    pub public_url: Option<String>,
}

/// How pipelines are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineSettings {
    /// Longest wait for one, from the beginning of the stage.
    pub timeout: Duration,
    /// How often one is looked at, besides when a delivery says that it changed.
    pub poll_interval: Duration,
    /// How long one may take to appear.
    pub appear_max: Duration,
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
            pipelines: PipelineSettings {
                timeout: seconds(config.pipelines.timeout_s),
                poll_interval: seconds(config.pipelines.poll_interval_s),
                appear_max: seconds(config.pipelines.appear_max_s),
            },
            docker: docker_settings(config)?,
            clusters: config
                .kubernetes
                .iter()
                .map(|(name, cluster)| cluster_settings(name, cluster))
                .collect::<Result<_, _>>()?,
            sweeps: SweepSettings {
                interval: seconds(config.sweeps.interval_s),
                at_once: config.sweeps.at_once,
                per_host_at_once: config.sweeps.per_host_at_once,
                timeout: seconds(config.sweeps.timeout_s),
                limits: config.limits.clone(),
            },
            reports: report_settings(config),
        })
    }
}

fn report_settings(config: &Config) -> ReportSettings {
    const DAY_S: u64 = 24 * 3_600;
    let (reports, url) = (&config.reports, &config.server.public_url);
    ReportSettings {
        at_once: reports.at_once.max(1),
        per_host_at_once: reports.per_host_at_once,
        timeout: Duration::from_millis(reports.timeout_ms),
        give_up: Duration::from_secs(reports.give_up_h.saturating_mul(3_600)),
        keep: Duration::from_secs(u64::from(config.data.keep_finished_days).saturating_mul(DAY_S)),
        public_url: Some(url.clone()).filter(|url| !url.is_empty()),
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
