//! Java and Kotlin: Maven and Gradle; Spring Boot, Quarkus and Ktor.

use super::app::unsafe_value;
use super::app::{App, FoundVersion};
use super::command::Command;
use super::detect::{FamilySpec, Rank, chosen_program};
use super::error::TemplateError;
use super::manifest::{xml_text, xml_texts};
use super::plan::{Family, Framework, PackageManager};
use super::recipe::{Findings, Recipe, Values};
use super::safe::Safe;
use super::version::Version;

/// How Java and Kotlin applications are recognised.
pub(super) const SPEC: FamilySpec = FamilySpec {
    label: "Java or Kotlin",
    manifests: &["pom.xml", "build.gradle", "build.gradle.kts"],
    entry_files: &[],
    extensions: &["java", "kt"],
    rank: Rank::Server,
    recipe,
};

const PORT: u16 = 8080;
const IGNORED: [&str; 5] = ["target", "build", ".gradle", "*.class", "*.iml"];
/// Releases that have base images, ascending. Others are rounded up: a newer JDK builds for an older release.
const JDK_RELEASES: [u16; 5] = [8, 11, 17, 21, 25];
const POM_VERSION_ELEMENTS: [&str; 5] =
    ["maven.compiler.release", "java.version", "maven.compiler.target", "release", "jvmTarget"];
const GRADLE_VERSION_PREFIXES: [&str; 7] = [
    "JavaLanguageVersion.of(",
    "jvmToolchain(",
    "JavaVersion.VERSION_",
    "sourceCompatibility = '",
    "sourceCompatibility = \"",
    "sourceCompatibility = ",
    "jvmTarget = \"",
];
/// Files at the root that Gradle reads before the sources.
const GRADLE_FILES: [&str; 6] = [
    "build.gradle",
    "build.gradle.kts",
    "settings.gradle",
    "settings.gradle.kts",
    "gradle.properties",
    "gradlew",
];
/// Mark in a Gradle build, task that makes the program, and whether it makes one jar.
const GRADLE_TASKS: [(&str, &str, bool); 5] = [
    ("org.springframework.boot", "bootJar", true),
    ("io.ktor.plugin", "buildFatJar", true),
    ("com.github.johnrengelman.shadow", "shadowJar", true),
    ("com.gradleup.shadow", "shadowJar", true),
    ("application", "installDist", false),
];

fn recipe(app: &App<'_>) -> Result<Recipe, TemplateError> {
    let mut findings = Findings::of(family(app));
    if app.procfile_command()?.is_some() {
        findings.note("Procfile: web is not used, the image starts what the build made");
    }
    if app.has("pom.xml") { maven(app, findings) } else { gradle(app, findings) }
}

fn family(app: &App<'_>) -> Family {
    let bytes = |extension: &str| -> u64 {
        app.own_files()
            .filter(|(path, _)| path.ends_with(extension))
            .fold(0, |sum, (_, size)| size.saturating_add(sum))
    };
    if bytes(".kt") > bytes(".java") { Family::Kotlin } else { Family::Java }
}

fn maven(app: &App<'_>, mut findings: Findings) -> Result<Recipe, TemplateError> {
    findings.package_manager = Some(PackageManager::Maven);
    let pom = app.text_or_empty("pom.xml")?;
    let found = declared(&pom, "pom.xml", |pom| {
        POM_VERSION_ELEMENTS.iter().find_map(|element| release(xml_text(pom, element)?))
    });
    let version = version(app, found, &mut findings)?;
    let module = maven_module(app, &pom)?;
    let module_pom = match &module {
        Some(module) => app.text_or_empty(&format!("{module}/pom.xml"))?,
        None => pom,
    };
    let is_quarkus = module_pom.contains("quarkus-maven-plugin");
    findings.framework = if is_quarkus { Some(Framework::Quarkus) } else { framework(&module_pom) };

    let (port, mut values) = common_values(app, &version, "maven")?;
    let module = match &module {
        Some(module) => {
            findings.note(format!("{module}/pom.xml: the module to run"));
            Some(Safe::path(module).ok_or_else(|| unsafe_value("pom.xml", "module", module))?)
        }
        None => None,
    };
    values.optional("module", module.as_ref());
    values.flag("is_quarkus", is_quarkus);
    let jar = if is_quarkus { "java -jar /app/quarkus-run.jar" } else { "java -jar /app/app.jar" };
    values.command(&Command::fixed(jar));
    Ok(Recipe {
        detected: findings.detected(Some(&version)),
        template: "maven",
        values,
        port,
        ignored: &IGNORED,
    })
}

/// The module of a multi-module build that makes the program: the one with a plugin that packages programs.
fn maven_module(app: &App<'_>, pom: &str) -> Result<Option<String>, TemplateError> {
    let modules = xml_texts(pom, "module");
    if modules.is_empty() {
        return Ok(None);
    }
    let plugins =
        ["spring-boot-maven-plugin", "quarkus-maven-plugin", "maven-shade-plugin", "maven-assembly-plugin"];
    let mut programs = Vec::new();
    for module in modules {
        let text = app.text_or_empty(&format!("{module}/pom.xml"))?;
        if plugins.iter().any(|plugin| text.contains(plugin)) {
            programs.push(module.to_owned());
        }
    }
    if programs.is_empty() {
        return Err(TemplateError::NoStartCommand {
            family: Family::Java.label().to_owned(),
            looked_for: plugins.iter().map(|plugin| format!("{plugin} in a module of pom.xml")).collect(),
        });
    }
    chosen_program(app, "pom.xml", &programs).map(Some)
}

fn gradle(app: &App<'_>, mut findings: Findings) -> Result<Recipe, TemplateError> {
    findings.package_manager = Some(PackageManager::Gradle);
    let file = if app.has("build.gradle.kts") { "build.gradle.kts" } else { "build.gradle" };
    let build = app.text_or_empty(file)?;
    let found = declared(&build, file, |build| {
        GRADLE_VERSION_PREFIXES.iter().find_map(|prefix| {
            release(build.split_once(prefix)?.1.trim_start_matches("JavaVersion.VERSION_"))
        })
    });
    let version = version(app, found, &mut findings)?;
    findings.framework = framework(&build);
    let task = GRADLE_TASKS.iter().find(|(mark, _, _)| build.contains(mark));
    let (mark, task, makes_jar) = task.ok_or_else(|| TemplateError::NoStartCommand {
        family: findings.family.label().to_owned(),
        looked_for: GRADLE_TASKS.iter().map(|(mark, _, _)| format!("plugin {mark} in {file}")).collect(),
    })?;
    findings.note(format!("{file}: plugin {mark}"));

    let wrapped = app.has("gradlew") && app.has("gradle/wrapper/gradle-wrapper.jar");
    let (port, mut values) = common_values(app, &version, if wrapped { "jdk" } else { "gradle" })?;
    values.text("gradle", &Safe::fixed(if wrapped { "sh ./gradlew" } else { "gradle" }));
    let present = GRADLE_FILES.into_iter().filter(|name| app.has(name));
    values.list("build_files", &present.map(Safe::fixed).collect::<Vec<_>>());
    values.flag("has_gradle_directory", app.files().any(|(path, _)| path.starts_with("gradle/")));
    // Subprojects have build files of their own, so their dependencies come with the sources.
    values.flag("separable", !app.files().any(|(path, _)| path.contains('/') && path.ends_with(file)));
    values.text("task", &Safe::fixed(task));
    values.flag("makes_jar", *makes_jar);
    let start = if *makes_jar { "java -jar /app/app.jar" } else { "/app/bin/start" };
    values.command(&Command::fixed(start));
    Ok(Recipe {
        detected: findings.detected(Some(&version)),
        template: "gradle",
        values,
        port,
        ignored: &IGNORED,
    })
}

fn framework(build: &str) -> Option<Framework> {
    let marks = [
        ("spring-boot", Framework::SpringBoot),
        ("org.springframework.boot", Framework::SpringBoot),
        ("io.quarkus", Framework::Quarkus),
        ("io.ktor", Framework::Ktor),
    ];
    marks.iter().find(|(mark, _)| build.contains(mark)).map(|(_, framework)| *framework)
}

fn common_values(app: &App<'_>, version: &Version, build_role: &str) -> Result<(u16, Values), TemplateError> {
    let port = app.port.unwrap_or(PORT);
    let mut values = Values::of(app, port)?;
    values.text("build_image", &app.settings.image(build_role, version)?);
    values.text("image", &app.settings.image("java", version)?);
    Ok((port, values))
}

/// The Java release the build file names, with the evidence for it.
fn declared(build: &str, file: &str, find: impl Fn(&str) -> Option<Version>) -> Option<FoundVersion> {
    find(build).map(|version| FoundVersion { evidence: format!("{file}: Java {version}"), version })
}

/// `1.8` and `1_8` are release 8.
fn release(text: &str) -> Option<Version> {
    let text = text.trim_start();
    let modern = text.strip_prefix("1.").or_else(|| text.strip_prefix("1_")).unwrap_or(text);
    Version::leading(modern).map(|version| version.truncated(1))
}

/// The repository's release, rounded up to one that has images.
fn version(
    app: &App<'_>,
    declared: Option<FoundVersion>,
    findings: &mut Findings,
) -> Result<Version, TemplateError> {
    let default = app.settings.version("java")?;
    let properties = app.text_or_empty("system.properties")?;
    let property = properties.lines().find_map(|line| release(line.strip_prefix("java.runtime.version=")?));
    let property = property
        .map(|version| FoundVersion { evidence: format!("system.properties: Java {version}"), version });
    let found = match (property, declared) {
        (Some(found), _) | (None, Some(found)) => Some(found),
        (None, None) => app.version_file(&[".java-version"], "", "java")?,
    };
    let wanted = findings.version(found, default.clone()).major();
    let rounded = JDK_RELEASES.iter().find(|known| **known >= wanted).copied().unwrap_or(wanted);
    Ok(Version::parse(&rounded.to_string()).unwrap_or(default))
}
