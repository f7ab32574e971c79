//! PHP: Composer; Laravel and Symfony; plain pages. Served by Apache.

use std::collections::BTreeSet;

use serde_json::Value;

use super::app::App;
use super::command::Command;
use super::constraint;
use super::detect::{FamilySpec, Rank};
use super::error::TemplateError;
use super::manifest;
use super::plan::{Family, Framework, PackageManager};
use super::recipe::{Findings, Recipe, Values};
use super::safe::Safe;
use super::version::Version;

/// How PHP applications are recognised.
pub(super) const SPEC: FamilySpec = FamilySpec {
    label: "PHP",
    manifests: &["composer.json"],
    entry_files: &["index.php", "public/index.php"],
    extensions: &["php"],
    rank: Rank::Server,
    recipe,
};

const PORT: u16 = 8080;
const IGNORED: [&str; 4] = ["vendor", "node_modules", "storage/logs/*", "var/cache/*"];
const DOCUMENT_ROOTS: [&str; 4] = ["public", "web", "www", "html"];
/// Extension of `composer.json`, Debian package it is compiled with and linked to. Extensions
/// that are not listed are part of the image already.
const EXTENSIONS: [(&str, &str); 14] = [
    ("bcmath", ""),
    ("calendar", ""),
    ("exif", ""),
    ("gd", "libpng-dev"),
    ("gettext", ""),
    ("intl", "libicu-dev"),
    ("mysqli", ""),
    ("pcntl", ""),
    ("pdo_mysql", ""),
    ("pdo_pgsql", "libpq-dev"),
    ("pgsql", "libpq-dev"),
    ("soap", "libxml2-dev"),
    ("sockets", ""),
    ("zip", "libzip-dev"),
];

fn recipe(app: &App<'_>) -> Result<Recipe, TemplateError> {
    let mut findings = Findings::of(Family::Php);
    let composer = manifest::json(app, "composer.json")?;
    findings.package_manager = composer.as_ref().map(|_| PackageManager::Composer);
    let composer = composer.unwrap_or_default();
    let requires = |name: &str| composer.get("require").is_some_and(|require| require.get(name).is_some());
    findings.framework = if requires("laravel/framework") {
        Some(Framework::Laravel)
    } else {
        requires("symfony/framework-bundle").then_some(Framework::Symfony)
    };
    let version = version(app, &composer, &mut findings)?;
    let (command, document_root) = start(app, &mut findings)?;

    let port = app.port.unwrap_or(PORT);
    let mut values = Values::of(app, port)?;
    values.text("image", &app.settings.image("php", &version)?);
    values.text("composer_image", &app.settings.fixed_image("composer")?);
    values.flag("has_composer", app.has("composer.json"));
    values.flag("has_lock", app.has("composer.lock"));
    values.flag("is_laravel", findings.framework == Some(Framework::Laravel));
    values.flag("is_symfony", findings.framework == Some(Framework::Symfony));
    fill_extensions(&requires, &mut values);
    fill_assets(app, &mut values)?;
    values.optional("document_root", document_root.as_ref());
    values.command(&command);
    Ok(Recipe {
        detected: findings.detected(Some(&version)),
        template: "php",
        values,
        port,
        ignored: &IGNORED,
    })
}

fn fill_extensions(requires: &impl Fn(&str) -> bool, values: &mut Values) {
    let wanted = || EXTENSIONS.iter().filter(|(name, _)| requires(&format!("ext-{name}")));
    let packages: BTreeSet<&'static str> =
        wanted().map(|(_, package)| *package).filter(|package| !package.is_empty()).collect();
    values.list("extensions", &wanted().map(|(name, _)| Safe::fixed(name)).collect::<Vec<_>>());
    values.list("build_packages", &packages.into_iter().map(Safe::fixed).collect::<Vec<_>>());
}

/// Scripts and styles that Node.js builds for the pages.
fn fill_assets(app: &App<'_>, values: &mut Values) -> Result<(), TemplateError> {
    let package = manifest::json(app, "package.json")?.unwrap_or_default();
    let builds = package.pointer("/scripts/build").is_some_and(Value::is_string);
    values.flag("has_assets", builds && app.has("composer.json"));
    let locked = app.has("package-lock.json");
    values.text("install_assets", &Safe::fixed(if locked { "npm ci" } else { "npm install" }));
    values.text("node_image", &app.settings.image("node", &app.settings.version("node")?)?);
    Ok(())
}

fn version(app: &App<'_>, composer: &Value, findings: &mut Findings) -> Result<Version, TemplateError> {
    let default = app.settings.version("php")?;
    if let Some(found) = app.version_file(&[".php-version"], "", "php")? {
        return Ok(findings.version(Some(found), default));
    }
    let range = composer.pointer("/require/php").and_then(Value::as_str);
    let resolved = range.and_then(|range| constraint::resolve(range, &default, 2));
    // A bare major number has no upper bound worth following.
    let resolved = resolved.filter(|version| version.len() >= 2);
    if let Some(version) = &resolved {
        findings.note(format!("composer.json: PHP {version} satisfies require.php"));
    }
    Ok(resolved.unwrap_or(default))
}

/// The start command and the directory Apache serves. A Procfile line for Apache only names that directory.
fn start(app: &App<'_>, findings: &mut Findings) -> Result<(Command, Option<Safe>), TemplateError> {
    let apache = Command::fixed("apache2-foreground");
    let conventional = DOCUMENT_ROOTS.into_iter().find(|name| app.has(&format!("{name}/index.php")));
    let conventional = conventional.map(Safe::fixed);
    let Some(command) = app.procfile_command()? else { return Ok((apache, conventional)) };
    findings.note("Procfile: web");
    let is_apache = command.words().first().is_some_and(|word| word.contains("heroku-php-"));
    if !is_apache {
        return Ok((command, conventional));
    }
    let named = command.words().iter().skip(1).rfind(|word| !word.starts_with('-'));
    let named = named.and_then(|word| Safe::path(word.trim_end_matches('/')));
    Ok((apache, named.or(conventional)))
}
