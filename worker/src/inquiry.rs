//! Answers questions about what runs: what a pod or a container has printed, and what happened to it.
//!
//! A question names a deployment and a pod. What does not belong to the deployment is unknown to it, and no
//! name out of a question reaches a target: it is looked for among the names that the target tells. Known
//! secrets are replaced in whatever is answered.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use slipway_common::inquiry::{Answer, Asked, Inquiry, LOG_MAX_BYTES, TAIL_LINES_MAX, Taken, is_name};
use slipway_common::model::request::env_context;
use slipway_common::model::{Deployment, LiveEvent, Stage};
use slipway_common::secrets::SecretError;
use slipway_common::store::{DeploymentFilter, Page};
use slipway_common::telemetry::chain;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::docker::{self, Scope, Usage};
use crate::kubernetes::{KubernetesError, pods};
use crate::stage::{StageError, Tools};
use crate::targets::{ClusterTarget, Target};
use crate::text::{Redactor, clean};

/// Questions that are answered at once.
const AT_ONCE: usize = 4;
/// Longest time for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Longest wait for a question before the next look.
const QUESTION_WAIT: Duration = Duration::from_secs(5);
/// Pause after questions could not be asked for.
const FAULT_PAUSE: Duration = Duration::from_millis(500);
/// Events in one answer.
const EVENTS_MAX: usize = 100;
/// Deployments of the environment whose secrets are looked for: pods of earlier ones may still be there.
const SECRETS_OF_MAX: u32 = 10;

/// Takes questions and answers them until `stop`; those that were taken by then are answered still.
pub(crate) async fn answer_questions(tools: Arc<Tools>, stop: CancellationToken) {
    let mut at_work = JoinSet::new();
    loop {
        while let Some(ended) = at_work.try_join_next() {
            tell(ended);
        }
        if at_work.len() >= AT_ONCE {
            at_work.join_next().await.into_iter().for_each(tell);
            continue;
        }
        let next = tokio::select! {
            next = tools.backend.inquiries.next(QUESTION_WAIT) => next,
            () = stop.cancelled() => break,
        };
        match next {
            Ok(Some(taken)) => {
                at_work.spawn(answer(Arc::clone(&tools), taken));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(error = chain(&error), "no questions can be taken");
                tokio::select! {
                    () = tokio::time::sleep(FAULT_PAUSE) => {}
                    () = stop.cancelled() => break,
                }
            }
        }
    }
    while let Some(ended) = at_work.join_next().await {
        tell(ended);
    }
}

fn tell(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the answer to a question ended unexpectedly");
    }
}

/// Answers one question. Whoever asked is told in time when the target is too slow.
async fn answer(tools: Arc<Tools>, taken: Taken) {
    let limit = ANSWER_MAX.min(taken.left / 10 * 9);
    let answer = match tokio::time::timeout(limit, find(&tools, &taken.inquiry)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => failed(&error),
        Err(_) => Answer::Failed {
            code: "target_timeout".to_owned(),
            reason: format!("the target did not answer within {} ms", limit.as_millis()),
        },
    };
    let sealed = match answer.seal(&tools.sealer, taken.inquiry.id) {
        Ok(sealed) => sealed,
        Err(error) => {
            tracing::error!(error = chain(&error), "an answer could not be sealed");
            return;
        }
    };
    if let Err(error) = tools.backend.inquiries.answer(&taken, &sealed).await {
        tracing::debug!(error = chain(&error), "an answer could not be handed over");
    }
}

fn failed(error: &StageError) -> Answer {
    let failure = error.failure(Stage::Apply, Vec::new());
    Answer::Failed { code: failure.code, reason: clean(&failure.reason) }
}

async fn find(tools: &Tools, inquiry: &Inquiry) -> Result<Answer, StageError> {
    if !is_name(&inquiry.pod) {
        return Ok(Answer::UnknownPod);
    }
    let known = tools.backend.store.deployment(inquiry.deployment).await.map_err(StageError::Store)?;
    let Some(deployment) = known else { return Ok(Answer::UnknownPod) };
    match tools.target(&deployment.target)? {
        Target::Docker => on_docker(tools, &deployment, inquiry).await,
        Target::Kubernetes(target) => on_cluster(tools, target, &deployment, inquiry).await,
    }
}

async fn on_cluster(
    tools: &Tools,
    target: &ClusterTarget,
    deployment: &Deployment,
    inquiry: &Inquiry,
) -> Result<Answer, StageError> {
    let Some(pod) = pods::find(target.place(), deployment, &inquiry.pod).await? else {
        return Ok(Answer::UnknownPod);
    };
    let redactor = redactor(tools, deployment).await?;
    match &inquiry.what {
        Asked::Events => {
            let events = pods::events_of(&target.cluster, &pod, EVENTS_MAX).await?;
            Ok(Answer::Events(events.into_iter().map(|event| without_secrets(event, &redactor)).collect()))
        }
        Asked::Log { container, previous, tail_lines } => {
            let Some(container) = pod.container(container.as_deref()) else {
                return Ok(Answer::UnknownContainer { known: pod.containers.clone() });
            };
            match pods::log(&target.cluster, &pod, container, *previous, line_count(*tail_lines)).await {
                Ok(Some(log)) => {
                    let lines = log.lines.iter().map(|line| redactor.shown(line)).collect();
                    Ok(of_lines(container, lines, log.is_cut))
                }
                Ok(None) => Ok(Answer::UnknownPod),
                // It has not begun to run yet, or was never restarted: the cluster says which.
                Err(KubernetesError::Rejected { reason, .. }) => {
                    Ok(Answer::Failed { code: "log_absent".to_owned(), reason: clean(&reason) })
                }
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// An engine tells of no events that are about one container and kept, and has one log for all runs of it.
async fn on_docker(tools: &Tools, deployment: &Deployment, inquiry: &Inquiry) -> Result<Answer, StageError> {
    let engine = tools.engine()?;
    let scope = Scope::new(deployment.project.slug.as_str(), deployment.environment.as_str())?;
    let seen = docker::observe(&engine, &scope, Usage::Skip).await?;
    let Some(found) = belonging(&seen, &deployment.id.to_string(), &inquiry.pod) else {
        return Ok(Answer::UnknownPod);
    };
    let Asked::Log { container, tail_lines, .. } = &inquiry.what else {
        return Ok(Answer::Events(Vec::new()));
    };
    if container.as_ref().is_some_and(|container| *container != found.name) {
        return Ok(Answer::UnknownContainer { known: vec![found.name.clone()] });
    }
    let redactor = redactor(tools, deployment).await?;
    let lines = usize::try_from(line_count(*tail_lines)).unwrap_or(usize::MAX);
    match docker::tail(&engine, &found.container_id, lines, redactor).await {
        Ok(lines) => Ok(of_lines(&found.name, lines, false)),
        Err(error) if error.is_not_found() => Ok(Answer::UnknownPod),
        Err(error) => Err(error.into()),
    }
}

/// The container of this name, if it is the deployment's: a replica, or a support beside replicas of it. Pure.
fn belonging<'a>(
    seen: &'a docker::LiveState,
    deployment: &str,
    name: &str,
) -> Option<&'a docker::LiveReplica> {
    let has_replicas = seen.replicas.iter().any(|replica| replica.deployment == deployment);
    let replicas = seen.replicas.iter().filter(|replica| replica.deployment == deployment);
    let supports = seen.supports.iter().filter(|support| has_replicas || support.deployment == deployment);
    replicas.chain(supports).find(|found| found.name == name)
}

/// How many lines are read. Pure.
fn line_count(asked: u32) -> u32 {
    asked.clamp(1, TAIL_LINES_MAX)
}

fn of_lines(container: &str, lines: Vec<String>, is_cut: bool) -> Answer {
    let (lines, is_shortened) = newest(lines, LOG_MAX_BYTES);
    Answer::Log { container: container.to_owned(), lines, truncated: is_cut || is_shortened }
}

/// The newest lines that fit into `most_bytes`, line ends counted, and whether older ones are left out. Pure.
fn newest(mut lines: Vec<String>, most_bytes: usize) -> (Vec<String>, bool) {
    let mut used = 0_usize;
    let fitting = lines.iter().rev().take_while(|line| {
        used = used.saturating_add(line.len() + 1);
        used <= most_bytes
    });
    let surplus = lines.len() - fitting.count();
    (lines.split_off(surplus), surplus > 0)
}

fn without_secrets(event: LiveEvent, redactor: &Redactor) -> LiveEvent {
    LiveEvent { message: redactor.apply(&event.message), ..event }
}

/// Knows the secrets that what runs in the deployment's environment may print.
pub(crate) async fn redactor(tools: &Tools, deployment: &Deployment) -> Result<Redactor, StageError> {
    let filter = DeploymentFilter {
        project: Some(deployment.project.slug.to_string()),
        environment: Some(deployment.environment.to_string()),
        ..DeploymentFilter::default()
    };
    let page = Page { limit: SECRETS_OF_MAX, ..Page::default() };
    let recent = tools.backend.store.deployments(&filter, &page).await.map_err(StageError::Store)?;
    let mut secrets = secrets_of(tools, deployment).map_err(StageError::Secret)?;
    for other in recent.deployments.iter().filter(|other| other.id != deployment.id) {
        // What was sealed with a key that is gone cannot be looked for.
        secrets.extend(secrets_of(tools, other).unwrap_or_default());
    }
    Ok(Redactor::new(&secrets))
}

/// The values of all variables of a deployment.
fn secrets_of(tools: &Tools, deployment: &Deployment) -> Result<Vec<SecretString>, SecretError> {
    let place = env_context(&deployment.project);
    let of_supports = deployment.spec.supports.iter().map(|support| &support.env);
    let sealed = of_supports.chain([&deployment.spec.env]).flat_map(|env| env.values());
    sealed.map(|sealed| tools.sealer.open(&place, sealed)).collect()
}

#[cfg(test)]
mod tests;
