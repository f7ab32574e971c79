//! `GET /deployments/{id}/pods/{pod}/logs` and `…/events`: what a pod has printed and what happened to it, asked
//! of a worker. On a Docker target the containers are meant.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use slipway_common::inquiry::{Answer, Asked, Inquiry, TAIL_LINES_DEFAULT, TAIL_LINES_MAX, is_name};
use slipway_common::model::InquiryId;

use super::find;
use crate::query;
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::view::{PodEvents, PodLog};

/// The least of a log that can be asked for.
const TAIL_LINES_MIN: u32 = 1;

/// Which part of which log.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct PodLogsQuery {
    /// Which of the pod's containers; the one that runs the application if not given.
    container: Option<String>,
    /// What the container printed before it was last restarted; on Docker all runs of one share a log.
    #[param(value_type = Option<bool>)]
    previous: Option<String>,
    /// How many lines from the end; 100 if not given.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1_000)]
    tail_lines: Option<String>,
}

/// Events have nothing to choose from.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NoQuery {}

impl PodLogsQuery {
    fn asked(self) -> Result<Asked, Refusal> {
        if self.container.as_deref().is_some_and(|container| !is_name(container)) {
            return Err(Refusal::UnknownContainer { known: Vec::new() });
        }
        let tail_lines = tail_lines(self.tail_lines.as_deref())?;
        let previous = query::parse("previous", self.previous.as_deref())?.unwrap_or_default();
        Ok(Asked::Log { container: self.container, previous, tail_lines })
    }
}

fn tail_lines(text: Option<&str>) -> Result<u32, Refusal> {
    let asked = query::parse::<u64>("tail_lines", text)?.unwrap_or(u64::from(TAIL_LINES_DEFAULT));
    let fitting = u32::try_from(asked).ok().filter(|lines| (TAIL_LINES_MIN..=TAIL_LINES_MAX).contains(lines));
    fitting.ok_or_else(|| {
        Refusal::field("tail_lines", format!("must be from {TAIL_LINES_MIN} to {TAIL_LINES_MAX}"))
    })
}

/// Answers the last lines that a pod of the deployment has printed.
#[utoipa::path(
    get, path = "/deployments/{id}/pods/{pod}/logs", tag = "deployments", operation_id = "pod_logs",
    params(
        ("id" = String, Path, format = Uuid, description = "The deployment"),
        ("pod" = String, Path, description = "The pod (on Docker the container), as `live` names it"),
        PodLogsQuery,
    ),
    responses(
        (status = 200, description = "The lines", body = PodLog),
        (status = 422, description = "More lines than there may be", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
        (status = 502, description = "The target cannot be read, or has no such log", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
        (status = 504, description = "No worker answered in time", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn logs(
    shared: web::Data<Shared>,
    path: web::Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let asked = query::read::<PodLogsQuery>(&request)?.asked()?;
    let (id, pod) = path.into_inner();
    match ask(&shared, &id, &pod, asked).await? {
        Answer::Log { container, lines, truncated } => {
            Ok(HttpResponse::Ok().json(PodLog { pod, container, lines, truncated }))
        }
        other @ (Answer::Events(_)
        | Answer::UnknownPod
        | Answer::UnknownContainer { .. }
        | Answer::Failed { .. }) => Err(refused(other)),
    }
}

/// Answers what the target tells of a pod of the deployment.
#[utoipa::path(
    get, path = "/deployments/{id}/pods/{pod}/events", tag = "deployments", operation_id = "pod_events",
    params(
        ("id" = String, Path, format = Uuid, description = "The deployment"),
        ("pod" = String, Path, description = "The pod (on Docker the container), as `live` names it"),
    ),
    responses(
        (status = 200, description = "The events", body = PodEvents),
        (status = 502, description = "The target cannot be read", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
        (status = 504, description = "No worker answered in time", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn events(
    shared: web::Data<Shared>,
    path: web::Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let NoQuery {} = query::read(&request)?;
    let (id, pod) = path.into_inner();
    match ask(&shared, &id, &pod, Asked::Events).await? {
        Answer::Events(events) => Ok(HttpResponse::Ok().json(PodEvents { pod, events })),
        other @ (Answer::Log { .. }
        | Answer::UnknownPod
        | Answer::UnknownContainer { .. }
        | Answer::Failed { .. }) => Err(refused(other)),
    }
}

/// Asks a worker. What no pod can be called is not even asked about.
async fn ask(shared: &Shared, id: &str, pod: &str, what: Asked) -> Result<Answer, Refusal> {
    let deployment = find(&shared.backend, id).await?.id;
    if !is_name(pod) {
        return Err(refused(Answer::UnknownPod));
    }
    let inquiry = Inquiry { id: InquiryId::generate(), deployment, pod: pod.to_owned(), what };
    let sealed = shared.backend.inquiries.ask(&inquiry, patience(shared.settings.answer_timeout)).await?;
    Ok(Answer::open(&sealed, &shared.sealer, inquiry.id)?)
}

/// How long a worker is waited for: not all the time there is for an answer, so that silence is told as such.
fn patience(answer_timeout: Duration) -> Duration {
    answer_timeout / 4 * 3
}

/// What is not what was asked for.
fn refused(answer: Answer) -> Refusal {
    match answer {
        Answer::UnknownPod => Refusal::UnknownPod,
        Answer::UnknownContainer { known } => Refusal::UnknownContainer { known },
        Answer::Failed { code, reason } => Refusal::TargetUnreadable { code, reason },
        Answer::Log { .. } | Answer::Events(_) => Refusal::Internal("a worker answered another question"),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;

    use super::*;

    fn read(query: &str) -> Result<Asked, Refusal> {
        let request = TestRequest::get().uri(&format!("/x?{query}")).to_http_request();
        query::read::<PodLogsQuery>(&request)?.asked()
    }

    #[test]
    fn a_log_is_asked_for_within_its_limits() {
        let of = |container: Option<&str>, previous, tail_lines| Asked::Log {
            container: container.map(str::to_owned),
            previous,
            tail_lines,
        };
        assert_eq!(read("").unwrap(), of(None, false, TAIL_LINES_DEFAULT));
        assert_eq!(read("tail_lines=1").unwrap(), of(None, false, 1));
        assert_eq!(read("tail_lines=1000").unwrap(), of(None, false, TAIL_LINES_MAX));
        assert_eq!(read("container=db&previous=true").unwrap(), of(Some("db"), true, TAIL_LINES_DEFAULT));
        for (bad, status) in [
            ("tail_lines=0", StatusCode::UNPROCESSABLE_ENTITY),
            ("tail_lines=1001", StatusCode::UNPROCESSABLE_ENTITY),
            ("tail_lines=99999999999", StatusCode::UNPROCESSABLE_ENTITY),
            ("tail_lines=-1", StatusCode::BAD_REQUEST),
            ("tail_lines=all", StatusCode::BAD_REQUEST),
            ("previous=perhaps", StatusCode::BAD_REQUEST),
            ("follow=true", StatusCode::BAD_REQUEST),
            ("container=..%2Fx", StatusCode::NOT_FOUND),
        ] {
            let refusal = read(bad).unwrap_err();
            assert_eq!(refusal.problem().document().status, status.as_u16(), "{bad}");
        }
    }

    #[test]
    fn a_silent_worker_is_noticed_before_the_answer_is_due() {
        for limit_ms in [10, 300, 2_700, 60_000] {
            let limit = Duration::from_millis(limit_ms);
            assert!(patience(limit) < limit && patience(limit) * 2 > limit);
        }
    }
}
