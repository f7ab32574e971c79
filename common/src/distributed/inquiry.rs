//! Questions and answers between processes, through Redis.
//!
//! A question is a key that Redis forgets by itself, and a place among those that wait, by the time it is over.
//! Both sides look again after a short pause rather than block: a blocking command would hold up everything else
//! on the connection that all share, and on one of its own it would hang, or wait at the wrong server, when Redis
//! was started again or another server has become the primary. Each look uses whichever connection works then.
//! Redis's own clock counts, for those of processes differ.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::redis::{Redis, RedisFault, Repeat, Script};
use crate::inquiry::{Inquiries, Inquiry, InquiryError, QUESTIONS_MAX, Taken};
use crate::secrets::Sealed;

/// Pause between two looks for an answer.
const ANSWER_PAUSE: Duration = Duration::from_millis(50);
/// Pause between two looks for a question.
const QUESTION_PAUSE: Duration = Duration::from_millis(200);

static ASK: Script = Script::new(include_str!("inquiry/lua/ask.lua"), Repeat::Safe);
// Whoever is not told what it took cannot answer: nobody else is given it either, and it ends as unanswered.
static TAKE: Script = Script::new(include_str!("inquiry/lua/take.lua"), Repeat::Unsafe);
static ANSWER: Script = Script::new(include_str!("inquiry/lua/answer.lua"), Repeat::Safe);
static LOOK: Script = Script::new(include_str!("inquiry/lua/look.lua"), Repeat::Safe);
static TAKE_BACK: Script = Script::new(include_str!("inquiry/lua/take_back.lua"), Repeat::Safe);

/// The questions in Redis; clones are the same ones.
#[derive(Debug, Clone)]
pub(crate) struct RedisInquiries {
    redis: Redis,
}

/// Takes a question back when its asker ends, however it ends. Should that not reach Redis, it forgets anyway.
#[derive(Debug)]
struct Asker {
    redis: Redis,
    id: String,
}

impl Drop for Asker {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (redis, id) = (self.redis.clone(), std::mem::take(&mut self.id));
        runtime.spawn(async move {
            drop(redis.script(&TAKE_BACK, &[redis.key("")], id).await);
        });
    }
}

impl RedisInquiries {
    pub(crate) fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// The beginning of all names, as the scripts are given it.
    fn keys(&self) -> [String; 1] {
        [self.redis.key("")]
    }

    /// Asks and looks for the answer, without end. `fault` is what the last look met.
    async fn answered(
        &self,
        inquiry: &Inquiry,
        longest: Duration,
        fault: &mut Option<RedisFault>,
    ) -> Result<Sealed, InquiryError> {
        let asker = Asker { redis: self.redis.clone(), id: inquiry.id.to_string() };
        let body = serde_json::to_string(inquiry).map_err(unavailable)?;
        let longest_ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        let args = (asker.id.as_str(), body.as_str(), longest_ms, QUESTIONS_MAX);
        let fits: bool = self.redis.ask(&ASK, &self.keys(), args).await.map_err(unavailable)?;
        if !fits {
            return Err(InquiryError::TooMany { limit: QUESTIONS_MAX });
        }
        loop {
            tokio::time::sleep(ANSWER_PAUSE).await;
            match self.redis.ask::<Option<String>>(&LOOK, &self.keys(), asker.id.as_str()).await {
                Ok(Some(answer)) => return serde_json::from_str(&answer).map_err(unavailable),
                Ok(None) => *fault = None,
                // It may be back in time.
                Err(met) => *fault = Some(met),
            }
        }
    }
}

#[async_trait]
impl Inquiries for RedisInquiries {
    async fn ask(&self, inquiry: &Inquiry, longest: Duration) -> Result<Sealed, InquiryError> {
        let mut fault = None;
        let ended = tokio::time::timeout(longest, self.answered(inquiry, longest, &mut fault)).await;
        ended.unwrap_or_else(|_| Err(fault.map_or_else(|| InquiryError::unanswered(longest), unavailable)))
    }

    async fn next(&self, longest: Duration) -> Result<Option<Taken>, InquiryError> {
        let until = Instant::now() + longest;
        loop {
            let taken: Option<(String, u64)> =
                self.redis.ask(&TAKE, &self.keys(), "").await.map_err(unavailable)?;
            if let Some((body, left_ms)) = taken {
                match serde_json::from_str(&body) {
                    Ok(inquiry) => {
                        return Ok(Some(Taken { inquiry, left: Duration::from_millis(left_ms) }));
                    }
                    Err(error) => tracing::warn!(%error, "a question that cannot be read is passed over"),
                }
                continue;
            }
            let pause = until.saturating_duration_since(Instant::now()).min(QUESTION_PAUSE);
            if pause.is_zero() {
                return Ok(None);
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn answer(&self, taken: &Taken, answer: &Sealed) -> Result<(), InquiryError> {
        let body = serde_json::to_string(answer).map_err(unavailable)?;
        let id = taken.inquiry.id.to_string();
        let args = (id.as_str(), body.as_str());
        self.redis.script(&ANSWER, &self.keys(), args).await.map(drop).map_err(unavailable)
    }
}

fn unavailable(met: impl fmt::Display) -> InquiryError {
    InquiryError::Unavailable { reason: met.to_string() }
}
