//! `/admin/rebuild-store`: the projection made anew from the ledger, in the background.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use slipway_common::telemetry::chain;
use tokio::sync::Notify;

use crate::body;
use crate::refusal::Refusal;
use crate::routes::deployments::actions::NoOptions;
use crate::server::Shared;
use crate::view::RebuildView;

/// How long a request waits for the end; a small store is rebuilt within it.
const ANSWER_AFTER: Duration = Duration::from_secs(1);

/// What this process knows of a rebuild.
#[derive(Debug, Default)]
pub(crate) struct Rebuild {
    course: Mutex<Course>,
    ended: Notify,
}

#[derive(Debug, Clone, Default)]
struct Course {
    state: State,
    /// The idempotency key it was asked for under.
    key: Option<String>,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Running,
    Done {
        records: Option<u64>,
    },
    Failed {
        reason: String,
    },
}

impl Rebuild {
    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a rebuild is to be started now: none runs, and none was asked for under this key.
    fn begin(&self, key: Option<String>) -> bool {
        let mut course = self.course();
        let repeated = key.is_some() && course.key == key;
        if course.state == State::Running || repeated {
            return false;
        }
        *course =
            Course { state: State::Running, key, started_at: Some(Timestamp::now()), finished_at: None };
        true
    }

    fn end(&self, state: State) {
        let mut course = self.course();
        course.state = state;
        course.finished_at = Some(Timestamp::now());
        drop(course);
        self.ended.notify_waiters();
    }

    /// Waits for the end, `longest` at most.
    async fn wait(&self, longest: Duration) {
        let ended = self.ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        if self.course().state == State::Running {
            // Either way the caller looks for itself.
            drop(tokio::time::timeout(longest, ended).await);
        }
    }

    fn view(&self) -> RebuildView {
        let course = self.course().clone();
        let (status, records, reason) = match course.state {
            State::Idle => ("idle", None, None),
            State::Running => ("running", None, None),
            State::Done { records } => ("done", records, None),
            State::Failed { reason } => ("failed", None, Some(reason)),
        };
        RebuildView {
            status: status.to_owned(),
            records,
            reason,
            started_at: course.started_at,
            finished_at: course.finished_at,
        }
    }
}

/// Empties the store and fills it again from the ledger. Until it is full, questions and work are answered 503. One
/// that is under way is joined.
#[utoipa::path(
    post, path = "/admin/rebuild-store", tag = "operation", operation_id = "rebuild_store",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
        description = "Requests under the same key are carried out once")),
    request_body(content = Option<NoOptions>, content_type = "application/json"),
    responses(
        (status = 200, description = "Rebuilt", body = RebuildView),
        (status = 202, description = "It goes on; ask again by GET", body = RebuildView),
        (status = 409, description = "This process cannot", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn start(
    shared: web::Data<Shared>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let NoOptions {} = body::optional_json(&request, payload, shared.body_limits()).await?;
    let key = crate::idempotency::key(&request)?;
    let Some(maintenance) = shared.beside.maintenance.clone() else {
        return Err(Refusal::conflict("no_maintenance", "This server cannot rebuild its store."));
    };
    if shared.rebuild.begin(key) {
        let data = Arc::clone(&shared);
        tokio::spawn(async move {
            let state = match maintenance.rebuild_store().await {
                Ok(records) => State::Done { records },
                Err(error) => State::Failed { reason: chain(&error) },
            };
            tracing::info!(?state, "a rebuild of the store has ended");
            data.rebuild.end(state);
        });
    }
    shared.rebuild.wait(ANSWER_AFTER).await;
    let view = shared.rebuild.view();
    match (view.status.as_str(), &view.reason) {
        (_, Some(reason)) => Err(Refusal::RebuildFailed { reason: reason.clone() }),
        ("running", None) => Ok(HttpResponse::Accepted().json(view)),
        (_, None) => Ok(HttpResponse::Ok().json(view)),
    }
}

/// How the rebuild that this process was asked for is going.
#[utoipa::path(
    get, path = "/admin/rebuild-store", tag = "operation", operation_id = "show_rebuild",
    responses((status = 200, description = "How it is going", body = RebuildView))
)]
pub(crate) async fn show(shared: web::Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().json(shared.rebuild.view())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_rebuild_at_a_time_and_one_per_key() {
        let rebuild = Rebuild::default();
        let key = || Some("k".to_owned());
        assert_eq!(rebuild.view().status, "idle");
        assert!(rebuild.begin(key()));
        assert!(!rebuild.begin(None), "one is under way");
        rebuild.wait(Duration::from_millis(10)).await;
        assert_eq!(rebuild.view().status, "running");
        rebuild.end(State::Done { records: Some(7) });
        assert_eq!(rebuild.view().records, Some(7));
        assert!(!rebuild.begin(key()), "done under this key");
        assert!(rebuild.begin(Some("l".to_owned())));
    }
}
