//! `GET /deployments/{id}`.

use actix_web::{HttpResponse, web};

use super::find;
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::view::DeploymentDetail;

/// Shows everything that is known of a deployment.
#[utoipa::path(
    get, path = "/deployments/{id}", tag = "deployments", operation_id = "show_deployment",
    params(("id" = String, Path, format = Uuid, description = "The deployment")),
    responses((status = 200, description = "The deployment", body = DeploymentDetail))
)]
pub(crate) async fn show(shared: web::Data<Shared>, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let deployment = find(&shared.backend, &id).await?;
    let live = shared.backend.store.live(deployment.id).await?;
    Ok(HttpResponse::Ok().json(DeploymentDetail::new(&deployment, live)))
}
