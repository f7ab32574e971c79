//! Registered projects as the server shows them.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipway_common::model::registered::ForgeObjects;
use slipway_common::model::registered::request::{EnvironmentRequest, ReviewRequest};
use slipway_common::model::registered::state::SweepState;
use slipway_common::secrets::SecretText;

/// A registered project; in a list without what is optional here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ProjectView {
    /// Its short name.
    pub(crate) slug: String,
    /// Its repository.
    pub(crate) repository_url: String,
    /// What hosts it.
    pub(crate) forge: String,
    /// Where it runs.
    pub(crate) target: String,
    /// Who builds.
    #[serde(default)]
    pub(crate) build: String,
    /// Names of its variables.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// Which ref goes where.
    #[serde(default)]
    pub(crate) environments: Vec<EnvironmentRequest>,
    /// That merge requests get environments.
    #[serde(default)]
    pub(crate) review: Option<ReviewRequest>,
    /// Where deliveries arrive.
    pub(crate) hook: HookView,
    /// What a set-up has made.
    #[serde(default)]
    pub(crate) made: ForgeObjects,
    /// When it was last changed.
    pub(crate) updated_at: Timestamp,
    /// How the last look at it went.
    #[serde(default)]
    pub(crate) state: Option<SweepState>,
    /// Where its refs stood.
    #[serde(default)]
    pub(crate) heads: Vec<HeadView>,
}

/// Where deliveries arrive.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct HookView {
    /// The address.
    pub(crate) url: String,
    /// Its secrets.
    #[serde(default)]
    pub(crate) secrets: Vec<HookSecretView>,
}

/// A secret of a hook, without what it is.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct HookSecretView {
    /// `signing` or `token`.
    pub(crate) kind: String,
    /// Until when it is good.
    #[serde(default)]
    pub(crate) until: Option<Timestamp>,
}

/// Where a ref stood.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct HeadView {
    /// The environment.
    pub(crate) environment: String,
    /// The ref.
    pub(crate) reference: String,
    /// The commit.
    pub(crate) revision: String,
    /// The deployment made of it.
    #[serde(default)]
    pub(crate) deployment: Option<String>,
}

/// One page of projects.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ProjectsPage {
    /// The projects.
    pub(crate) data: Vec<ProjectView>,
    /// How many there are in all.
    pub(crate) total: u64,
    /// Where the next page begins.
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

/// A project that was just registered or changed: with the secrets that were made for it, this once.
#[derive(Debug, Deserialize)]
pub(crate) struct ProjectCreated {
    /// Its short name.
    pub(crate) slug: String,
    /// What hosts it.
    pub(crate) forge: String,
    /// Where deliveries arrive.
    pub(crate) hook: HookView,
    /// What was made.
    #[serde(default)]
    pub(crate) secrets: NewSecrets,
}

/// Secrets in clear. Not shown by accident.
#[derive(Default, Deserialize)]
pub(crate) struct NewSecrets {
    /// Signs deliveries.
    #[serde(default)]
    pub(crate) signing_secret: Option<SecretText>,
    /// Is sent along.
    #[serde(default)]
    pub(crate) token: Option<SecretText>,
    /// Those of outgoing webhooks.
    #[serde(default)]
    pub(crate) webhooks: Vec<NewWebhookSecret>,
}

impl fmt::Debug for NewSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("NewSecrets(***)")
    }
}

/// What signs what an outgoing webhook is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewWebhookSecret {
    /// Its address.
    pub(crate) url: String,
    /// The secret.
    pub(crate) secret: SecretText,
}
