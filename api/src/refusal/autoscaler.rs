//! Why a request about autoscalers or metric events was not served.

use actix_web::http::StatusCode;
use slipway_common::metric::{MetricError, MetricRefusal};
use slipway_common::model::DeploymentState;

use super::unavailable;
use crate::problem::Problem;

/// Longest part of a metric event's refusal that is shown.
const REASON_MAX_CHARS: usize = 300;

/// Why a request about autoscalers or metric events was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AutoscalerRefusal {
    /// The project and environment have no autoscaler.
    #[error("there is no autoscaler")]
    Absent,
    /// Somebody else is changing it.
    #[error("somebody else is changing the autoscaler")]
    Busy,
    /// The deployment is over.
    #[error("the deployment is over")]
    Over { state: DeploymentState },
    /// A message is no metric event.
    #[error("the message is no metric event")]
    Event(#[from] MetricRefusal),
    /// Metric events cannot be passed on.
    #[error("metric events cannot be passed on")]
    Metrics(#[from] MetricError),
}

impl AutoscalerRefusal {
    pub(super) fn problem(&self) -> Problem {
        match self {
            Self::Absent => Problem::new(
                StatusCode::NOT_FOUND,
                "autoscaler_absent",
                "The deployment's project and environment have no autoscaler; PUT makes one.",
            ),
            Self::Busy => unavailable(
                "autoscaler_busy",
                "Somebody else is changing this autoscaler at the moment; try again.",
            ),
            Self::Over { state } => Problem::new(
                StatusCode::CONFLICT,
                "deployment_over",
                format!("The deployment is {state}; name one of its environment that is not over."),
            ),
            Self::Event(refusal) => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "metric_event_invalid",
                format!("Nothing was taken: {}.", shown(refusal)),
            ),
            Self::Metrics(error) => {
                tracing::warn!(error = %error, "metric events cannot be passed on");
                unavailable("metrics_unavailable", "Metric events cannot be passed on now; try again.")
            }
        }
    }
}

/// The parser repeats what it could not read, however long that is.
fn shown(refusal: &MetricRefusal) -> String {
    let words = refusal.to_string();
    words.chars().filter(|character| !character.is_control()).take(REASON_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_bus_met_inside_is_not_told() {
        let error = MetricError::Unavailable { reason: "amqp://secret".to_owned() };
        let document = AutoscalerRefusal::from(error).problem().document();
        assert_eq!((document.status, document.code.as_str()), (503, "metrics_unavailable"));
        assert!(!document.detail.contains("secret"));
    }

    #[test]
    fn a_refused_event_is_not_repeated_at_length() {
        let reason = "x\n".repeat(10 * REASON_MAX_CHARS);
        let refusal = AutoscalerRefusal::Event(MetricRefusal::Unreadable { reason });
        let document = refusal.problem().document();
        assert_eq!((document.status, document.code.as_str()), (422, "metric_event_invalid"));
        assert!(document.detail.len() < 2 * REASON_MAX_CHARS && !document.detail.contains('\n'));
    }
}
