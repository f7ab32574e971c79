//! Goes through the registered projects and the latest deployments now and then and puts those on the agenda that are missing
//! there: the agenda is kept in no ledger, and what of it was lost must neither stay unlooked at nor untold. Of several
//! workers one does so, under a lease.

use std::time::Duration;

use jiff::Timestamp;
use slipway_common::agenda::List;
use slipway_common::model::registered::state::SweepState;
use slipway_common::model::{ProjectSlug, WorkerId};
use slipway_common::projects::PROJECTS_PAGE_MAX;
use slipway_common::store::StoreError;
use slipway_common::telemetry::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pace;
use crate::report::note_missed;
use crate::stage::Tools;

/// How often the projects are gone through.
const ROUND_INTERVAL: Duration = Duration::from_secs(600);
/// How often it is asked whose turn that is.
const TURN_INTERVAL: Duration = Duration::from_secs(60);
/// What is leased, and until when another may take over from a worker that is gone.
const LEASE: &str = "sweeps/roster";
const LEASE_TTL: Duration = Duration::from_secs(150);
/// Intervals without a look after which a project is missing on the agenda.
const INTERVALS_MISSED: u32 = 3;

/// Goes through the projects until `stop`, while no other worker does.
pub(super) async fn keep(tools: &Tools, stop: &CancellationToken) {
    let worker = WorkerId::generate();
    let mut last: Option<Instant> = None;
    loop {
        match is_own_turn(tools, worker).await {
            Ok(true) if last.is_none_or(|last| last.elapsed() >= ROUND_INTERVAL) => {
                match go_round(tools, Timestamp::now()).await {
                    Ok((projects, deployments)) => {
                        last = Some(Instant::now());
                        tracing::debug!(projects, deployments, "what was missing on the agenda is noted");
                    }
                    Err(error) => {
                        tracing::debug!(error = chain(&error), "what is missing on the agenda is not known");
                    }
                }
            }
            Ok(true) => {}
            Ok(false) => last = None,
            Err(error) => tracing::debug!(error = chain(&error), "the lease cannot be asked for"),
        }
        tokio::select! {
            () = tokio::time::sleep(TURN_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn is_own_turn(tools: &Tools, worker: WorkerId) -> Result<bool, StoreError> {
    let holder = worker.to_string();
    let lease = tools.backend.store.acquire_lease(LEASE, &holder, LEASE_TTL, Timestamp::now()).await?;
    Ok(lease.is_some())
}

/// Notes the projects and the deployments that are missing; answers how many of each there were.
async fn go_round(tools: &Tools, now: Timestamp) -> Result<(usize, usize), StoreError> {
    Ok((go_through(tools, now).await?, note_missed(tools, now).await?))
}

/// Notes every project that nobody has looked at for too long; answers how many there were.
pub(super) async fn go_through(tools: &Tools, now: Timestamp) -> Result<usize, StoreError> {
    let (projects, agenda) = (&tools.backend.projects, &tools.backend.agenda);
    let mut after: Option<ProjectSlug> = None;
    let mut noted = 0;
    loop {
        let page = projects.page(after.as_ref(), PROJECTS_PAGE_MAX).await?;
        let mut missing = Vec::new();
        for project in &page {
            let slug = project.project.slug.to_string();
            let memo = agenda.memo(List::Sweeps, &slug).await?;
            let state = memo.as_deref().and_then(SweepState::from_memo);
            if is_missing(state.as_ref(), tools.settings.sweeps.interval, now) {
                missing.push(slug);
            }
        }
        agenda.note(List::Sweeps, &missing, now).await?;
        noted += missing.len();
        match page.last() {
            Some(last) if page.len() >= PROJECTS_PAGE_MAX => after = Some(last.project.slug.clone()),
            Some(_) | None => return Ok(noted),
        }
    }
}

/// Whether a project should have been looked at since. Pure.
fn is_missing(state: Option<&SweepState>, interval: Duration, now: Timestamp) -> bool {
    let patience = interval.saturating_mul(INTERVALS_MISSED);
    state.is_none_or(|state| pace::after(state.swept_at, patience) <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_missing_when_nobody_has_looked_at_it_for_too_long() {
        let interval = Duration::from_secs(100);
        let state = SweepState::at(Timestamp::UNIX_EPOCH);
        let at = |seconds| pace::after(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds));
        assert!(is_missing(None, interval, at(0)));
        assert!(!is_missing(Some(&state), interval, at(299)));
        assert!(is_missing(Some(&state), interval, at(300)));
    }
}
