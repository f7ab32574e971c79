//! Which copy of a job becomes a claim, which is dropped, and which waits.
//!
//! | the index says | then |
//! |---|---|
//! | done, or buried at this generation | drop: the job ended |
//! | a larger generation | drop: that copy was confirmed and carries the promise |
//! | claimed, and its process lives | defer: held for a moment, then handed on through a delay queue. Never dropped: this copy may be the claim's own delivery, come again after a broken connection |
//! | anything else, or nothing | take: a larger token, one more delivery |
//!
//! A job that was handed out twice without an end is a suspect: it may be what crashes its worker. One suspect at a time
//! is handed out here, so that the next crash is charged to it and not to another that was unlucky twice.
//!
//! A redelivery after a crash and a duplicate look alike, so they are treated alike: both are deferred while the
//! process that has the claim lives, and taken when it does not.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::index::{Wish, Word};
use super::message::{micros, unsigned};
use super::table::{Held, Hold, Waiting};
use super::{Delivery, Queue};
use crate::model::WorkerId;
use crate::plant::Plant;
use crate::queue::Claim;

/// Pause before a copy that another process works on is looked at again.
const CONTENDED_PAUSE: Duration = Duration::from_millis(150);
/// How long Redis may be silent before jobs are handed out without it. Shorter silences are a restart.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// Claims of a job that may end in a crash before it is a suspect. Less than the crashes a worker forgives.
const UNSUSPECTED_MAX: u32 = 2;

/// A waiting delivery that is being looked at. Goes back when dropped undecided.
struct Candidate<'a> {
    queue: &'a Queue,
    waiting: Option<Waiting<Delivery>>,
}

impl Drop for Candidate<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.queue.table().give_back(waiting);
        }
    }
}

impl Queue {
    /// The next job that is due at `now`, claimed; `None` when there is none here.
    pub(super) async fn take(&self, worker: WorkerId, ttl: Duration, now: Timestamp) -> Option<Claim> {
        let expires = now.saturating_add(ttl).unwrap_or(Timestamp::MAX);
        loop {
            let waiting = self.table().next(now, Instant::now())?;
            let mut candidate = Candidate { queue: self, waiting: None };
            let waiting = candidate.waiting.insert(waiting);
            let turn = self.suspects.try_acquire().ok().filter(|_| !self.table().has_above(UNSUSPECTED_MAX));
            let wish = Wish {
                message: &waiting.message,
                generation: waiting.generation,
                worker,
                now,
                expires,
                expired: waiting.expired,
                deliveries_max: turn.is_none().then_some(UNSUSPECTED_MAX),
            };
            match self.word(&wish).await {
                Word::Drop => {
                    if let Some(waiting) = candidate.waiting.take() {
                        tracing::debug!(job = %waiting.message.id, generation = waiting.generation, "a copy is dropped");
                        self.drop_copy(waiting.hold);
                    }
                }
                Word::Alive => {
                    waiting.not_before = Some(Instant::now() + CONTENDED_PAUSE);
                    // A claim of ours that expired here is none any more: somebody else has a later one.
                    waiting.expired = (0, 0);
                }
                Word::Taken { token, deliveries } => {
                    let waiting = candidate.waiting.take()?;
                    let claim = self.hand_out(waiting, worker, expires, token, deliveries);
                    // Kept until here: two slots that look at once are not both told that it is their turn.
                    drop(turn);
                    return Some(claim);
                }
            }
        }
    }

    /// The index's word, or what is right without it.
    async fn word(&self, wish: &Wish<'_>) -> Word {
        if Plant::DedupeInRedisOnly.is_planted() {
            return self.planted_word(wish).await;
        }
        match self.index.claim(wish).await {
            Ok(word) => {
                *self.silent_since() = None;
                word
            }
            Err(fault) => {
                let since = *self.silent_since().get_or_insert_with(Instant::now);
                if since.elapsed() < SILENCE_MAX {
                    return Word::Alive;
                }
                tracing::debug!(job = %wish.message.id, %fault, "a job is claimed without the index");
                without_index(wish)
            }
        }
    }

    /// The planted fault: a key in Redis alone says whether a copy is new. A copy that comes again after the crash of
    /// its worker is dropped, and one that comes again after Redis lost the key is new.
    async fn planted_word(&self, wish: &Wish<'_>) -> Word {
        if wish.expired.0 > 0 {
            return without_index(wish);
        }
        match self.index.mark_seen(wish.message.id, wish.generation).await {
            Ok(true) => self.index.claim(wish).await.map_or_else(
                |_| without_index(wish),
                |word| match word {
                    Word::Taken { .. } => word,
                    Word::Drop | Word::Alive => without_index(wish),
                },
            ),
            Ok(false) => Word::Drop,
            Err(_) => Word::Alive,
        }
    }

    fn hand_out(
        &self,
        waiting: Waiting<Delivery>,
        worker: WorkerId,
        expires_at: Timestamp,
        token: u64,
        deliveries: u32,
    ) -> Claim {
        let message = waiting.message;
        let hold = if Plant::AckBeforeEffect.is_planted() {
            self.drop_copy(waiting.hold);
            Hold::Guarded
        } else {
            waiting.hold
        };
        self.table().hand_out(Held {
            message: Arc::clone(&message),
            worker,
            generation: waiting.generation,
            token,
            deliveries,
            expires: expires_at,
            since: waiting.arrived,
            hold,
        });
        Claim { message: message.as_ref().clone(), token, deliveries, expires_at }
    }

    /// Acknowledges a copy that is not needed any more. That it is done in the background costs nothing: an
    /// acknowledgement that is lost brings the copy again, and the same word drops it again.
    pub(super) fn drop_copy(&self, hold: Hold<Delivery>) {
        if let Hold::Delivery(delivery) = hold {
            tokio::spawn(async move {
                if let Err(lost) = delivery.ack().await {
                    tracing::debug!(%lost, "a dropped copy will come again");
                }
            });
        }
    }

    fn silent_since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.silent_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A claim without the index: its token is larger than the last one unless clocks disagree, and larger than all before
/// the job was last parked in any case. What a crash costs cannot be counted, so nothing is charged.
fn without_index(wish: &Wish<'_>) -> Word {
    let (own_token, own_deliveries) = wish.expired;
    let newest = own_token.max(wish.generation).saturating_add(1);
    Word::Taken {
        token: newest.max(unsigned(micros(wish.now))),
        deliveries: own_deliveries.saturating_add(1),
    }
}
