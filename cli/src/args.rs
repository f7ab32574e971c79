//! The command line: what can be asked for, and how it is explained. No behaviour.

pub(crate) mod autoscaler;
mod deploy;
pub(crate) mod project;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use slipway_common::inquiry::TAIL_LINES_MAX;
use slipway_common::model::{CredentialName, DeploymentState, Stage};
use url::Url;

pub(crate) use autoscaler::{AutoscalerCommand, Back, SetArgs, SettingsArgs, TuneArgs, WhatIfArgs};
pub(crate) use deploy::{DeployArgs, KeyValue, SupportArg};
pub(crate) use project::{AddArgs, ProjectCommand, RemoveArgs, RotateArgs, SetProjectArgs};

/// Takes a Git repository, builds an image and keeps the application running.
#[derive(Debug, Parser)]
#[command(name = "slipway", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Examples:
  slipway up                                            start a server on this machine
  slipway deploy https://gitlab.com/group/shop          deploy a repository and watch it
  slipway list --status active                          what is in service
  slipway logs -f 4f1c22d09a3e                          follow what a deployment says

Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 server not reachable, 4 cancelled or superseded.")]
pub(crate) struct Cli {
    /// Which server, and how to be let in.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// Print JSON instead of text: one object a line for streams, one document otherwise.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the server is and where the token comes from. A token is never an argument.
#[derive(Debug, Args)]
pub(crate) struct ConnectionArgs {
    /// Address of the server.
    #[arg(
        long,
        global = true,
        env = "SLIPWAY_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8640"
    )]
    pub(crate) server: Url,
    /// File that holds the API token. Without it, the variable SLIPWAY_TOKEN or the file `admin.token` of a
    /// server on this machine is used.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start API, worker and gateway in this process, with everything they need in one folder.
    Up(UpArgs),
    /// Print the completion script for a shell.
    #[command(after_help = "Example:\n  slipway completion bash > /etc/bash_completion.d/slipway")]
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Everything that asks a server.
    #[command(flatten)]
    Client(ClientCommand),
}

/// What can be asked of a server.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Deploy a repository and watch every stage.
    Deploy(Box<DeployArgs>),
    /// List deployments, newest first.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show one deployment: stages, facts, address, what runs.
    Status {
        /// The deployment: its id, or at least six characters of it.
        id: String,
    },
    /// Print the logs of a deployment's stages, or what one of its pods has printed.
    #[command(after_help = "Examples:
  slipway logs 4f1c22d09a3e                  everything written so far
  slipway logs -f --stage build 4f1c22d09a3e follow the build
  slipway logs --pod shop-7d9f8b6c5-x2x9z 4f1c22d09a3e
                                             what runs, as `slipway status` names it")]
    Logs(LogsArgs),
    /// Show what happened to a pod of a deployment, as its cluster tells it.
    #[command(after_help = "Example:\n  slipway events --pod shop-7d9f8b6c5-x2x9z 4f1c22d09a3e")]
    Events(EventsArgs),
    /// Take a deployment out of service.
    Stop(ActArgs),
    /// Cancel what a deployment is doing.
    Cancel(ActArgs),
    /// Try a failed or cancelled deployment again, from the stage that is missing.
    Retry(ActArgs),
    /// Undo what others have changed or deleted of a deployment in service.
    Repair(ActArgs),
    /// Go back to what was in service before, or to a given deployment.
    #[command(after_help = "Examples:
  slipway rollback 4f1c22d09a3e                     to the one before it
  slipway rollback 4f1c22d09a3e --to 9b01c7e2f6aa   to that one")]
    Rollback(RollbackArgs),
    /// Projects whose pushes are deployed.
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Autoscalers, which keep deployments at their size.
    #[command(subcommand)]
    Autoscaler(AutoscalerCommand),
    /// Credentials the server keeps for repositories and registries.
    #[command(subcommand)]
    Credentials(CredentialsCommand),
    /// Tokens that let clients in.
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Jobs the server has set aside, because they crashed their workers or cannot be read.
    #[command(subcommand)]
    Dead(DeadCommand),
    /// What an operator asks of a server.
    #[command(subcommand)]
    Admin(AdminCommand),
}

/// `slipway up`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slipway up                                     on 127.0.0.1:8640, data in the default folder
  slipway up --config slipway.toml --listen 127.0.0.1:0
  slipway up --check-config                      print the settings in force and exit

Every setting can also be given as a variable: SLIPWAY__WORKER__SLOTS=4.
The first SIGTERM or Ctrl-C ends it gracefully (30 s at most), the second at once.")]
pub(crate) struct UpArgs {
    /// Settings file (TOML) over the defaults.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder for the database, the key and the work folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address the API listens on; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Check the settings, print those in force and exit.
    #[arg(long)]
    pub(crate) check_config: bool,
}

/// `slipway list`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slipway list --project group/shop
  slipway list --status failed --limit 5")]
pub(crate) struct ListArgs {
    /// Only this project (name, path or short name).
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// Only this environment.
    #[arg(short, long)]
    pub(crate) environment: Option<String>,
    /// Only deployments in this state.
    #[arg(long)]
    pub(crate) status: Option<DeploymentState>,
    /// Only what this user asked for.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// At most so many (1 to 100).
    #[arg(short, long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) limit: u32,
    /// Go on where the page before ended.
    #[arg(long)]
    pub(crate) cursor: Option<String>,
}

/// `slipway logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The deployment: its id, or at least six characters of it.
    pub(crate) id: String,
    /// Only this stage: clone, template, commit, build, apply or stop.
    #[arg(long)]
    pub(crate) stage: Option<Stage>,
    /// Go on until the deployment's job ends.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// What this pod (on Docker this container) has printed, in place of the stages.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["stage", "follow"])]
    pub(crate) pod: Option<String>,
    /// Which of the pod's containers; the one that runs the application if not given.
    #[arg(long, value_name = "NAME", requires = "pod")]
    pub(crate) container: Option<String>,
    /// What the container printed before it was last restarted.
    #[arg(long, requires = "pod")]
    pub(crate) previous: bool,
    /// At most so many lines of the pod, from the end (1 to 1000; 100 if not given).
    #[arg(
        long, value_name = "LINES", requires = "pod",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(TAIL_LINES_MAX)),
    )]
    pub(crate) tail: Option<u32>,
}

/// `slipway events`
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// The deployment: its id, or at least six characters of it.
    pub(crate) id: String,
    /// The pod.
    #[arg(long, value_name = "NAME")]
    pub(crate) pod: String,
}

/// Commands that make a job of something that exists.
#[derive(Debug, Args)]
pub(crate) struct ActArgs {
    /// Which: its id, or at least six characters of it.
    pub(crate) id: String,
    /// Return at once instead of watching.
    #[arg(short, long)]
    pub(crate) detach: bool,
}

/// `slipway rollback`
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The deployment to leave: its id, or at least six characters of it.
    pub(crate) id: String,
    /// The deployment to go back to.
    #[arg(long, value_name = "ID")]
    pub(crate) to: Option<String>,
    /// Return at once instead of watching.
    #[arg(short, long)]
    pub(crate) detach: bool,
}

/// `slipway credentials`
#[derive(Debug, Subcommand)]
pub(crate) enum CredentialsCommand {
    /// Store a credential; the secret is read from standard input or a variable.
    #[command(after_help = "Examples:
  slipway credentials set gitlab --host gitlab.com < token.txt
  slipway credentials set gitlab --host gitlab.com --from-env GITLAB_TOKEN")]
    Set {
        /// Its name.
        name: CredentialName,
        /// Variable that holds the secret; without it the secret is read from standard input.
        #[arg(long, value_name = "NAME")]
        from_env: Option<String>,
        /// User name sent with the secret; most forges take any.
        #[arg(long)]
        username: Option<String>,
        /// The only host it may be sent to.
        #[arg(long, value_name = "HOST[:PORT]")]
        host: Option<String>,
    },
    /// List the stored credentials, without their secrets.
    #[command(visible_alias = "ls")]
    List,
    /// Delete a credential.
    #[command(visible_alias = "rm")]
    Delete {
        /// Its name.
        name: CredentialName,
    },
}

/// `slipway tokens`
#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// Create a token; it is shown once, or written to a file of mode 0600.
    #[command(after_help = "Example:\n  slipway tokens create ci --output ci.token")]
    Create {
        /// Its name, which is the user of all that is done with it.
        name: String,
        /// Write the token to this file instead of showing it.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List the tokens by name.
    #[command(visible_alias = "ls")]
    List,
    /// Revoke a token.
    Revoke {
        /// Its name.
        name: String,
    },
}

/// `slipway dead`
#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List the jobs that were set aside, newest first.
    #[command(visible_alias = "ls")]
    List {
        /// At most so many (1 to 100).
        #[arg(short, long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
        /// Go on where the page before ended.
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Show one of them.
    Show {
        /// The job: its id, or at least six characters of it.
        id: String,
    },
    /// Queue it again; one that has failed meanwhile is tried again as a new job.
    #[command(after_help = "Example:\n  slipway dead requeue 4f1c22d09a3e")]
    Requeue(ActArgs),
    /// Drop it for good.
    #[command(visible_alias = "rm")]
    Drop {
        /// The job: its id, or at least six characters of it.
        id: String,
    },
}

/// `slipway admin`
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Empty the store and fill it again from the ledger; until it is full the server answers 503.
    RebuildStore,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_cannot_be_an_argument() {
        assert!(Cli::try_parse_from(["slipway", "--token", "slw_x", "list"]).is_err());
        assert!(
            Cli::try_parse_from(["slipway", "deploy", "https://h/r", "--repository-token", "x"]).is_err()
        );
    }

    #[test]
    fn unknown_states_and_stages_are_usage_errors() {
        assert!(Cli::try_parse_from(["slipway", "list", "--status", "lost"]).is_err());
        assert!(Cli::try_parse_from(["slipway", "logs", "--stage", "paint", "abcdef"]).is_err());
        assert!(Cli::try_parse_from(["slipway", "logs", "--stage", "build", "abcdef"]).is_ok());
    }

    #[test]
    fn what_a_pod_printed_is_no_log_of_a_stage() {
        let parses = |flags: &[&str]| {
            let words = [&["slipway", "logs", "abcdef"][..], flags].concat();
            Cli::try_parse_from(words).is_ok()
        };
        assert!(parses(&["--pod", "a", "--container", "b", "--previous", "--tail", "1000"]));
        for bad in [
            &["--pod", "a", "--stage", "build"][..],
            &["--pod", "a", "--follow"],
            &["--previous"],
            &["--container", "b"],
            &["--tail", "5"],
            &["--pod", "a", "--tail", "0"],
            &["--pod", "a", "--tail", "1001"],
        ] {
            assert!(!parses(bad), "{bad:?}");
        }
        assert!(Cli::try_parse_from(["slipway", "events", "abcdef"]).is_err(), "a pod is needed");
    }
}
