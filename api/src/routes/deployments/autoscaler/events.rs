//! `GET /deployments/{id}/autoscaler/events`: what an autoscaler decides and how it is, as server-sent events.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use slipway_common::model::DeploymentId;
use slipway_common::model::autoscaler::{AutoscalerState, DecisionEntry, Place};
use slipway_common::store::StoreError;
use slipway_common::telemetry::chain;

use super::super::events::{EventsQuery, GREETING, Quiet, begin_after, message};
use super::{entry, find_place};
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::streams::{Ended, Outlet};
use crate::view::{AutoscalerEnd, AutoscalerStateView, DecisionView};

/// Pause between two looks; with it, states are sent at most twice a second.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Decisions read at once.
const PAGE_DECISIONS: usize = 100;

/// Streams what the autoscaler decides: messages called `decision`, each with its number as `id` and a `DecisionView` as
/// `data`. Between them how it is: messages called `state`, without an id, with an `AutoscalerStateView`. When the
/// autoscaler is deleted, a message called `end` with an `AutoscalerEnd` follows and the stream ends. One that was made
/// anew numbers its decisions from 1 again, and is streamed from there.
#[utoipa::path(
    get, path = "/deployments/{id}/autoscaler/events", tag = "autoscalers", operation_id = "autoscaler_events",
    params(
        ("id" = String, Path, format = Uuid, description = "The deployment"),
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "Begin after the decision with this number"),
    ),
    responses((status = 200, description = "Decisions and states", body = String, content_type = "text/event-stream"))
)]
pub(crate) async fn events(
    shared: web::Data<Shared>,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let after = begin_after(&request)?;
    let (deployment, place) = find_place(&shared.backend, &id).await?;
    entry(&shared.backend, &place).await?;
    let follower = Follower { shared: shared.clone(), deployment: deployment.id, place, after, told: None };
    let stream = shared.streams.open(move |outlet| follower.follow(outlet))?;
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream))
}

/// One who follows an autoscaler, and what was sent already.
struct Follower {
    shared: web::Data<Shared>,
    deployment: DeploymentId,
    place: Place,
    /// Number of the last decision.
    after: u64,
    /// Time of the last state.
    told: Option<Timestamp>,
}

/// What there is to send.
enum News {
    /// Decisions, in order; perhaps there are more.
    Decisions(Vec<(u64, DecisionEntry)>),
    /// No decision, and the state if it is another.
    Rest(Option<Box<AutoscalerState>>),
    /// The autoscaler is no more.
    Deleted,
}

impl Follower {
    async fn follow(mut self, mut outlet: Outlet) -> Result<(), Ended> {
        let mut quiet = Quiet::new(self.shared.settings.stream_keep_alive);
        outlet.send(GREETING).await?;
        loop {
            let news = self.look().await.map_err(|error| {
                tracing::warn!(place = %self.place, error = chain(&error), "a stream of decisions ends");
                Ended::Broken
            })?;
            let (text, ends) = self.written(&news);
            if !text.is_empty() {
                outlet.send(text).await?;
                quiet.reset();
            }
            if ends {
                return Ok(());
            }
            if matches!(news, News::Rest(_)) {
                outlet.pause(LOOK_INTERVAL).await?;
            }
            if quiet.is_over() {
                outlet.send(": keep-alive\n\n").await?;
                quiet.reset();
            }
        }
    }

    async fn look(&self) -> Result<News, StoreError> {
        let autoscalers = &self.shared.backend.autoscalers;
        if autoscalers.autoscaler(&self.place).await?.is_none() {
            return Ok(News::Deleted);
        }
        let mut decisions = autoscalers.decisions(&self.place, self.after, PAGE_DECISIONS).await?;
        if decisions.is_empty() && self.after > 0 {
            let newest = autoscalers.newest_decisions(&self.place, 1).await?;
            if newest.last().is_some_and(|(number, _)| *number < self.after) {
                decisions = autoscalers.decisions(&self.place, 0, PAGE_DECISIONS).await?;
            }
        }
        if !decisions.is_empty() {
            return Ok(News::Decisions(decisions));
        }
        let state = autoscalers.state(&self.place).await?;
        Ok(News::Rest(state.filter(|state| self.told != Some(state.at)).map(Box::new)))
    }

    /// The messages of the news, and whether they are the last.
    fn written(&mut self, news: &News) -> (String, bool) {
        match news {
            News::Decisions(decisions) => {
                self.after = decisions.last().map_or(self.after, |(number, _)| *number);
                let one = |(number, entry): &(u64, DecisionEntry)| {
                    message(Some(*number), "decision", &DecisionView::new(*number, entry))
                };
                (decisions.iter().map(one).collect(), false)
            }
            News::Rest(None) => (String::new(), false),
            News::Rest(Some(state)) => {
                self.told = Some(state.at);
                (message(None, "state", &AutoscalerStateView::from(state.as_ref())), false)
            }
            News::Deleted => {
                let end = AutoscalerEnd { deployment: self.deployment, reason: "deleted".to_owned() };
                (message(None, "end", &end), true)
            }
        }
    }
}
