//! Rust: one release binary out of a package or a workspace.

use std::collections::BTreeSet;

use super::app::{App, FoundVersion};
use super::command::Command;
use super::detect::{FamilySpec, Rank, chosen_program, program_name};
use super::error::TemplateError;
use super::manifest;
use super::plan::{Family, PackageManager};
use super::recipe::{Findings, Recipe, Values};
use super::safe::Safe;
use super::version::Version;

/// How Rust applications are recognised.
pub(super) const SPEC: FamilySpec = FamilySpec {
    label: "Rust",
    manifests: &["Cargo.toml"],
    entry_files: &[],
    extensions: &["rs"],
    rank: Rank::Server,
    recipe,
};

const PORT: u16 = 8080;
const IGNORED: [&str; 1] = ["target"];
const MAX_MEMBERS: usize = 100;

fn recipe(app: &App<'_>) -> Result<Recipe, TemplateError> {
    let mut findings = Findings::of(Family::Rust);
    findings.package_manager = Some(PackageManager::Cargo);
    let root = manifest::toml(app, "Cargo.toml")?.unwrap_or_default();
    let version = version(app, &root, &mut findings)?;
    let programs = programs(app, &root)?;
    if programs.is_empty() {
        return Err(TemplateError::NoStartCommand {
            family: Family::Rust.label().to_owned(),
            looked_for: ["src/main.rs", "src/bin/*.rs", "[[bin]] in Cargo.toml"].map(str::to_owned).to_vec(),
        });
    }
    let program = chosen_program(app, "Cargo.toml", &programs)?;
    let name = program_name("Cargo.toml", &program)?;
    findings.note(format!("Cargo.toml: program {program}"));

    let port = app.port.unwrap_or(PORT);
    let mut values = Values::of(app, port)?;
    values.text("image", &app.settings.image("rust", &version)?);
    values.text("runtime_image", &app.settings.fixed_image("rust-runtime")?);
    values.text("program", &name);
    values.flag("locked", app.has("Cargo.lock"));
    values.flag("separable", separable(app, &root));
    values.flag("needs_openssl", app.text_or_empty("Cargo.lock")?.contains("name = \"openssl-sys\""));
    values.command(&command(app, &program, &mut findings)?);
    Ok(Recipe {
        detected: findings.detected(Some(&version)),
        template: "rust",
        values,
        port,
        ignored: &IGNORED,
    })
}

/// The binary, with the Procfile's arguments when its line starts this program.
fn command(app: &App<'_>, program: &str, findings: &mut Findings) -> Result<Command, TemplateError> {
    let binary = Safe::fixed("/usr/local/bin/app");
    let given = app.procfile_command()?;
    let given =
        given.filter(|line| line.words().first().and_then(|word| word.rsplit('/').next()) == Some(program));
    Ok(match given {
        Some(given) => {
            findings.note("Procfile: web");
            given.with_program(&binary)
        }
        None => Command::of(&[&binary]),
    })
}

/// Whether the dependencies can be built before the sources are there: one package with Cargo's own layout.
fn separable(app: &App<'_>, root: &toml::Table) -> bool {
    let special =
        ["workspace", "bin", "lib", "bench", "example", "test"].iter().any(|key| root.contains_key(*key));
    let from_path = ["dependencies", "build-dependencies", "dev-dependencies", "patch"]
        .iter()
        .filter_map(|key| root.get(*key))
        .any(|table| table.to_string().contains("path ="));
    !special && !from_path && app.has("src/main.rs") && !app.has("build.rs")
}

fn version(app: &App<'_>, root: &toml::Table, findings: &mut Findings) -> Result<Version, TemplateError> {
    let default = app.settings.version("rust")?;
    let toolchain = manifest::toml(app, "rust-toolchain.toml")?;
    let channel = toolchain.as_ref().and_then(|toml| manifest::toml_at(toml, &["toolchain", "channel"]));
    if let Some(version) = channel.and_then(|channel| channel.as_str()).and_then(Version::leading) {
        findings.note(format!("rust-toolchain.toml: {version}"));
        return Ok(version);
    }
    if let Some(found) = app.version_file(&["rust-toolchain"], "", "rust")? {
        return Ok(findings.version(Some(found), default));
    }
    // `rust-version` is a lower bound: the default serves unless it is older.
    let bound = ["package", "workspace"].iter().find_map(|table| {
        let keys: &[&str] = if *table == "package" {
            &["package", "rust-version"]
        } else {
            &["workspace", "package", "rust-version"]
        };
        manifest::toml_at(root, keys).and_then(|value| value.as_str()).and_then(Version::parse)
    });
    let newer = bound.filter(|bound| bound.key() > default.key());
    let newer = newer
        .map(|version| FoundVersion { evidence: format!("Cargo.toml: rust-version {version}"), version });
    Ok(findings.version(newer, default))
}

/// The binaries of the package, or of all members of the workspace; `default-run` settles it.
fn programs(app: &App<'_>, root: &toml::Table) -> Result<Vec<String>, TemplateError> {
    if let Some(program) = manifest::toml_at(root, &["package", "default-run"]).and_then(|name| name.as_str())
    {
        return Ok(vec![program.to_owned()]);
    }
    let mut programs = package_programs(app, root, "");
    if root.contains_key("workspace") {
        let members = app.own_files().filter_map(|(path, _)| path.strip_suffix("Cargo.toml"));
        for directory in members.filter(|directory| !directory.is_empty()).take(MAX_MEMBERS) {
            let member = manifest::toml(app, &format!("{directory}Cargo.toml"))?.unwrap_or_default();
            programs.extend(package_programs(app, &member, directory));
        }
    }
    Ok(programs.into_iter().collect())
}

fn package_programs(app: &App<'_>, package: &toml::Table, directory: &str) -> BTreeSet<String> {
    let declared = package.get("bin").and_then(|bins| bins.as_array()).into_iter().flatten();
    let mut programs: BTreeSet<String> =
        declared.filter_map(|bin| bin.get("name")?.as_str()).map(str::to_owned).collect();
    let declares_main = package.get("bin").is_some_and(|bins| bins.to_string().contains("src/main.rs"));
    let name = manifest::toml_at(package, &["package", "name"]).and_then(|name| name.as_str());
    if let Some(name) = name
        && !declares_main
        && app.has(&format!("{directory}src/main.rs"))
    {
        programs.insert(name.to_owned());
    }
    let folder = format!("{directory}src/bin/");
    let names = app.files().filter_map(|(path, _)| path.strip_prefix(folder.as_str())).filter_map(|file| {
        file.strip_suffix("/main.rs").or_else(|| file.strip_suffix(".rs").filter(|name| !name.contains('/')))
    });
    programs.extend(names.map(str::to_owned));
    programs
}
