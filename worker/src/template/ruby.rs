//! Ruby: Bundler; Rails, and Rack applications such as Sinatra.

use super::app::{App, FoundVersion};
use super::command::Command;
use super::detect::{FamilySpec, Rank};
use super::error::TemplateError;
use super::plan::{Family, Framework, PackageManager};
use super::recipe::{Findings, Recipe, Values};
use super::safe::Safe;
use super::version::Version;

/// How Ruby applications are recognised.
pub(super) const SPEC: FamilySpec = FamilySpec {
    label: "Ruby",
    manifests: &["Gemfile"],
    entry_files: &["config.ru"],
    extensions: &["rb", "ru"],
    rank: Rank::Server,
    recipe,
};

const PORT: u16 = 3000;
const IGNORED: [&str; 6] =
    ["log/*", "tmp/*", "vendor/bundle", "node_modules", "config/master.key", "coverage"];
/// Gem, Debian package its extension is built with, Debian package it needs at run time.
const NATIVE_GEMS: [(&str, &str, &str); 3] = [
    ("pg", "libpq-dev", "libpq5"),
    ("mysql2", "default-libmysqlclient-dev", "libmariadb3"),
    ("ruby-vips", "libvips-dev", "libvips42t64"),
];

fn recipe(app: &App<'_>) -> Result<Recipe, TemplateError> {
    let mut findings = Findings::of(Family::Ruby);
    findings.package_manager = app.has("Gemfile").then_some(PackageManager::Bundler);
    let gemfile = app.text_or_empty("Gemfile")?;
    let gems = format!("{gemfile}\n{}", app.text_or_empty("Gemfile.lock")?);
    let version = version(app, &gemfile, &mut findings)?;
    let is_rails = uses(&gems, "rails") && app.has("config/application.rb");
    findings.framework = match (is_rails, app.has("config.ru")) {
        (true, _) => Some(Framework::Rails),
        (false, true) => Some(Framework::Rack),
        (false, false) => None,
    };
    let command = command(app, &gems, &mut findings)?;

    let port = app.port.unwrap_or(PORT);
    let mut values = Values::of(app, port)?;
    values.text("image", &app.settings.image("ruby", &version)?);
    let native = || NATIVE_GEMS.iter().filter(|(gem, _, _)| uses(&gems, gem));
    values.list("build_packages", &native().map(|(_, build, _)| Safe::fixed(build)).collect::<Vec<_>>());
    values.list("runtime_packages", &native().map(|(_, _, run)| Safe::fixed(run)).collect::<Vec<_>>());
    values.flag("has_gemfile", app.has("Gemfile"));
    values.flag("locked", app.has("Gemfile.lock"));
    values.flag("is_rails", is_rails);
    let has_assets = app.files().any(|(path, _)| path.starts_with("app/assets/"));
    values.flag("has_assets", is_rails && has_assets);
    values.command(&command);
    Ok(Recipe {
        detected: findings.detected(Some(&version)),
        template: "ruby",
        values,
        port,
        ignored: &IGNORED,
    })
}

/// Whether a Gemfile or its lock file names the gem.
fn uses(gems: &str, gem: &str) -> bool {
    gems.lines().map(str::trim).any(|line| {
        let quoted = line.strip_prefix("gem ").map(|rest| rest.trim_start_matches(['"', '\'']));
        let name = quoted.unwrap_or(line).split(['"', '\'', ' ']).next();
        name == Some(gem)
    })
}

fn version(app: &App<'_>, gemfile: &str, findings: &mut Findings) -> Result<Version, TemplateError> {
    let default = app.settings.version("ruby")?;
    let mut found = app.version_file(&[".ruby-version"], "ruby-", "ruby")?;
    if found.is_none() {
        let line = gemfile.lines().find_map(|line| line.trim().strip_prefix("ruby "));
        let pinned = line.and_then(|rest| Version::parse(rest.trim().trim_matches(['"', '\''])));
        found = pinned.map(|version| FoundVersion { evidence: format!("Gemfile: ruby {version}"), version });
    }
    Ok(findings.version(found, default))
}

fn command(app: &App<'_>, gems: &str, findings: &mut Findings) -> Result<Command, TemplateError> {
    if let Some(command) = app.procfile_command()? {
        findings.note("Procfile: web");
        return Ok(command);
    }
    if app.has("config.ru") || app.has("config/application.rb") {
        findings.note("config.ru or config/application.rb");
        return Ok(Command::fixed(if uses(gems, "puma") {
            "bundle exec puma -b tcp://0.0.0.0:$PORT"
        } else if app.has("config/application.rb") {
            "bundle exec rails server -b 0.0.0.0 -p $PORT"
        } else {
            "bundle exec rackup -o 0.0.0.0 -p $PORT"
        }));
    }
    let files = ["app.rb", "main.rb", "server.rb"];
    let file = files.into_iter().find(|name| app.has(name)).ok_or_else(|| TemplateError::NoStartCommand {
        family: Family::Ruby.label().to_owned(),
        looked_for: ["Procfile", "config.ru"].into_iter().chain(files).map(str::to_owned).collect(),
    })?;
    findings.note(format!("{file}: started as it is"));
    let program = Safe::fixed(if app.has("Gemfile") { "bundle exec ruby" } else { "ruby" });
    Ok(Command::of(&[&program, &Safe::fixed(file)]))
}
