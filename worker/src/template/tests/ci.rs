//! The generated `.gitlab-ci.yml`. That it fits GitLab's schema is shown by the integration tests.

use super::{ALL, TemplateSettings, generated, plan, tree};
use crate::template::{CiBuilder, TemplateError};

fn ci_file(settings: &TemplateSettings) -> Result<String, TemplateError> {
    let plan = plan(&tree(&[("Dockerfile", "FROM x")]), &ALL, settings)?;
    Ok(generated(&plan, ".gitlab-ci.yml").unwrap().to_owned())
}

#[test]
fn buildkit_pushes_the_commits_image_without_privileges() {
    let text = ci_file(&TemplateSettings::default()).unwrap();
    for expected in [
        "name: \"moby/buildkit:v0.27.0-rootless\"",
        "name=\"$CI_REGISTRY_IMAGE:$CI_COMMIT_SHA\",push=true",
        "--oci-worker-no-process-sandbox",
        "interruptible: true",
        "timeout: 60 minutes",
        "runner_system_failure",
        "$CI_PIPELINE_SOURCE == \"merge_request_event\"",
    ] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
    assert!(!text.contains("services:") && !text.contains("tags:"));
}

#[test]
fn docker_in_docker_and_runner_tags_are_settings() {
    let settings = TemplateSettings {
        ci_builder: CiBuilder::DockerInDocker,
        ci_runner_tags: vec!["docker".to_owned(), "large box".to_owned()],
        ci_timeout_minutes: 15,
        ..TemplateSettings::default()
    };
    let text = ci_file(&settings).unwrap();
    for expected in [
        "name: \"docker:29-dind\"",
        "--password-stdin",
        "docker push \"$CI_REGISTRY_IMAGE:$CI_COMMIT_SHA\"",
        "    - \"docker\"\n    - \"large box\"\n",
        "timeout: 15 minutes",
    ] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
    assert!(!text.contains("buildctl"));
}

#[test]
fn settings_cannot_add_lines() {
    for tag in ["", "a\nscript: x", "a\"", "a\\"] {
        let settings =
            TemplateSettings { ci_runner_tags: vec![tag.to_owned()], ..TemplateSettings::default() };
        assert_eq!(ci_file(&settings).unwrap_err().code(), "invalid_template_setting", "{tag:?}");
    }
    let settings = TemplateSettings { ci_timeout_minutes: 0, ..TemplateSettings::default() };
    assert_eq!(ci_file(&settings).unwrap_err().code(), "invalid_template_setting");
}
