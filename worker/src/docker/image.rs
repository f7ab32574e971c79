//! Images of the engine: making sure one is there, pushing one, and removing those nobody needs any more.

use std::collections::HashSet;
use std::fmt;

use bollard::auth::DockerCredentials;
use bollard::models::ImageSummary;
use bollard::query_parameters::{
    CreateImageOptions, ListContainersOptions, ListImagesOptions, PushImageOptions, RemoveImageOptions,
    TagImageOptions,
};
use futures_util::{Stream, StreamExt};
use secrecy::{ExposeSecret, SecretString};

use super::engine::{Engine, millis};
use super::error::DockerError;
use super::{LogSink, labels};
use crate::failpoint::{self, Place};

/// Images kept per project when the caller has no opinion: the running one and two to go back to.
pub const KEEP_IMAGES_DEFAULT: usize = 3;

/// Credentials of one registry.
#[derive(Clone)]
pub struct RegistryAuth {
    /// Host of the registry, with its port if it has one, e.g. `registry.example.com:5000`.
    pub server: String,
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: SecretString,
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RegistryAuth").field("server", &self.server).finish_non_exhaustive()
    }
}

impl RegistryAuth {
    /// The form `bollard` takes. Its `Debug` prints the password: hand it on, never keep it.
    pub(super) fn credentials(&self) -> DockerCredentials {
        DockerCredentials {
            username: Some(self.username.clone()),
            password: Some(self.password.expose_secret().to_owned()),
            serveraddress: Some(self.server.clone()),
            ..DockerCredentials::default()
        }
    }
}

/// Makes sure the image called `reference` is on the engine and returns its id.
///
/// What is there already is used; only otherwise is it pulled, within the deadline for transfers.
///
/// # Errors
/// [`DockerError::ImageNotFound`], [`DockerError::PullFailed`] or [`DockerError::RegistryAuth`], all naming the
/// image, and what any call may return.
pub async fn ensure_image(
    engine: &Engine,
    reference: &str,
    auth: Option<&RegistryAuth>,
    log: &dyn LogSink,
) -> Result<String, DockerError> {
    check_reference(reference)?;
    if let Some(id) = local_id(engine, reference).await? {
        return Ok(id);
    }
    log.line(&format!("Pulling {reference}"));
    pull(engine, reference, auth).await?;
    local_id(engine, reference)
        .await?
        .ok_or_else(|| DockerError::ImageNotFound { image: reference.to_owned() })
}

/// Pushes the image with id `image` as `reference` and returns the digest the registry knows it by.
///
/// # Errors
/// [`DockerError::RegistryAuth`] when the registry refuses, and what any call may return.
pub async fn push(
    engine: &Engine,
    image: &str,
    reference: &str,
    auth: Option<&RegistryAuth>,
) -> Result<String, DockerError> {
    check_reference(reference)?;
    let (repository, tag) = split_reference(reference);
    let tagging = TagImageOptions { repo: Some(repository.to_owned()), tag: Some(tag.to_owned()) };
    engine.call("tag image", engine.docker().tag_image(image, Some(tagging))).await?;
    let options = PushImageOptions { tag: Some(tag.to_owned()), ..PushImageOptions::default() };
    let output = engine.docker().push_image(repository, Some(options), auth.map(RegistryAuth::credentials));
    failpoint::around(Place::ImagePush, drain(engine, "push image", output))
        .await
        .map_err(|error| refused(reference, error))?;
    let inspected = engine.call("inspect image", engine.docker().inspect_image(image)).await?;
    let prefix = format!("{repository}@");
    inspected
        .repo_digests
        .unwrap_or_default()
        .into_iter()
        .find_map(|digest| digest.strip_prefix(&prefix).map(str::to_owned))
        .ok_or_else(|| DockerError::Engine {
            operation: "push image",
            status: 0,
            reason: format!("the registry gave no digest for {reference}"),
        })
}

/// Removes the images Slipway built for `project` that no container uses, but for the newest `keep`.
/// Returns the ids it removed.
///
/// # Errors
/// What any call may return. An image that comes into use meanwhile is left alone.
pub async fn prune_images(engine: &Engine, project: &str, keep: usize) -> Result<Vec<String>, DockerError> {
    let mut images = list_images(engine, [(labels::MANAGED, "true"), (labels::PROJECT, project)]).await?;
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    let used = images_in_use(engine).await?;
    let mut removed = Vec::new();
    for image in images.into_iter().skip(keep).filter(|image| !used.contains(&image.id)) {
        let references = if image.repo_tags.is_empty() { vec![image.id.clone()] } else { image.repo_tags };
        for reference in references {
            remove(engine, &reference).await?;
        }
        removed.push(image.id);
    }
    Ok(removed)
}

/// Removes the images of `repository` that were pulled by digest and that no container uses, but for the newest `keep`.
/// Images that have a name of their own, or that Slipway built, are left alone. Returns the ids it removed.
///
/// # Errors
/// What any call may return. An image that comes into use meanwhile is left alone.
pub async fn prune_pulled(
    engine: &Engine,
    repository: &str,
    keep: usize,
) -> Result<Vec<String>, DockerError> {
    let all = engine.call("list images", engine.docker().list_images(None::<ListImagesOptions>)).await?;
    let mut pulled: Vec<(ImageSummary, Vec<String>)> = all
        .into_iter()
        .filter_map(|image| {
            let digests = pulled_as(&image, repository);
            (!digests.is_empty()).then_some((image, digests))
        })
        .collect();
    pulled.sort_by_key(|(image, _)| std::cmp::Reverse(image.created));
    let used = if pulled.len() > keep { images_in_use(engine).await? } else { HashSet::new() };
    let mut removed = Vec::new();
    for (image, digests) in pulled.into_iter().skip(keep).filter(|(image, _)| !used.contains(&image.id)) {
        for digest in digests {
            remove(engine, &digest).await?;
        }
        removed.push(image.id);
    }
    Ok(removed)
}

/// The digests of `repository` an image was pulled by, when it has no name besides. Pure.
fn pulled_as(image: &ImageSummary, repository: &str) -> Vec<String> {
    let is_named = image.repo_tags.iter().any(|tag| !tag.starts_with("<none>"));
    if is_named || image.labels.contains_key(labels::MANAGED) {
        return Vec::new();
    }
    let is_of = |digest: &&String| digest.split_once('@').is_some_and(|(name, _)| name == repository);
    image.repo_digests.iter().filter(is_of).cloned().collect()
}

/// Removes one name of an image, and the image with its last one.
async fn remove(engine: &Engine, reference: &str) -> Result<(), DockerError> {
    let options = RemoveImageOptions { force: false, ..RemoveImageOptions::default() };
    let call = engine.docker().remove_image(reference, Some(options), None);
    match failpoint::around(Place::ImageRemove, engine.call("remove image", call)).await {
        Ok(_deleted) => Ok(()),
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether the engine has this image.
///
/// # Errors
/// What any call may return.
pub async fn is_present(engine: &Engine, image: &str) -> Result<bool, DockerError> {
    local_id(engine, image).await.map(|id| id.is_some())
}

/// The id of a local image, if it is there.
pub(super) async fn local_id(engine: &Engine, reference: &str) -> Result<Option<String>, DockerError> {
    match engine.call("inspect image", engine.docker().inspect_image(reference)).await {
        Ok(image) => Ok(image.id),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The one TCP port the image exposes; `None` when it exposes none or several.
///
/// # Errors
/// What any call may return.
pub async fn exposed_port(engine: &Engine, image: &str) -> Result<Option<u16>, DockerError> {
    let inspected = engine.call("inspect image", engine.docker().inspect_image(image)).await?;
    let exposed = inspected.config.and_then(|config| config.exposed_ports).unwrap_or_default();
    let mut ports = exposed.iter().filter_map(|port| port.strip_suffix("/tcp")?.parse().ok());
    Ok(ports.next().filter(|_| ports.next().is_none()))
}

/// Images that carry all of `wanted`.
pub(super) async fn list_images<'a>(
    engine: &Engine,
    wanted: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<ImageSummary>, DockerError> {
    let options = ListImagesOptions { filters: Some(labels::filter(wanted)), ..ListImagesOptions::default() };
    let mut images = engine.call("list images", engine.docker().list_images(Some(options))).await?;
    // An image without a name is listed with the placeholder `<none>:<none>`.
    for image in &mut images {
        image.repo_tags.retain(|tag| !tag.starts_with("<none>"));
    }
    Ok(images)
}

async fn images_in_use(engine: &Engine) -> Result<HashSet<String>, DockerError> {
    let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
    let containers = engine.call("list containers", engine.docker().list_containers(Some(options))).await?;
    Ok(containers.into_iter().filter_map(|container| container.image_id).collect())
}

async fn pull(engine: &Engine, reference: &str, auth: Option<&RegistryAuth>) -> Result<(), DockerError> {
    let options =
        CreateImageOptions { from_image: Some(with_tag(reference)), ..CreateImageOptions::default() };
    let output = engine.docker().create_image(Some(options), None, auth.map(RegistryAuth::credentials));
    failpoint::around(Place::ImagePull, drain(engine, "pull image", output))
        .await
        .map_err(|error| refused(reference, error))
}

/// Reads a progress stream to its end, which is where its error is.
async fn drain<T>(
    engine: &Engine,
    operation: &'static str,
    output: impl Stream<Item = Result<T, bollard::errors::Error>>,
) -> Result<(), DockerError> {
    let limit_ms = millis(engine.transfer_timeout());
    let mut output = std::pin::pin!(output);
    let read = async {
        let mut result = Ok(());
        while let Some(item) = output.next().await {
            if let Err(error) = item {
                result = result.and(Err(DockerError::of_engine(operation, limit_ms, error)));
            }
        }
        result
    };
    tokio::time::timeout(engine.transfer_timeout(), read)
        .await
        .unwrap_or(Err(DockerError::TimedOut { operation, limit_ms }))
}

/// Tells why a registry did not give or take an image.
pub(super) fn refused(image: &str, error: DockerError) -> DockerError {
    let DockerError::Engine { status, reason, .. } = error else { return error };
    let image = image.to_owned();
    let reason = crate::text::clean(&reason);
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if says(&[
        "unauthorized",
        "authentication required",
        "no basic auth",
        "access denied",
        "requested access",
    ]) {
        DockerError::RegistryAuth { image, reason }
    } else if status == 404 || says(&["manifest unknown", "not found", "does not exist"]) {
        DockerError::ImageNotFound { image }
    } else {
        DockerError::PullFailed { image, reason }
    }
}

fn check_reference(reference: &str) -> Result<(), DockerError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let plain = reference.bytes().all(allowed) && !reference.is_empty() && reference.len() <= 512;
    if plain && !reference.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Ok(());
    }
    Err(DockerError::Invalid {
        what: "the image",
        rule: "a reference like registry/name:tag or name@sha256:…",
    })
}

/// Repository and tag; the tag is `latest` when none is named.
fn split_reference(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        Some(_) | None => (reference, "latest"),
    }
}

/// The engine pulls every tag when none is named.
fn with_tag(reference: &str) -> String {
    if reference.contains('@') {
        return reference.to_owned();
    }
    let (repository, tag) = split_reference(reference);
    format!("{repository}:{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_a_tag() {
        assert_eq!(split_reference("registry:5000/app"), ("registry:5000/app", "latest"));
        assert_eq!(split_reference("registry:5000/app:v1"), ("registry:5000/app", "v1"));
        assert_eq!(with_tag("redis"), "redis:latest");
        assert_eq!(with_tag("redis@sha256:00"), "redis@sha256:00");
    }

    #[test]
    fn only_what_was_pulled_by_digest_is_taken_for_pulled() {
        let digest = |name: &str| format!("{name}@sha256:{}", "a".repeat(64));
        let own = "registry.example.com/team/shop";
        let image = |tags: &[&str], digests: &[&str]| ImageSummary {
            repo_tags: tags.iter().map(ToString::to_string).collect(),
            repo_digests: digests.iter().map(|name| digest(name)).collect(),
            ..ImageSummary::default()
        };
        assert_eq!(pulled_as(&image(&["<none>:<none>"], &[own, "other/x"]), own), [digest(own)]);
        assert_eq!(pulled_as(&image(&[], &[own]), own), [digest(own)]);
        assert!(pulled_as(&image(&["redis:7"], &[own]), own).is_empty(), "somebody named it");
        assert!(pulled_as(&image(&[], &["registry.example.com/team/shop2"]), own).is_empty());
        let mut built = image(&[], &[own]);
        built.labels.insert(labels::MANAGED.to_owned(), "true".to_owned());
        assert!(pulled_as(&built, own).is_empty(), "Slipway built it");
    }

    #[test]
    fn credentials_are_not_printed() {
        let auth = RegistryAuth {
            server: "registry.example.com".to_owned(),
            username: "robot".to_owned(),
            password: "hunter2".into(),
        };
        assert!(!format!("{auth:?}").contains("hunter2"));
    }

    #[test]
    fn refusals_are_told_apart() {
        let engine = |status, reason: &str| DockerError::Engine {
            operation: "pull image",
            status,
            reason: reason.to_owned(),
        };
        assert_eq!(refused("x", engine(0, "unauthorized: bad password")).code(), "registry_unauthorized");
        assert_eq!(refused("x", engine(404, "manifest unknown")).code(), "image_not_found");
        assert_eq!(refused("x", engine(500, "dial tcp: lookup failed")).code(), "image_pull_failed");
    }

    #[test]
    fn references_that_could_be_paths_are_refused() {
        for bad in ["", "a b", "../x", "a//b", "a?b", "a\nb"] {
            assert!(check_reference(bad).is_err(), "{bad:?}");
        }
        assert!(check_reference("registry.example.com:5000/a/b_c:v1.2").is_ok());
    }
}
