//! What has to be done to deliveries and claims as time goes by, and the mark that says that this process lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::table::Hold;
use super::{Copy, Queue, encoded};
use crate::model::JobId;

/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// How long a copy is held that another process works on. Longer than a dead process is taken for alive, so that what
/// it had is usually resumed here at once.
const CONTENDED_MAX: Duration = Duration::from_secs(2);
const CONTENDED_AGAIN: Duration = Duration::from_secs(1);
/// How long a delivery is held for a slot of this process.
const IDLE_MAX: Duration = Duration::from_secs(5);
const IDLE_AGAIN: Duration = Duration::from_millis(250);
/// How often the guard copy of a long job comes by.
const GUARD_ROUND: Duration = Duration::from_secs(4);
/// How often the mark of a living process is renewed, and how long it lasts.
const LIVE_EVERY: Duration = Duration::from_millis(300);
const LIVE_FOR: Duration = Duration::from_millis(1_200);

/// Says again and again that this process lives, so that what it works on is not given to others.
pub(super) async fn live(queue: Arc<Queue>) {
    loop {
        if let Err(fault) = queue.index.live(LIVE_FOR).await {
            tracing::debug!(%fault, "the mark of this process could not be renewed");
        }
        tokio::time::sleep(LIVE_EVERY).await;
    }
}

/// Hands on what nobody here takes, and puts guards in the place of deliveries held for too long.
pub(super) async fn keep(queue: Arc<Queue>) {
    loop {
        tokio::time::sleep(LOOK_PAUSE).await;
        let stale = queue.table().take_stale(CONTENDED_MAX, IDLE_MAX, Instant::now());
        for waiting in stale {
            let pause = if waiting.not_before.is_some() { CONTENDED_AGAIN } else { IDLE_AGAIN };
            let queue = Arc::clone(&queue);
            queue.clone().tasks.spawn(async move { queue.hand_on(waiting, pause).await });
        }
        let long = queue.table().held_longer(queue.hold_max, Instant::now());
        for (job, token) in long {
            queue.guard(job, token).await;
        }
    }
}

impl Queue {
    /// Puts a guard copy in the place of a delivery that was held for long, because the broker takes back what is not
    /// acknowledged for too long. The guard goes round through a delay queue; while the claim holds it is handed on or
    /// taken back in, and when the process died it is the job.
    async fn guard(&self, job: JobId, token: u64) {
        let Some(hold) = self.table().make_busy(job, token) else { return };
        let standing = self.table().copy_of(job, token);
        let guarded = match standing.map(|(message, generation)| (encoded(&message), generation)) {
            Some((Ok(body), generation)) => {
                let key = format!("delay.{}", GUARD_ROUND.as_millis());
                self.move_copy(Copy { key, body, job, generation, until_us: None }).await
            }
            Some((Err(error), _)) => Err(error),
            None => return,
        };
        match guarded {
            Ok(()) => {
                self.table().end_busy(job, token, Hold::Guarded);
                self.drop_copy(hold);
            }
            Err(error) => {
                tracing::warn!(%job, %error, "a delivery could not be guarded; it is tried again");
                self.table().end_busy(job, token, hold);
            }
        }
    }
}
