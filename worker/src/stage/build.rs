//! build: the image of the commit, on the target's engine or by the repository's pipeline; or the image the request named.

mod away;
mod pipeline;

use std::collections::BTreeMap;
use std::sync::Arc;

use slipway_common::model::{BuildMode, DeploymentSpec, Facts, ImageFact, ImageReference, Stage};

pub(super) use self::away::Away;
pub(super) use self::pipeline::abandon;
use super::pull::{engine_auth, for_server, of_engine, pull_credentials};
use super::source_of::{Source, build_revision};
use super::{Outcome, Run, StageError, StageResult, commit, required};
use crate::docker::context::ContextLimits;
use crate::docker::{self, BuildLimits, BuildRequest, Engine, RegistryAuth};
use crate::failpoint::{self, Moment, Place};
use crate::registry;
use crate::targets::Target;

pub(super) async fn perform(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
) -> Result<Outcome, StageError> {
    let fact = match &spec.image {
        Some(image) => given(run, spec, image).await?,
        None if spec.build == BuildMode::Gitlab => return pipeline::perform(run, spec, facts).await,
        None => {
            check_registry(run, run.tools.target(&spec.target)?)?;
            build(run, spec, facts, &run.tools.engine()?).await?
        }
    };
    run.say(&format!("Image {} is {}", fact.tag, fact.digest));
    Ok(Outcome::done(StageResult::of(Facts { image: Some(fact), ..Facts::default() })))
}

/// The image the request named.
async fn given(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    image: &ImageReference,
) -> Result<ImageFact, StageError> {
    let server = registry::server_of(image.as_str());
    let credentials = pull_credentials(run, spec, server.as_deref()).await?;
    let (digest, pushed, port) = match run.tools.target(&spec.target)? {
        Target::Docker => {
            let auth = engine_auth(&credentials, image.as_str());
            let engine = run.tools.engine()?;
            let digest = docker::ensure_image(&engine, image.as_str(), auth.as_ref(), run.journal).await?;
            (digest, None, None)
        }
        Target::Kubernetes(_) => {
            let credential = server.and_then(|server| for_server(&credentials, &server));
            let found = registry::resolve(image, credential).await?;
            (found.digest, Some(found.by_digest), found.port)
        }
    };
    Ok(ImageFact { digest, tag: image.to_string(), reused: true, pushed, port })
}

/// The image of the facts once more, when the engine has lost it.
pub(super) async fn again(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
    engine: &Engine,
) -> Result<ImageFact, StageError> {
    if spec.build == BuildMode::Gitlab {
        return pipeline::pull_again(run, spec, facts, engine).await;
    }
    build(run, spec, facts, engine).await
}

/// A cluster's nodes pull from a registry: without one, a build would be in vain.
fn check_registry(run: &Run<'_>, target: Target<'_>) -> Result<(), StageError> {
    match target {
        Target::Kubernetes(_) if run.tools.settings.docker.push_to.is_none() => Err(StageError::Refused {
            code: "registry_missing",
            reason: "no registry is set from which the cluster's nodes could pull the image".to_owned(),
            hint: "Set `docker.push_to` to a registry that the cluster can pull from.",
        }),
        Target::Kubernetes(_) | Target::Docker => Ok(()),
    }
}

/// Builds the image of the commit, or finds the one an earlier run built.
async fn build(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
    engine: &Engine,
) -> Result<ImageFact, StageError> {
    let template = required(facts.template.as_ref(), Stage::Template)?;
    let (revision, branch) = build_revision(facts)?;
    let source = Source::open(run, spec).await?;
    commit::rewrite_unpushed(run, spec, &source, facts).await?;
    let tree = source.tree(&revision, branch.as_deref()).await?;
    let auth = registry_auth(run).await?;
    let request = build_request(run, &revision, &template.dockerfile, lent_to(spec, auth.as_ref()));
    failpoint::reach(Place::Build, Moment::Inside).await;
    let built = docker::build(engine, &request, Arc::new(tree), run.journal, run.cancel).await?;
    let pushed = match &run.tools.settings.docker.push_to {
        Some(registry) => {
            let name = format!("{registry}/{}", run.message.project.slug);
            let digest =
                docker::push(engine, &built.image_id, &format!("{name}:{revision}"), auth.as_ref()).await?;
            run.say(&format!("Pushed {name}@{digest}"));
            Some(format!("{name}@{digest}"))
        }
        None => None,
    };
    let port = match run.tools.target(&spec.target)? {
        Target::Docker => None,
        Target::Kubernetes(_) => docker::exposed_port(engine, &built.image_id).await?,
    };
    Ok(ImageFact { digest: built.image_id, tag: built.tag, reused: built.reused, pushed, port })
}

fn build_request(
    run: &Run<'_>,
    revision: &str,
    dockerfile: &str,
    registry_auth: Vec<RegistryAuth>,
) -> BuildRequest {
    let docker = &run.tools.settings.docker;
    let short = revision.get(..12).unwrap_or(revision);
    let timeout = run.tools.settings.stage_timeouts.of(Stage::Build);
    BuildRequest {
        project: run.message.project.slug.to_string(),
        deployment: run.message.deployment.to_string(),
        job: run.message.id.to_string(),
        commit: revision.to_owned(),
        dockerfile: dockerfile.to_owned(),
        tag: format!("slipway/{}:{short}", run.message.project.slug),
        labels: BTreeMap::new(),
        build_args: BTreeMap::new(),
        pull_base: false,
        limits: BuildLimits {
            context: ContextLimits {
                max_context_bytes: docker.context_max_bytes,
                max_context_files: docker.context_max_files,
            },
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            ..BuildLimits::default()
        },
        registry_auth,
    }
}

/// What a build may pull with. Code of others gets nothing: its Dockerfile could name any image of the installation's own
/// registry.
fn lent_to(spec: &DeploymentSpec, auth: Option<&RegistryAuth>) -> Vec<RegistryAuth> {
    auth.filter(|_| !spec.foreign).cloned().into_iter().collect()
}

/// The credential for the registry images are pushed to, if one is configured.
async fn registry_auth(run: &Run<'_>) -> Result<Option<RegistryAuth>, StageError> {
    Ok(of_engine(run).await?.map(|credential| RegistryAuth {
        server: credential.server,
        username: credential.username,
        password: credential.password,
    }))
}

#[cfg(test)]
mod tests {
    use slipway_common::contract::sample;

    use super::*;

    #[test]
    fn no_credential_is_lent_to_code_of_others() {
        let auth = RegistryAuth {
            server: "registry.example.com".to_owned(),
            username: "slipway".to_owned(),
            password: "hunter2".into(),
        };
        let own = sample::spec("shop");
        assert_eq!(lent_to(&own, Some(&auth)).len(), 1);
        assert!(lent_to(&own, None).is_empty());
        assert!(lent_to(&DeploymentSpec { foreign: true, ..own }, Some(&auth)).is_empty());
    }
}
