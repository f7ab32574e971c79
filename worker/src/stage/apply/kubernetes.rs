//! On a Kubernetes target: make the cluster run the image, a step at a time; the job is parked between them.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use slipway_common::model::request::cluster_token_context;
use slipway_common::model::{
    Deployment, DeploymentId, DeploymentSpec, Facts, ImageFact, InventoryFact, JobKind, Stage, SupportSpec,
};

use super::super::pull::{for_server, pull_credentials};
use super::super::{Outcome, Run, StageError, StageResult, required, stop};
use super::{open_env, size_for};
use crate::failpoint::{self, Moment, Place};
use crate::kubernetes::{
    self, Cluster, Interest, KubernetesError, Progress, PullCredential, Support, Variables, Wanted, advance,
    put,
};
use crate::registry;
use crate::targets::ClusterTarget;

/// How long a job is parked that nobody wakes. Rollouts wake their jobs; this is for what the watches do not see.
const LOOK_AGAIN: Duration = Duration::from_secs(4);

pub(super) async fn perform(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
    target: &ClusterTarget,
) -> Result<Outcome, StageError> {
    let wanted = wanted(run, spec, facts).await?;
    let requested = as_requested(run, spec, target)?;
    let cluster = requested.as_ref().unwrap_or(&target.cluster);
    let place = kubernetes::Place { cluster, ..target.place() };
    failpoint::reach(Place::Apply, Moment::Inside).await;
    match advance(place, &wanted, run.said, run.journal).await? {
        Progress::Done(applied) => {
            let inventory = InventoryFact {
                url: applied.url,
                gateway_port: None,
                namespace: Some(applied.namespace),
                objects: applied.objects,
            };
            Ok(Outcome::done(StageResult::of(Facts { inventory: Some(inventory), ..Facts::default() })))
        }
        Progress::Waiting { reason, deployments } => {
            if !deployments.is_empty() {
                let interest = Interest { job: run.message.id, deployments, said: reason.clone() };
                target.watch.wake(&wanted.namespace(), interest);
            }
            Ok(Outcome::Waits { reason, longest: LOOK_AGAIN })
        }
    }
}

/// The cluster as it lets the token of the request in, if the request brought one. What is not done for a
/// request, such as a repair, is done with the target's own credentials.
fn as_requested(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    target: &ClusterTarget,
) -> Result<Option<Cluster>, StageError> {
    let is_requested = matches!(run.message.kind, JobKind::Deploy { .. });
    let Some(sealed) = spec.cluster_token.as_ref().filter(|_| is_requested) else { return Ok(None) };
    let place = cluster_token_context(&run.message.project, &spec.target);
    let token = run.tools.sealer.open(&place, sealed).map_err(StageError::Secret)?;
    Ok(Some(target.cluster.acting_as(token)))
}

/// Takes the deployment out of service. Returns what was deleted.
pub(in super::super) async fn stop(run: &Run<'_>, target: &ClusterTarget) -> Result<Vec<String>, StageError> {
    let wanted = bare(run);
    let Some(owner) = kubernetes::owner(target.place(), &wanted).await? else { return Ok(Vec::new()) };
    let serves_another = owner != wanted.deployment
        && in_service(run, target).await?.iter().any(|other| other.id.to_string() == owner);
    if serves_another {
        return Ok(Vec::new());
    }
    Ok(kubernetes::stop(&target.cluster, &wanted, run.journal).await?)
}

/// Takes a deployment out of service that is served from another target now. When it does not have the namespace any
/// more, both targets are the same cluster.
pub(in super::super) async fn leave(
    run: &Run<'_>,
    left: DeploymentId,
    target: &ClusterTarget,
) -> Result<(), StageError> {
    let wanted = bare(run);
    let owner = kubernetes::owner(target.place(), &wanted).await?;
    if owner.is_some_and(|owner| owner == left.to_string()) {
        kubernetes::stop(&target.cluster, &wanted, run.journal).await?;
    }
    Ok(())
}

/// Undoes what an interrupted or failed apply of this deployment has begun: puts back the deployment that is in service,
/// whose pods serve still, or removes everything when there is none.
pub(in super::super) async fn give_way(run: &Run<'_>, target: &ClusterTarget) -> Result<(), StageError> {
    let owner = kubernetes::owner(target.place(), &bare(run)).await?;
    if owner.is_none_or(|owner| owner != run.message.deployment.to_string()) {
        return Ok(());
    }
    let serving = in_service(run, target).await?;
    let previous = serving.into_iter().find(|other| other.id != run.message.deployment);
    let Some(previous) = previous else {
        return stop(run, target).await.map(|_| ());
    };
    run.say(&format!("Putting back the deployment in service, {}", previous.id));
    let wanted =
        Wanted { deployment: previous.id.to_string(), ..wanted(run, &previous.spec, &previous.facts).await? };
    Ok(put(target.place(), &wanted, run.journal).await?)
}

/// The deployments of this project and environment that serve on the target.
async fn in_service(run: &Run<'_>, target: &ClusterTarget) -> Result<Vec<Deployment>, StageError> {
    let mut serving = stop::in_service(run).await?;
    serving.retain(|deployment| deployment.target == target.cluster.settings().name);
    Ok(serving)
}

/// What names the deployment's place, and nothing of what runs there.
fn bare(run: &Run<'_>) -> Wanted {
    Wanted {
        project: run.message.project.slug.clone(),
        environment: run.message.environment.clone(),
        deployment: run.message.deployment.to_string(),
        job: run.message.id.to_string(),
        fence: run.fence,
        image: String::new(),
        port: 0,
        replicas: 0,
        is_scaled: false,
        env: Variables::default(),
        resources: slipway_common::model::ResourceSpec::default(),
        health: slipway_common::model::HealthSpec::default(),
        supports: Vec::new(),
        hostnames: Vec::new(),
        pull: None,
        thorough: matches!(run.message.kind, JobKind::Repair { .. }),
    }
}

async fn wanted(run: &Run<'_>, spec: &DeploymentSpec, facts: &Facts) -> Result<Wanted, StageError> {
    let image = pullable(required(facts.image.as_ref(), Stage::Build)?)?;
    let server = registry::server_of(&image);
    let credentials = pull_credentials(run, spec, server.as_deref()).await?;
    let size = size_for(run, spec).await?;
    let mut supports = Vec::with_capacity(spec.supports.len());
    for support in &spec.supports {
        supports.push(of_support(run, support, &credentials).await?);
    }
    // Nodes are shown one: that of the image's registry, or else whichever there is, for the supports.
    let own = server.as_deref().and_then(|server| for_server(&credentials, server).cloned());
    let pull = own.or_else(|| credentials.into_iter().next());
    Ok(Wanted {
        image,
        port: port(spec, facts)?,
        replicas: size.replicas,
        is_scaled: size.is_scaled,
        env: variables(run, &spec.env)?,
        resources: spec.resources.clone(),
        health: spec.health.clone(),
        supports,
        hostnames: spec.hostnames.iter().map(ToString::to_string).collect(),
        pull,
        ..bare(run)
    })
}

async fn of_support(
    run: &Run<'_>,
    support: &SupportSpec,
    credentials: &[PullCredential],
) -> Result<Support, StageError> {
    let server = registry::server_of(support.image.as_str());
    let pull = server.and_then(|server| for_server(credentials, &server));
    Ok(Support {
        name: support.name.to_string(),
        image: registry::resolve(&support.image, pull).await?.by_digest,
        port: support.port,
        env: variables(run, &support.env)?,
        resources: slipway_common::model::ResourceSpec::default(),
    })
}

/// The variables of one container, with a hash that tells versions apart and is of no use without the key.
fn variables(
    run: &Run<'_>,
    env: &std::collections::BTreeMap<slipway_common::model::EnvName, slipway_common::secrets::Sealed>,
) -> Result<Variables, StageError> {
    let values = open_env(run, env)?;
    let mut input = Vec::new();
    for (name, value) in &values {
        for part in [name.as_str(), value.expose_secret()] {
            input.extend(part.len().to_be_bytes());
            input.extend(part.as_bytes());
        }
    }
    let hash = if values.is_empty() { String::new() } else { run.tools.sealer.fingerprint(&input) };
    Ok(Variables { values, hash })
}

/// The name nodes pull the image by.
fn pullable(image: &ImageFact) -> Result<String, StageError> {
    image.pushed.clone().ok_or_else(|| StageError::Refused {
        code: "registry_missing",
        reason: "the image is on the Docker engine only, where the nodes of a cluster cannot pull it"
            .to_owned(),
        hint: "Set `docker.push_to` to a registry that the cluster can pull from.",
    })
}

/// Where the application listens: a generated Dockerfile was made for the port in the template's fact; otherwise the
/// request knows best, then the repository, then the image.
fn port(spec: &DeploymentSpec, facts: &Facts) -> Result<u16, StageError> {
    let template = facts.template.as_ref();
    let known = template.and_then(|template| template.port);
    let generated = template.is_some_and(|template| template.generated.contains(&template.dockerfile));
    let given = if generated { known.or(spec.port) } else { spec.port.or(known) };
    let exposed = facts.image.as_ref().and_then(|image| image.port);
    given.or(exposed).ok_or_else(|| StageError::Refused {
        code: "port_unknown",
        reason: "neither the request nor the image says which port the application listens on".to_owned(),
        hint: "Give `port` in the request, or add one EXPOSE to the Dockerfile.",
    })
}

impl From<KubernetesError> for StageError {
    fn from(error: KubernetesError) -> Self {
        Self::Kubernetes(error)
    }
}
