//! `/client` and `/client/containers`: the older service Kabernetes. A client is an ordinary deployment of an image, in
//! a project of its own, with an ordinary autoscaler under the law `kabernetes`; this is a view of them. What that
//! service documents holds here; where it failed without a word, a reason is told.

mod body;
pub(crate) mod containers;
mod stats;

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde_json::Value;
use slipway_common::Backend;
use slipway_common::autoscaler::Entry;
use slipway_common::model::autoscaler::{AutoscalerSettings, AutoscalerState, Law, Mode, Place, RawSettings};
use slipway_common::model::{
    AddressPolicy, Deployment, DeploymentRequest, DeploymentSpec, EnvironmentName, Facts, Project,
    RepositoryAddress,
};
use slipway_common::submit::submit;

use super::deployments::actions::{action_ticket, take_out_of_service};
use super::deployments::autoscaler::{forget, keep, lease, settings};
use super::deployments::create::{deploy_message, resolve};
use crate::auth::User;
use crate::body::optional_json;
use crate::idempotency::Ticket;
use crate::refusal::{AutoscalerRefusal, ClientRefusal, Refusal};
use crate::server::Shared;
use crate::view::{ClientMessage, ClientStats, ClientStatus};

/// The repository of the client's project. There is none: with an image nothing is cloned, and no host can have a name
/// that ends so (RFC 2606).
const REPOSITORY: &str = "https://client.invalid/client";
/// The controller steps as often as it can.
const INTERVAL_S: u32 = 1;
/// What it averages over; a container is measured once a second.
const WINDOW_S: u32 = 2;
/// After how long metrics count as missing.
const STALE_AFTER_S: u32 = 30;

/// The client and what is known of it.
#[derive(Debug)]
struct Client {
    deployment: Deployment,
    entry: Option<Entry>,
    /// Of this deployment; what was said of one before it does not count.
    state: Option<AutoscalerState>,
}

impl Client {
    /// The client that was started last.
    async fn find(backend: &Backend, place: &Place) -> Result<Option<Self>, Refusal> {
        let Some(newest) = backend.store.newest(&place.project, &place.environment).await? else {
            return Ok(None);
        };
        let Some(deployment) = backend.store.deployment(newest).await? else { return Ok(None) };
        let (entry, state) =
            tokio::try_join!(backend.autoscalers.autoscaler(place), backend.autoscalers.state(place))?;
        let state = state.filter(|state| state.deployment == deployment.id);
        Ok(Some(Self { deployment, entry, state }))
    }

    /// The client that was started last, which must take orders.
    async fn ready(backend: &Backend, place: &Place) -> Result<Self, Refusal> {
        let client = Self::find(backend, place).await?.ok_or(ClientRefusal::Absent)?;
        match stats::status(&client, Timestamp::now()) {
            ClientStatus::Ready => Ok(client),
            ClientStatus::Starting | ClientStatus::Busy | ClientStatus::Stopping | ClientStatus::Dead => {
                Err(ClientRefusal::NotAvailable.into())
            }
        }
    }

    fn entry(&self) -> Result<&Entry, Refusal> {
        self.entry.as_ref().ok_or_else(|| AutoscalerRefusal::Absent.into())
    }
}

/// Shows the client: its constants, its containers and their CPU use.
#[utoipa::path(
    get, path = "/client", tag = "client", operation_id = "show_client",
    responses(
        (status = 200, description = "The client", body = ClientStats),
        (status = 404, description = "No client was ever started", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn show(shared: web::Data<Shared>) -> Result<HttpResponse, Refusal> {
    let client = Client::find(&shared.backend, &place()?).await?.ok_or(ClientRefusal::Absent)?;
    let now = Timestamp::now();
    if stats::status(&client, now) == ClientStatus::Starting {
        return Err(ClientRefusal::NotInitialized.into());
    }
    Ok(HttpResponse::Ok().json(stats::stats(&client, now)))
}

/// Starts a client: runs an image on the Docker target, and keeps it at a CPU use. `cpu_target` counts in percent;
/// constants that are left out are 0. The application listens on `port`, 5000 if not given.
#[utoipa::path(
    post, path = "/client", tag = "client", operation_id = "start_client",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
        description = "Requests under the same key are carried out once")),
    request_body(content = Option<body::StartRequest>, content_type = "application/json"),
    responses(
        (status = 200, description = "It starts", body = ClientMessage),
        (status = 409, description = "One runs already, or there is no Docker target", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn start(
    shared: web::Data<Shared>,
    user: User,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let given: Value = optional_json(&request, payload, shared.body_limits()).await?;
    let ticket = ticket(&shared, &request, &user, &given).await?;
    let backend = &shared.backend;
    let was_begun = ticket.repeated && backend.store.deployment(ticket.deployment).await?.is_some();
    if !was_begun {
        let place = place()?;
        lease::alone(backend, &place, begin(&shared, &place, &ticket, &user.0, &given)).await?;
    }
    Ok(said("Client started"))
}

/// Replaces the constants of the controller; those that are left out become 0.
#[utoipa::path(
    patch, path = "/client", tag = "client", operation_id = "update_client",
    request_body(content = Option<body::ConstantsRequest>, content_type = "application/json"),
    responses(
        (status = 200, description = "Replaced", body = ClientMessage),
        (status = 404, description = "No client was ever started", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn update(
    shared: web::Data<Shared>,
    user: User,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let given: Value = optional_json(&request, payload, shared.body_limits()).await?;
    let (backend, place) = (&shared.backend, place()?);
    lease::alone(backend, &place, async {
        let client = Client::ready(backend, &place).await?;
        let constants = Some(body::constants(&given, "")?);
        let raw = RawSettings::from(client.entry()?.autoscaler.settings.clone());
        let wanted = settings::valid(RawSettings { constants, ..raw })?;
        keep(backend, &place, wanted, user.0).await
    })
    .await?;
    Ok(said("Constants updated"))
}

/// Deletes the client: takes its containers out of service. Another one can be started at once.
#[utoipa::path(
    delete, path = "/client", tag = "client", operation_id = "stop_client",
    responses(
        (status = 200, description = "It is being deleted", body = ClientMessage),
        (status = 404, description = "No client was ever started", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn stop(shared: web::Data<Shared>, user: User) -> Result<HttpResponse, Refusal> {
    let client = Client::ready(&shared.backend, &place()?).await?;
    // Its autoscaler stays: what is dead is shown with its constants, and what is not in service is not scaled.
    take_out_of_service(&shared.backend, &client.deployment, user.0).await?;
    Ok(said("Client deleted"))
}

fn said(message: &str) -> HttpResponse {
    HttpResponse::Ok().json(ClientMessage { message: message.to_owned() })
}

/// Where the client is.
fn place() -> Result<Place, Refusal> {
    let address = RepositoryAddress::parse(REPOSITORY, &AddressPolicy::default())
        .map_err(|_| Refusal::Internal("the client's address is no address"))?;
    Ok(Place { project: Project::of(&address).slug, environment: EnvironmentName::default_name() })
}

/// The ids of a request, new ones or those of the first under its key.
async fn ticket(
    shared: &Shared,
    request: &HttpRequest,
    user: &User,
    given: &Value,
) -> Result<Ticket, Refusal> {
    let content =
        serde_json::to_vec(given).map_err(|_| Refusal::Internal("a request cannot be written as JSON"))?;
    action_ticket(shared, request, user, &content, None, None).await
}

/// Starts the client unless one is alive. One that is being deleted leaves room for the next, as it always did.
async fn begin(
    shared: &Shared,
    place: &Place,
    ticket: &Ticket,
    user: &str,
    given: &Value,
) -> Result<(), Refusal> {
    let backend = &shared.backend;
    let before = Client::find(backend, place).await?;
    if before.is_some_and(|client| stats::is_alive(client.deployment.state)) {
        return Err(ClientRefusal::Running.into());
    }
    let wanted = body::start(given)?;
    let (project, spec) = specification(shared, &wanted)?;
    let settings = autoscaler(&wanted, shared.settings.limits.replicas_max)?;
    if backend.autoscalers.autoscaler(place).await?.is_some() {
        // What the one before has decided is not this one's.
        forget(backend, place).await?;
    }
    keep(backend, place, settings, user.to_owned()).await?;
    submit(backend, &deploy_message(ticket, project, user.to_owned(), spec, Facts::default())).await?;
    Ok(())
}

fn specification(shared: &Shared, wanted: &body::Start) -> Result<(Project, DeploymentSpec), Refusal> {
    let settings = &shared.settings;
    let docker = settings.targets.iter().find(|target| !settings.clusters.contains(target));
    let docker = docker.ok_or_else(|| {
        Refusal::conflict("docker_target_absent", "A client runs on a Docker target, and there is none.")
    })?;
    let mut request = DeploymentRequest::new(REPOSITORY);
    request.image = Some(wanted.image.clone());
    request.port = Some(wanted.port);
    request.target = Some(docker.to_string());
    resolve(shared, &request).map_err(Refusal::Fields)
}

fn autoscaler(wanted: &body::Start, replicas_max: u32) -> Result<AutoscalerSettings, Refusal> {
    settings::valid(RawSettings {
        law: Law::Kabernetes,
        mode: Mode::default(),
        cpu_target: wanted.cpu_target_percent / 100.0,
        constants: Some(wanted.constants.clone()),
        replicas_min: 1,
        replicas_max,
        interval_s: INTERVAL_S,
        window_s: WINDOW_S,
        stale_after_s: STALE_AFTER_S,
        hold_s: None,
        down_percent_per_min: None,
        hysteresis: None,
        actions_per_hour_max: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_has_a_project_of_its_own() {
        let place = place().unwrap();
        assert!(
            place.to_string().starts_with("client-") && place.to_string().ends_with("/default"),
            "{place}"
        );
    }
}
