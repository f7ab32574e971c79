//! The project itself, the token it is used with, and whether it has pipelines.

use serde::Deserialize;

use crate::{Gitlab, GitlabError, parse};

/// Where GitLab looks for the configuration of pipelines when a project does not say.
const CI_FILE: &str = ".gitlab-ci.yml";
/// How GitLab calls a feature nobody may use.
const DISABLED: &str = "disabled";

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectInfo {
    /// Its number.
    pub id: u64,
    /// `group/project`.
    pub path_with_namespace: String,
    /// Its default branch; none while it is empty.
    pub default_branch: Option<String>,
    /// Its page.
    pub web_url: String,
    /// Where its images are, `registry.host/group/project`, if it has a registry.
    pub container_registry_image_prefix: Option<String>,
    /// Where the configuration of its pipelines is, if not in the usual place.
    pub ci_config_path: Option<String>,
    /// Whether it has a pipeline without a configuration.
    pub auto_devops_enabled: bool,
    /// Whether it may have pipelines at all.
    pub builds_enabled: bool,
    /// The role of the token in it, the highest of those by project and by group: 30 Developer, 40 Maintainer.
    pub access_level: Option<u32>,
    /// `private`, `internal` or `public`.
    pub visibility: String,
    /// Whether nothing can be changed in it.
    pub archived: bool,
}

/// A token, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TokenInfo {
    /// What it may be used for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The day it expires on.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// Its name.
    #[serde(default, deserialize_with = "parse::or_default")]
    pub name: String,
}

/// Whether commits of a project get pipelines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiSetup {
    /// Where the configuration is looked for.
    pub file: String,
    /// Whether it is there, or in another place than the commit.
    pub file_exists: bool,
    /// Whether there is a pipeline without it.
    pub auto_devops: bool,
    /// Whether the project may have pipelines at all.
    pub jobs_enabled: bool,
}

#[derive(Deserialize)]
struct RawProject {
    id: u64,
    path_with_namespace: String,
    #[serde(default, deserialize_with = "parse::filled")]
    default_branch: Option<String>,
    #[serde(default, deserialize_with = "parse::or_default")]
    web_url: String,
    #[serde(default, deserialize_with = "parse::filled")]
    container_registry_image_prefix: Option<String>,
    container_registry_enabled: Option<bool>,
    container_registry_access_level: Option<String>,
    #[serde(default, deserialize_with = "parse::filled")]
    ci_config_path: Option<String>,
    auto_devops_enabled: Option<bool>,
    jobs_enabled: Option<bool>,
    builds_access_level: Option<String>,
    permissions: Option<Permissions>,
    #[serde(default, deserialize_with = "parse::or_default")]
    visibility: String,
    archived: Option<bool>,
}

#[derive(Deserialize)]
struct Permissions {
    project_access: Option<Role>,
    group_access: Option<Role>,
}

#[derive(Deserialize)]
struct Role {
    access_level: Option<u32>,
}

impl From<RawProject> for ProjectInfo {
    fn from(raw: RawProject) -> Self {
        let disabled = |level: &Option<String>| level.as_deref() == Some(DISABLED);
        let has_registry =
            raw.container_registry_enabled.unwrap_or(true) && !disabled(&raw.container_registry_access_level);
        let roles = raw.permissions.map(|permissions| [permissions.project_access, permissions.group_access]);
        Self {
            id: raw.id,
            path_with_namespace: raw.path_with_namespace,
            default_branch: raw.default_branch,
            web_url: raw.web_url,
            container_registry_image_prefix: raw.container_registry_image_prefix.filter(|_| has_registry),
            ci_config_path: raw.ci_config_path,
            auto_devops_enabled: raw.auto_devops_enabled.unwrap_or_default(),
            builds_enabled: raw.jobs_enabled.unwrap_or(true) && !disabled(&raw.builds_access_level),
            access_level: roles.into_iter().flatten().flatten().filter_map(|role| role.access_level).max(),
            visibility: raw.visibility,
            archived: raw.archived.unwrap_or_default(),
        }
    }
}

impl Gitlab {
    /// The project.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn project(&self) -> Result<ProjectInfo, GitlabError> {
        self.get::<RawProject>(self.in_project(&[])?).await.map(ProjectInfo::from)
    }

    /// The token.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn token(&self) -> Result<TokenInfo, GitlabError> {
        self.get(self.at_root(&["personal_access_tokens", "self"])?).await
    }

    /// Whether the commit `sha` can have a pipeline.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn has_ci(&self, sha: &str) -> Result<CiSetup, GitlabError> {
        let project = self.project().await?;
        let file = project.ci_config_path.unwrap_or_else(|| CI_FILE.to_owned());
        let file_exists = is_elsewhere(&file) || {
            let mut url = self.in_project(&["repository", "files", &file])?;
            url.query_pairs_mut().append_pair("ref", sha);
            self.exists(url).await?
        };
        Ok(CiSetup {
            file,
            file_exists,
            auto_devops: project.auto_devops_enabled,
            jobs_enabled: project.builds_enabled,
        })
    }
}

/// A configuration can be in another project, `path@group/project`, or at a URL.
fn is_elsewhere(file: &str) -> bool {
    file.contains('@') || file.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(json: &str) -> ProjectInfo {
        serde_json::from_str::<RawProject>(json).unwrap().into()
    }

    #[test]
    fn an_answer_with_little_in_it_is_enough() {
        let project = project(r#"{"id":7,"path_with_namespace":"group/app","default_branch":null}"#);
        assert_eq!((project.id, project.default_branch.as_deref()), (7, None));
        assert!(project.builds_enabled, "only what is said to be off is off");
        assert!(!project.archived && !project.auto_devops_enabled);
        assert_eq!(project.access_level, None);
    }

    #[test]
    fn the_higher_of_two_roles_counts() {
        let of = |permissions: &str| {
            project(&format!(r#"{{"id":7,"path_with_namespace":"a/b","permissions":{permissions}}}"#))
                .access_level
        };
        assert_eq!(
            of(r#"{"project_access":{"access_level":30},"group_access":{"access_level":40}}"#),
            Some(40)
        );
        assert_eq!(of(r#"{"project_access":{"access_level":30},"group_access":null}"#), Some(30));
        assert_eq!(of(r#"{"project_access":null,"group_access":null}"#), None);
        assert_eq!(of("null"), None);
    }

    #[test]
    fn what_is_disabled_is_not_there() {
        let project = project(
            r#"{"id":7,"path_with_namespace":"a/b","builds_access_level":"disabled","jobs_enabled":true,
                "container_registry_image_prefix":"registry.test/a/b","container_registry_access_level":"disabled",
                "ci_config_path":""}"#,
        );
        assert!(!project.builds_enabled);
        assert_eq!(project.container_registry_image_prefix, None);
        assert_eq!(project.ci_config_path, None);
    }

    #[test]
    fn a_configuration_can_be_in_another_place() {
        assert!(is_elsewhere("ci/build.yml@group/templates"));
        assert!(is_elsewhere("https://example.com/ci.yml"));
        assert!(!is_elsewhere("ci/build.yml"));
    }
}
