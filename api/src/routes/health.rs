//! `/healthz` and `/readyz`.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use jiff::Timestamp;

use crate::companion::Ailment;
use crate::problem::NotReadyDocument;
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::view::{HealthView, PartView, Readiness, ReadyView};

/// Longest wait for store and queue.
const CHECK_DEADLINE: Duration = Duration::from_millis(900);

/// The process is alive.
#[utoipa::path(
    get, path = "/healthz", tag = "operation", operation_id = "healthz", security(()),
    responses((status = 200, description = "Alive", body = HealthView))
)]
pub(crate) async fn alive(shared: web::Data<Shared>) -> HttpResponse {
    let version = shared.settings.version.clone();
    HttpResponse::Ok().json(HealthView { status: "ok".to_owned(), version })
}

/// Whether questions can be answered and work be accepted. 503 unless both, and unless the process's other parts are
/// well; the answer says what works all the same.
#[utoipa::path(
    get, path = "/readyz", tag = "operation", operation_id = "readyz", security(()),
    responses(
        (status = 200, description = "Ready", body = ReadyView),
        (status = 503, description = "Not ready", body = NotReadyDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn ready(shared: web::Data<Shared>) -> Result<HttpResponse, Refusal> {
    let (store, queue, told) = tokio::join!(
        in_time(shared.backend.store.check()),
        in_time(shared.backend.queue.depth(Timestamp::now())),
        ailments(&shared),
    );
    let readiness = readiness(store.err(), queue.err(), told);
    if !readiness.parts.is_empty() {
        return Err(Refusal::NotReady(readiness));
    }
    let version = shared.settings.version.clone();
    Ok(HttpResponse::Ok().json(ReadyView { status: "ready".to_owned(), version, readiness }))
}

async fn ailments(shared: &Shared) -> Vec<Ailment> {
    let Some(companion) = &shared.beside.companion else { return Vec::new() };
    let told = in_time(async { Ok::<_, Infallible>(companion.ailments().await) }).await;
    // The store and the queue are asked for themselves, so that it is known whether questions can be answered.
    let silent = |reason| vec![Ailment { part: "process".to_owned(), reason, hinders_reads: false }];
    told.unwrap_or_else(silent)
}

/// Questions need the store; work needs everything. A part that tells of itself is not named twice.
fn readiness(store: Option<String>, queue: Option<String>, told: Vec<Ailment>) -> Readiness {
    let reads = store.is_none() && !told.iter().any(|ailment| ailment.hinders_reads);
    let mut parts: Vec<PartView> =
        told.into_iter().map(|Ailment { part, reason, .. }| PartView { part, reason }).collect();
    for (part, reason) in [("queue", queue), ("store", store)] {
        if let Some(reason) = reason.filter(|_| !parts.iter().any(|told| told.part == part)) {
            parts.insert(0, PartView { part: part.to_owned(), reason });
        }
    }
    Readiness { reads, writes: parts.is_empty(), parts }
}

async fn in_time<T, E: std::fmt::Display>(check: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(CHECK_DEADLINE, check).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} ms", CHECK_DEADLINE.as_millis())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ailment(part: &str, hinders_reads: bool) -> Ailment {
        Ailment { part: part.to_owned(), reason: "away".to_owned(), hinders_reads }
    }

    #[test]
    fn reads_need_the_store_and_writes_everything() {
        let away = || Some("away".to_owned());
        for (store, queue, told, reads, parts) in [
            (None, None, vec![], true, vec![]),
            (None, away(), vec![], true, vec!["queue"]),
            (away(), None, vec![], false, vec!["store"]),
            (None, None, vec![ailment("broker", false)], true, vec!["broker"]),
            (None, None, vec![ailment("redis", true)], false, vec!["redis"]),
            (away(), away(), vec![ailment("queue", false)], false, vec!["store", "queue"]),
        ] {
            let ready = readiness(store, queue, told);
            let named: Vec<&str> = ready.parts.iter().map(|part| part.part.as_str()).collect();
            assert_eq!((ready.reads, ready.writes, named.clone()), (reads, named.is_empty(), parts));
        }
    }
}
