//! `helm/slipway` as it is shipped: what helm makes of it for several sets of values, what it refuses, whether its pods
//! are confined and the programs take its settings, and, on a control plane, whether it comes up, gives exactly the
//! rights it should and leaves nothing behind.

#[path = "helm_chart/confinement.rs"]
mod confinement;
#[path = "helm_chart/installed.rs"]
mod installed;
#[path = "helm_chart/pods.rs"]
mod pods;
#[path = "helm_chart/refused.rs"]
mod refused;
#[path = "helm_chart/rights.rs"]
mod rights;
#[path = "helm_chart/settings.rs"]
mod settings;
#[path = "helm_chart/snapshots.rs"]
mod snapshots;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// Longest wait for helm to be found, or built.
const BUILD_TIMEOUT: Duration = Duration::from_secs(3_600);
/// Longest wait for one run of helm.
const HELM_TIMEOUT: Duration = Duration::from_secs(300);
/// The status of the script when helm cannot be had.
const STATUS_UNAVAILABLE: i32 = 3;
/// The release, and its namespace where there is no cluster.
const RELEASE: &str = "slipway";
const NAMESPACE: &str = "slipway-system";
/// The sets of values, each with the version of Kubernetes it is rendered for.
const SETS: [(&str, &str); 4] =
    [("trial", "1.34.0"), ("production", "1.34.0"), ("namespaces", "1.29.0"), ("docker", "1.30.0")];

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace exists")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A helm, with a home of its own so that nothing of this machine's counts.
#[derive(Debug)]
struct Helm {
    program: PathBuf,
    home: PathBuf,
}

/// The helm of this machine; without one, says once more that a test does not run.
async fn helm() -> Option<&'static Helm> {
    static FOUND: OnceCell<Result<Helm, String>> = OnceCell::const_new();
    match FOUND.get_or_init(find).await {
        Ok(helm) => Some(helm),
        Err(reason) => {
            skip(reason);
            None
        }
    }
}

async fn find() -> Result<Helm, String> {
    let mut script = Command::new(root().join("scripts/helm.sh"));
    let output = run(script.arg("ensure"), BUILD_TIMEOUT).await;
    if output.status.code() == Some(STATUS_UNAVAILABLE) {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().last().unwrap_or_default().trim_start_matches("SKIPPED: ").to_owned());
    }
    assert!(output.status.success(), "scripts/helm.sh: {}", said(&output));
    let program = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("helm-home");
    std::fs::create_dir_all(&home).expect("a home for helm");
    Ok(Helm { program, home })
}

/// Says that a test does not run: a line on standard error, past the test runner, which keeps what a passing test
/// prints to itself.
fn skip(reason: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "SKIP helm: {reason}").ok();
}

impl Helm {
    /// Runs helm to its end.
    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(root()).env_clear().env("HOME", &self.home);
        run(&mut command, HELM_TIMEOUT).await
    }

    /// What the chart makes of a set of values.
    async fn render(&self, set: &str, kubernetes: &str) -> String {
        let values = values(set);
        let output = self.run(&template(&["--values", &values, "--kube-version", kubernetes])).await;
        assert!(output.status.success(), "{set}: {}", said(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The objects that the chart makes of a set of values.
    async fn objects(&self, set: &str, kubernetes: &str) -> Vec<Value> {
        parsed(&self.render(set, kubernetes).await)
    }
}

/// The arguments that render the chart, and these, which count over the others.
fn template<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let usual = ["template", RELEASE, "helm/slipway", "--namespace", NAMESPACE, "--kube-version", "1.34.0"];
    [&usual, more].concat()
}

/// The file of a set of values.
fn values(set: &str) -> String {
    format!("integration-tests/helm/values/{set}.yaml")
}

/// The objects of a stream of YAML documents.
fn parsed(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// The object of this kind and name.
fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(is_it).unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// The items of a list; none of anything else.
fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The texts of a list.
fn texts(list: &Value) -> Vec<&str> {
    items(list).iter().filter_map(Value::as_str).collect()
}

/// Runs a program to its end.
async fn run(command: &mut Command, longest: Duration) -> Output {
    command.stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(longest, command.output())
        .await
        .unwrap_or_else(|_elapsed| panic!("{command:?} did not end within {} s", longest.as_secs()))
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What a program wrote, for a message.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn the_chart_passes_lint() {
    let Some(helm) = helm().await else { return };
    for (set, kubernetes) in SETS {
        let values = values(set);
        let lint = ["lint", "--strict", "helm/slipway", "--values", &values, "--kube-version", kubernetes];
        let output = helm.run(&lint).await;
        let text = said(&output);
        assert!(output.status.success() && !text.contains("[WARNING]"), "{set}: {text}");
    }
}

#[test]
fn the_chart_is_of_the_version_of_the_workspace() {
    let chart: Value = serde_saphyr::from_str(&read("helm/slipway/Chart.yaml")).expect("YAML");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

/// What `compose/` and its tests say of the start scripts and images holds for the chart's, too.
#[test]
fn the_services_are_those_of_compose() {
    for script in ["rabbitmq/start.sh", "redis/start.sh", "redis/health.sh"] {
        let [here, there] = [format!("helm/slipway/files/{script}"), format!("compose/{script}")];
        assert!(read(&here) == read(&there), "{here} and {there} differ");
    }
    let values: Value = serde_saphyr::from_str(&read("helm/slipway/values.yaml")).expect("YAML");
    let compose = read("compose/compose.yml");
    for image in [&values["rabbitmq"]["image"], &values["redis"]["server"]["image"]] {
        let text = |key: &str| image[key].as_str().expect("a text");
        let line = format!("image: {}:{}", text("repository"), text("tag"));
        assert!(compose.contains(&line), "compose.yml has no `{line}`");
    }
}
