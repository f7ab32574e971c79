//! `GET /deployments`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use slipway_common::store::filter::{PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX};
use slipway_common::store::{DeploymentFilter, Page};

use crate::query;
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::view::DeploymentList;

/// Conditions and page of the list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only deployments of this project: its name, path or slug.
    project: Option<String>,
    /// Only deployments in this environment.
    environment: Option<String>,
    /// Only deployments in this state.
    #[param(value_type = Option<slipway_common::model::DeploymentState>)]
    status: Option<String>,
    /// Only deployments this user asked for.
    user: Option<String>,
    /// Most deployments on the page; 20 if not given.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// The `next_cursor` of the page before. Wins over `skip`.
    #[param(value_type = Option<String>, format = Uuid)]
    cursor: Option<String>,
    /// How many to leave out at the start.
    #[param(value_type = Option<u32>, minimum = 0)]
    skip: Option<String>,
}

impl ListQuery {
    fn page(&self) -> Result<Page, Refusal> {
        let limit = query::number("limit", self.limit.as_deref(), 1..=u64::from(PAGE_LIMIT_MAX))?;
        let skip = query::number("skip", self.skip.as_deref(), 0..=u64::from(u32::MAX))?;
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Page {
            limit: limit.map_or(PAGE_LIMIT_DEFAULT, narrow),
            cursor: query::parse("cursor", self.cursor.as_deref())?,
            skip: skip.map_or(0, narrow),
        })
    }
}

/// Lists deployments, newest first.
#[utoipa::path(
    get, path = "/deployments", tag = "deployments", operation_id = "list_deployments",
    params(ListQuery),
    responses((status = 200, description = "One page of deployments", body = DeploymentList))
)]
pub(crate) async fn list(shared: web::Data<Shared>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let wanted: ListQuery = query::read(&request)?;
    let page = wanted.page()?;
    let filter = DeploymentFilter {
        state: query::parse("status", wanted.status.as_deref())?,
        project: wanted.project,
        environment: wanted.environment,
        user: wanted.user,
    };
    let found = shared.backend.store.deployments(&filter, &page).await?;
    Ok(HttpResponse::Ok().json(DeploymentList::from(&found)))
}
