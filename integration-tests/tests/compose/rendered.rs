//! `compose.yml` as the compose tools understand it: `docker compose` where the plugin is installed, and
//! docker-compose 1.29, which the distribution has; every one that is found is asked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use slipway_common::config::Config;
use tokio::process::Command;

use crate::secrets::{SECRETS, secrets};
use crate::{TOOL_TIMEOUT, installation, installed, root, run, said, skip};

const SERVICES: [&str; 2] = ["rabbitmq", "redis"];
const FULL: [&str; 8] = [
    "git-server",
    "rabbitmq",
    "redis",
    "registry",
    "slipway-api",
    "slipway-gateway",
    "slipway-scaler",
    "slipway-worker",
];
/// Services that hold the engine's socket, and with it the machine.
const WITH_SOCKET: [&str; 3] = ["slipway-gateway", "slipway-scaler", "slipway-worker"];
/// Turns the YAML of the old tool into JSON; its package brings the library.
const TO_JSON: &str = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin.read()), sys.stdout)";

#[derive(Debug, Clone)]
enum Tool {
    /// `docker compose`, which writes JSON.
    Plugin(PathBuf),
    /// docker-compose 1.29, which writes YAML.
    Classic(PathBuf),
}

impl Tool {
    /// Every one on this machine.
    async fn all() -> Vec<Self> {
        let mut found = Vec::new();
        if let Some(docker) = installed("docker") {
            let version = run(Command::new(&docker).args(["compose", "version"]), TOOL_TIMEOUT).await;
            found.extend(version.status.success().then_some(Self::Plugin(docker)));
        }
        if let Some(classic) = installed("docker-compose") {
            let version = run(Command::new(&classic).args(["version", "--short"]), TOOL_TIMEOUT).await;
            // From version 2 on this is the plugin under its old name.
            found.extend(said(&version).starts_with("1.").then_some(Self::Classic(classic)));
        }
        found
    }

    fn config(&self, folder: &Path, profile: &str) -> Command {
        let file = folder.join("compose.yml");
        let mut command = match self {
            Self::Plugin(docker) => {
                let mut command = Command::new(docker);
                command.args(["compose", "--file"]).arg(file).args([
                    "--profile",
                    profile,
                    "config",
                    "--format",
                    "json",
                ]);
                command
            }
            Self::Classic(tool) => {
                let mut command = Command::new("sh");
                command.args(["-euc", "config=$(\"$1\" --file \"$2\" --profile \"$3\" config)\nprintf %s \"$config\" | python3 -c \"$4\"", "sh"]);
                command.arg(tool).arg(file).args([profile, TO_JSON]);
                command
            }
        };
        // Only what a user would have set, so that no variable of this machine gets into the settings.
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("HOME", folder);
        command
    }
}

/// The services of `profile` as a tool renders them. The old tool renders the others, too.
async fn rendered(tool: &Tool, folder: &Path, profile: &str) -> (String, Vec<(String, Value)>) {
    let output = run(&mut tool.config(folder, profile), TOOL_TIMEOUT).await;
    assert!(output.status.success(), "{tool:?}, {profile}: {}", said(&output));
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(!warned.to_lowercase().contains("warn"), "{tool:?}, {profile}: {warned}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let services = all["services"].as_object().expect("services").clone();
    let of_profile =
        |(_, service): &(String, Value)| texts(&service["profiles"]).contains(&profile.to_owned());
    (text, services.into_iter().filter(of_profile).collect())
}

fn texts(list: &Value) -> Vec<String> {
    let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
    list.as_array().map(|items| items.iter().map(text).collect()).unwrap_or_default()
}

async fn check(profile: &str, expected: &[&str]) {
    let tools = Tool::all().await;
    if tools.is_empty() {
        return skip("neither the plugin `docker compose` nor docker-compose 1.29 is installed");
    }
    let (_parent, folder) = installation().await;
    let secrets = secrets(&folder);
    for tool in tools {
        let (text, services) = rendered(&tool, &folder, profile).await;
        assert_eq!(services.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expected, "{tool:?}");
        for name in SECRETS {
            assert!(!text.contains(&secrets[name]), "{tool:?} shows {name}");
        }
        for (name, service) in &services {
            check_service(name, service);
        }
    }
}

#[tokio::test]
async fn profile_services_is_rabbitmq_and_redis() {
    check("services", &SERVICES).await;
}

#[tokio::test]
async fn profile_full_is_everything() {
    check("full", &FULL).await;
}

#[tokio::test]
async fn without_generated_settings_nothing_starts() {
    let tools = Tool::all().await;
    if tools.is_empty() {
        return skip("neither the plugin `docker compose` nor docker-compose 1.29 is installed");
    }
    let (_parent, folder) = installation().await;
    std::fs::remove_file(folder.join(".env")).expect("removed");
    for tool in tools {
        let output = run(&mut tool.config(&folder, "services"), TOOL_TIMEOUT).await;
        assert!(!output.status.success(), "{tool:?}: {}", said(&output));
        assert!(said(&output).contains("run compose/make-env.sh"), "{tool:?}: {}", said(&output));
    }
}

fn check_service(name: &str, service: &Value) {
    check_image(name, service["image"].as_str().unwrap_or_default());
    check_health(name, &service["healthcheck"]);
    check_limits(name, service);
    check_ports(name, service);
    check_rights(name, service);
    check_environment(name, service);
    if name.starts_with("slipway-") {
        check_settings(name, service);
    }
    assert_eq!(service["restart"], "unless-stopped", "{name}");
    for volume in volumes(service) {
        let target = volume.1.as_str();
        let is_data = target.starts_with("/var/lib/") || target == "/data" || target == "/srv/git";
        assert!(!is_data || !volume.0.contains('/'), "{name}: {target} is a named volume, not {}", volume.0);
        let exists =
            volume.0.contains("docker.sock") || !volume.0.contains('/') || Path::new(&volume.0).exists();
        assert!(exists, "{name}: {} is there", volume.0);
    }
}

/// An exact version, not a moving name, and for ours the version of the workspace.
fn check_image(name: &str, image: &str) {
    let (repository, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {image} has no tag"));
    let version = tag.split('-').next().unwrap_or_default();
    let numbers: Vec<&str> = version.split('.').collect();
    let exact = numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok());
    assert!(exact, "{name}: {image} is pinned to a patch version");
    if repository.starts_with("slipway") {
        assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{name}: the version of this workspace");
    }
}

fn check_health(name: &str, health: &Value) {
    let test = texts(&health["test"]);
    assert!(test.len() > 1 && test[0] == "CMD", "{name}: {test:?} runs without a shell in between");
    for limit in ["interval", "timeout", "start_period"] {
        assert!(health[limit].is_string(), "{name}: health check has {limit}");
    }
    assert!(health["retries"].as_u64().is_some_and(|retries| retries > 0), "{name}");
}

fn check_limits(name: &str, service: &Value) {
    let limits = &service["deploy"]["resources"]["limits"];
    let given = |old: &str, new: &str| !service[old].is_null() || !limits[new].is_null();
    assert!(given("mem_limit", "memory"), "{name} has a limit of memory");
    assert!(given("cpus", "cpus"), "{name} has a limit of processors");
    assert!(given("pids_limit", "pids"), "{name} has a limit of processes");
    assert!(service["logging"]["options"]["max-size"].is_string(), "{name} has a limit of its log");
}

fn check_ports(name: &str, service: &Value) {
    for port in service["ports"].as_array().unwrap_or(&Vec::new()) {
        let loopback = match port.as_str() {
            Some(short) => short.starts_with("127.0.0.1:"),
            None => port["host_ip"] == "127.0.0.1",
        };
        assert!(loopback, "{name}: {port} is published on loopback only");
    }
    // On the host's network nothing is published; there the process itself must stay on loopback.
    let on_host = service["network_mode"] == "host";
    assert_eq!(on_host, WITH_SOCKET.contains(&name), "{name}");
    for (setting, value) in service["environment"].as_object().into_iter().flatten() {
        let listens = setting.ends_with("LISTEN") || setting.ends_with("BIND");
        let value = value.as_str().unwrap_or_default();
        assert!(!(on_host && listens) || value.starts_with("127.0.0.1"), "{name}: {setting} is {value}");
    }
}

fn check_rights(name: &str, service: &Value) {
    assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
    assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
    assert!(service["privileged"].is_null() && service["cap_add"].is_null(), "{name}");
    // RabbitMQ's image writes below /etc/rabbitmq at its start.
    assert!(service["read_only"] == true || name == "rabbitmq", "{name} has a read-only root");
    let socket = volumes(service).iter().any(|(_, target)| target == "/var/run/docker.sock");
    assert_eq!(socket, WITH_SOCKET.contains(&name), "{name}: the engine's socket");
    assert_eq!(socket, texts(&service["group_add"]).len() == 1, "{name}: the group of the socket");
}

/// Passwords come as files: no setting is one, and every file named is a secret of the service.
fn check_environment(name: &str, service: &Value) {
    let mounted: BTreeSet<String> = service["secrets"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|secret| secret.as_str().or_else(|| secret["source"].as_str()))
        .map(|secret| format!("/run/secrets/{secret}"))
        .collect();
    for (setting, value) in service["environment"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        let secret = ["PASS", "TOKEN", "KEY", "SECRET"].iter().any(|word| setting.contains(word));
        assert!(
            !secret || mounted.contains(value),
            "{name}: {setting} names a secret of the service, not {value}"
        );
        let has_password = value.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
        assert!(!has_password, "{name}: {setting} holds no password");
    }
    for part in ["command", "entrypoint"] {
        let arguments = service[part].to_string();
        assert!(!arguments.contains("pass") && !arguments.contains("token"), "{name}: {arguments}");
    }
}

/// Slipway takes the settings of the service, and those that the image gives.
fn check_settings(name: &str, service: &Value) {
    let of_image = settings_of_image();
    let own = service["environment"].as_object().into_iter().flatten();
    let own = own.map(|(setting, value)| (setting.clone(), value.as_str().unwrap_or_default().to_owned()));
    let config =
        Config::load(None, of_image.into_iter().chain(own)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(config.data.dir, "/var/lib/slipway", "{name}");
    if name != "slipway-gateway" {
        let host = if WITH_SOCKET.contains(&name) { ["127.0.0.1"; 2] } else { ["rabbitmq", "redis"] };
        assert_eq!(config.broker.urls, [format!("amqp://{}:5672/%2f", host[0])], "{name}");
        assert_eq!(config.redis.url, format!("redis://{}:6379/0", host[1]), "{name}");
        assert!(config.broker.username.starts_with("slipway-"), "{name}: {}", config.broker.username);
        assert_eq!(config.broker.password_file, "/run/secrets/rabbitmq_password", "{name}");
        assert_eq!(config.redis.password_file, "/run/secrets/redis_password", "{name}");
        assert_eq!(config.secrets.key_file, "/run/secrets/sealing_key", "{name}");
    }
}

/// The settings that the image gives.
fn settings_of_image() -> Vec<(String, String)> {
    let dockerfile = crate::read("compose/Dockerfile");
    let settings = dockerfile.lines().filter_map(|line| line.strip_prefix("ENV "));
    let settings =
        settings.flat_map(|line| line.split_whitespace()).filter_map(|setting| setting.split_once('='));
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Source and target of every mount.
fn volumes(service: &Value) -> Vec<(String, String)> {
    let long = |mount: &Value, key: &str| mount[key].as_str().unwrap_or_default().to_owned();
    let of = |mount: &Value| match mount.as_str() {
        Some(short) => {
            let mut parts = short.split(':').map(str::to_owned);
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
        }
        None => (long(mount, "source"), long(mount, "target")),
    };
    service["volumes"].as_array().into_iter().flatten().map(of).collect()
}

#[test]
fn the_file_names_no_moving_tag() {
    for file in ["compose/compose.yml", "compose/Dockerfile"] {
        let text = std::fs::read_to_string(root().join(file)).expect(file);
        assert!(!text.contains(":latest"), "{file}");
    }
}
