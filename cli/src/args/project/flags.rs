//! Flags that `slipway project add` and `set` share, and what `set` can take away.

use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{Args, ValueEnum};

use super::checked::wrong;
use crate::args::deploy::{BuildArg, CommitArg, KeyValue};

/// What a project is to be: said when it is added, and later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct ProjectFlags {
    /// Which branch (or `tag:` pattern) goes into which environment; `set` puts these in place of all rules
    /// there are. Repeatable.
    #[arg(short, long = "environment", value_name = "NAME=BRANCH|tag:TAG")]
    pub(crate) environments: Vec<RuleArg>,
    /// Deploy into this environment, which -e must name too, only when a changed file matches. Repeatable.
    #[arg(long, value_name = "NAME=GLOB")]
    pub(crate) paths: Vec<KeyValue>,
    /// Target to run it on; the server's default if not given.
    #[arg(short, long)]
    pub(crate) target: Option<String>,
    /// Who builds the image.
    #[arg(long, value_enum)]
    pub(crate) build: Option<BuildArg>,
    /// What happens to generated files.
    #[arg(long, value_enum)]
    pub(crate) commit: Option<CommitArg>,
    /// Job of the pipeline that pushes the image.
    #[arg(long, value_name = "JOB")]
    pub(crate) pipeline_job: Option<String>,
    /// Longest wait for the pipeline, in seconds; the server's setting if not given.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) pipeline_timeout_s: Option<u64>,
    /// Stored credential with which the image is pulled.
    #[arg(long, value_name = "NAME")]
    pub(crate) pull_credential: Option<String>,
    /// Port the application listens on; read from the repository if not given.
    #[arg(short, long)]
    pub(crate) port: Option<u16>,
    /// Number of replicas.
    #[arg(short = 'n', long)]
    pub(crate) replicas: Option<u32>,
    /// Environment variable of the application; not for secrets. Repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<KeyValue>,
    /// Pass on a variable of this shell to the application. Repeatable.
    #[arg(long, value_name = "NAME")]
    pub(crate) set_from_env: Vec<String>,
    /// Path asked by the health check.
    #[arg(long, value_name = "PATH")]
    pub(crate) health_path: Option<String>,
    /// Environments of merge requests.
    #[command(flatten)]
    pub(crate) review: ReviewFlags,
    /// Who is told of results.
    #[command(flatten)]
    pub(crate) notify: NotifyFlags,
}

/// Flags of the environments of merge requests. Each of them asks for such environments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Review environments (GitLab)")]
pub(crate) struct ReviewFlags {
    /// Give every open merge request an environment of its own.
    #[arg(long)]
    pub(crate) review: bool,
    /// Stop one after so many hours without a push, 72 if not given. Implies --review.
    #[arg(long, value_name = "HOURS")]
    pub(crate) review_ttl_h: Option<u32>,
    /// At most so many at once, 10 if not given. Implies --review.
    #[arg(long, value_name = "COUNT")]
    pub(crate) review_max: Option<u32>,
    /// Merge requests from forks get one too, without the project's variables and credentials. Implies
    /// --review.
    #[arg(
        long, value_name = "true|false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true",
    )]
    pub(crate) review_forks: Option<bool>,
}

/// Flags of who is told of results.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Results")]
pub(crate) struct NotifyFlags {
    /// Give commits no status.
    #[arg(long)]
    pub(crate) no_statuses: bool,
    /// Show no environments and deployments on GitLab.
    #[arg(long)]
    pub(crate) no_deployments: bool,
    /// Write no notes on merge requests.
    #[arg(long)]
    pub(crate) no_notes: bool,
    /// Tell this https address of results. The secret that signs them is made, and shown once; `set` puts
    /// these in place of all webhooks there are. Repeatable.
    #[arg(long = "webhook", value_name = "URL")]
    pub(crate) webhooks: Vec<String>,
}

impl ProjectFlags {
    /// Paths are those of an environment that is named beside them.
    pub(super) fn check(&self) -> Result<(), clap::Error> {
        let is_named = |name: &str| self.environments.iter().any(|rule| rule.environment == name);
        match self.paths.iter().find(|paths| !is_named(&paths.key)) {
            Some(KeyValue { key, value }) => {
                let words = format!("--paths {key}={value} is for `{key}`, but no -e names that environment");
                Err(wrong(ErrorKind::ValueValidation, &words))
            }
            None => Ok(()),
        }
    }

    /// Whether they give this something.
    pub(super) fn gives(&self, field: Unset) -> bool {
        match field {
            Unset::Target => self.target.is_some(),
            Unset::Build => self.build.is_some(),
            Unset::Commit => self.commit.is_some(),
            Unset::Pipeline => self.pipeline_job.is_some() || self.pipeline_timeout_s.is_some(),
            Unset::PullCredential => self.pull_credential.is_some(),
            Unset::Port => self.port.is_some(),
            Unset::Replicas => self.replicas.is_some(),
            Unset::Env => !self.set.is_empty() || !self.set_from_env.is_empty(),
            Unset::Health => self.health_path.is_some(),
            Unset::Environments => !self.environments.is_empty(),
            Unset::Review => self.review != ReviewFlags::default(),
            Unset::Notify => self.notify != NotifyFlags::default(),
            Unset::Credential | Unset::Supports | Unset::Resources => false,
        }
    }

    /// Whether they give the application a variable of this name.
    pub(super) fn gives_variable(&self, name: &str) -> bool {
        let is_set = self.set.iter().any(|pair| pair.key == name);
        is_set || self.set_from_env.iter().any(|passed_on| passed_on == name)
    }
}

/// `--unset`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unset {
    /// The stored credential for the repository.
    Credential,
    /// The target: the server's default again.
    Target,
    /// Who builds: Slipway chooses again.
    Build,
    /// What happens to generated files: they are pushed again.
    Commit,
    /// What is waited for of the pipeline: all of it again.
    Pipeline,
    /// The credential with which the image is pulled: the target's again.
    PullCredential,
    /// The port: read from the repository again.
    Port,
    /// The number of replicas: one again.
    Replicas,
    /// All environment variables of the application.
    Env,
    /// The containers beside the application.
    Supports,
    /// The health check: a connection suffices again.
    Health,
    /// The limits of one replica: the usual ones again.
    Resources,
    /// The rules: the default branch into `default` again.
    Environments,
    /// The environments of merge requests.
    Review,
    /// Who is told: GitLab again, and no webhooks.
    Notify,
}

impl Unset {
    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// `NAME=BRANCH` or `NAME=tag:TAG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleArg {
    /// The environment.
    pub(crate) environment: String,
    /// The pattern.
    pub(crate) pattern: String,
    /// Whether it is of tags.
    pub(crate) is_tag: bool,
}

impl FromStr for RuleArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (environment, rest) = text.split_once('=').ok_or("must be like NAME=BRANCH or NAME=tag:TAG")?;
        let (pattern, is_tag) = rest.strip_prefix("tag:").map_or((rest, false), |tag| (tag, true));
        if environment.is_empty() || pattern.is_empty() {
            return Err("must be like NAME=BRANCH or NAME=tag:TAG");
        }
        Ok(Self { environment: environment.to_owned(), pattern: pattern.to_owned(), is_tag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_an_environment_and_a_branch_or_a_tag() {
        let rule = |text: &str| text.parse::<RuleArg>();
        let of = |environment: &str, pattern: &str, is_tag| RuleArg {
            environment: environment.to_owned(),
            pattern: pattern.to_owned(),
            is_tag,
        };
        assert_eq!(rule("production=main"), Ok(of("production", "main", false)));
        assert_eq!(rule("staging=release/*"), Ok(of("staging", "release/*", false)));
        assert_eq!(rule("production=tag:v*"), Ok(of("production", "v*", true)));
        for bad in ["production", "=main", "production=", "production=tag:"] {
            assert!(rule(bad).is_err(), "{bad}");
        }
    }
}
