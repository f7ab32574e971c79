//! The facts a job has established. A job resumes at the first stage whose fact is missing, on any worker.

use serde::{Deserialize, Serialize};

use super::Stage;

/// What the clone stage established.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SourceFact {
    /// The pinned commit (40 hexadecimal digits).
    pub revision: String,
    /// The branch it was read from; absent when a revision was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

/// What the template stage established.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TemplateFact {
    /// Paths of the files that were missing and have been generated.
    pub generated: Vec<String>,
    /// Path of the Dockerfile to build, existing or generated.
    pub dockerfile: String,
    /// Port the application is expected to listen on, when the repository tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The family of application that was recognised, with what gave it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected: Option<String>,
}

/// What the commit stage established.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CommitFact {
    /// The commit the deployment goes on from: the generated one, or the pinned one when nothing was missing.
    pub revision: String,
    /// Whether Slipway made it.
    pub generated: bool,
    /// The branch it was pushed to; absent when it was not pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The merge request that proposes it, when the branch was protected or one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_request: Option<String>,
}

/// What the build stage established.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageFact {
    /// Immutable name of the image, `sha256:…`: on the engine, or in the registry when no engine has it.
    pub digest: String,
    /// A name for people; never used to run anything.
    pub tag: String,
    /// Whether an earlier build of the same commit was found and used.
    pub reused: bool,
    /// What the registry knows it by (`name@sha256:…`), when it was pushed to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<String>,
    /// The port the image exposes, when its registry was asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// What the apply stage established.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InventoryFact {
    /// Where the application answers, if it has a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The stable port of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_port: Option<u16>,
    /// The namespace, on a Kubernetes target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Names of the objects that were made: containers, or on Kubernetes kind and name of each.
    pub objects: Vec<String>,
}

/// All facts of a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Facts {
    /// From the clone stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceFact>,
    /// From the template stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateFact>,
    /// From the commit stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitFact>,
    /// From the build stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageFact>,
    /// From the apply stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<InventoryFact>,
}

impl Facts {
    /// Whether the fact of `stage` is known, so that the stage need not run.
    #[must_use]
    pub fn has(&self, stage: Stage) -> bool {
        match stage {
            Stage::Clone => self.source.is_some(),
            Stage::Template => self.template.is_some(),
            Stage::Commit => self.commit.is_some(),
            Stage::Build => self.image.is_some(),
            Stage::Apply => self.inventory.is_some(),
            Stage::Stop => false,
        }
    }

    /// Takes over every fact that `newer` has.
    pub fn merge(&mut self, newer: &Self) {
        fn take<T: Clone>(slot: &mut Option<T>, newer: Option<&T>) {
            if let Some(value) = newer {
                *slot = Some(value.clone());
            }
        }
        take(&mut self.source, newer.source.as_ref());
        take(&mut self.template, newer.template.as_ref());
        take(&mut self.commit, newer.commit.as_ref());
        take(&mut self.image, newer.image.as_ref());
        take(&mut self.inventory, newer.inventory.as_ref());
    }

    /// The commit the image is built from, as far as known.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        let commit = self.commit.as_ref().map(|fact| fact.revision.as_str());
        commit.or_else(|| self.source.as_ref().map(|fact| fact.revision.as_str()))
    }
}
