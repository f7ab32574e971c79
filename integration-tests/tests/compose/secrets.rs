//! `make-env.sh`: what it writes, with which rights, and that it never overwrites.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use tokio::process::Command;

use crate::{TOOL_TIMEOUT, make_env, root, run, said};

/// Every secret that is made.
pub(crate) const SECRETS: [&str; 4] = ["git_token", "rabbitmq_password", "redis_password", "sealing_key"];

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o7777
}

/// The secrets of an installation by name.
pub(crate) fn secrets(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder.join("secrets")).expect("the secrets were made");
    let read = |path: &Path| std::fs::read_to_string(path).expect("the secret can be read");
    entries
        .map(|entry| entry.expect("the entry can be read"))
        .map(|entry| (entry.file_name().into_string().expect("UTF-8"), read(&entry.path())))
        .collect()
}

/// The settings of `.env` by name.
fn settings(folder: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder.join(".env")).expect("the settings were made");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once('=').unwrap_or_else(|| panic!("{line} is no setting")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test]
async fn settings_are_made_for_the_owner_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = make_env(folder.path()).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(mode(&folder.path().join(".env")), 0o600);
    // Readable for the users of the containers, who get single files mounted; nobody else passes the folder.
    assert_eq!(mode(&folder.path().join("secrets")), 0o700);
    let made = secrets(folder.path());
    assert_eq!(made.keys().map(String::as_str).collect::<Vec<_>>(), SECRETS);
    for (name, value) in &made {
        assert_eq!(mode(&folder.path().join("secrets").join(name)), 0o444, "{name}");
        assert!(!said(&output).contains(value), "{name} was printed");
    }
    let hex = |value: &str| value.len() == 48 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(SECRETS[..3].iter().all(|name| hex(&made[*name])), "192 random bits each");
    let key = base64::engine::general_purpose::STANDARD.decode(&made["sealing_key"]).expect("base64");
    assert_eq!(key.len(), 32);
    let settings = settings(folder.path());
    assert_eq!(settings["COMPOSE_PROJECT_NAME"], "slipway");
    assert!(settings["RABBITMQ_USER"].len() >= "slipway-".len() + 8, "{settings:?}");
    assert!(settings["DOCKER_GID"].parse::<u32>().is_ok(), "{settings:?}");
    let left: BTreeSet<_> = std::fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, [".env".into(), "secrets".into()].into(), "nothing else is left behind");
}

#[tokio::test]
async fn settings_differ_each_time() {
    let (first, second) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    assert!(make_env(first.path()).await.status.success() && make_env(second.path()).await.status.success());
    let values: Vec<String> =
        [&first, &second].iter().flat_map(|folder| secrets(folder.path()).into_values()).collect();
    let distinct: BTreeSet<&String> = values.iter().collect();
    assert_eq!(distinct.len(), 2 * SECRETS.len(), "every value is its own");
    assert_ne!(settings(first.path())["RABBITMQ_USER"], settings(second.path())["RABBITMQ_USER"]);
}

#[tokio::test]
async fn settings_are_never_overwritten() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(make_env(folder.path()).await.status.success());
    let before = (secrets(folder.path()), settings(folder.path()));
    refused(folder.path()).await;
    assert_eq!((secrets(folder.path()), settings(folder.path())), before);

    // Half a set counts, too: the services may know it.
    std::fs::remove_file(folder.path().join(".env")).expect("removed");
    refused(folder.path()).await;
    assert_eq!(secrets(folder.path()), before.0);
    assert!(!folder.path().join(".env").exists());

    // And so does a link that leads nowhere: writing through it would make a file elsewhere.
    let other = tempfile::tempdir().expect("a temporary folder");
    std::os::unix::fs::symlink(other.path().join("elsewhere"), other.path().join(".env")).expect("linked");
    refused(other.path()).await;
    assert!(!other.path().join("elsewhere").exists() && !other.path().join("secrets").exists());
}

async fn refused(folder: &Path) {
    let output = make_env(folder).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("exists and is left alone"), "{}", said(&output));
}

#[tokio::test]
async fn settings_do_not_get_into_git_or_an_image() {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["check-ignore", "--no-index", "compose/.env"]);
    git.args(SECRETS.map(|name| format!("compose/secrets/{name}")));
    let output = run(&mut git, TOOL_TIMEOUT).await;
    let ignored = String::from_utf8_lossy(&output.stdout).lines().count();
    assert_eq!(ignored, 1 + SECRETS.len(), "git ignores them all: {}", said(&output));
    let left_out = crate::read(".dockerignore");
    for line in ["compose/.env", "compose/secrets"] {
        let (taken, left) = (position(&left_out, "!compose"), position(&left_out, line));
        assert!(left > taken && taken.is_some(), "{line} is left out of images after compose is taken in");
    }
}

fn position(text: &str, line: &str) -> Option<usize> {
    text.lines().position(|found| found == line)
}
