//! On the Docker target: make the engine run the image, and nothing else, in the project's environment.

use std::time::Duration;

use jiff::Timestamp;
use slipway_common::model::{DeploymentSpec, Facts, InventoryFact, ResourceSpec, Stage};
use slipway_common::store::Reservation;

use super::super::pull::{engine_auth, pull_credentials};
use super::super::turn::in_turn;
use super::super::{Run, StageError, StageResult, build, required};
use super::{open_env, size_for};
use crate::docker::{
    self, ApplySpec, DrainPolicy, Engine, GatewayPort, HealthCheck, Resources, RestartPolicy, Scope, Support,
};
use crate::failpoint::{self, Moment, Place};

/// How long an environment without containers keeps its port.
const PORT_KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 3600);
/// Checks in a row that make a replica healthy.
const HEALTHY_AFTER: u32 = 1;

pub(super) async fn perform(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
) -> Result<StageResult, StageError> {
    let image = required(facts.image.as_ref(), Stage::Build)?;
    let engine = run.tools.engine()?;
    let error = match put_in_service(run, spec, facts, &engine, &image.digest).await {
        Ok(inventory) => {
            return Ok(StageResult::of(Facts { inventory: Some(inventory), ..Facts::default() }));
        }
        Err(error) => error,
    };
    let comes_again = spec.image.is_none() && matches!(error, StageError::Docker(_));
    if !comes_again || docker::is_present(&engine, &image.digest).await? {
        return Err(error);
    }
    // Another environment's worker, or a person, has removed old images since the build.
    run.say("The image was removed from the engine meanwhile; it is made again");
    let image = build::again(run, spec, facts, &engine).await?;
    let inventory = put_in_service(run, spec, facts, &engine, &image.digest).await?;
    Ok(StageResult::of(Facts { image: Some(image), inventory: Some(inventory), ..Facts::default() }))
}

/// Makes the engine run the image, and nothing else, in the project's environment.
async fn put_in_service(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    facts: &Facts,
    engine: &Engine,
    image_id: &str,
) -> Result<InventoryFact, StageError> {
    let port = port(engine, spec, facts, image_id).await?;
    let scope = scope(run)?;
    let supports = supports(run, spec, engine).await?;
    let gateway_port = stable_port(run, engine, &scope).await?;
    let mut wanted = ApplySpec {
        scope,
        deployment: run.message.deployment.to_string(),
        job: run.message.id.to_string(),
        fence: run.fence,
        image_id: image_id.to_owned(),
        port,
        replicas: spec.replicas,
        env: open_env(run, &spec.env)?,
        resources: resources(&spec.resources),
        supports,
        health: HealthCheck {
            path: spec.health.path.clone(),
            interval_ms: spec.health.interval_ms,
            timeout_ms: spec.health.timeout_ms,
            deadline_ms: spec.health.deadline_ms,
            successes: HEALTHY_AFTER,
        },
        gateway_port: Some(gateway_port),
        drain: drain_policy(run),
        restart: RestartPolicy::UnlessStopped,
    };
    let applied = in_turn(run, async {
        // In turn, so that no scaler changes it any more.
        wanted.replicas = replicas(run, spec).await?;
        failpoint::reach(Place::Apply, Moment::Inside).await;
        Ok(docker::apply(engine, &wanted, run.journal, run.cancel).await?)
    })
    .await?;
    let objects = applied.replicas.into_iter().map(|replica| replica.name).collect();
    let url = format!("http://{}:{gateway_port}", run.tools.settings.docker.gateway_host);
    prune_images(run, engine, facts).await;
    Ok(InventoryFact { url: Some(url), gateway_port: Some(gateway_port), namespace: None, objects })
}

/// How many replicas the engine runs.
async fn replicas(run: &Run<'_>, spec: &DeploymentSpec) -> Result<u32, StageError> {
    let replicas = size_for(run, spec).await?.at_most(docker::REPLICAS_MAX);
    if replicas != spec.replicas {
        run.say(&format!("{} replicas were asked for; the autoscaler keeps {replicas}", spec.replicas));
    }
    Ok(replicas)
}

/// The deployment's place on the engine.
pub(in super::super) fn scope(run: &Run<'_>) -> Result<Scope, StageError> {
    Ok(Scope::new(run.message.project.slug.as_str(), run.message.environment.as_str())?)
}

/// How containers are taken out of service.
pub(in super::super) fn drain_policy(run: &Run<'_>) -> DrainPolicy {
    let docker = &run.tools.settings.docker;
    DrainPolicy {
        drain_ms: u64::try_from(docker.drain.as_millis()).unwrap_or(u64::MAX),
        stop_timeout_s: docker.stop_grace_s,
    }
}

/// Where the application listens: a generated Dockerfile was made for the port in the template's fact; otherwise the
/// request knows best, then the repository, then the image.
async fn port(engine: &Engine, spec: &DeploymentSpec, facts: &Facts, image: &str) -> Result<u16, StageError> {
    let template = facts.template.as_ref();
    let known = template.and_then(|template| template.port);
    let generated = template.is_some_and(|template| template.generated.contains(&template.dockerfile));
    if let Some(port) = if generated { known.or(spec.port) } else { spec.port.or(known) } {
        return Ok(port);
    }
    docker::exposed_port(engine, image).await?.ok_or_else(|| StageError::Refused {
        code: "port_unknown",
        reason: "neither the request nor the Dockerfile says which port the application listens on"
            .to_owned(),
        hint: "Give `port` in the request, or add one EXPOSE to the Dockerfile.",
    })
}

fn resources(spec: &ResourceSpec) -> Resources {
    Resources { memory_bytes: spec.memory_bytes, cpu_millis: spec.cpu_millis, pids: spec.pids }
}

async fn supports(run: &Run<'_>, spec: &DeploymentSpec, engine: &Engine) -> Result<Vec<Support>, StageError> {
    let mut supports = Vec::with_capacity(spec.supports.len());
    let credentials =
        if spec.supports.is_empty() { Vec::new() } else { pull_credentials(run, spec, None).await? };
    for support in &spec.supports {
        let image = support.image.as_str();
        let auth = engine_auth(&credentials, image);
        supports.push(Support {
            name: support.name.to_string(),
            image_id: docker::ensure_image(engine, image, auth.as_ref(), run.journal).await?,
            port: support.port,
            env: open_env(run, &support.env)?,
            resources: resources(&ResourceSpec::default()),
        });
    }
    Ok(supports)
}

/// The environment's stable port: the one its containers have, else the one it had before, else a free one. The
/// store keeps the claim, so that no other environment is given the port while this one is stopped.
async fn stable_port(run: &Run<'_>, engine: &Engine, scope: &Scope) -> Result<u16, StageError> {
    let candidates = match docker::gateway_port(engine, scope, run.tools.settings.docker.ports).await? {
        GatewayPort::Own(port) => return Ok(port),
        GatewayPort::Candidates(candidates) => candidates,
    };
    for port in candidates {
        match claim_port(run, port).await? {
            PortClaim::Kept => return Ok(port),
            PortClaim::Made if docker::port_is_free(port).await => return Ok(port),
            PortClaim::Made | PortClaim::Anothers => {}
        }
    }
    Err(StageError::Refused {
        code: "gateway_ports_used_up",
        reason: "every port of the gateway's range belongs to another environment or program".to_owned(),
        hint: "Widen `gateway.port_min` to `gateway.port_max`.",
    })
}

/// Whose a port is.
enum PortClaim {
    /// This environment's, since now.
    Made,
    /// This environment's, since an earlier job; the gateway may still hold it open.
    Kept,
    /// Another environment's.
    Anothers,
}

async fn claim_port(run: &Run<'_>, port: u16) -> Result<PortClaim, StageError> {
    let now = Timestamp::now();
    let wanted = Reservation {
        scope: format!("target/{}/port/{port}", run.tools.settings.docker.name),
        fingerprint: run.message.serial_key(),
        deployment: run.message.deployment,
        job: run.message.id,
        at: now,
    };
    let store = &run.tools.backend.store;
    let reserved = store.reserve(&wanted, PORT_KEPT_FOR, now);
    let kept = failpoint::around(Place::PortReserve, reserved).await.map_err(StageError::Store)?;
    Ok(match kept {
        kept if kept.fingerprint != wanted.fingerprint => PortClaim::Anothers,
        kept if kept.job == wanted.job && kept.at == wanted.at => PortClaim::Made,
        _ => PortClaim::Kept,
    })
}

/// Old images are only a matter of disk space: failing to remove them fails nothing.
async fn prune_images(run: &Run<'_>, engine: &Engine, facts: &Facts) {
    let (project, keep) = (&run.message.project.slug, run.tools.settings.docker.images_keep);
    let pulled = facts.image.as_ref().filter(|image| !image.reused).and_then(|image| image.pushed.as_deref());
    let pruned = async {
        docker::prune_images(engine, project.as_str(), keep).await?;
        match pulled.and_then(|name| name.split_once('@')) {
            Some((repository, _)) => docker::prune_pulled(engine, repository, keep).await,
            None => Ok(Vec::new()),
        }
    };
    if let Err(error) = pruned.await {
        tracing::warn!(%project, %error, "old images could not be removed");
    }
}
