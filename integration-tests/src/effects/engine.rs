//! The engine's containers and images, by the labels they carry.

use std::collections::HashMap;

use bollard::Docker;
use bollard::query_parameters::{ListContainersOptions, ListImagesOptions};
use slipway_common::model::label;

use super::{Effect, EffectKind};

/// Every container of the project, running or not. Places are `<environment> <role> <replica or support>`.
///
/// # Errors
/// When the engine does not answer.
pub async fn containers(docker: &Docker, project: &str) -> anyhow::Result<Vec<Effect>> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(of_project(project)),
        ..ListContainersOptions::default()
    };
    let containers = docker.list_containers(Some(options)).await?;
    let effects = containers.into_iter().map(|container| {
        let labels = container.labels.unwrap_or_default();
        let get = |key: &str| labels.get(key).cloned().unwrap_or_default();
        let which =
            if get(label::ROLE) == label::ROLE_APP { get(label::REPLICA) } else { get(label::SUPPORT) };
        Effect {
            kind: EffectKind::Container,
            job: get(label::JOB),
            place: format!("{} {} {which}", get(label::ENVIRONMENT), get(label::ROLE)),
            value: container.id.unwrap_or_default(),
        }
    });
    Ok(effects.collect())
}

/// Every image of the project. Places are the commits they were built from.
///
/// # Errors
/// When the engine does not answer.
pub async fn images(docker: &Docker, project: &str) -> anyhow::Result<Vec<Effect>> {
    let options = ListImagesOptions { filters: Some(of_project(project)), ..ListImagesOptions::default() };
    let images = docker.list_images(Some(options)).await?;
    let effects = images.into_iter().map(|image| Effect {
        kind: EffectKind::Image,
        job: image.labels.get(label::JOB).cloned().unwrap_or_default(),
        place: image.labels.get(label::COMMIT).cloned().unwrap_or_default(),
        value: image.id,
    });
    Ok(effects.collect())
}

fn of_project(project: &str) -> HashMap<String, Vec<String>> {
    let wanted = vec![format!("{}=true", label::MANAGED), format!("{}={project}", label::PROJECT)];
    HashMap::from([("label".to_owned(), wanted)])
}
