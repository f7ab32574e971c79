//! The generated `.gitlab-ci.yml` against GitLab's published schema, in every variant. The schema is not part
//! of this repository: the PyPI package `check-jsonschema` carries it, and is installed below `target` on the
//! first run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use slipway_worker::source::MemoryTree;
use slipway_worker::template::{CiBuilder, Request, TemplateSettings, plan};
use tokio::process::Command;

const PACKAGE: &str = "check-jsonschema==0.39.0";
const INSTALL_DEADLINE: Duration = Duration::from_secs(300);
const CHECK_DEADLINE: Duration = Duration::from_secs(60);
/// What pip needs to reach its index from behind a proxy or a mirror.
const PASSED_VARIABLES: [&str; 9] = [
    "PATH",
    "HOME",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "PIP_INDEX_URL",
    "PIP_CERT",
    "PIP_FIND_LINKS",
    "SSL_CERT_FILE",
];

/// Runs a program with a clean environment and a deadline; gives back whether it succeeded, and its output.
async fn run(program: &Path, arguments: &[&str], deadline: Duration) -> Result<(bool, String)> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().kill_on_drop(true);
    for name in PASSED_VARIABLES {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let shown = program.display();
    let output = tokio::time::timeout(deadline, command.output())
        .await
        .with_context(|| format!("{shown} took longer than {} s", deadline.as_secs()))?
        .with_context(|| format!("{shown} could not be started"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// The validator's path; installs it unless an earlier run did.
async fn validator() -> Result<PathBuf> {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ci-schema-venv");
    let validator = environment.join("bin/check-jsonschema");
    if validator.exists() {
        return Ok(validator);
    }
    let directory = environment.to_str().context("the target directory's path is not UTF-8")?;
    let (made, text) = run(Path::new("python3"), &["-m", "venv", directory], INSTALL_DEADLINE)
        .await
        .context("this test needs python3 with its venv module (Debian: python3 and python3-venv)")?;
    ensure!(made, "python3 -m venv failed (Debian: install python3-venv): {text}");
    let (installed, text) =
        run(&environment.join("bin/pip"), &["install", "--quiet", PACKAGE], INSTALL_DEADLINE).await?;
    ensure!(installed, "pip install {PACKAGE} failed: {text}");
    Ok(validator)
}

fn variants() -> Vec<(&'static str, TemplateSettings)> {
    let of = |ci_builder, tags: &[&str]| TemplateSettings {
        ci_builder,
        ci_runner_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..TemplateSettings::default()
    };
    vec![
        ("buildkit", of(CiBuilder::BuildkitRootless, &[])),
        ("buildkit-tags", of(CiBuilder::BuildkitRootless, &["linux", "large box"])),
        ("docker", of(CiBuilder::DockerInDocker, &[])),
        ("docker-tags", of(CiBuilder::DockerInDocker, &["privileged"])),
    ]
}

#[tokio::test]
async fn every_variant_fits_gitlabs_schema_and_a_broken_file_does_not() -> Result<()> {
    let validator = validator().await?;
    let directory = tempfile::tempdir()?;
    let request = Request { port: None, ci_file: true, dockerfile: false };
    let tree = MemoryTree::of([("Dockerfile", "FROM scratch\n")]);
    let mut files = Vec::new();
    for (name, settings) in variants() {
        let plan = plan(&tree, &request, &settings)?;
        let [file] = plan.files.as_slice() else { bail!("{name}: exactly the CI file was to be generated") };
        files.push((name, file.contents.clone(), true));
    }
    files.push(("broken", "build:\n  script: [x]\n  interruptible: perhaps\n".to_owned(), false));
    for (name, contents, valid) in files {
        let path = directory.path().join(format!("{name}.yml"));
        tokio::fs::write(&path, &contents).await?;
        let path = path.to_str().context("the temporary path is not UTF-8")?;
        let arguments = ["--builtin-schema", "vendor.gitlab-ci", path];
        let (fits, text) = run(&validator, &arguments, CHECK_DEADLINE).await?;
        ensure!(fits == valid, "{name}: expected valid = {valid}\n{text}\n{contents}");
    }
    Ok(())
}
