//! Node.js: npm, pnpm and Yarn; Next.js, other servers, and single-page applications that become static files.

use serde_json::Value;

use super::app::{App, FoundVersion};
use super::command::Command;
use super::constraint;
use super::detect::{FamilySpec, Rank};
use super::error::TemplateError;
use super::plan::{Family, Framework, PackageManager};
use super::recipe::{Findings, Recipe, Values};
use super::safe::Safe;
use super::version::Version;
use super::{manifest, static_site};

/// How Node.js applications are recognised.
pub(super) const SPEC: FamilySpec = FamilySpec {
    label: "Node.js",
    manifests: &["package.json"],
    entry_files: &[],
    extensions: &["js", "mjs", "cjs", "ts", "mts", "tsx", "jsx"],
    rank: Rank::Assets,
    recipe,
};

const PORT: u16 = 3000;
const IGNORED: [&str; 5] =
    ["**/node_modules", "**/.next", "**/npm-debug.log*", "**/coverage", "**/.yarn/cache"];
const NEXT_CONFIGS: [&str; 4] = ["next.config.js", "next.config.mjs", "next.config.ts", "next.config.cjs"];
const START_FILES: [&str; 6] = ["server.js", "index.js", "app.js", "main.js", "server.mjs", "index.mjs"];
/// Package that marks a single-page application, and the directory its build writes.
const PAGE_BUILDERS: [(&str, &str); 4] =
    [("vite", "dist"), ("react-scripts", "build"), ("@vue/cli-service", "dist"), ("parcel", "dist")];
/// Files beside `package.json` that the installation of the dependencies reads.
const INSTALL_FILES: [&str; 9] = [
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "yarn.lock",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".pnpmfile.cjs",
];
/// Long-term support names that `.nvmrc` files use.
const LTS_NAMES: [(&str, &str); 4] =
    [("lts/hydrogen", "18"), ("lts/iron", "20"), ("lts/jod", "22"), ("lts/krypton", "24")];

/// The parts of `package.json` that matter here.
struct Package(Value);

impl Package {
    fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
    }

    fn script(&self, name: &str) -> Option<&str> {
        self.text(&format!("/scripts/{name}"))
    }

    fn depends_on(&self, name: &str) -> bool {
        let holds = |section| self.0.get(section).is_some_and(|packages| packages.get(name).is_some());
        ["dependencies", "devDependencies"].into_iter().any(holds)
    }
}

/// How a package manager's lines read.
struct Installer {
    manager: PackageManager,
    setup: Option<Safe>,
    install: Safe,
    run_build: Safe,
    prune: Safe,
}

fn recipe(app: &App<'_>) -> Result<Recipe, TemplateError> {
    let package = Package(manifest::json(app, "package.json")?.unwrap_or_default());
    let mut findings = Findings::of(Family::Node);
    let has_build = package.script("build").is_some();
    let page_builder = PAGE_BUILDERS.iter().find(|(name, _)| package.depends_on(name));
    let procfile = app.procfile_command()?;
    let serves = procfile.is_some()
        || package.script("start").is_some_and(|script| !script.starts_with("react-scripts"))
        || package.depends_on("next");
    if !serves && !has_build && app.has("index.html") {
        return static_site::recipe(app);
    }

    let installer = installer(app, &package, &mut findings)?;
    findings.package_manager = Some(installer.manager);
    let version = version(app, &package, &mut findings)?;
    let mut values = Values::default();
    let page_builder = page_builder.filter(|_| !serves && has_build);
    let port = match page_builder {
        Some(_) => static_site::PORT,
        None => app.port.unwrap_or(PORT),
    };
    fill_build_stage(app, &installer, &version, port, has_build, &mut values)?;
    let template = if let Some((name, output)) = page_builder {
        findings.framework = Some(Framework::SinglePage);
        findings.note(format!("package.json: {name} with a build script and no server"));
        values.text("output", &Safe::fixed(output));
        values.text("static_image", &app.settings.fixed_image("static")?);
        "single_page"
    } else {
        fill_server_stage(app, &package, procfile, &mut findings, &mut values)?;
        "node"
    };
    Ok(Recipe { detected: findings.detected(Some(&version)), template, values, port, ignored: &IGNORED })
}

fn fill_build_stage(
    app: &App<'_>,
    installer: &Installer,
    version: &Version,
    port: u16,
    has_build: bool,
    values: &mut Values,
) -> Result<(), TemplateError> {
    *values = Values::of(app, port)?;
    let present = INSTALL_FILES.into_iter().filter(|name| app.has(name));
    values.list("install_files", &present.map(Safe::fixed).collect::<Vec<_>>());
    values.flag("has_yarn_directory", app.files().any(|(path, _)| path.starts_with(".yarn/")));
    values.text("image", &app.settings.image("node", version)?);
    values.optional("setup", installer.setup.as_ref());
    values.text("install", &installer.install);
    values.text("prune", &installer.prune);
    values.text("run_build", &installer.run_build);
    values.flag("has_build", has_build);
    Ok(())
}

fn fill_server_stage(
    app: &App<'_>,
    package: &Package,
    procfile: Option<Command>,
    findings: &mut Findings,
    values: &mut Values,
) -> Result<(), TemplateError> {
    let is_next = package.depends_on("next");
    let standalone = is_next && procfile.is_none() && next_is_standalone(app)?;
    if is_next {
        findings.framework = Some(Framework::NextJs);
        findings.note("package.json: depends on next");
    }
    let command = match procfile {
        Some(command) => {
            findings.note("Procfile: web");
            command
        }
        None if standalone => Command::fixed("node server.js"),
        None if is_next => Command::fixed("next start -p $PORT"),
        None => start_command(app, package, findings)?,
    };
    values.flag("is_next", is_next);
    values.flag("standalone", standalone);
    values.flag("has_public", app.files().any(|(path, _)| path.starts_with("public/")));
    values.command(&command);
    Ok(())
}

fn next_is_standalone(app: &App<'_>) -> Result<bool, TemplateError> {
    for config in NEXT_CONFIGS {
        let text: String = app.text_or_empty(config)?.split_whitespace().collect();
        if text.contains("output:\"standalone\"") || text.contains("output:'standalone'") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The `start` script itself when it is plain words, so that no npm process stands before the server.
fn start_command(
    app: &App<'_>,
    package: &Package,
    findings: &mut Findings,
) -> Result<Command, TemplateError> {
    if let Some(script) = package.script("start") {
        findings.note("package.json: scripts.start");
        return Ok(Command::parse(script).unwrap_or_else(|| Command::fixed("npm start")));
    }
    let main = package.text("/main").map(|main| main.trim_start_matches("./")).filter(|main| app.has(main));
    let main = main.and_then(Safe::path);
    if let Some(main) = &main {
        findings.note("package.json: main");
        return Ok(Command::of(&[&Safe::fixed("node"), main]));
    }
    let file = START_FILES.into_iter().find(|name| app.has(name));
    let file = file.ok_or_else(|| TemplateError::NoStartCommand {
        family: Family::Node.label().to_owned(),
        looked_for: ["Procfile", "scripts.start and main in package.json"]
            .into_iter()
            .chain(START_FILES)
            .map(str::to_owned)
            .collect(),
    })?;
    findings.note(format!("{file}: started as it is"));
    Ok(Command::of(&[&Safe::fixed("node"), &Safe::fixed(file)]))
}

fn version(app: &App<'_>, package: &Package, findings: &mut Findings) -> Result<Version, TemplateError> {
    let default = app.settings.version("node")?;
    let mut found = app.version_file(&[".nvmrc", ".node-version"], "v", "nodejs")?;
    if found.is_none() {
        let named = app.text_or_empty(".nvmrc")?.trim().to_ascii_lowercase();
        let lts = LTS_NAMES.iter().find(|(name, _)| *name == named);
        found = lts.and_then(|(name, major)| {
            Some(FoundVersion { version: Version::parse(major)?, evidence: format!(".nvmrc: {name}") })
        });
    }
    if found.is_none() {
        let engine = package.text("/engines/node").and_then(|range| constraint::resolve(range, &default, 1));
        found = engine.map(|version| FoundVersion {
            evidence: format!("package.json: Node.js {version} satisfies engines.node"),
            version,
        });
    }
    Ok(findings.version(found, default))
}

fn installer(app: &App<'_>, package: &Package, findings: &mut Findings) -> Result<Installer, TemplateError> {
    let declared = package.text("/packageManager").and_then(|declared| declared.split_once('@'));
    let declared = declared.and_then(|(name, version)| Some((name, Version::leading(version)?)));
    let named =
        |wanted: &str| declared.as_ref().filter(|(name, _)| *name == wanted).map(|(_, version)| version);
    if let Some((name, version)) = &declared
        && ["npm", "pnpm", "yarn"].contains(name)
    {
        findings.note(format!("package.json: packageManager {name} {version}"));
    }
    if named("pnpm").is_some() || named("yarn").is_none() && app.has("pnpm-lock.yaml") {
        return Ok(pnpm(app, &named("pnpm").cloned().map_or_else(|| app.settings.version("pnpm"), Ok)?));
    }
    if named("yarn").is_some() || named("npm").is_none() && app.has("yarn.lock") {
        let modern = app.has(".yarnrc.yml") || named("yarn").is_some_and(|version| version.major() > 1);
        let classic = named("yarn").cloned().map_or_else(|| app.settings.version("yarn"), Ok)?;
        return Ok(if modern { yarn_modern(app) } else { yarn_classic(app, &classic) });
    }
    Ok(npm(app))
}

fn npm(app: &App<'_>) -> Installer {
    let locked = app.has("package-lock.json") || app.has("npm-shrinkwrap.json");
    Installer {
        manager: PackageManager::Npm,
        setup: None,
        install: Safe::fixed(if locked {
            "npm ci --no-audit --no-fund"
        } else {
            "npm install --no-audit --no-fund"
        }),
        run_build: Safe::fixed("npm run build"),
        prune: Safe::fixed("npm prune --omit=dev"),
    }
}

fn pnpm(app: &App<'_>, version: &Version) -> Installer {
    let locked = app.has("pnpm-lock.yaml");
    Installer {
        manager: PackageManager::Pnpm,
        setup: Some(Safe::versioned("npm install --global pnpm@", version)),
        install: Safe::fixed(if locked { "pnpm install --frozen-lockfile" } else { "pnpm install" }),
        run_build: Safe::fixed("pnpm run build"),
        prune: Safe::fixed("CI=true pnpm prune --prod"),
    }
}

fn yarn_classic(app: &App<'_>, version: &Version) -> Installer {
    let locked = app.has("yarn.lock");
    Installer {
        manager: PackageManager::Yarn,
        setup: Some(Safe::versioned("npm install --global --force yarn@", version)),
        install: Safe::fixed(if locked { "yarn install --frozen-lockfile" } else { "yarn install" }),
        run_build: Safe::fixed("yarn run build"),
        prune: Safe::fixed("yarn install --production --ignore-scripts --prefer-offline"),
    }
}

/// Yarn 2 and later. Real `node_modules` let the final image do without Yarn.
fn yarn_modern(app: &App<'_>) -> Installer {
    let locked = app.has("yarn.lock");
    Installer {
        manager: PackageManager::Yarn,
        setup: Some(Safe::fixed("npm install --global --force corepack && corepack enable")),
        install: Safe::fixed(if locked {
            "YARN_NODE_LINKER=node-modules yarn install --immutable"
        } else {
            "YARN_NODE_LINKER=node-modules yarn install"
        }),
        run_build: Safe::fixed("yarn run build"),
        prune: Safe::fixed("YARN_NODE_LINKER=node-modules yarn workspaces focus --production"),
    }
}
