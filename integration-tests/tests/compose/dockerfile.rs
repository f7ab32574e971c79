//! The Dockerfile: what it copies exists and is a whole workspace, its versions are those of the repository, and an
//! engine builds it. Base images cannot be fetched everywhere, so the engine gets stand-ins for them, whose programs
//! check how they are called; that the programs compile in the real ones is not shown here.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use slipway_integration_tests::docker_engine;
use tokio::process::Command;

use crate::{TOOL_TIMEOUT, copy, installed, read, root, run, said, skip};

/// The programs of the product image.
const PROGRAMS: [&str; 5] = ["slipway", "slipway-api", "slipway-gateway", "slipway-scaler", "slipway-worker"];
/// Longest build of one image of stand-ins.
const BUILD_TIMEOUT: Duration = Duration::from_secs(180);

/// Instructions of the Dockerfile, with continued lines joined.
fn instructions() -> Vec<(String, Vec<String>)> {
    let text = read("compose/Dockerfile");
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let split = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        words.next().map(|instruction| (instruction, words.collect()))
    };
    joined.lines().filter_map(split).collect()
}

/// Every `COPY` from the context: its sources, and where they go.
fn copies() -> Vec<(Vec<String>, String)> {
    let from_context = |(name, words): &(String, Vec<String>)| name == "COPY" && !words[0].starts_with("--");
    let split = |(_, mut words): (String, Vec<String>)| words.pop().map(|target| (words, target));
    instructions().into_iter().filter(from_context).filter_map(split).collect()
}

/// The programs that the last stage takes from the build.
fn taken() -> BTreeSet<String> {
    let copies =
        instructions().into_iter().filter(|(name, words)| name == "COPY" && words[0] == "--from=build");
    copies
        .map(|(_, words)| {
            let name = words[1].rsplit('/').next().unwrap_or_default().to_owned();
            assert_eq!(words[1], format!("/src/target/release/{name}"));
            assert_eq!(words[2], format!("/usr/local/bin/{name}"));
            name
        })
        .collect()
}

fn argument(name: &str) -> String {
    let prefix = format!("{name}=");
    let found =
        instructions().into_iter().find(|(word, words)| word == "ARG" && words[0].starts_with(&prefix));
    found.map(|(_, words)| words[0][prefix.len()..].to_owned()).unwrap_or_else(|| panic!("no ARG {name}"))
}

#[test]
fn the_base_images_are_pinned_to_the_toolchain_of_the_repository() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).expect("a channel");
    assert_eq!(argument("BUILDER_IMAGE"), format!("rust:{}-bookworm", channel.trim_matches('"')));
    let runtime = argument("RUNTIME_IMAGE");
    let date = runtime.strip_prefix("debian:bookworm-").and_then(|rest| rest.strip_suffix("-slim"));
    assert!(
        date.is_some_and(|date| date.len() == 8 && date.parse::<u32>().is_ok()),
        "{runtime} is one build"
    );
    // The stages in between have names, and the last one, which is built by default, is the product.
    let stages: Vec<String> = instructions()
        .into_iter()
        .filter(|(name, _)| name == "FROM")
        .map(|(_, words)| words[2].clone())
        .collect();
    assert_eq!(stages, ["build", "base", "git-server", "slipway"]);
    assert!(!read("compose/Dockerfile").contains("--mount="), "the classic builder knows no mounts");
}

/// What the build stage gets is a workspace that cargo can build from `Cargo.lock` as it is, and every program that
/// the last stage takes out of it is made there.
#[tokio::test]
async fn the_copied_files_are_a_whole_workspace() {
    let workspace = tempfile::tempdir().expect("a temporary folder");
    for (sources, target) in copies().into_iter().filter(|(_, target)| !target.starts_with('/')) {
        for source in sources {
            let from = root().join(&source);
            let to =
                if target == "./" { workspace.path().join(&source) } else { workspace.path().join(&target) };
            std::fs::create_dir_all(to.parent().expect("a parent")).expect("made");
            if from.is_dir() {
                copy(&from, &to);
            } else {
                std::fs::copy(&from, &to).unwrap_or_else(|error| panic!("COPY {source}: {error}"));
            }
        }
    }
    let mut cargo = Command::new(env!("CARGO"));
    // Of this platform only: crates for others need not be here.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    cargo.current_dir(workspace.path()).args(["metadata", "--filter-platform", &platform]);
    cargo.args(["--format-version=1", "--locked", "--offline"]);
    let output = run(&mut cargo, TOOL_TIMEOUT).await;
    assert!(output.status.success(), "{}", said(&output));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let built: Vec<String> = built_packages();
    let programs: BTreeSet<String> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter(|package| built.iter().any(|name| package["name"] == name.as_str()))
        .flat_map(|package| package["targets"].as_array().expect("targets"))
        .filter(|target| target["kind"] == serde_json::json!(["bin"]))
        .map(|target| target["name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(taken(), PROGRAMS.map(str::to_owned).into());
    assert_eq!(programs, taken(), "what is built is what is taken");
    for program in taken() {
        let package = if program == "slipway" { "slipway-cli".to_owned() } else { program };
        assert!(built.contains(&package), "{package} is built");
    }
}

/// The packages that the build stage names.
fn built_packages() -> Vec<String> {
    let build = instructions().into_iter().find(|(name, words)| name == "RUN" && words[0] == "cargo");
    let words = build.expect("a build").1;
    assert!(words.contains(&"--locked".to_owned()) && words.contains(&"--release".to_owned()), "{words:?}");
    words.windows(2).filter(|pair| pair[0] == "-p").map(|pair| pair[1].clone()).collect()
}

/// The stand-in for both base images: busybox, and programs that fail when they are called otherwise than expected.
const STAND_IN: &str = "FROM scratch\nCOPY files /\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
    ENV PATH=/stand-in:/usr/local/bin:/bin\n";
const CARGO: &str = r#"#!/bin/sh
set -eu
for file in Cargo.toml Cargo.lock common/src/lib.rs integration-tests/src/lib.rs; do test -s "$file"; done
for gone in integration-tests/tests target compose .git; do test ! -e "$gone"; done
case "$*" in "build --release --locked --bins -p "*) ;; *) echo "called as: $*"; exit 1 ;; esac
mkdir -p target/release
for name in slipway slipway-api slipway-worker slipway-scaler slipway-gateway; do
  printf '#!/bin/sh\nid -u; touch /var/lib/slipway/written; ! touch /elsewhere 2>/dev/null\n' >target/release/$name
  chmod 0755 target/release/$name
done
"#;
const APT: &str =
    "#!/bin/sh\ncase \"$*\" in update | \"install -y --no-install-recommends \"*) ;; *) exit 1 ;; esac\n";
/// Busybox has no GNU `install`; this one makes the folder as asked.
const INSTALL: &str = "#!/bin/sh\nset -eu\n[ \"$1 $2 $4 $6\" = '-d -o -g -m' ]\nmkdir -p \"$8\"\nchown \"$3:$5\" \"$8\"\n\
    chmod \"$7\" \"$8\"\n";

fn stand_in(folder: &Path, busybox: &Path) {
    let program = |name: &str, text: &str| {
        let path = folder.join("files").join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("set");
    };
    for (name, text) in [("cargo", CARGO), ("apt-get", APT), ("install", INSTALL)] {
        program(&format!("stand-in/{name}"), text);
    }
    for name in ["groupadd", "useradd"] {
        program(
            &format!("stand-in/{name}"),
            "#!/bin/sh\ncase \"$*\" in *10001*slipway) ;; *) exit 1 ;; esac\n",
        );
    }
    program("bin/busybox", "");
    std::fs::copy(busybox, folder.join("files/bin/busybox")).expect("copied");
    std::fs::write(folder.join("Dockerfile"), STAND_IN).expect("written");
}

/// The engine's command-line client, which reads `.dockerignore`; with the classic builder.
#[derive(Debug, Clone)]
struct Client {
    docker: PathBuf,
    host: String,
}

impl Client {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.docker);
        command
            .args(arguments)
            .current_dir(root())
            .env("DOCKER_HOST", &self.host)
            .env("DOCKER_BUILDKIT", "0");
        command
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        let output = run(&mut self.command(arguments), BUILD_TIMEOUT).await;
        assert!(output.status.success(), "docker {arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

#[tokio::test]
async fn the_classic_builder_makes_both_images_from_stand_ins() {
    let host = match docker_engine::docker_host().await {
        Ok(host) => host,
        Err(reason) => return docker_engine::skip(&reason),
    };
    let (Some(docker), Some(busybox)) = (installed("docker"), installed("busybox")) else {
        return skip("the client `docker` or busybox is not installed");
    };
    let client = Client { docker, host };
    let base = docker_engine::unique_name("slipway-test/stand-in");
    let images = [base.clone(), format!("{base}-slipway"), format!("{base}-git-server")];
    // As a task of its own, so that the images are removed whatever comes out.
    let outcome = tokio::spawn(build_and_check(client.clone(), images.clone(), busybox)).await;
    let removed = run(client.command(&["image", "rm", "--force"]).args(images), BUILD_TIMEOUT).await;
    outcome.expect("both images are built and as they should be");
    assert!(removed.status.success(), "{}", said(&removed));
}

async fn build_and_check(client: Client, [base, product, git_server]: [String; 3], busybox: PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    stand_in(folder.path(), &busybox);
    client.ok(&["build", "--quiet", "--tag", &base, &folder.path().display().to_string()]).await;
    let arguments = ["BUILDER_IMAGE", "RUNTIME_IMAGE"].map(|name| format!("--build-arg={name}={base}"));
    for (target, image) in [("slipway", &product), ("git-server", &git_server)] {
        let [first, second] = &arguments;
        let place = ["build", "--quiet", "--file", "compose/Dockerfile", "--target", target, "--tag", image];
        client.ok(&[&place[..], &[first, second, "."]].concat()).await;
    }
    check_product(&client, &product).await;
    check_git_server(&client, &git_server).await;
}

async fn config(client: &Client, image: &str) -> Value {
    let text = client.ok(&["image", "inspect", "--format", "{{json .Config}}", image]).await;
    serde_json::from_str(&text).expect("JSON")
}

async fn check_product(client: &Client, image: &str) {
    let config = config(client, image).await;
    assert_eq!((&config["User"], &config["StopSignal"]), (&"10001:10001".into(), &"SIGTERM".into()));
    assert_eq!(config["Volumes"], serde_json::json!({ "/var/lib/slipway": {} }));
    assert!(config["Entrypoint"].is_null(), "no shell stands between the engine and the program");
    let environment = config["Env"].to_string();
    assert!(environment.contains("SLIPWAY__DATA__DIR=/var/lib/slipway"), "{environment}");
    // As compose.yml runs it: nothing but the volume can be written to, and that belongs to the user.
    for program in PROGRAMS {
        let user = client
            .ok(&["run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL", image, program])
            .await;
        assert_eq!(user.trim(), "10001", "{program}");
    }
}

async fn check_git_server(client: &Client, image: &str) {
    let config = config(client, image).await;
    assert_eq!(config["User"], "10001:10001");
    let list = client
        .ok(&[
            "run",
            "--rm",
            "--network=none",
            "--entrypoint=/bin/find",
            image,
            "/etc/slipway",
            "/usr/share/slipway",
            "-type",
            "f",
        ])
        .await;
    let files: BTreeSet<&str> = list.lines().collect();
    let wanted = [
        "/etc/slipway/health.sh",
        "/etc/slipway/lighttpd.conf",
        "/etc/slipway/start.sh",
        "/usr/share/slipway/demo-site/index.html",
        "/usr/share/slipway/demo-site/style.css",
    ];
    assert_eq!(files, wanted.into());
}
