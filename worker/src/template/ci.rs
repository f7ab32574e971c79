//! Renders `.gitlab-ci.yml`: one job that builds the image of the commit and pushes it.

use super::app::unsafe_value;
use super::error::TemplateError;
use super::recipe::Values;
use super::render;
use super::safe::Safe;
use super::settings::{CiBuilder, TemplateSettings};

/// The CI file for the Dockerfile at `dockerfile_path`.
pub(super) fn render(settings: &TemplateSettings, dockerfile_path: &str) -> Result<String, TemplateError> {
    let mut values = Values::default();
    let invalid =
        |setting: &str, reason: String| TemplateError::Setting { setting: setting.to_owned(), reason };
    let tags: Result<Vec<Safe>, TemplateError> = settings
        .ci_runner_tags
        .iter()
        .map(|tag| {
            Safe::runner_tag(tag)
                .ok_or_else(|| invalid("ci_runner_tags", format!("{tag:?} is no runner tag")))
        })
        .collect();
    if settings.ci_timeout_minutes == 0 {
        return Err(invalid("ci_timeout_minutes", "must be at least 1".to_owned()));
    }
    let dockerfile =
        Safe::path(dockerfile_path).ok_or_else(|| unsafe_value("the tree", "path", dockerfile_path))?;
    values.list("tags", &tags?);
    values.text("timeout_minutes", &Safe::number(settings.ci_timeout_minutes));
    values.text("dockerfile", &dockerfile);
    values.flag("docker_in_docker", settings.ci_builder == CiBuilder::DockerInDocker);
    values.text("buildkit_image", &settings.fixed_image("ci-buildkit")?);
    values.text("docker_image", &settings.fixed_image("ci-docker")?);
    values.text("dind_image", &settings.fixed_image("ci-dind")?);
    render::render("gitlab_ci", &values)
}
