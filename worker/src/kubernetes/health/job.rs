//! Work that ends: Job and CronJob.

use serde_json::Value;

use super::answer::{TroubleCode, Verdict};
use super::condition::{Condition, degraded, is_suspended, progressing};
use super::json::{count, count_or_zero, counted, title};

/// The verdict on a Job: ready once it is complete.
pub(super) fn job(object: &Value) -> Verdict {
    let title = title("Job", object);
    // `FailureTarget` is set before the last pods are gone, and is never taken back.
    let failed = ["Failed", "FailureTarget"].iter().find_map(|kind| Condition::holding(object, kind));
    if let Some(failed) = failed {
        return degraded(TroubleCode::JobFailed, format!("{title}: failed: {}", failed.words()), true);
    }
    if Condition::holding(object, "Complete").is_some() {
        return Verdict::Ready;
    }
    if is_suspended(object) {
        return Verdict::Suspended { message: format!("{title}: is suspended") };
    }
    progressing(format!("{title}: {}", so_far(object)))
}

/// The verdict on a CronJob. What its jobs come to is theirs to tell.
pub(super) fn cron_job(object: &Value) -> Verdict {
    if is_suspended(object) {
        return Verdict::Suspended { message: format!("{}: is suspended", title("CronJob", object)) };
    }
    Verdict::Ready
}

fn so_far(object: &Value) -> String {
    let succeeded = count_or_zero(object, &["status", "succeeded"]);
    let active = count_or_zero(object, &["status", "active"]);
    let failed = count_or_zero(object, &["status", "failed"]);
    // Without a number of completions the first success of the last pod is the end.
    let done = match count(object, &["spec", "completions"]) {
        Some(wanted) => format!("{succeeded} of {} done", counted(wanted, "completion")),
        None => format!("{} done", counted(succeeded, "pod")),
    };
    let failures = if failed == 0 { String::new() } else { format!(", {failed} failed") };
    format!("{done}, {active} running{failures}")
}
