//! `slipway project`: projects whose pushes are deployed, and their connection to a forge.

mod checked;
mod flags;

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Subcommand};
use slipway_common::model::registered::Forge;

pub(crate) use checked::Checked;
pub(crate) use flags::{NotifyFlags, ProjectFlags, ReviewFlags, RuleArg, Unset};

use checked::{Check, wrong};

const ADD_EXAMPLES: &str = "Examples:
  slipway project add https://gitlab.com/group/shop                 the default branch, into `default`
  slipway project add https://gitlab.com/group/shop -e production=main -e staging='release/*' --review
  slipway project add https://gitlab.com/group/shop -e production=tag:'v*' --build gitlab
  slipway project add https://github.com/group/shop --no-setup      prints what to enter there

The token of GitLab is read from the variable GITLAB_TOKEN (another one: --token-env) and needs the scope `api` and the
role Maintainer in the project: with it Slipway reads and writes the repository, and this command makes the webhook, a
deploy token for the registry, and two CI variables. When a step fails, those before it are undone.";

const SET_EXAMPLES: &str = "Examples:
  slipway project set shop-1a2b3c --port 8080 --replicas 3
  slipway project set shop-1a2b3c -e production=tag:'v*' -e staging=main --paths staging='app/**'
  slipway project set shop-1a2b3c --review-ttl-h 24 --review-max 5
  slipway project set shop-1a2b3c --no-notes --webhook https://example.com/hooks/deployed
  slipway project set shop-1a2b3c --unset review --unset port

What is not named stays. Lists are replaced as a whole: -e names all rules there are to be, and nothing of the
old ones stays, their paths, targets, replicas and host names included; --webhook names all webhooks, and one
that was there keeps its secret. Of variables only those that are named change. `--unset notify` turns
statuses, deployments and notes on again, and takes the webhooks away.";

/// `slipway project`
#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Register a project and connect it to GitLab: its pushes are deployed from then on.
    Add(Box<Checked<AddArgs>>),
    /// Change a project: what is given, and nothing else.
    Set(Box<Checked<SetProjectArgs>>),
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
    /// What the project is to be.
    #[command(flatten)]
    pub(crate) flags: ProjectFlags,
}

impl Check for AddArgs {
    fn check(&self) -> Result<(), clap::Error> {
        self.flags.check()
    }
}

/// `slipway project set`
#[derive(Debug, Args)]
#[command(after_help = SET_EXAMPLES)]
pub(crate) struct SetProjectArgs {
    /// The project's short name, as `slipway project list` shows it.
    pub(crate) project: String,
    /// Stored credential for the repository.
    #[arg(long, value_name = "NAME")]
    pub(crate) credential: Option<String>,
    /// Give this its default again, or end it. Repeatable.
    #[arg(long, value_name = "FIELD", value_enum)]
    pub(crate) unset: Vec<Unset>,
    /// Take this environment variable of the application away. Repeatable.
    #[arg(long, value_name = "NAME")]
    pub(crate) unset_env: Vec<String>,
    /// What the project is to be.
    #[command(flatten)]
    pub(crate) flags: ProjectFlags,
}

impl Check for SetProjectArgs {
    fn check(&self) -> Result<(), clap::Error> {
        let takes_away = !self.unset.is_empty() || !self.unset_env.is_empty();
        if !takes_away && self.credential.is_none() && self.flags == ProjectFlags::default() {
            let words = "nothing to set is given; `slipway project set --help` lists what there is";
            return Err(wrong(ErrorKind::MissingRequiredArgument, words));
        }
        self.flags.check()?;
        match self.contradiction() {
            Some(flag) => Err(wrong(
                ErrorKind::ArgumentConflict,
                &format!("{flag} takes away what another flag gives; only one of them can be meant"),
            )),
            None => Ok(()),
        }
    }
}

impl SetProjectArgs {
    /// The flag that takes something away that another one gives.
    fn contradiction(&self) -> Option<String> {
        let field = self.unset.iter().find(|field| self.gives(**field));
        let variable = self.unset_env.iter().find(|name| self.flags.gives_variable(name));
        field
            .map(|field| format!("--unset {}", field.name()))
            .or_else(|| variable.map(|name| format!("--unset-env {name}")))
    }

    /// Whether a flag gives this something.
    fn gives(&self, field: Unset) -> bool {
        let of_its_own = match field {
            Unset::Credential => self.credential.is_some(),
            Unset::Env => !self.unset_env.is_empty(),
            Unset::Target
            | Unset::Build
            | Unset::Commit
            | Unset::Pipeline
            | Unset::PullCredential
            | Unset::Port
            | Unset::Replicas
            | Unset::Supports
            | Unset::Health
            | Unset::Resources
            | Unset::Environments
            | Unset::Review
            | Unset::Notify => false,
        };
        of_its_own || self.flags.gives(field)
    }
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_examples_are_accepted() {
        let examples = [ADD_EXAMPLES, SET_EXAMPLES].join("\n");
        let examples = examples.lines().filter_map(|line| line.strip_prefix("  slipway "));
        let mut count = 0;
        for example in examples {
            // What follows a wide gap explains it.
            let command = example.split("   ").next().unwrap().replace('\'', "");
            parsed(&format!("slipway {command}")).unwrap_or_else(|error| panic!("{example}: {error}"));
            count += 1;
        }
        assert_eq!(count, 9);
    }

    /// Why a command line is refused, as wrong usage.
    fn refused(line: &str) -> String {
        let error = parsed(line).err().unwrap_or_else(|| panic!("`{line}` is accepted"));
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    }

    #[test]
    fn to_set_nothing_is_wrong_usage() {
        let words = refused("slipway project set shop-1a2b3c");
        assert!(words.contains("nothing to set is given"), "{words}");
        assert!(refused("slipway project set --port 80").contains("PROJECT"));
        for flag in ["--unset port", "--unset-env A", "--credential a", "--review-forks=false", "--port 1"] {
            parsed(&format!("slipway project set shop-1a2b3c {flag}")).unwrap();
        }
    }

    #[test]
    fn paths_are_of_an_environment_that_is_named_beside_them() {
        for command in ["add https://gitlab.com/group/shop", "set shop-1a2b3c"] {
            let with = |flags: &str| format!("slipway project {command} {flags}");
            parsed(&with("--paths live=app/** -e live=main --paths live=lib/**")).unwrap();
            let words = refused(&with("-e live=main --paths production=app/**"));
            assert!(words.contains("`production`"), "{words}");
            refused(&with("--paths live=app/**"));
            refused(&with("-e live=main --paths app/**"));
        }
    }

    #[test]
    fn what_is_given_cannot_be_taken_away_in_the_same_command() {
        let with = |flags: &str| format!("slipway project set shop-1a2b3c {flags}");
        let cases = [
            ("--unset credential", "--credential a"),
            ("--unset target", "--target a"),
            ("--unset build", "--build docker"),
            ("--unset commit", "--commit none"),
            ("--unset pipeline", "--pipeline-job a"),
            ("--unset pull-credential", "--pull-credential a"),
            ("--unset port", "--port 80"),
            ("--unset replicas", "--replicas 2"),
            ("--unset env", "--set A=b"),
            ("--unset env", "--set-from-env A"),
            ("--unset env", "--unset-env A"),
            ("--unset health", "--health-path /"),
            ("--unset environments", "-e live=main"),
            ("--unset review", "--review-max 3"),
            ("--unset notify", "--webhook https://example.com/x"),
            ("--unset-env A", "--set A=b"),
            ("--unset-env A", "--set-from-env A"),
        ];
        for (away, given) in cases {
            let words = refused(&with(&format!("{given} {away}")));
            assert!(words.contains(away), "{given} {away}: {words}");
        }
        parsed(&with("--unset port --replicas 2 --unset-env A --set B=c")).unwrap();
        refused(&with("--unset made"));
        refused(&with("--unset repository_url"));
    }
}
