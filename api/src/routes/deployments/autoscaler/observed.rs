//! `GET /deployments/{id}/autoscaler/observed`: what the controller saw, so that other settings can be tried on it.

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde::Deserialize;
use slipway_common::model::autoscaler::RawSettings;

use super::{entry, find_place};
use crate::query;
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::view::ObservedList;

/// Since when.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ObservedQuery {
    /// Only what was seen at or after this time (RFC 3339); all that is kept if not given.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
}

/// Answers what the controller saw, one observation for each of its steps, as far back as it is kept.
#[utoipa::path(
    get, path = "/deployments/{id}/autoscaler/observed", tag = "autoscalers", operation_id = "autoscaler_observed",
    params(("id" = String, Path, format = Uuid, description = "The deployment"), ObservedQuery),
    responses((status = 200, description = "The settings, and what was seen", body = ObservedList))
)]
pub(crate) async fn observed(
    shared: web::Data<Shared>,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let wanted: ObservedQuery = query::read(&request)?;
    let since = query::parse::<Timestamp>("since", wanted.since.as_deref())?;
    let (_, place) = find_place(&shared.backend, &id).await?;
    let settings = RawSettings::from(entry(&shared.backend, &place).await?.autoscaler.settings);
    let since = since.unwrap_or(Timestamp::UNIX_EPOCH);
    let observed = shared.backend.autoscalers.observed(&place, since).await?;
    Ok(HttpResponse::Ok().json(ObservedList { settings, observed }))
}
