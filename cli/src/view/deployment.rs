//! Deployments as text: a page of them, one in full, and how one came out.

use jiff::Timestamp;
use slipway_common::failure::Failure;
use slipway_common::model::{DriftKind, LiveReplica, StageReport, StageStatus};

use super::line;
use super::table::Table;
use super::text::{ago, clean, duration, short_id, short_revision};
use crate::client::types::{DeploymentView, DeploymentsPage};

/// Prints a page of deployments.
pub(crate) fn print_page(page: &DeploymentsPage, now: Timestamp) {
    if page.data.is_empty() {
        line(if page.total == 0 { "no deployments" } else { "no more deployments" });
        return;
    }
    let mut table = Table::new(&["ID", "PROJECT", "ENVIRONMENT", "TARGET", "STATUS", "ACCEPTED", "URL"]);
    for deployment in &page.data {
        table.row([
            short_id(&deployment.id).to_owned(),
            deployment.project_path.clone(),
            deployment.environment.clone(),
            deployment.target.clone(),
            deployment.status.clone(),
            ago(deployment.created_at, now),
            deployment.url.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.print("");
    if let Some(next) = &page.next_cursor {
        line(&format!("{} of {}; the next page: --cursor {}", page.data.len(), page.total, clean(next)));
    }
}

/// Prints one deployment in full.
pub(crate) fn print(deployment: &DeploymentView, now: Timestamp) {
    let mut head = Table::plain();
    let mut field = |name: &str, value: String| head.row([name.to_owned(), value]);
    field("deployment", deployment.id.clone());
    field("project", deployment.project_path.clone());
    field("environment", deployment.environment.clone());
    field("target", deployment.target.clone());
    field("status", deployment.status.clone());
    if let Some(reason) = &deployment.degraded {
        field("degraded", reason.clone());
    }
    if let Some(url) = &deployment.url {
        field("url", url.clone());
    }
    if let Some(revision) = deployment.facts.revision() {
        field("commit", short_revision(revision).to_owned());
    }
    if let Some(image) = &deployment.facts.image {
        field("image", format!("{} {}", image.tag, image.digest));
    }
    field("accepted", format!("{} by {}", ago(deployment.created_at, now), deployment.user));
    head.print("");
    if !deployment.stages.is_empty() {
        print_stages(&deployment.stages);
    }
    if let Some(failure) = &deployment.failure {
        print_failure(failure);
    }
    print_live(deployment, now);
}

/// Prints how a watched deployment came out.
pub(crate) fn print_outcome(deployment: &DeploymentView) {
    if let Some(failure) = &deployment.failure {
        print_failure(failure);
    }
    let url = deployment.url.as_deref().map(|url| format!(" at {url}")).unwrap_or_default();
    line(&clean(&format!("{} {}{url}", deployment.project_path, deployment.status)));
}

fn print_stages(stages: &[StageReport]) {
    line("stages");
    let mut table = Table::plain();
    for report in stages {
        table.row([
            report.stage.to_string(),
            status(report.status).to_owned(),
            report.duration_ms().map(duration).unwrap_or_default(),
            report.message.clone().unwrap_or_default(),
        ]);
    }
    table.print("  ");
}

fn status(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Pending => "pending",
        StageStatus::Running => "running",
        StageStatus::Waiting => "waiting",
        StageStatus::Succeeded => "succeeded",
        StageStatus::Skipped => "skipped",
        StageStatus::Failed => "failed",
        StageStatus::Stopped => "stopped",
    }
}

fn print_failure(failure: &Failure) {
    line(&clean(&format!("failed at {} ({}): {}", failure.stage, failure.code, failure.reason)));
    if let Some(hint) = &failure.hint {
        line(&clean(&format!("hint: {hint}")));
    }
    if !failure.log_tail.is_empty() {
        line("the last log lines:");
        for text in &failure.log_tail {
            line(&format!("  | {}", clean(text)));
        }
    }
}

fn print_live(deployment: &DeploymentView, now: Timestamp) {
    let Some(live) = &deployment.live else { return };
    line(&format!(
        "runs: {} of {} replicas serve, seen {}",
        live.replicas_serving,
        live.replicas_wanted,
        ago(live.observed_at, now)
    ));
    let mut table = Table::plain();
    for replica in live.replicas.iter().chain(&live.supports) {
        table.row(replica_cells(replica, now));
    }
    table.print("  ");
    for event in &live.events {
        line(&clean(&format!("  {}: {}: {}", event.about, event.reason, event.message)));
    }
    for drift in &live.drift {
        let by = drift.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        let what = match drift.kind {
            DriftKind::Missing => "deleted".to_owned(),
            DriftKind::Changed => format!("changed{by}"),
        };
        line(&clean(&format!(
            "drift: {} was {what}; slipway repair {}",
            drift.object,
            short_id(&deployment.id)
        )));
    }
}

fn replica_cells(replica: &LiveReplica, now: Timestamp) -> [String; 4] {
    let mut notes = Vec::new();
    notes.extend(replica.started_at.map(|at| format!("started {}", ago(at, now))));
    notes.extend((replica.restarts > 0).then(|| format!("{} restarts", replica.restarts)));
    notes.extend(replica.exit_code.map(|code| format!("exit code {code}")));
    notes.extend(replica.reason.as_deref().map(clean));
    notes.extend(replica.out_of_memory.then(|| "out of memory".to_owned()));
    [
        replica.name.clone(),
        replica.state.clone(),
        if replica.serving { "serving".to_owned() } else { "not serving".to_owned() },
        notes.join(", "),
    ]
}
