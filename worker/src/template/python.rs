//! Python: pip, uv and Poetry; Django, FastAPI and Flask.

use std::collections::BTreeSet;

use super::app::{App, unsafe_value};
use super::command::Command;
use super::constraint;
use super::detect::{FamilySpec, Rank};
use super::error::TemplateError;
use super::manifest;
use super::plan::{Family, Framework, PackageManager};
use super::recipe::{Findings, Recipe, Values};
use super::safe::Safe;
use super::version::Version;

/// How Python applications are recognised.
pub(super) const SPEC: FamilySpec = FamilySpec {
    label: "Python",
    manifests: &["requirements.txt", "pyproject.toml", "manage.py"],
    entry_files: &["main.py", "app.py", "server.py"],
    extensions: &["py"],
    rank: Rank::Server,
    recipe,
};

const PORT: u16 = 8000;
const IGNORED: [&str; 6] =
    ["**/__pycache__", "**/*.pyc", "**/.venv", "**/venv", "**/.pytest_cache", "**/.mypy_cache"];
/// Where an application object or a start file is looked for, in this order; `*` is any one directory.
const ENTRY_FILES: [&str; 7] =
    ["main.py", "app.py", "server.py", "wsgi.py", "asgi.py", "api.py", "__init__.py"];

/// A module attribute that serves requests.
struct AppObject {
    framework: Framework,
    /// `module:attribute`, with `()` when the attribute is a factory.
    target: Safe,
    evidence: String,
}

fn recipe(app: &App<'_>) -> Result<Recipe, TemplateError> {
    let mut findings = Findings::of(Family::Python);
    let pyproject = manifest::toml(app, "pyproject.toml")?;
    let packages = packages(app, pyproject.as_ref())?;
    let manager = package_manager(app, pyproject.as_ref(), &mut findings);
    findings.package_manager = Some(manager);
    let version = version(app, pyproject.as_ref(), &mut findings)?;
    let (command, server) = start(app, &mut findings)?;

    let port = app.port.unwrap_or(PORT);
    let mut values = Values::of(app, port)?;
    values.text("image", &app.settings.image("python", &version)?);
    installation(app, manager, pyproject.is_some(), &mut values)?;
    let missing = server.filter(|name| !packages.contains(*name)).map(Safe::fixed);
    values.optional("server", missing.as_ref());
    values.flag("collect_static", collects_static(app)?);
    values.command(&command);
    Ok(Recipe {
        detected: findings.detected(Some(&version)),
        template: "python",
        values,
        port,
        ignored: &IGNORED,
    })
}

/// The lower-case names of the direct dependencies.
fn packages(app: &App<'_>, pyproject: Option<&toml::Table>) -> Result<BTreeSet<String>, TemplateError> {
    let requirements = app.text_or_empty("requirements.txt")?;
    let mut names: BTreeSet<String> = requirements.lines().filter_map(requirement_name).collect();
    if let Some(pyproject) = pyproject {
        let listed =
            manifest::toml_at(pyproject, &["project", "dependencies"]).and_then(|list| list.as_array());
        let listed = listed.into_iter().flatten().filter_map(|entry| entry.as_str());
        names.extend(listed.filter_map(requirement_name));
        let poetry = manifest::toml_at(pyproject, &["tool", "poetry", "dependencies"]);
        let poetry = poetry.and_then(|table| table.as_table()).into_iter().flatten();
        names.extend(poetry.map(|(name, _)| name.to_ascii_lowercase()));
    }
    Ok(names)
}

fn requirement_name(line: &str) -> Option<String> {
    let line = line.trim();
    let plain = |each: char| each.is_ascii_alphanumeric() || "_.-".contains(each);
    let end = line.find(|each| !plain(each)).unwrap_or(line.len());
    (end > 0 && !line.starts_with('-')).then(|| line[..end].to_ascii_lowercase())
}

fn package_manager(
    app: &App<'_>,
    pyproject: Option<&toml::Table>,
    findings: &mut Findings,
) -> PackageManager {
    let has_table = |name| pyproject.is_some_and(|toml| manifest::toml_at(toml, &["tool", name]).is_some());
    if app.has("uv.lock") || has_table("uv") && !app.has("requirements.txt") {
        findings.note("uv.lock or [tool.uv] in pyproject.toml");
        PackageManager::Uv
    } else if app.has("poetry.lock") || has_table("poetry") && !app.has("requirements.txt") {
        findings.note("poetry.lock or [tool.poetry] in pyproject.toml");
        PackageManager::Poetry
    } else {
        PackageManager::Pip
    }
}

/// Which files the dependency layer needs and how it installs them.
fn installation(
    app: &App<'_>,
    manager: PackageManager,
    has_pyproject: bool,
    values: &mut Values,
) -> Result<(), TemplateError> {
    let requirements = app.text("requirements.txt")?;
    let method = match (manager, &requirements) {
        (PackageManager::Uv, _) => "uv",
        (PackageManager::Poetry, _) => "poetry",
        (_, Some(text)) if refers_to_files(text) => "pip_whole_tree",
        (_, Some(_)) => "pip",
        (_, None) if has_pyproject => "pip_project",
        (_, None) => "none",
    };
    values.text("method", &Safe::fixed(method));
    values.flag("uv_locked", app.has("uv.lock"));
    values.flag("poetry_locked", app.has("poetry.lock"));
    Ok(())
}

/// Whether a requirements file needs other files of the tree.
fn refers_to_files(requirements: &str) -> bool {
    let prefixes = ["-r", "-c", "-e", "--requirement", "--constraint", "--editable", ".", "/", "file:"];
    requirements.lines().map(str::trim).any(|line| prefixes.iter().any(|prefix| line.starts_with(prefix)))
}

fn version(
    app: &App<'_>,
    pyproject: Option<&toml::Table>,
    findings: &mut Findings,
) -> Result<Version, TemplateError> {
    let default = app.settings.version("python")?;
    if let Some(found) = app.version_file(&[".python-version", "runtime.txt"], "python-", "python")? {
        return Ok(findings.version(Some(found), default));
    }
    let keys: [&[&str]; 2] = [&["project", "requires-python"], &["tool", "poetry", "dependencies", "python"]];
    let constraint = pyproject.and_then(|toml| {
        keys.iter().find_map(|keys| manifest::toml_at(toml, keys).and_then(|value| value.as_str()))
    });
    let resolved = constraint.and_then(|constraint| constraint::resolve(constraint, &default, 2));
    if let Some(version) = &resolved {
        findings.note(format!("pyproject.toml: Python {version} satisfies its constraint"));
    }
    Ok(resolved.unwrap_or(default))
}

/// The start command, and the server package it needs.
fn start(app: &App<'_>, findings: &mut Findings) -> Result<(Command, Option<&'static str>), TemplateError> {
    let django = django_project(app)?;
    let object = match &django {
        Some(_) => None,
        None => app_object(app)?,
    };
    findings.framework =
        django.as_ref().map(|_| Framework::Django).or(object.as_ref().map(|found| found.framework));
    if let Some(command) = app.procfile_command()? {
        findings.note("Procfile: web");
        return Ok((command, None));
    }
    let bind = Safe::fixed("gunicorn --bind 0.0.0.0:$PORT");
    if let Some(project) = django {
        findings.note("manage.py");
        return Ok((Command::of(&[&bind, &project.followed_by(".wsgi")]), Some("gunicorn")));
    }
    if let Some(AppObject { framework, target, evidence }) = object {
        findings.note(evidence);
        if framework == Framework::FastApi {
            let serve = Safe::fixed("--host 0.0.0.0 --port $PORT");
            return Ok((Command::of(&[&Safe::fixed("uvicorn"), &target, &serve]), Some("uvicorn")));
        }
        // gunicorn takes the address from PORT by itself, and a factory's parentheses need no shell then.
        return Ok((Command::of(&[&Safe::fixed("gunicorn"), &target]), Some("gunicorn")));
    }
    let file = ENTRY_FILES[..3].iter().find(|name| app.has(name)).ok_or_else(no_start_command)?;
    findings.note(format!("{file}: started as it is"));
    Ok((Command::of(&[&Safe::fixed("python"), &Safe::fixed(file)]), None))
}

fn no_start_command() -> TemplateError {
    let files = ENTRY_FILES.iter().map(|name| format!("a Flask or FastAPI object in {name}"));
    let looked_for = ["Procfile".to_owned(), "manage.py".to_owned()].into_iter().chain(files);
    TemplateError::NoStartCommand {
        family: Family::Python.label().to_owned(),
        looked_for: looked_for.collect(),
    }
}

/// The package with the settings that `manage.py` names.
fn django_project(app: &App<'_>) -> Result<Option<Safe>, TemplateError> {
    let Some(manage) = app.text("manage.py")? else { return Ok(None) };
    let named = manage.split_once("DJANGO_SETTINGS_MODULE").and_then(|(_, rest)| {
        let quoted = rest.trim_start_matches(['"', '\'', ',', ' ', ']', '=', ')']);
        quoted.split(['"', '\'']).next()?.split_once(".settings").map(|(project, _)| project.to_owned())
    });
    let project = match named {
        Some(project) => Some(project),
        None => {
            app.files().find_map(|(path, _)| path.strip_suffix("/wsgi.py")).map(|path| path.replace('/', "."))
        }
    };
    let Some(project) = project else { return Ok(None) };
    Safe::module(&project).map(Some).ok_or_else(|| unsafe_value("manage.py", "settings module", &project))
}

/// Collecting needs a place to collect to, which Django projects name in their settings.
fn collects_static(app: &App<'_>) -> Result<bool, TemplateError> {
    if !app.has("manage.py") {
        return Ok(false);
    }
    let settings =
        app.own_files().filter(|(path, _)| path.ends_with("settings.py") || path.contains("/settings/"));
    for (path, _) in settings.take(10) {
        if app.text_or_empty(path)?.lines().any(|line| line.trim_start().starts_with("STATIC_ROOT")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first Flask or FastAPI object or factory among the entry files, the root's before a package's.
fn app_object(app: &App<'_>) -> Result<Option<AppObject>, TemplateError> {
    let depth = |path: &str| path.matches('/').count();
    let is_entry = |path: &str| ENTRY_FILES.contains(&path.rsplit('/').next().unwrap_or_default());
    let mut files: Vec<&str> = app.own_files().map(|(path, _)| path).filter(|path| is_entry(path)).collect();
    files.retain(|path| depth(path) <= 2);
    files.sort_by_key(|path| {
        let name = path.rsplit('/').next().unwrap_or_default();
        (depth(path), ENTRY_FILES.iter().position(|entry| *entry == name))
    });
    for path in files.into_iter().take(50) {
        let text = app.text_or_empty(path)?;
        let Some((framework, attribute)) = serving_attribute(&text) else { continue };
        let target = format!("{}:{attribute}", module_of(path));
        let checked = Safe::module(&target).ok_or_else(|| unsafe_value(path, "module", &target))?;
        let factory = attribute.starts_with("create_");
        let target = if factory { checked.followed_by("()") } else { checked };
        let evidence = format!("{path}: {}", target.as_str());
        return Ok(Some(AppObject { framework, target, evidence }));
    }
    Ok(None)
}

/// The top-level name a Flask or FastAPI object is bound to, or the factory that makes one.
fn serving_attribute(text: &str) -> Option<(Framework, String)> {
    let constructors = [("FastAPI(", Framework::FastApi), ("Flask(", Framework::Flask)];
    let bound = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let name = name.split(':').next()?.trim_end();
        let (_, framework) = constructors.iter().find(|(call, _)| {
            value.trim_start().trim_start_matches("fastapi.").trim_start_matches("flask.").starts_with(call)
        })?;
        is_identifier(name).then(|| (*framework, name.to_owned()))
    });
    bound.or_else(|| {
        let factory = ["create_app", "create_application"]
            .iter()
            .find(|name| text.lines().any(|line| line.starts_with(&format!("def {name}("))))?;
        (text.contains("Flask(")).then(|| (Framework::Flask, (*factory).to_owned()))
    })
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|each| each.is_ascii_alphanumeric() || each == '_')
}

/// The module of a file; `src` is on the module path.
fn module_of(path: &str) -> String {
    let stem = path.strip_suffix(".py").unwrap_or(path);
    let stem = stem.strip_suffix("/__init__").unwrap_or(stem);
    stem.strip_prefix("src/").unwrap_or(stem).replace('/', ".")
}
