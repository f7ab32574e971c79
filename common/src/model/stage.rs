//! The stages of a deploy job, in their order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A step of a job.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Pin the revision and bring its objects into the mirror.
    Clone,
    /// Decide which files are missing and generate them.
    Template,
    /// Commit and push the generated files.
    Commit,
    /// Build the image.
    Build,
    /// Make the target run it.
    Apply,
    /// Take it down again (the one stage of a stop job).
    Stop,
}

impl Stage {
    /// The stages of a deploy job in order.
    pub const DEPLOY: [Self; 5] = [Self::Clone, Self::Template, Self::Commit, Self::Build, Self::Apply];
    /// Every stage there is.
    pub const ALL: [Self; 6] =
        [Self::Clone, Self::Template, Self::Commit, Self::Build, Self::Apply, Self::Stop];

    /// The stage's name as it appears everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::Template => "template",
            Self::Commit => "commit",
            Self::Build => "build",
            Self::Apply => "apply",
            Self::Stop => "stop",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The text names no stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no stage is called `{0}`; stages are clone, template, commit, build, apply and stop")]
pub struct UnknownStage(String);

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| UnknownStage(text.chars().take(40).collect()))
    }
}
