//! `/healthz` and `/readyz`.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use slipway_common::model::request::InvalidField;

use crate::refusal::Refusal;
use crate::server::Shared;
use crate::view::HealthView;

/// Longest wait for store and queue.
const CHECK_DEADLINE: Duration = Duration::from_millis(900);

/// The process is alive.
#[utoipa::path(
    get, path = "/healthz", tag = "operation", operation_id = "healthz", security(()),
    responses((status = 200, description = "Alive", body = HealthView))
)]
pub(crate) async fn alive(shared: web::Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().json(view("ok", &shared))
}

/// Requests can be served: store and queue answer, and the process's other parts are well.
#[utoipa::path(
    get, path = "/readyz", tag = "operation", operation_id = "readyz", security(()),
    responses((status = 200, description = "Ready", body = HealthView))
)]
pub(crate) async fn ready(shared: web::Data<Shared>) -> Result<HttpResponse, Refusal> {
    let (store, queue) = tokio::join!(
        in_time(shared.backend.store.check()),
        in_time(shared.backend.queue.depth(Timestamp::now())),
    );
    let mut ailments: Vec<InvalidField> =
        [ailment("store", store.err()), ailment("queue", queue.err())].into_iter().flatten().collect();
    for told in shared.companion.iter().flat_map(|companion| companion.ailments()) {
        ailments.push(InvalidField { field: told.part, reason: told.reason });
    }
    if ailments.is_empty() {
        Ok(HttpResponse::Ok().json(view("ready", &shared)))
    } else {
        Err(Refusal::NotReady(ailments))
    }
}

fn view(status: &str, shared: &Shared) -> HealthView {
    HealthView { status: status.to_owned(), version: shared.settings.version.clone() }
}

async fn in_time<T, E: std::fmt::Display>(check: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(CHECK_DEADLINE, check).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} ms", CHECK_DEADLINE.as_millis())),
    }
}

fn ailment(part: &str, reason: Option<String>) -> Option<InvalidField> {
    reason.map(|reason| InvalidField { field: part.to_owned(), reason })
}
