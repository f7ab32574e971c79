//! Results out: what happens to deployments of registered projects is told to their forge, to outgoing webhooks and to the
//! topic.
//!
//! Whatever happens to a deployment notes it on the agenda (`noted`). Whoever claims the entry compares what should be seen
//! outside (`wanted`) with the memo of what was told (`told`), tells what is missing (`forge`, `listeners`, `post`), and
//! settles the entry with a new memo; what was lost of the agenda is noted again (`missed`). Each receiver is told by itself and has a back-off of its own (`pace`), so that one
//! that is slow or away delays nobody else; and what its host cannot take now waits on the agenda (`hosts`). At least once:
//! a process that dies in between leaves it to the next one to tell it again.
//!
//! Statuses, deployments, environments and notes are GitLab's. Projects on GitHub or Gitea have outgoing webhooks and the
//! topic.

mod forge;
mod hosts;
mod listeners;
mod look;
mod message;
mod missed;
mod note;
mod noted;
mod pace;
mod post;
mod reporter;
mod shown;
#[cfg(test)]
mod testing;
mod told;
mod until;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::agenda::{Due, List, Next};
use slipway_common::telemetry::chain;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use self::pace::later;
use self::reporter::Reporter;
use crate::hold::{self, Held};
use crate::stage::Tools;

pub(crate) use self::missed::note_missed;
pub(crate) use self::noted::Noted;

/// Longest wait for an entry before the next look for one.
const ENTRY_WAIT: Duration = Duration::from_secs(5);
/// Pause after agenda or store could not be used.
const FAULT_PAUSE: Duration = Duration::from_millis(500);
/// A loop that has not moved for this long is stuck.
const STALL_LIMIT: Duration = Duration::from_secs(300);

/// Tells results until `stop`; what was begun by then is ended.
pub(crate) async fn report(tools: Arc<Tools>, stop: CancellationToken) {
    tokio::join!(noted::keep_noting(&tools, &stop), tell_results(&tools, &stop));
}

async fn tell_results(tools: &Arc<Tools>, stop: &CancellationToken) {
    let progress = tools.liveness.watch("report", STALL_LIMIT);
    let reporter = Arc::new(Reporter::new(tools, stop));
    let agenda = &tools.backend.agenda;
    let mut at_work = JoinSet::new();
    while !stop.is_cancelled() {
        progress.mark();
        while let Some(ended) = at_work.try_join_next() {
            tell_end(ended);
        }
        let free = tools.settings.reports.at_once.saturating_sub(at_work.len());
        if free == 0 {
            at_work.join_next().await.into_iter().for_each(tell_end);
            continue;
        }
        let pause = match agenda.claim(List::Reports, free, hold::TTL, Timestamp::now()).await {
            Ok(due) if due.is_empty() => None,
            Ok(due) => {
                for due in due {
                    at_work.spawn(one(Arc::clone(&reporter), due));
                }
                continue;
            }
            Err(error) => {
                tracing::debug!(error = chain(&error), "no results can be taken up");
                Some(FAULT_PAUSE)
            }
        };
        let wait = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => agenda.wait(List::Reports, ENTRY_WAIT).await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = stop.cancelled() => {}
        }
    }
    while let Some(ended) = at_work.join_next().await {
        tell_end(ended);
    }
}

fn tell_end(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "telling a result ended unexpectedly; it is told again");
    }
}

/// Tells what is to be told of one deployment, and settles its entry.
async fn one(reporter: Arc<Reporter>, due: Due) {
    let held = Held::Entry { agenda: reporter.agenda(), list: List::Reports, due: &due };
    let (next, memo) = match held.during(Box::pin(reporter.tell(&due))).await {
        Some(Ok(settled)) => settled,
        None => {
            // Telling on would be telling twice.
            tracing::debug!(deployment = due.key, "its results are left to somebody else");
            return;
        }
        Some(Err(error)) => {
            tracing::debug!(deployment = due.key, error = chain(&error), "results wait for the store");
            (Next::At(later(Timestamp::now(), FAULT_PAUSE * 4)), due.memo.clone())
        }
    };
    let agenda = reporter.agenda();
    match agenda.settle(List::Reports, &due, next, memo.as_deref(), Timestamp::now()).await {
        Ok(true) => {}
        Ok(false) => tracing::debug!(deployment = due.key, "somebody else has taken up its results since"),
        Err(error) => {
            tracing::debug!(deployment = due.key, error = chain(&error), "results may be told again");
        }
    }
}
