//! From the flags of `slipway deploy` to the body of `POST /deployments`. Reads the files and variables that
//! hold secrets; what is wrong with a value is left to the server to say, except where a flag is at fault.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use slipway_common::model::request::{
    ClusterRequest, DeploymentRequest, HealthRequest, ResourceRequest, SupportRequest,
};
use slipway_common::secrets::SecretText;

use crate::args::{DeployArgs, KeyValue, SupportArg};

/// Largest file of variables that is read.
const ENV_FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Why no request could be made from the flags.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// A file of variables cannot be read.
    #[error("the file {path} cannot be read", path = path.display())]
    EnvFile {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of variables is too large.
    #[error("the file {path} has more than {ENV_FILE_MAX_BYTES} bytes", path = path.display())]
    EnvFileTooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A line of it is not `KEY=VALUE`. Does not repeat the line, which may be a secret.
    #[error("line {line} of {path} is not of the form KEY=VALUE", path = path.display())]
    EnvLine {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// A variable that was to be passed on is not set.
    #[error("the variable {name} is not set, or is not UTF-8")]
    Variable {
        /// Which.
        name: String,
    },
    /// A file of variables for a support container that is not asked for.
    #[error("--support-env-file names `{name}`, but no --support has that name")]
    UnknownSupport {
        /// The name.
        name: String,
    },
}

/// Makes the request. `variable` looks a variable of this process up.
///
/// # Errors
/// When a file or variable named by a flag cannot be read.
pub(crate) fn build(
    args: &DeployArgs,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<DeploymentRequest, RequestError> {
    let read_variable = |name: &str| {
        variable(name).map(SecretText::from).ok_or_else(|| RequestError::Variable { name: name.to_owned() })
    };
    let mut env = BTreeMap::new();
    for path in &args.env_file {
        env.extend(read_env_file(path)?);
    }
    for name in &args.set_from_env {
        env.insert(name.as_str().to_owned(), read_variable(name.as_str())?);
    }
    for KeyValue { key, value } in &args.set {
        env.insert(key.clone(), SecretText::from(value.clone()));
    }
    let server = args.k8s_url.clone();
    let token = args.k8s_token_env.as_deref().map(read_variable).transpose()?;
    Ok(DeploymentRequest {
        repository_url: args.url.clone(),
        branch: args.branch.clone(),
        revision: args.revision.clone(),
        environment: args.environment.clone(),
        target: args.target.clone(),
        cluster: (server.is_some() || token.is_some()).then_some(ClusterRequest { server, token }),
        port: args.port,
        replicas: args.replicas,
        env,
        supports: supports(&args.supports, &args.support_env_file)?,
        hostnames: args.hostnames.clone(),
        image: args.image.clone(),
        build: args.build.map(Into::into),
        pipeline: None,
        pull_credential: None,
        commit: args.commit.map(Into::into),
        repository_token: args.token_env.as_deref().map(read_variable).transpose()?,
        credential: args.credential.clone(),
        health: health(args),
        resources: resources(args),
    })
}

fn supports(wanted: &[SupportArg], files: &[KeyValue]) -> Result<Vec<SupportRequest>, RequestError> {
    let mut supports: Vec<SupportRequest> = wanted
        .iter()
        .map(|support| SupportRequest {
            name: support.name.to_string(),
            image: support.image.to_string(),
            port: support.port,
            env: BTreeMap::new(),
        })
        .collect();
    for KeyValue { key: name, value: path } in files {
        let support = supports
            .iter_mut()
            .find(|support| support.name == *name)
            .ok_or_else(|| RequestError::UnknownSupport { name: name.clone() })?;
        support.env.extend(read_env_file(Path::new(path))?);
    }
    Ok(supports)
}

fn health(args: &DeployArgs) -> Option<HealthRequest> {
    let health = HealthRequest {
        path: args.health.health_path.clone(),
        interval_ms: args.health.health_interval_ms,
        timeout_ms: args.health.health_timeout_ms,
        deadline_ms: args.health.health_deadline_ms,
    };
    let given = health.path.is_some()
        || health.interval_ms.is_some()
        || health.timeout_ms.is_some()
        || health.deadline_ms.is_some();
    given.then_some(health)
}

fn resources(args: &DeployArgs) -> Option<ResourceRequest> {
    let resources = ResourceRequest {
        memory_bytes: args.resources.memory_bytes,
        cpu_millis: args.resources.cpu_millis,
        pids: args.resources.pids,
    };
    let given =
        resources.memory_bytes.is_some() || resources.cpu_millis.is_some() || resources.pids.is_some();
    given.then_some(resources)
}

fn read_env_file(path: &Path) -> Result<BTreeMap<String, SecretText>, RequestError> {
    use std::io::Read as _;

    let fail = |source| RequestError::EnvFile { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    let length = file.take(ENV_FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(fail)?;
    if u64::try_from(length).is_ok_and(|length| length > ENV_FILE_MAX_BYTES) {
        return Err(RequestError::EnvFileTooLarge { path: path.to_owned() });
    }
    parse_env(&text).map_err(|line| RequestError::EnvLine { path: path.to_owned(), line })
}

/// `KEY=VALUE` lines; empty lines and lines that begin with `#` are left out, one pair of quotes around a
/// value is taken off. The error is the number of the line that is at fault.
fn parse_env(text: &str) -> Result<BTreeMap<String, SecretText>, usize> {
    let mut env = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.strip_prefix("export ").unwrap_or(line);
        match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                env.insert(key.trim().to_owned(), SecretText::from(unquoted(value.trim()).to_owned()));
            }
            Some(_) | None => return Err(index + 1),
        }
    }
    Ok(env)
}

fn unquoted(value: &str) -> &str {
    let inner = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::args::{Cli, ClientCommand, Command};

    fn parse(flags: &[&str]) -> DeployArgs {
        let line = ["slipway", "deploy", "https://h/g/r"].iter().chain(flags);
        let command = Cli::try_parse_from(line).unwrap().command;
        let Command::Client(ClientCommand::Deploy(args)) = command else { panic!("{command:?}") };
        *args
    }

    fn secret(request: &DeploymentRequest, name: &str) -> String {
        request.env[name].secret().expose_secret().to_owned()
    }

    #[test]
    fn a_bare_request_leaves_every_default_to_the_server() {
        let request = build(&parse(&[]), |_| None).unwrap();
        let body = serde_json::to_value(&request).unwrap();
        assert_eq!(body, serde_json::json!({ "repository_url": "https://h/g/r" }));
    }

    #[test]
    fn variables_come_from_flags_files_and_the_shell() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.env");
        std::fs::write(&file, "# comment\n\nexport A=1\nB=\"two words\"\nC='x=y'\n").unwrap();
        let file = file.to_str().unwrap();
        let flags = ["--env-file", file, "--set", "A=over", "--set-from-env", "D", "--token-env", "TOKEN"];
        let request = build(&parse(&flags), |name| Some(format!("value of {name}"))).unwrap();
        assert_eq!(secret(&request, "A"), "over");
        assert_eq!(secret(&request, "B"), "two words");
        assert_eq!(secret(&request, "C"), "x=y");
        assert_eq!(secret(&request, "D"), "value of D");
        assert_eq!(request.repository_token.unwrap().secret().expose_secret(), "value of TOKEN");
    }

    #[test]
    fn a_cluster_is_named_by_its_address_and_its_token_by_a_variable() {
        let flags = ["--k8s-url", "https://k.example:6443", "--k8s-token-env", "K8S"];
        let request = build(&parse(&flags), |name| Some(format!("value of {name}"))).unwrap();
        let cluster = request.cluster.unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://k.example:6443"));
        assert_eq!(cluster.token.unwrap().secret().expose_secret(), "value of K8S");
        let unset = build(&parse(&["--k8s-token-env", "NOPE"]), |_| None).unwrap_err();
        assert!(unset.to_string().contains("NOPE"));
    }

    #[test]
    fn what_cannot_be_read_is_named_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.env");
        std::fs::write(&file, "A=1\nhunter2\n").unwrap();
        let error = build(&parse(&["--env-file", file.to_str().unwrap()]), |_| None).unwrap_err();
        assert!(matches!(error, RequestError::EnvLine { line: 2, .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"));
        let unset = build(&parse(&["--token-env", "NOPE"]), |_| None).unwrap_err();
        assert!(unset.to_string().contains("NOPE"));
    }

    #[test]
    fn a_support_containers_variables_need_the_container() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db.env");
        std::fs::write(&file, "POSTGRES_PASSWORD=x").unwrap();
        let pair = format!("db={}", file.display());
        let request =
            build(&parse(&["--support", "db=postgres:18,5432", "--support-env-file", &pair]), |_| None)
                .unwrap();
        assert!(request.supports[0].env.contains_key("POSTGRES_PASSWORD"));
        let error = build(&parse(&["--support-env-file", &pair]), |_| None).unwrap_err();
        assert!(matches!(error, RequestError::UnknownSupport { .. }));
    }

    #[test]
    fn health_and_limits_are_sent_when_given() {
        let request = build(&parse(&["--health-path", "/up", "--pids", "64"]), |_| None).unwrap();
        assert_eq!(request.health.unwrap().path.as_deref(), Some("/up"));
        assert_eq!(request.resources.unwrap().pids, Some(64));
    }
}
