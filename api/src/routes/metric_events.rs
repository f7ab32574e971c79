//! `POST /metric-events`: measurements from whoever measures, passed on to whoever scales.

use actix_web::{HttpRequest, HttpResponse, web};
use slipway_common::metric::{METRIC_MESSAGE_MAX_BYTES, MetricEvent};

use crate::body::{self, BodyLimits};
use crate::refusal::{AutoscalerRefusal, Refusal};
use crate::server::Shared;
use crate::view::MetricsAccepted;

/// One event, or several.
#[derive(Debug, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes a body; bodies are read by `MetricEvent::read`")]
pub(crate) enum MetricMessage {
    One(Box<MetricEvent>),
    Several(Vec<MetricEvent>),
}

/// Passes metric events on: one, or an array of up to 1000. All of them are good, or none is taken. That they were
/// accepted does not mean that a scaler has heard them; sending them again does no harm.
#[utoipa::path(
    post, path = "/metric-events", tag = "autoscalers", operation_id = "publish_metric_events",
    request_body(content = MetricMessage, content_type = "application/json"),
    responses((status = 202, description = "Passed on", body = MetricsAccepted))
)]
pub(crate) async fn publish(
    shared: web::Data<Shared>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let limits = shared.body_limits();
    let limits = BodyLimits { max_bytes: limits.max_bytes.min(METRIC_MESSAGE_MAX_BYTES), ..limits };
    let message = body::bytes(&request, payload, limits).await?;
    let events = MetricEvent::read(&message).map_err(AutoscalerRefusal::from)?;
    if !events.is_empty() {
        shared.backend.metrics.publish(&events).await.map_err(AutoscalerRefusal::from)?;
    }
    Ok(HttpResponse::Accepted().json(MetricsAccepted { accepted: events.len() }))
}
