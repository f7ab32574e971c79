//! The operator's settings of the template stage: base images by role, default runtime versions, the CI
//! builder and the limits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::TemplateError;
use super::safe::Safe;
use super::version::Version;

/// What a role's image replaces `{version}` with.
const VERSION_PLACEHOLDER: &str = "{version}";

/// Role, image. `{version}` stands for the repository's runtime version, or the default one.
const BASE_IMAGES: [(&str, &str); 19] = [
    ("python", "python:{version}-slim"),
    ("node", "node:{version}-slim"),
    ("maven", "maven:3.9-eclipse-temurin-{version}"),
    ("gradle", "gradle:9-jdk{version}"),
    ("jdk", "eclipse-temurin:{version}-jdk"),
    ("java", "eclipse-temurin:{version}-jre"),
    ("go", "golang:{version}-alpine"),
    ("go-runtime", "alpine:3.24"),
    ("rust", "rust:{version}-slim-trixie"),
    ("rust-runtime", "debian:trixie-slim"),
    ("ruby", "ruby:{version}-slim"),
    ("php", "php:{version}-apache"),
    ("composer", "composer:2"),
    ("dotnet-sdk", "mcr.microsoft.com/dotnet/sdk:{version}"),
    ("dotnet", "mcr.microsoft.com/dotnet/aspnet:{version}"),
    ("static", "nginxinc/nginx-unprivileged:stable-alpine"),
    ("ci-buildkit", "moby/buildkit:v0.27.0-rootless"),
    ("ci-docker", "docker:29-cli"),
    ("ci-dind", "docker:29-dind"),
];

/// Runtime, version used where the repository names none.
const RUNTIME_VERSIONS: [(&str, &str); 10] = [
    ("python", "3.14"),
    ("node", "24"),
    ("java", "21"),
    ("go", "1.27"),
    ("rust", "1.98"),
    ("ruby", "3.4"),
    ("php", "8.4"),
    ("dotnet", "10.0"),
    ("pnpm", "10"),
    ("yarn", "1.22.22"),
];

/// Which builder the generated `.gitlab-ci.yml` uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CiBuilder {
    /// BuildKit in rootless mode: needs no privileged runner.
    #[default]
    BuildkitRootless,
    /// A Docker engine as a service of the job: needs a privileged runner.
    DockerInDocker,
}

/// Settings of the template stage. Every value has a default; maps given by the operator are laid over the
/// defaults, so that naming one image does not lose the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TemplateSettings {
    /// Image by role, for example `python`. `{version}` in it stands for the runtime's version.
    #[serde(deserialize_with = "over_default_images")]
    pub base_images: BTreeMap<String, String>,
    /// Version by runtime, used where the repository names none.
    #[serde(deserialize_with = "over_default_versions")]
    pub runtime_versions: BTreeMap<String, String>,
    /// Builder of the generated `.gitlab-ci.yml`.
    pub ci_builder: CiBuilder,
    /// Runner tags of the generated job; empty for any runner.
    pub ci_runner_tags: Vec<String>,
    /// Timeout of the generated job, in minutes.
    pub ci_timeout_minutes: u16,
    /// Largest repository file that is read, in bytes.
    pub max_file_bytes: u64,
    /// How many directories below the root are searched for an application.
    pub max_search_depth_directories: usize,
}

impl Default for TemplateSettings {
    fn default() -> Self {
        Self {
            base_images: owned(&BASE_IMAGES),
            runtime_versions: owned(&RUNTIME_VERSIONS),
            ci_builder: CiBuilder::default(),
            ci_runner_tags: Vec::new(),
            ci_timeout_minutes: 60,
            max_file_bytes: 4 * 1024 * 1024,
            max_search_depth_directories: 3,
        }
    }
}

impl TemplateSettings {
    /// The image of `role` for `version`.
    pub(super) fn image(&self, role: &str, version: &Version) -> Result<Safe, TemplateError> {
        self.image_with(role, |image| image.replace(VERSION_PLACEHOLDER, &version.to_string()))
    }

    /// The image of `role`, whose reference does not depend on a runtime's version.
    pub(super) fn fixed_image(&self, role: &str) -> Result<Safe, TemplateError> {
        self.image_with(role, str::to_owned)
    }

    fn image_with(&self, role: &str, fill: impl Fn(&str) -> String) -> Result<Safe, TemplateError> {
        let failed =
            |reason: String| TemplateError::Setting { setting: format!("base_images.{role}"), reason };
        let image = self.base_images.get(role).ok_or_else(|| failed("is missing".to_owned()))?;
        Safe::image(&fill(image)).ok_or_else(|| failed(format!("{image:?} is no image reference")))
    }

    /// The default version of `runtime`.
    pub(super) fn version(&self, runtime: &str) -> Result<Version, TemplateError> {
        let found = self.runtime_versions.get(runtime).and_then(|text| Version::parse(text));
        found.ok_or_else(|| TemplateError::Setting {
            setting: format!("runtime_versions.{runtime}"),
            reason: "is not a version of one to three numbers".to_owned(),
        })
    }
}

fn owned(table: &[(&str, &str)]) -> BTreeMap<String, String> {
    table.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn over_default_images<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    laid_over(&BASE_IMAGES, deserializer)
}

fn over_default_versions<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    laid_over(&RUNTIME_VERSIONS, deserializer)
}

fn laid_over<'de, D: serde::Deserializer<'de>>(
    defaults: &[(&str, &str)],
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let mut merged = owned(defaults);
    merged.extend(BTreeMap::<String, String>::deserialize(deserializer)?);
    Ok(merged)
}
