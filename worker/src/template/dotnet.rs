//! .NET: one project of the tree, published for the ASP.NET Core runtime.

use super::app::{App, FoundVersion, unsafe_value};
use super::command::Command;
use super::detect::{FamilySpec, Rank};
use super::error::TemplateError;
use super::manifest::{xml_text, xml_texts};
use super::plan::{Family, Framework, PackageManager};
use super::recipe::{Findings, Recipe, Values};
use super::safe::Safe;
use super::version::Version;

/// How .NET applications are recognised.
pub(super) const SPEC: FamilySpec = FamilySpec {
    label: ".NET",
    manifests: &["*.csproj", "*.fsproj", "*.sln", "*.slnx"],
    entry_files: &["global.json"],
    extensions: &["cs", "fs", "razor", "cshtml"],
    rank: Rank::Server,
    recipe,
};

const PORT: u16 = 8080;
const IGNORED: [&str; 5] = ["**/bin", "**/obj", ".vs", "*.user", "TestResults"];
const MAX_PROJECTS: usize = 100;

/// A project that makes a program.
struct Project {
    path: String,
    text: String,
    is_web: bool,
}

fn recipe(app: &App<'_>) -> Result<Recipe, TemplateError> {
    let mut findings = Findings::of(Family::Dotnet);
    findings.package_manager = Some(PackageManager::Nuget);
    let project = project(app)?;
    findings.framework = project.is_web.then_some(Framework::AspNetCore);
    findings.note(project.path.clone());
    let version = findings.version(target_version(&project), app.settings.version("dotnet")?);

    let path = Safe::path(&project.path).ok_or_else(|| unsafe_value("the tree", "path", &project.path))?;
    let file = project.path.rsplit('/').next().unwrap_or(&project.path);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let assembly = xml_text(&project.text, "AssemblyName").unwrap_or(stem);
    let assembly =
        Safe::name(assembly).ok_or_else(|| unsafe_value(&project.path, "assembly name", assembly))?;
    let library = assembly.followed_by(".dll");

    let port = app.port.unwrap_or(PORT);
    let mut values = Values::of(app, port)?;
    values.text("sdk_image", &app.settings.image("dotnet-sdk", &version)?);
    values.text("image", &app.settings.image("dotnet", &version)?);
    values.text("project", &path);
    values.flag("separable", !file_references(&project.text) && !has_shared_settings(app));
    let listen = Safe::fixed("env ASPNETCORE_URLS=http://0.0.0.0:$PORT dotnet");
    values.command(&Command::of(&[&listen, &library]));
    Ok(Recipe {
        detected: findings.detected(Some(&version)),
        template: "dotnet",
        values,
        port,
        ignored: &IGNORED,
    })
}

/// The one web project, or else the one program.
fn project(app: &App<'_>) -> Result<Project, TemplateError> {
    let is_project = |path: &str| path.ends_with(".csproj") || path.ends_with(".fsproj");
    let mut programs = Vec::new();
    for (path, _) in app.own_files().filter(|(path, _)| is_project(path)).take(MAX_PROJECTS) {
        let text = app.text_or_empty(path)?;
        let is_web = text.contains("Microsoft.NET.Sdk.Web");
        let is_test = text.contains("Microsoft.NET.Test.Sdk");
        let runs = xml_text(&text, "OutputType").is_some_and(|kind| kind.eq_ignore_ascii_case("exe"));
        if !is_test && (is_web || runs) {
            programs.push(Project { path: path.to_owned(), text, is_web });
        }
    }
    let any_web = programs.iter().any(|program| program.is_web);
    programs.retain(|program| program.is_web == any_web);
    if programs.len() > 1 {
        let candidates = programs.into_iter().map(|program| program.path).collect();
        return Err(TemplateError::SeveralPrograms { path: "the solution".to_owned(), candidates });
    }
    programs.pop().ok_or_else(|| TemplateError::NoStartCommand {
        family: Family::Dotnet.label().to_owned(),
        looked_for: vec!["a project of Microsoft.NET.Sdk.Web or with OutputType Exe".to_owned()],
    })
}

/// `net8.0` in the target framework; of several the newest.
fn target_version(project: &Project) -> Option<FoundVersion> {
    let mut names: Vec<&str> = xml_texts(&project.text, "TargetFramework");
    names.extend(xml_texts(&project.text, "TargetFrameworks").into_iter().flat_map(|list| list.split(';')));
    let versions = names.into_iter().filter_map(|name| Version::leading(name.strip_prefix("net")?));
    let version = versions.filter(|version| version.len() == 2).max_by_key(Version::key)?;
    Some(FoundVersion { evidence: format!("{}: TargetFramework net{version}", project.path), version })
}

/// Whether a project needs other projects of the tree to restore.
fn file_references(project: &str) -> bool {
    project.contains("<ProjectReference") || project.contains("<Import ")
}

fn has_shared_settings(app: &App<'_>) -> bool {
    let shared =
        ["Directory.Build.props", "Directory.Packages.props", "nuget.config", "NuGet.config", "NuGet.Config"];
    shared.iter().any(|name| app.has(name)) || app.has("global.json")
}
