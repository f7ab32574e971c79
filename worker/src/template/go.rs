//! Go: one static binary out of the main package.

use super::app::{App, FoundVersion};
use super::command::Command;
use super::detect::{FamilySpec, Rank, chosen_program, program_name};
use super::error::TemplateError;
use super::plan::{Family, PackageManager};
use super::recipe::{Findings, Recipe, Values};
use super::safe::Safe;
use super::version::Version;

/// How Go applications are recognised.
pub(super) const SPEC: FamilySpec = FamilySpec {
    label: "Go",
    manifests: &["go.mod"],
    entry_files: &["go.work"],
    extensions: &["go"],
    rank: Rank::Server,
    recipe,
};

const PORT: u16 = 8080;
const IGNORED: [&str; 2] = ["**/*_test.go", "**/*.test"];
const MAX_FILES_READ: usize = 100;

fn recipe(app: &App<'_>) -> Result<Recipe, TemplateError> {
    let mut findings = Findings::of(Family::Go);
    findings.package_manager = Some(PackageManager::GoModules);
    let module = app.text_or_empty("go.mod")?;
    let version = findings.version(declared_version(&module), app.settings.version("go")?);
    let (package, program) = main_package(app, &mut findings)?;
    let mut command = Command::of(&[&Safe::fixed("/usr/local/bin/app")]);
    if let Some(given) = app.procfile_command()?
        && given.words().first().and_then(|word| word.rsplit('/').next()) == program.as_deref()
    {
        findings.note("Procfile: web");
        command = given.with_program(&Safe::fixed("/usr/local/bin/app"));
    }

    let port = app.port.unwrap_or(PORT);
    let mut values = Values::of(app, port)?;
    values.text("image", &app.settings.image("go", &version)?);
    values.text("runtime_image", &app.settings.fixed_image("go-runtime")?);
    // Vendored modules and modules beside this one need the whole tree at once.
    let separable = !app.has("vendor/modules.txt") && !app.has("go.work") && !module.contains("=> .");
    values.flag("separable", separable && app.has("go.mod"));
    values.flag("has_sum", app.has("go.sum"));
    values.text("package", &package);
    values.command(&command);
    Ok(Recipe {
        detected: findings.detected(Some(&version)),
        template: "go",
        values,
        port,
        ignored: &IGNORED,
    })
}

/// The language version of `go.mod`: its toolchain line if there is one, else its go line.
fn declared_version(module: &str) -> Option<FoundVersion> {
    ["toolchain go", "go "].iter().find_map(|prefix| {
        let version = module.lines().find_map(|line| Version::leading(line.trim().strip_prefix(prefix)?))?;
        let version = version.truncated(2);
        Some(FoundVersion { evidence: format!("go.mod: {prefix}{version}"), version })
    })
}

/// The package to build, and the name of its program when it has one of its own.
fn main_package(app: &App<'_>, findings: &mut Findings) -> Result<(Safe, Option<String>), TemplateError> {
    if has_main(app, |path| !path.contains('/'))? {
        let module = app.text_or_empty("go.mod")?;
        let name = module.lines().find_map(|line| line.strip_prefix("module ")?.trim().rsplit('/').next());
        return Ok((Safe::fixed("."), name.map(str::to_owned)));
    }
    let mut programs: Vec<String> = app
        .own_files()
        .filter_map(|(path, _)| path.strip_prefix("cmd/")?.split_once('/'))
        .filter(|(_, file)| *file == "main.go")
        .map(|(name, _)| name.to_owned())
        .collect();
    programs.dedup();
    if programs.is_empty() {
        return Err(TemplateError::NoStartCommand {
            family: Family::Go.label().to_owned(),
            looked_for: ["package main at the root", "cmd/*/main.go"].map(str::to_owned).to_vec(),
        });
    }
    let program = chosen_program(app, "cmd", &programs)?;
    let name = program_name("cmd", &program)?;
    findings.note(format!("cmd/{program}/main.go"));
    Ok((Safe::under("./cmd/", &name), Some(program)))
}

fn has_main(app: &App<'_>, wanted: impl Fn(&str) -> bool) -> Result<bool, TemplateError> {
    let sources = app
        .own_files()
        .map(|(path, _)| path)
        .filter(|path| wanted(path) && path.ends_with(".go") && !path.ends_with("_test.go"));
    for path in sources.take(MAX_FILES_READ) {
        if app.text_or_empty(path)?.lines().any(|line| line.trim_end() == "package main") {
            return Ok(true);
        }
    }
    Ok(false)
}
