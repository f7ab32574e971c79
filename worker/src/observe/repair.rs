//! Repairs nobody asked for: when drift is found where the target wants it undone, a repair job is queued, and ever less
//! often where the same happens again and again.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use slipway_common::model::{Deployment, JobId, JobMessage};
use slipway_common::submit::submit;
use slipway_common::telemetry::chain;

use crate::stage::Tools;

/// Who asks for these repairs.
const USER: &str = "slipway";
/// The shortest and the longest pause between two repairs of one deployment. Whoever changes things again and again,
/// such as another controller, is not fought without end.
const PAUSE_MIN: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Without drift for this long, the next one is repaired at once again.
const CALM: Duration = Duration::from_secs(3600);

/// The repairs of one deployment.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    last: Option<Repair>,
}

#[derive(Debug)]
struct Repair {
    at: Instant,
    pause: Duration,
}

impl Repairs {
    /// Whether a repair may be asked for now; takes note of it if so.
    pub(super) fn are_due(&mut self, now: Instant) -> bool {
        let pause = match &self.last {
            Some(last) if now.duration_since(last.at) < last.pause => return false,
            Some(last) if now.duration_since(last.at) < last.pause + CALM => (last.pause * 2).min(PAUSE_MAX),
            Some(_) | None => PAUSE_MIN,
        };
        self.last = Some(Repair { at: now, pause });
        true
    }
}

/// Queues a repair. Should that fail, the drift is still there at the next look.
pub(super) async fn ask_for(tools: &Tools, deployment: &Deployment) {
    let message = JobMessage::repair(deployment, JobId::generate(), USER.to_owned(), Timestamp::now());
    tracing::info!(deployment = %deployment.id, job = %message.id, "drift is repaired");
    if let Err(error) = submit(&tools.backend, &message).await {
        tracing::warn!(deployment = %deployment.id, error = chain(&error), "the repair could not be queued");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_again_is_repaired_ever_less_often() {
        let mut repairs = Repairs::default();
        let start = Instant::now();
        let mut at_s = Vec::new();
        for second in 0..20_000 {
            if repairs.are_due(start + Duration::from_secs(second)) {
                at_s.push(second);
            }
        }
        assert_eq!(at_s, [0, 30, 90, 210, 450, 930, 1_890, 3_810, 7_410, 11_010, 14_610, 18_210]);
        let later = start + Duration::from_secs(18_210) + PAUSE_MAX + CALM;
        assert!(repairs.are_due(later));
        assert!(repairs.are_due(later + PAUSE_MIN), "after a calm time it begins anew");
    }
}
