//! `PUT /deployments/{id}/replicas`: a replica count that somebody asks the autoscaler for.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use slipway_common::model::autoscaler::Wish;
use slipway_common::record::Record;
use uuid::Uuid;

use super::{check_not_over, entry, find_place};
use crate::auth::User;
use crate::body;
use crate::idempotency::now;
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::view::WishAccepted;

/// The count.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplicasRequest {
    /// How many replicas, within `replicas_min` and `replicas_max` of the autoscaler.
    #[schema(example = 3)]
    replicas: u32,
}

/// Asks the autoscaler for a replica count. It sets it once, and goes on from there.
#[utoipa::path(
    put, path = "/deployments/{id}/replicas", tag = "autoscalers", operation_id = "wish_replicas",
    params(("id" = String, Path, format = Uuid, description = "The deployment")),
    request_body(content = ReplicasRequest, content_type = "application/json"),
    responses(
        (status = 202, description = "Accepted", body = WishAccepted),
        (status = 409, description = "The deployment is over", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn wish(
    shared: web::Data<Shared>,
    user: User,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let ReplicasRequest { replicas } = body::json(&request, payload, shared.body_limits()).await?;
    let (deployment, place) = find_place(&shared.backend, &id).await?;
    check_not_over(&deployment)?;
    let (min, max) = entry(&shared.backend, &place).await?.autoscaler.settings.replicas();
    if !(min.get()..=max.get()).contains(&replicas) {
        let reason = format!("must be from {} to {}, as the autoscaler is set", min.get(), max.get());
        return Err(Refusal::field("replicas", reason));
    }
    let wish = Wish { id: Uuid::now_v7(), place, replicas, user: user.0, at: now() };
    let accepted = WishAccepted { wish: wish.id, replicas };
    shared.backend.record(&Record::ReplicasWished(wish)).await?;
    Ok(HttpResponse::Accepted().json(accepted))
}
