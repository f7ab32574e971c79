//! The plan for one repository: what was detected, which files to generate and where the image will listen.

use serde::{Deserialize, Serialize};

use super::app::App;
use super::error::TemplateError;
use super::recipe::Recipe;
use super::settings::TemplateSettings;
use super::{ci, detect, dockerfile, render};
use crate::source::{SourceKind, SourceTree};

const DOCKERFILE: &str = "Dockerfile";
const CONTAINERFILE: &str = "Containerfile";
const DOCKERIGNORE: &str = ".dockerignore";
const CI_FILE: &str = ".gitlab-ci.yml";

/// What the deployment asks of the template stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The port the user named. `None` leaves the choice to the repository.
    pub port: Option<u16>,
    /// Whether a `.gitlab-ci.yml` is wanted.
    pub ci_file: bool,
    /// Whether a Dockerfile is wanted (not when a ready image is deployed).
    pub dockerfile: bool,
}

/// What the stage decided. The same tree, request and settings always give the same plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The files to add; none of them exists in the repository.
    pub files: Vec<GeneratedFile>,
    /// What the application is. `None` when nothing had to be detected.
    pub detected: Option<Detected>,
    /// Path of the existing or generated Dockerfile.
    pub dockerfile_path: String,
    /// The port the container listens on: the generated Dockerfile's, or for an existing one the request's or
    /// its `EXPOSE`. `None` when neither says.
    pub port: Option<u16>,
}

/// One file to add to the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedFile {
    /// Path from the repository root.
    pub path: String,
    /// The whole contents.
    pub contents: String,
    /// Why the file is added, for the user.
    pub why: String,
}

/// What an application was recognised as, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detected {
    /// The family of languages and tools.
    pub family: Family,
    /// The framework, when one was recognised.
    pub framework: Option<Framework>,
    /// The tool that installs the dependencies, when there is one.
    pub package_manager: Option<PackageManager>,
    /// The files and lines that decided.
    pub evidence: Vec<String>,
    /// The version of the runtime or compiler the image uses.
    pub runtime_version: Option<String>,
}

/// A family of applications that share a way of being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are the families' own names")]
pub enum Family {
    Python,
    Node,
    Java,
    Kotlin,
    Go,
    Rust,
    Ruby,
    Php,
    Dotnet,
    Static,
}

impl Family {
    /// The name as people write it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Python => "Python",
            Self::Node => "Node.js",
            Self::Java => "Java",
            Self::Kotlin => "Kotlin",
            Self::Go => "Go",
            Self::Rust => "Rust",
            Self::Ruby => "Ruby",
            Self::Php => "PHP",
            Self::Dotnet => ".NET",
            Self::Static => "static site",
        }
    }
}

/// A framework that changes how the application is built or started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are the frameworks' own names")]
pub enum Framework {
    Flask,
    FastApi,
    Django,
    NextJs,
    SinglePage,
    SpringBoot,
    Quarkus,
    Ktor,
    Rails,
    Rack,
    Laravel,
    Symfony,
    AspNetCore,
}

/// A tool that installs an application's dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are the tools' own names")]
pub enum PackageManager {
    Pip,
    Uv,
    Poetry,
    Npm,
    Pnpm,
    Yarn,
    Maven,
    Gradle,
    GoModules,
    Cargo,
    Bundler,
    Composer,
    Nuget,
}

/// Decides which files to generate for `tree`.
///
/// # Errors
/// When the application cannot be told, when a file that decides is a link, too large or malformed, and when
/// a value of the repository or of the settings cannot stand in a generated file.
pub fn plan(
    tree: &dyn SourceTree,
    request: &Request,
    settings: &TemplateSettings,
) -> Result<Plan, TemplateError> {
    let mut plan = match existing_dockerfile(tree)? {
        Some(path) => plan_for_existing(tree, path, request, settings)?,
        None if request.dockerfile => plan_for_generated(tree, request, settings)?,
        None => Plan {
            files: Vec::new(),
            detected: None,
            dockerfile_path: DOCKERFILE.to_owned(),
            port: request.port,
        },
    };
    if request.ci_file && !exists(tree, CI_FILE)? {
        plan.files.push(GeneratedFile {
            path: CI_FILE.to_owned(),
            contents: ci::render(settings, &plan.dockerfile_path)?,
            why: "the repository has no .gitlab-ci.yml; this one builds and pushes the image".to_owned(),
        });
    }
    Ok(plan)
}

fn existing_dockerfile(tree: &dyn SourceTree) -> Result<Option<&'static str>, TemplateError> {
    for path in [DOCKERFILE, CONTAINERFILE] {
        if exists(tree, path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Whether `path` is a regular file; anything else of that name is an error.
fn exists(tree: &dyn SourceTree, path: &str) -> Result<bool, TemplateError> {
    let path_owned = || path.to_owned();
    match tree.entry(path).map(|entry| entry.kind) {
        Some(SourceKind::File | SourceKind::Executable) => Ok(true),
        Some(SourceKind::Symlink) => Err(TemplateError::Symlinked { path: path_owned() }),
        Some(SourceKind::Submodule) => Err(TemplateError::NotAFile { path: path_owned() }),
        None => {
            let inside = format!("{path}/");
            let is_directory = tree.entries().iter().any(|entry| entry.path.starts_with(&inside));
            if is_directory { Err(TemplateError::NotAFile { path: path_owned() }) } else { Ok(false) }
        }
    }
}

fn plan_for_existing(
    tree: &dyn SourceTree,
    path: &str,
    request: &Request,
    settings: &TemplateSettings,
) -> Result<Plan, TemplateError> {
    let app = App::at_root(tree, request, settings);
    let text = app.text(path)?.unwrap_or_default();
    Ok(Plan {
        files: Vec::new(),
        detected: None,
        dockerfile_path: path.to_owned(),
        port: request.port.or_else(|| dockerfile::exposed_port(&text)),
    })
}

fn plan_for_generated(
    tree: &dyn SourceTree,
    request: &Request,
    settings: &TemplateSettings,
) -> Result<Plan, TemplateError> {
    let Recipe { detected, template, values, port, ignored } = detect::recipe(tree, request, settings)?;
    let mut files = vec![GeneratedFile {
        path: DOCKERFILE.to_owned(),
        contents: render::render(template, &values)?,
        why: format!("the repository has no Dockerfile; this one is for {}", detected.family.label()),
    }];
    if !present(tree, DOCKERIGNORE) {
        files.push(GeneratedFile {
            path: DOCKERIGNORE.to_owned(),
            contents: render::dockerignore(ignored)?,
            why: "keeps history, secrets and build output out of the image".to_owned(),
        });
    }
    Ok(Plan { files, detected: Some(detected), dockerfile_path: DOCKERFILE.to_owned(), port: Some(port) })
}

/// Whether anything at all is at `path`: it is left alone whatever it is.
fn present(tree: &dyn SourceTree, path: &str) -> bool {
    let inside = format!("{path}/");
    tree.entry(path).is_some() || tree.entries().iter().any(|entry| entry.path.starts_with(&inside))
}
