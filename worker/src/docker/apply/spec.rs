//! What to run: the plain input of an apply, its checks, and the hashes that tell whether a container still fits.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::super::error::DockerError;
use super::super::scope::{Scope, check_name};

/// Most replicas of one deployment on one engine.
pub const REPLICAS_MAX: u32 = 64;
/// Most support containers of one deployment.
pub(super) const SUPPORTS_MAX: usize = 16;
/// Least memory the engine accepts for a container.
const MEMORY_MIN_BYTES: u64 = 6 * 1024 * 1024;

/// One deployment as it shall run.
#[derive(Debug, Clone)]
pub struct ApplySpec {
    /// Project and environment.
    pub scope: Scope,
    /// Id of the deployment.
    pub deployment: String,
    /// Id of the job that applies it.
    pub job: String,
    /// Fencing token: higher is newer.
    pub fence: u64,
    /// Image by content address, `sha256:…`. A tag is refused: it may move between build and apply.
    pub image_id: String,
    /// Port the application listens on.
    pub port: u16,
    /// Number of replicas, at least 1.
    pub replicas: u32,
    /// Environment of the application's containers.
    pub env: BTreeMap<String, SecretString>,
    /// What each replica may use.
    pub resources: Resources,
    /// Containers the application needs beside it.
    pub supports: Vec<Support>,
    /// When a replica counts as healthy.
    pub health: HealthCheck,
    /// Port the gateway offers for this environment.
    pub gateway_port: Option<u16>,
    /// How containers are taken out of service.
    pub drain: DrainPolicy,
    /// What the engine does when a serving container ends.
    pub restart: RestartPolicy,
}

/// Limits of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Memory; there is no swap beyond it.
    pub memory_bytes: u64,
    /// Processor time in thousandths of a core.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
}

impl Default for Resources {
    fn default() -> Self {
        Self { memory_bytes: 512 * 1024 * 1024, cpu_millis: 1000, pids: 512 }
    }
}

/// A container the application needs beside it, such as a database.
#[derive(Debug, Clone)]
pub struct Support {
    /// Its name, which is also its DNS name in the network.
    pub name: String,
    /// Image by content address, as [`ensure_image`](super::super::ensure_image) returns it.
    pub image_id: String,
    /// Port it listens on.
    pub port: Option<u16>,
    /// Its environment.
    pub env: BTreeMap<String, SecretString>,
    /// What it may use.
    pub resources: Resources,
}

/// When a replica counts as healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path that must answer 200 to 399; without it, a TCP connection suffices.
    pub path: Option<String>,
    /// Time between two checks.
    pub interval_ms: u64,
    /// Deadline of one check.
    pub timeout_ms: u64,
    /// Deadline for becoming healthy.
    pub deadline_ms: u64,
    /// Checks in a row that must pass.
    pub successes: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self { path: None, interval_ms: 500, timeout_ms: 2000, deadline_ms: 120_000, successes: 2 }
    }
}

/// How containers are taken out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainPolicy {
    /// Time between the end of routing and the signal to end.
    pub drain_ms: u64,
    /// Time between the signal to end and the kill.
    pub stop_timeout_s: u32,
}

impl Default for DrainPolicy {
    fn default() -> Self {
        Self { drain_ms: 5000, stop_timeout_s: 10 }
    }
}

/// What the engine does when a serving container ends. While a replica starts, nothing is restarted, so that an
/// early exit is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Leave it.
    Never,
    /// Start it again, this many times in a row at most.
    OnFailure {
        /// The limit.
        attempts: u32,
    },
    /// Start it again, also after a restart of the engine, unless it was stopped on purpose.
    UnlessStopped,
}

impl ApplySpec {
    pub(super) fn check(&self) -> Result<(), DockerError> {
        if self.replicas == 0 {
            return Err(DockerError::Invalid { what: "replicas", rule: "at least 1" });
        }
        if self.replicas > REPLICAS_MAX {
            return Err(DockerError::Limit { what: "replicas", limit: u64::from(REPLICAS_MAX) });
        }
        if self.supports.len() > SUPPORTS_MAX {
            let limit = u64::try_from(SUPPORTS_MAX).unwrap_or(u64::MAX);
            return Err(DockerError::Limit { what: "support containers", limit });
        }
        if self.health.path.as_deref().is_some_and(|path| !is_health_path(path)) {
            return Err(DockerError::Invalid {
                what: "the health path",
                rule: "a path that starts with `/`",
            });
        }
        check_image(&self.image_id)?;
        check_env(&self.env)?;
        check_resources(&self.resources)?;
        for support in &self.supports {
            check_name("support name", &support.name)?;
            check_image(&support.image_id)?;
            check_env(&support.env)?;
            check_resources(&support.resources)?;
        }
        Ok(())
    }

    /// Hash of everything a replica is created from. Two containers with the same hash are interchangeable.
    pub(super) fn app_hash(&self) -> String {
        let health = self.health.path.as_deref().unwrap_or("");
        let gateway = self.gateway_port.map(|port| port.to_string()).unwrap_or_default();
        let port = self.port.to_string();
        hash_of(&[&self.deployment, &self.image_id, &port, health, &gateway], &self.resources, &self.env)
    }
}

impl Support {
    pub(super) fn hash(&self) -> String {
        let port = self.port.map(|port| port.to_string()).unwrap_or_default();
        hash_of(&[&self.name, &self.image_id, &port], &self.resources, &self.env)
    }
}

fn hash_of(parts: &[&str], resources: &Resources, env: &BTreeMap<String, SecretString>) -> String {
    let limits = format!("{}/{}/{}", resources.memory_bytes, resources.cpu_millis, resources.pids);
    let mut hash = Sha256::new();
    let env = env.iter().flat_map(|(name, value)| [name.as_str(), value.expose_secret()]);
    for part in parts.iter().copied().chain([limits.as_str()]).chain(env) {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

fn check_image(image: &str) -> Result<(), DockerError> {
    let digits = image.strip_prefix("sha256:").unwrap_or_default();
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(DockerError::Invalid { what: "the image id", rule: "`sha256:` and 64 hexadecimal digits" })
}

fn check_env(env: &BTreeMap<String, SecretString>) -> Result<(), DockerError> {
    let plain = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
    if env.iter().all(|(name, value)| plain(name) && !value.expose_secret().contains('\0')) {
        return Ok(());
    }
    Err(DockerError::Invalid { what: "an environment variable", rule: "named without `=`, and without NUL" })
}

fn check_resources(resources: &Resources) -> Result<(), DockerError> {
    if resources.memory_bytes >= MEMORY_MIN_BYTES && resources.cpu_millis >= 10 && resources.pids >= 1 {
        return Ok(());
    }
    Err(DockerError::Invalid {
        what: "resources",
        rule: "at least 6 MiB of memory, 10 thousandths of a core and 1 process",
    })
}

fn is_health_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= 1024 && path.bytes().all(|byte| byte.is_ascii_graphic())
}
