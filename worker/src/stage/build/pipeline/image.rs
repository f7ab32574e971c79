//! The image a pipeline has pushed: its name, its digest as its registry says it, and its way onto an engine.

use slipway_common::model::{DeploymentSpec, Facts, ImageFact, ImageReference, Stage};
use slipway_gitlab::Gitlab;

use super::super::super::pull::{engine_auth, for_server, pull_credentials};
use super::super::super::{Run, StageError, forge, required};
use super::ask::{self, Halt};
use crate::docker::{self, Engine};
use crate::registry::{self, RegistryError};
use crate::targets::Target;

/// The image of the commit `revision`.
pub(super) async fn of_commit(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    gitlab: &Gitlab,
    revision: &str,
) -> Result<ImageFact, Halt> {
    let name = match &spec.pipeline.image {
        Some(image) => image.to_string(),
        None => {
            let project = ask::gitlab(run, gitlab, gitlab.project()).await?;
            project.container_registry_image_prefix.ok_or_else(registry_disabled)?
        }
    };
    let image = tagged(&name, revision)?;
    let server = registry::server_of(image.as_str()).ok_or_else(|| unusable(&name))?;
    let credentials = pull_credentials(run, spec, Some(&server)).await?;
    let credential = for_server(&credentials, &server);
    let question = registry::resolve_within(&image, credential, forge::CALL_TIMEOUT);
    let found = match ask::registry(run, &server, question).await {
        Err(Halt::Fails(StageError::Registry(RegistryError::NotFound { image }))) => {
            return Err(StageError::ImageLate { image }.into());
        }
        answer => answer?,
    };
    let (digest, port) = match run.tools.target(&spec.target)? {
        Target::Kubernetes(_) => (found.digest, found.port),
        Target::Docker => {
            let auth = engine_auth(&credentials, &found.by_digest);
            let engine = run.tools.engine()?;
            (docker::ensure_image(&engine, &found.by_digest, auth.as_ref(), run.journal).await?, None)
        }
    };
    Ok(ImageFact { digest, tag: image.to_string(), reused: false, pushed: Some(found.by_digest), port })
}

/// Brings an image that was known before onto the engine again.
pub(in super::super) async fn pull_again(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
    engine: &Engine,
) -> Result<ImageFact, StageError> {
    let known = required(facts.image.as_ref(), Stage::Build)?;
    let by_digest = known.pushed.as_deref().unwrap_or(&known.tag);
    let credentials = pull_credentials(run, spec, registry::server_of(by_digest).as_deref()).await?;
    let auth = engine_auth(&credentials, by_digest);
    let digest = docker::ensure_image(engine, by_digest, auth.as_ref(), run.journal).await?;
    Ok(ImageFact { digest, ..known.clone() })
}

/// The image called `name` of a commit: its tag is the commit.
fn tagged(name: &str, revision: &str) -> Result<ImageReference, StageError> {
    let is_bare = !name.contains('@') && !name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let image = format!("{name}:{revision}").parse().ok().filter(|_| is_bare);
    image.ok_or_else(|| unusable(name))
}

fn unusable(name: &str) -> StageError {
    StageError::Refused {
        code: "pipeline_image_invalid",
        reason: format!("`{}` is not the name of an image without a tag", crate::text::clean(name)),
        hint: "Set `pipeline.image` to the name under which the pipeline pushes the image, without its tag.",
    }
}

fn registry_disabled() -> StageError {
    StageError::Refused {
        code: "registry_disabled",
        reason: "the project has no container registry, and no `pipeline.image` says where the image is"
            .to_owned(),
        hint: "Switch the project's container registry on, or set `pipeline.image`.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_the_image_is_the_commit() {
        let revision = "a".repeat(40);
        let image = tagged("registry.example.com:5000/team/shop", &revision).unwrap();
        assert_eq!(image.as_str(), format!("registry.example.com:5000/team/shop:{revision}"));
        for bad in ["registry.example.com/shop:latest", "shop@sha256:00", "", "Team/Shop", "a b"] {
            assert!(tagged(bad, &revision).is_err(), "{bad:?}");
        }
    }
}
