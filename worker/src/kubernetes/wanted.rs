//! What shall run: the plain input of an apply.

use std::collections::BTreeMap;

use secrecy::SecretString;
use slipway_common::model::{EnvironmentName, HealthSpec, ProjectSlug, ResourceSpec};

use super::names;

/// One deployment as it shall run.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The project.
    pub project: ProjectSlug,
    /// The environment.
    pub environment: EnvironmentName,
    /// Id of the deployment.
    pub deployment: String,
    /// Id of the job that applies it.
    pub job: String,
    /// Fencing token: higher is newer.
    pub fence: u64,
    /// Image by digest, `name@sha256:…`.
    pub image: String,
    /// Port the application listens on.
    pub port: u16,
    /// Number of replicas; where `is_scaled`, of an application that is new there.
    pub replicas: u32,
    /// Whether an autoscaler sets the number of replicas: then the number that is there stays.
    pub is_scaled: bool,
    /// The application's environment.
    pub env: Variables,
    /// What each replica may use.
    pub resources: ResourceSpec,
    /// When a replica counts as healthy.
    pub health: HealthSpec,
    /// Containers the application needs beside it.
    pub supports: Vec<Support>,
    /// Host names the application answers to besides the one under the target's domain.
    pub hostnames: Vec<String>,
    /// What nodes show the registry.
    pub pull: Option<PullCredential>,
    /// Whether to apply also what the inventory and the watches say is as it shall be.
    pub thorough: bool,
}

impl Wanted {
    /// The namespace it lives in.
    #[must_use]
    pub fn namespace(&self) -> String {
        names::namespace(&self.project, &self.environment)
    }

    /// Name of the application's objects.
    #[must_use]
    pub fn app(&self) -> String {
        names::app(&self.project)
    }
}

/// Environment variables of one container.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    /// Names and values.
    pub values: BTreeMap<String, SecretString>,
    /// Keyed hash of all of them, which tells two versions apart and nothing about the values.
    pub hash: String,
}

/// A container the application needs beside it, such as a database.
#[derive(Debug, Clone)]
pub struct Support {
    /// Its name, which is also its DNS name in the namespace.
    pub name: String,
    /// Image by digest.
    pub image: String,
    /// Port it listens on.
    pub port: Option<u16>,
    /// Its environment.
    pub env: Variables,
    /// What it may use.
    pub resources: ResourceSpec,
}

/// What nodes show a registry.
#[derive(Debug, Clone)]
pub struct PullCredential {
    /// The registry's host, with its port if it has one.
    pub server: String,
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: SecretString,
}
