//! Which deployments a list holds, and which page of it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::{Deployment, DeploymentId, DeploymentState};

/// Most deployments on one page.
pub const PAGE_LIMIT_MAX: u32 = 100;
/// Deployments on a page when the request does not say.
pub const PAGE_LIMIT_DEFAULT: u32 = 20;

/// Conditions a deployment must meet, all of those given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeploymentFilter {
    /// Its project's slug, path or name.
    pub project: Option<String>,
    /// Its environment.
    pub environment: Option<String>,
    /// Its state.
    pub state: Option<DeploymentState>,
    /// Who asked for it.
    pub user: Option<String>,
}

impl DeploymentFilter {
    /// Whether `deployment` meets every condition.
    #[must_use]
    pub fn matches(&self, deployment: &Deployment) -> bool {
        let project = &deployment.project;
        self.project.as_deref().is_none_or(|wanted| {
            wanted == project.slug.as_str() || wanted == project.path || wanted == project.name
        }) && self.environment.as_deref().is_none_or(|wanted| wanted == deployment.environment.as_str())
            && self.state.is_none_or(|wanted| wanted == deployment.state)
            && self.user.as_deref().is_none_or(|wanted| wanted == deployment.user)
    }
}

/// Where a page begins: after this deployment, in the order newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(pub DeploymentId);

impl FromStr for Cursor {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// How many at most.
    pub limit: u32,
    /// After which one; wins over `skip`.
    pub cursor: Option<Cursor>,
    /// How many to leave out at the start.
    pub skip: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { limit: PAGE_LIMIT_DEFAULT, cursor: None, skip: 0 }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentPage {
    /// The deployments, newest first.
    pub deployments: Vec<Deployment>,
    /// How many match in all.
    pub total: u64,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}
