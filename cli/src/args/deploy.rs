//! `slipway deploy`: one flag for every field of a request. Secrets come from files and variables only.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use slipway_common::model::{BuildMode, CommitMode, EnvName, ImageReference, SupportName};

/// `slipway deploy`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slipway deploy https://gitlab.com/group/shop
  slipway deploy https://gitlab.com/group/shop --branch main -e staging --replicas 2 --port 8080
  slipway deploy https://gitlab.com/group/shop --token-env GITLAB_TOKEN --set-from-env DATABASE_URL
  slipway deploy https://gitlab.com/group/shop --support db=postgres:18,5432 --support-env-file db=db.env
  slipway deploy https://gitlab.com/group/shop --image registry.example.com/shop:1.2 --build none
  slipway deploy https://gitlab.com/group/shop --k8s-url https://k8s.example.com --k8s-token-env K8S_TOKEN

What is given with --set is visible to other users of this machine while the command runs; use --env-file
or --set-from-env for secrets.
Exit codes: 0 in service, 1 failed, 2 wrong usage, 3 server not reachable, 4 cancelled or superseded.")]
pub(crate) struct DeployArgs {
    /// HTTPS address of the Git repository.
    pub(crate) url: String,
    /// Branch whose tip to deploy; the default branch if neither this nor --revision is given.
    #[arg(short, long, conflicts_with = "revision")]
    pub(crate) branch: Option<String>,
    /// Commit (40 hexadecimal digits) or tag to deploy.
    #[arg(short, long)]
    pub(crate) revision: Option<String>,
    /// Environment.
    #[arg(short, long, visible_alias = "env-name", value_name = "NAME")]
    pub(crate) environment: Option<String>,
    /// Target to run it on; the server's default if not given.
    #[arg(short, long)]
    pub(crate) target: Option<String>,
    /// Address of the API server of a Kubernetes target, in place of the target's name.
    #[arg(long, value_name = "URL")]
    pub(crate) k8s_url: Option<String>,
    /// Variable of this shell that holds a token for the cluster, used there in place of the target's own.
    #[arg(long, value_name = "NAME")]
    pub(crate) k8s_token_env: Option<String>,
    /// Port the application listens on; read from the repository if not given.
    #[arg(short, long)]
    pub(crate) port: Option<u16>,
    /// Number of replicas.
    #[arg(short = 'n', long)]
    pub(crate) replicas: Option<u32>,
    /// Environment variable of the application; not for secrets. Repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<KeyValue>,
    /// Pass on a variable of this shell. Repeatable.
    #[arg(long, value_name = "NAME")]
    pub(crate) set_from_env: Vec<EnvName>,
    /// File of KEY=VALUE lines for the application. Repeatable.
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Container to run beside the application, reachable by its name; with a port it is waited for. Repeatable.
    #[arg(long = "support", value_name = "NAME=IMAGE[,PORT]")]
    pub(crate) supports: Vec<SupportArg>,
    /// File of KEY=VALUE lines for a support container. Repeatable.
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) support_env_file: Vec<KeyValue>,
    /// Host name the application answers to, on a Kubernetes target. Repeatable.
    #[arg(long = "hostname", value_name = "NAME")]
    pub(crate) hostnames: Vec<String>,
    /// Run this image as it is; nothing is cloned or built.
    #[arg(long)]
    pub(crate) image: Option<String>,
    /// Who builds the image.
    #[arg(long, value_enum)]
    pub(crate) build: Option<BuildArg>,
    /// What happens to generated files.
    #[arg(long, value_enum)]
    pub(crate) commit: Option<CommitArg>,
    /// Stored credential for the repository.
    #[arg(long, value_name = "NAME", conflicts_with = "token_env")]
    pub(crate) credential: Option<String>,
    /// Variable of this shell that holds a token for the repository.
    #[arg(long, value_name = "NAME")]
    pub(crate) token_env: Option<String>,
    /// When a replica is healthy.
    #[command(flatten)]
    pub(crate) health: HealthArgs,
    /// What one replica may use.
    #[command(flatten)]
    pub(crate) resources: ResourceArgs,
    /// Return as soon as the server has accepted it.
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Key under which a repetition is recognised; made up if not given.
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

/// Flags of the health check.
#[derive(Debug, Args)]
#[command(next_help_heading = "Health check")]
pub(crate) struct HealthArgs {
    /// Path to ask; 200 to 399 is healthy. Without it a TCP connection suffices.
    #[arg(long, value_name = "PATH")]
    pub(crate) health_path: Option<String>,
    /// Pause between two checks, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub(crate) health_interval_ms: Option<u64>,
    /// Longest wait for one answer, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub(crate) health_timeout_ms: Option<u64>,
    /// Longest wait until every replica is healthy, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub(crate) health_deadline_ms: Option<u64>,
}

/// Flags of the limits of one replica.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of one replica")]
pub(crate) struct ResourceArgs {
    /// Memory in bytes.
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory_bytes: Option<u64>,
    /// CPU in thousandths of a core.
    #[arg(long, value_name = "MILLIS")]
    pub(crate) cpu_millis: Option<u32>,
    /// Processes and threads.
    #[arg(long, value_name = "COUNT")]
    pub(crate) pids: Option<u32>,
}

/// `--build`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BuildArg {
    /// Slipway chooses.
    Auto,
    /// The target's Docker engine.
    Docker,
    /// The repository's GitLab pipeline.
    Gitlab,
    /// Nobody; needs --image.
    None,
}

impl From<BuildArg> for BuildMode {
    fn from(arg: BuildArg) -> Self {
        match arg {
            BuildArg::Auto => Self::Auto,
            BuildArg::Docker => Self::Docker,
            BuildArg::Gitlab => Self::Gitlab,
            BuildArg::None => Self::None,
        }
    }
}

/// `--commit`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CommitArg {
    /// Push them; fall back to a merge request when the branch is protected.
    Push,
    /// Always open a merge request.
    MergeRequest,
    /// Keep them out of the repository.
    None,
}

impl From<CommitArg> for CommitMode {
    fn from(arg: CommitArg) -> Self {
        match arg {
            CommitArg::Push => Self::Push,
            CommitArg::MergeRequest => Self::MergeRequest,
            CommitArg::None => Self::None,
        }
    }
}

/// `KEY=VALUE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyValue {
    /// What stands before the first `=`.
    pub(crate) key: String,
    /// What stands after it.
    pub(crate) value: String,
}

impl FromStr for KeyValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            Some(_) | None => Err("must be of the form KEY=VALUE".to_owned()),
        }
    }
}

/// `NAME=IMAGE[,PORT]`; a comma, because a colon already stands before an image's tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SupportArg {
    /// Its DNS name.
    pub(crate) name: SupportName,
    /// The image.
    pub(crate) image: ImageReference,
    /// The port to wait for.
    pub(crate) port: Option<u16>,
}

impl FromStr for SupportArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, rest) = text.split_once('=').ok_or("must be of the form NAME=IMAGE[,PORT]")?;
        let (image, port) = match rest.split_once(',') {
            Some((image, port)) => {
                let port = port.parse::<u16>().map_err(|_| format!("`{port}` is not a port"))?;
                (image, Some(port))
            }
            None => (rest, None),
        };
        Ok(Self {
            name: name.parse().map_err(|error| format!("{error}"))?,
            image: image.parse().map_err(|error| format!("{error}"))?,
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn support_containers_have_a_name_an_image_and_perhaps_a_port() {
        let plain: SupportArg = "db=postgres:18".parse().unwrap();
        assert_eq!((plain.name.as_str(), plain.image.as_str(), plain.port), ("db", "postgres:18", None));
        let port: SupportArg = "db=registry.example.com:5000/pg:18,5432".parse().unwrap();
        assert_eq!((port.image.as_str(), port.port), ("registry.example.com:5000/pg:18", Some(5432)));
        for bad in ["postgres", "=postgres", "db=", "db=postgres,", "db=postgres,70000", "D B=postgres"] {
            assert!(bad.parse::<SupportArg>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_first_equals_sign_parts_key_and_value() {
        let pair: KeyValue = "A=b=c".parse().unwrap();
        assert_eq!((pair.key.as_str(), pair.value.as_str()), ("A", "b=c"));
        assert!("A".parse::<KeyValue>().is_err());
        assert!("=b".parse::<KeyValue>().is_err());
    }
}
