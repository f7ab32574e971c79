//! `GET /deployments/{id}/events`: server-sent events (WHATWG HTML §9.2), resumable, until no job is at work.

use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use slipway_common::model::DeploymentId;
use slipway_common::store::StoreError;

use super::find;
use crate::query;
use crate::refusal::{Refusal, RequestPart};
use crate::server::Shared;
use crate::streams::{Ended, Outlet};
use crate::view::{EndView, EventView};

/// Events read at once.
const PAGE_EVENTS: usize = 200;
const LAST_EVENT_ID: &str = "Last-Event-ID";
/// How soon a client should come back after the connection was lost, in milliseconds.
pub(super) const GREETING: &str = ": slipway\nretry: 1000\n\n";

/// Where the stream begins.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Begin after the event with this number. The header `Last-Event-ID` wins over it.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
}

/// Streams the history of a deployment: each message has the event's number as `id`, its name as `event` and
/// an `EventView` as `data`. When no job is at work any more, a message called `end` with an `EndView` follows and the
/// stream ends.
#[utoipa::path(
    get, path = "/deployments/{id}/events", tag = "deployments", operation_id = "deployment_events",
    params(
        ("id" = String, Path, format = Uuid, description = "The deployment"),
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "Begin after the event with this number"),
    ),
    responses((status = 200, description = "The events", body = String, content_type = "text/event-stream"))
)]
pub(crate) async fn events(
    shared: web::Data<Shared>,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let after = begin_after(&request)?;
    let deployment = find(&shared.backend, &id).await?.id;
    let data = shared.clone();
    let stream = shared.streams.open(move |outlet| follow(data, deployment, after, outlet))?;
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream))
}

/// Where the request wants a stream to begin.
pub(super) fn begin_after(request: &HttpRequest) -> Result<u64, Refusal> {
    let wanted: EventsQuery = query::read(request)?;
    let after = query::parse("after", wanted.after.as_deref())?.unwrap_or_default();
    let Some(last) = request.headers().get(LAST_EVENT_ID) else { return Ok(after) };
    let number = last.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| Refusal::Malformed {
        part: RequestPart::Header,
        field: LAST_EVENT_ID,
        reason: "must be the number of an event".to_owned(),
    })
}

async fn follow(
    shared: web::Data<Shared>,
    deployment: DeploymentId,
    after: u64,
    mut outlet: Outlet,
) -> Result<(), Ended> {
    let mut hints = shared.backend.store.changes();
    let mut quiet = Quiet::new(shared.settings.stream_keep_alive);
    let mut after = after;
    outlet.send(GREETING).await?;
    loop {
        let batch = next_batch(&shared, deployment, after).await.map_err(|error| {
            tracing::warn!(%deployment, %error, "an event stream ends: the store failed");
            Ended::Broken
        })?;
        if let Some(last) = batch.events.last() {
            after = last.sequence;
            outlet.send(written(&batch.events)).await?;
            quiet.reset();
        } else if let Some(end) = batch.end {
            return outlet.send(message(None, "end", &end)).await;
        } else {
            outlet.changed(&mut hints, deployment).await?;
            if quiet.is_over() {
                outlet.send(": keep-alive\n\n").await?;
                quiet.reset();
            }
        }
    }
}

/// The events that follow, and how things ended if nothing can follow them.
struct Batch {
    events: Vec<EventView>,
    end: Option<EndView>,
}

/// The deployment is read first: if no job is at work there, all of its events are read afterwards.
async fn next_batch(shared: &Shared, id: DeploymentId, after: u64) -> Result<Batch, StoreError> {
    let store = &shared.backend.store;
    let deployment = store.deployment(id).await?.ok_or(StoreError::UnknownDeployment { deployment: id })?;
    let settled = deployment.jobs.iter().all(|job| job.state.is_terminal());
    let events = store.events(id, after, PAGE_EVENTS).await?;
    Ok(Batch {
        events: events.iter().map(|(sequence, event)| EventView::new(*sequence, event)).collect(),
        end: settled.then_some(EndView { deployment: id, status: deployment.state }),
    })
}

fn written(events: &[EventView]) -> String {
    events.iter().map(|event| message(Some(event.sequence), &event.event, event)).collect()
}

/// One message. JSON has no line ends outside its strings, and escapes those inside.
pub(super) fn message(id: Option<u64>, event: &str, data: &impl Serialize) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    let data = serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned());
    format!("{id}event: {event}\ndata: {data}\n\n")
}

/// How long nothing was sent.
pub(super) struct Quiet {
    since: Instant,
    limit: Duration,
}

impl Quiet {
    pub(super) fn new(limit: Duration) -> Self {
        Self { since: Instant::now(), limit }
    }

    pub(super) fn reset(&mut self) {
        self.since = Instant::now();
    }

    pub(super) fn is_over(&self) -> bool {
        self.since.elapsed() >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use slipway_common::contract::sample;
    use slipway_common::model::Event;

    use super::*;

    #[test]
    fn a_message_cannot_be_broken_by_what_it_says() {
        let text = message(Some(3), "stage_progress", &"one\n\nid: 9\r\n");
        assert_eq!(text, "id: 3\nevent: stage_progress\ndata: \"one\\n\\nid: 9\\r\\n\"\n\n");
    }

    #[test]
    fn an_accepted_job_is_shown_without_what_it_carries() {
        let event = Event::accepted(&sample::deploy_job("shop", jiff::Timestamp::UNIX_EPOCH));
        let text = serde_json::to_string(&EventView::new(1, &event)).unwrap();
        assert!(text.contains("\"event\":\"accepted\"") && text.contains("\"kind\":\"deploy\""), "{text}");
        assert!(!text.contains("spec"), "{text}");
    }
}
