//! `GET /deployments/{id}/logs`: the log of one stage or of all, whole or followed, as text or as JSON lines.

use std::ops::ControlFlow;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use slipway_common::model::{Deployment, DeploymentId, Stage, StageStatus};
use slipway_common::store::{LogLine, LogPage, StoreError};

use super::find;
use crate::query;
use crate::refusal::{Refusal, RequestPart};
use crate::server::Shared;
use crate::streams::{Ended, Outlet};

/// Lines read at once.
const PAGE_LINES: usize = 500;
/// Most lines that `tail` may ask for.
const TAIL_MAX_LINES: u64 = 100_000;
const TEXT: &str = "text/plain; charset=utf-8";
const NDJSON: &str = "application/x-ndjson";

/// Which part of the log.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogsQuery {
    /// Only this stage; all stages, one after the other, if not given.
    #[param(value_type = Option<Stage>)]
    stage: Option<String>,
    /// Go on with new lines until the stage has ended.
    #[param(value_type = Option<bool>)]
    follow: Option<String>,
    /// Begin after the line with this number. Needs `stage`.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// Begin this many lines before the end of what there is now. Needs `stage`.
    #[param(value_type = Option<u64>, maximum = 100_000)]
    tail: Option<String>,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    After(u64),
    Tail(u64),
}

/// What was asked for.
#[derive(Debug, Clone)]
struct Wanted {
    stages: Vec<Stage>,
    follow: bool,
    begin: Begin,
    as_json: bool,
}

impl Wanted {
    fn read(request: &HttpRequest) -> Result<Self, Refusal> {
        let asked: LogsQuery = query::read(request)?;
        let stage: Option<Stage> = query::parse("stage", asked.stage.as_deref())?;
        let after = query::parse("after", asked.after.as_deref())?;
        let tail = query::number("tail", asked.tail.as_deref(), 0..=TAIL_MAX_LINES)?;
        let begin = match (after, tail) {
            (None, None) => Begin::After(0),
            (Some(_), Some(_)) => return Err(refuse("tail", "cannot be given together with `after`")),
            (Some(_), None) if stage.is_none() => return Err(refuse("after", "needs `stage`")),
            (None, Some(_)) if stage.is_none() => return Err(refuse("tail", "needs `stage`")),
            (Some(after), None) => Begin::After(after),
            (None, Some(tail)) => Begin::Tail(tail),
        };
        let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
        Ok(Self {
            stages: stage.map_or_else(|| Stage::ALL.to_vec(), |stage| vec![stage]),
            follow: query::parse("follow", asked.follow.as_deref())?.unwrap_or_default(),
            begin,
            as_json: accept.is_some_and(|accept| accept.contains(NDJSON)),
        })
    }
}

fn refuse(field: &'static str, reason: &str) -> Refusal {
    Refusal::Malformed { part: RequestPart::Query, field, reason: reason.to_owned() }
}

/// Answers the log of a stage, or of all stages one after the other, as text or (by `Accept`) one JSON object
/// a line.
#[utoipa::path(
    get, path = "/deployments/{id}/logs", tag = "deployments", operation_id = "deployment_logs",
    params(("id" = String, Path, format = Uuid, description = "The deployment"), LogsQuery),
    responses((status = 200, description = "The log", content(
        (String = "text/plain"), (String = "application/x-ndjson"))))
)]
pub(crate) async fn logs(
    shared: web::Data<Shared>,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let wanted = Wanted::read(&request)?;
    let deployment = find(&shared.backend, &id).await?.id;
    let content_type = if wanted.as_json { NDJSON } else { TEXT };
    let data = shared.clone();
    let stream = shared.streams.open(move |outlet| send_all(data, deployment, wanted, outlet))?;
    Ok(HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream))
}

async fn send_all(
    shared: web::Data<Shared>,
    deployment: DeploymentId,
    wanted: Wanted,
    mut outlet: Outlet,
) -> Result<(), Ended> {
    for stage in &wanted.stages {
        send_stage(&shared, deployment, *stage, &wanted, &mut outlet).await?;
    }
    Ok(())
}

async fn send_stage(
    shared: &Shared,
    deployment: DeploymentId,
    stage: Stage,
    wanted: &Wanted,
    outlet: &mut Outlet,
) -> Result<(), Ended> {
    let mut hints = shared.backend.store.changes();
    let mut after = match wanted.begin {
        Begin::After(after) => after,
        Begin::Tail(tail) => tail_begin(shared, deployment, stage, tail).await.map_err(store_failed)?,
    };
    loop {
        let (page, over) = next_page(shared, deployment, stage, after).await.map_err(store_failed)?;
        if let Some((last, _)) = page.lines.last() {
            after = *last;
            outlet.send(written(stage, &page, wanted.as_json)).await?;
        }
        match what_next(&page, wanted.follow, over) {
            ControlFlow::Continue(true) => outlet.changed(&mut hints, deployment).await?,
            ControlFlow::Continue(false) => {}
            ControlFlow::Break(()) => return Ok(()),
        }
    }
}

/// Whether to go on, and if so whether to wait first.
fn what_next(page: &LogPage, follow: bool, over: bool) -> ControlFlow<(), bool> {
    if page.more {
        ControlFlow::Continue(false)
    } else if follow && !over {
        ControlFlow::Continue(true)
    } else {
        ControlFlow::Break(())
    }
}

/// The next lines, and whether no line can follow them. The deployment is read first for that.
async fn next_page(
    shared: &Shared,
    id: DeploymentId,
    stage: Stage,
    after: u64,
) -> Result<(LogPage, bool), StoreError> {
    let store = &shared.backend.store;
    let deployment = store.deployment(id).await?.ok_or(StoreError::UnknownDeployment { deployment: id })?;
    let over = is_over(&deployment, stage);
    Ok((store.read_log(id, stage, after, PAGE_LINES).await?, over))
}

/// Whether the stage will write no more.
fn is_over(deployment: &Deployment, stage: Stage) -> bool {
    let ended = |status| match status {
        StageStatus::Pending | StageStatus::Running | StageStatus::Waiting => false,
        StageStatus::Succeeded | StageStatus::Skipped | StageStatus::Failed | StageStatus::Stopped => true,
    };
    deployment.jobs.iter().all(|job| job.state.is_terminal())
        || deployment.stage(stage).is_some_and(|report| ended(report.status))
        || (stage == Stage::Stop && !deployment.jobs.iter().any(|job| job.kind == "stop"))
}

/// The number of the line after which the last `tail` lines begin.
async fn tail_begin(shared: &Shared, id: DeploymentId, stage: Stage, tail: u64) -> Result<u64, StoreError> {
    let mut last = 0;
    loop {
        let page = shared.backend.store.read_log(id, stage, last, PAGE_LINES).await?;
        if let Some((number, _)) = page.lines.last() {
            last = *number;
        }
        if !page.more {
            return Ok(last.saturating_sub(tail));
        }
    }
}

fn store_failed(error: StoreError) -> Ended {
    tracing::warn!(%error, "a log stream ends: the store failed");
    Ended::Broken
}

/// A line as a JSON object.
#[derive(Debug, Serialize)]
struct JsonLine<'a> {
    stage: Stage,
    number: u64,
    #[serde(flatten)]
    line: &'a LogLine,
}

fn written(stage: Stage, page: &LogPage, as_json: bool) -> String {
    let mut out = String::new();
    for (number, line) in &page.lines {
        if as_json {
            let line = JsonLine { stage, number: *number, line };
            out.push_str(&serde_json::to_string(&line).unwrap_or_default());
        } else {
            out.push_str(&line.text);
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn read(query: &str) -> Result<Wanted, Refusal> {
        Wanted::read(&TestRequest::get().uri(&format!("/x?{query}")).to_http_request())
    }

    #[test]
    fn line_numbers_need_a_stage() {
        assert_eq!(read("stage=build&tail=5").unwrap().begin, Begin::Tail(5));
        assert_eq!(read("stage=build&after=7&follow=true").unwrap().begin, Begin::After(7));
        assert_eq!(read("").unwrap().stages.len(), Stage::ALL.len());
        for bad in ["tail=5", "after=5", "stage=build&after=1&tail=1", "stage=x", "follow=maybe", "tail=-1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lines_are_written_one_by_one() {
        let line = LogLine::new(jiff::Timestamp::UNIX_EPOCH, "a \"b\"");
        let page = LogPage { lines: vec![(4, line)], more: false };
        assert_eq!(written(Stage::Build, &page, false), "a \"b\"\n");
        let json: serde_json::Value = serde_json::from_str(&written(Stage::Build, &page, true)).unwrap();
        assert_eq!((&json["stage"], &json["number"]), (&"build".into(), &4.into()));
        assert_eq!(json["text"], "a \"b\"");
    }
}
