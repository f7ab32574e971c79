//! `POST /deployments`, in its own form (a JSON body) and in that of the older service (query parameters).

mod older;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use slipway_common::Backend;
use slipway_common::model::job::JOB_MESSAGE_VERSION;
use slipway_common::model::request::{InvalidField, ResolveContext};
use slipway_common::model::{
    CredentialSource, DeploymentRequest, DeploymentSpec, DeploymentState, Facts, JobKind, JobMessage, Project,
};
use slipway_common::submit::submit;

use crate::auth::User;
use crate::body;
use crate::idempotency::{Ask, Ticket, ticket};
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::view::{Accepted, AcceptedDeployment, Links};

pub(crate) use older::OlderQuery;

/// A wish to deploy and who has it.
#[derive(Debug)]
struct Wish {
    user: String,
    request: DeploymentRequest,
}

/// Accepts a deployment. The job is durable when this is answered; it is carried out afterwards.
///
/// The older form has no body: its wish stands in the query and the headers `gitlab-token` and `k8s-token`.
#[utoipa::path(
    post, path = "/deployments", tag = "deployments", operation_id = "create_deployment",
    params(
        OlderQuery,
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "Requests under the same key are carried out once"),
        ("gitlab-token" = Option<String>, Header, description = "Older form: token for the repository"),
        ("k8s-token" = Option<String>, Header,
            description = "Older form: token to use on the cluster in place of the target's own"),
    ),
    request_body(content = Option<DeploymentRequest>, content_type = "application/json"),
    responses((status = 202, description = "Accepted", body = AcceptedDeployment,
        headers(("Location" = String, description = "The deployment"))))
)]
pub(crate) async fn create(
    shared: web::Data<Shared>,
    user: User,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let is_older = !request.query_string().is_empty();
    let wish = if is_older {
        older::read(&request, &shared.settings.addresses)?
    } else {
        let body = body::json(&request, payload, shared.body_limits()).await?;
        Wish { user: user.0.clone(), request: body }
    };
    let (project, spec) = resolve(&shared, &wish.request)
        .map_err(|errors| Refusal::Fields(if is_older { older::named(errors) } else { errors }))?;
    let content = serde_json::to_vec(&(&wish.user, &wish.request))
        .map_err(|_| Refusal::Internal("a request cannot be written as JSON"))?;
    let ask = Ask { user: &user.0, content: &content, deployment: None, job: None };
    let ticket =
        ticket(&request, ask, &shared.backend, &shared.sealer, shared.settings.idempotency_keep).await?;
    check_credential(&shared.backend, &spec, &ticket).await?;
    let answer = answer(&wish, &project, &ticket);
    submit(&shared.backend, &deploy_message(&ticket, project, wish.user, spec, Facts::default())).await?;
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, answer.accepted.links.this.clone()))
        .json(answer))
}

/// The request as a specification, every field checked.
pub(crate) fn resolve(
    shared: &Shared,
    request: &DeploymentRequest,
) -> Result<(Project, DeploymentSpec), Vec<InvalidField>> {
    let settings = &shared.settings;
    let context = ResolveContext {
        addresses: &settings.addresses,
        limits: &settings.limits,
        targets: &settings.targets,
        clusters: &settings.clusters,
        servers: &settings.servers,
        sealer: &shared.sealer,
    };
    request.resolve(&context)
}

/// A stored credential must exist, unless the deployment was accepted before and it was deleted since.
async fn check_credential(backend: &Backend, spec: &DeploymentSpec, ticket: &Ticket) -> Result<(), Refusal> {
    let Some(CredentialSource::Named(name)) = &spec.credential else { return Ok(()) };
    if ticket.repeated && backend.store.job(ticket.job).await?.is_some() {
        return Ok(());
    }
    match backend.store.credential(name).await? {
        Some(_) => Ok(()),
        None => Err(Refusal::field("credential", "no credential of this name is stored")),
    }
}

/// The deploy job of a new or known deployment.
pub(crate) fn deploy_message(
    ticket: &Ticket,
    project: Project,
    user: String,
    spec: DeploymentSpec,
    facts: Facts,
) -> JobMessage {
    JobMessage {
        version: JOB_MESSAGE_VERSION,
        id: ticket.job,
        deployment: ticket.deployment,
        project,
        environment: spec.environment.clone(),
        user,
        accepted_at: ticket.at,
        request: ticket.request.clone(),
        trigger: None,
        kind: JobKind::Deploy { spec: Box::new(spec), facts },
    }
}

/// Made of the request and its ticket alone, so that a repetition is answered with the same bytes.
fn answer(wish: &Wish, project: &Project, ticket: &Ticket) -> AcceptedDeployment {
    AcceptedDeployment {
        accepted: Accepted {
            id: ticket.deployment,
            job_id: ticket.job,
            status: DeploymentState::Queued,
            created_at: ticket.at,
            links: Links::of(ticket.deployment, Some(ticket.job)),
        },
        project: project.name.clone(),
        user: wish.user.clone(),
        service_url: String::new(),
        port: wish.request.port,
        replicas: wish.request.replicas.unwrap_or(1),
        stopped_at: None,
    }
}
