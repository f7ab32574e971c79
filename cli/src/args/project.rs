//! `slipway project`: projects whose pushes are deployed, and their connection to a forge.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use slipway_common::model::registered::Forge;

use super::deploy::{BuildArg, CommitArg, KeyValue};

const ADD_EXAMPLES: &str = "Examples:
  slipway project add https://gitlab.com/group/shop                 the default branch, into `default`
  slipway project add https://gitlab.com/group/shop -e production=main -e staging='release/*' --review
  slipway project add https://gitlab.com/group/shop -e production=tag:'v*' --build gitlab
  slipway project add https://github.com/group/shop --no-setup      prints what to enter there

The token of GitLab is read from the variable GITLAB_TOKEN (another one: --token-env) and needs the scope `api` and the
role Maintainer in the project: with it Slipway reads and writes the repository, and this command makes the webhook, a
deploy token for the registry, and two CI variables. When a step fails, those before it are undone.";

/// `slipway project`
#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Register a project and connect it to GitLab: its pushes are deployed from then on.
    Add(Box<AddArgs>),
    /// List the registered projects.
    #[command(visible_alias = "ls")]
    List {
        /// At most so many (1 to 100).
        #[arg(short, long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
        /// Go on where the page before ended.
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show one project: its rules, its hook, what was seen of it last.
    Show {
        /// The project's short name, as `slipway project list` shows it.
        project: String,
    },
    /// Look at a project's branches and tags now.
    Sweep {
        /// The project's short name.
        project: String,
    },
    /// Make new secrets for the webhook, and tell GitLab. The old ones are good for a day.
    Rotate(RotateArgs),
    /// Disconnect a project: what `add` has made on GitLab and in Slipway is removed. What runs goes on running.
    #[command(visible_alias = "rm")]
    Remove(RemoveArgs),
    /// Check a `slipway.yml`.
    #[command(after_help = "Example:\n  slipway project check slipway.yml")]
    Check {
        /// The file.
        #[arg(default_value = "slipway.yml")]
        file: PathBuf,
    },
}

/// `slipway project add`
#[derive(Debug, Args)]
#[command(after_help = ADD_EXAMPLES)]
pub(crate) struct AddArgs {
    /// HTTPS address of the Git repository.
    pub(crate) url: String,
    /// What hosts it: gitlab, github or gitea; github for github.com and gitlab otherwise if not given.
    #[arg(long)]
    pub(crate) forge: Option<Forge>,
    /// Which branch (or `tag:` pattern) goes into which environment. Repeatable.
    #[arg(short, long = "environment", value_name = "NAME=BRANCH|tag:TAG")]
    pub(crate) environments: Vec<RuleArg>,
    /// Give every open merge request an environment of its own.
    #[arg(long)]
    pub(crate) review: bool,
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
    /// Variable of this shell that holds the token of GitLab.
    #[arg(long, value_name = "NAME", default_value = "GITLAB_TOKEN")]
    pub(crate) token_env: String,
    /// Address under which the forge reaches Slipway, if not the one the server answers with.
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<url::Url>,
    /// Register only; print what to enter at the forge by hand.
    #[arg(long)]
    pub(crate) no_setup: bool,
    /// Stored credential for the repository; only with --no-setup, for else one is made.
    #[arg(long, value_name = "NAME", requires = "no_setup")]
    pub(crate) credential: Option<String>,
}

/// `slipway project rotate`
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// The project's short name.
    pub(crate) project: String,
    /// Variable of this shell that holds the token of GitLab.
    #[arg(long, value_name = "NAME", default_value = "GITLAB_TOKEN")]
    pub(crate) token_env: String,
}

/// `slipway project remove`
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The project's short name.
    pub(crate) project: String,
    /// Variable of this shell that holds the token of GitLab.
    #[arg(long, value_name = "NAME", default_value = "GITLAB_TOKEN")]
    pub(crate) token_env: String,
    /// Leave everything at the forge as it is.
    #[arg(long)]
    pub(crate) keep_forge: bool,
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
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn the_examples_are_accepted() {
        let examples = ADD_EXAMPLES.lines().filter_map(|line| line.strip_prefix("  slipway "));
        let mut count = 0;
        for example in examples {
            // What follows a wide gap explains it.
            let command = example.split("   ").next().unwrap().replace('\'', "");
            let line = std::iter::once("slipway").chain(command.split_whitespace());
            Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{example}: {error}"));
            count += 1;
        }
        assert_eq!(count, 4);
    }

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
