//! The agenda in Redis, beside the projection: a rebuild leaves it. What a flush takes of it is noted again, for every
//! registered project when the rebuild that follows is done.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use redis::{FromRedisValue, ToRedisArgs};

use super::RedisStore;
use super::codec::{after, lifetime_ms, micros};
use super::desk::CLOCK_GRACE;
use super::scripts::{AGENDA_CLAIM, AGENDA_DEPTH, AGENDA_MEMO, AGENDA_NOTE, AGENDA_RENEW, AGENDA_SETTLE};
use crate::agenda::{Agenda, Due, List, Next};
use crate::distributed::redis::Script;
use crate::store::StoreError;

/// Entries noted by one script at most.
const NOTE_MAX: usize = 500;
/// Most entries of one claim, whatever was asked for.
const CLAIM_MAX: usize = 1_000;
/// How long a wait lasts at most: the time of an entry may have come, or a hint been lost.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What is to be looked at, in Redis; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct RedisAgenda {
    store: RedisStore,
}

impl RedisAgenda {
    pub(crate) fn new(store: RedisStore) -> Self {
        Self { store }
    }

    /// Runs a script whether the projection is complete or not.
    async fn ask<T: FromRedisValue>(
        &self,
        script: &'static Script,
        args: impl ToRedisArgs,
    ) -> Result<T, StoreError> {
        Ok(self.store.redis.ask(script, &[self.store.redis.key("")], args).await?)
    }
}

#[async_trait]
impl Agenda for RedisAgenda {
    async fn note(&self, list: List, keys: &[String], at: Timestamp) -> Result<(), StoreError> {
        for some in keys.chunks(NOTE_MAX) {
            let mut args = vec![list.as_str().to_owned(), micros(at).to_string()];
            args.extend_from_slice(some);
            self.ask::<()>(&AGENDA_NOTE, &args[..]).await?;
            self.store.hints.agenda_due(list);
        }
        Ok(())
    }

    async fn claim(
        &self,
        list: List,
        limit: usize,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Vec<Due>, StoreError> {
        let args = (list.as_str(), limit.min(CLAIM_MAX), after(now, ttl), micros(now));
        let answer: Vec<Option<String>> = self.ask(&AGENDA_CLAIM, args).await?;
        Ok(answer.chunks(4).filter_map(due).collect())
    }

    async fn renew(&self, list: List, due: &Due, ttl: Duration, now: Timestamp) -> Result<bool, StoreError> {
        let args = (list.as_str(), &due.key, due.token, after(now, ttl));
        self.ask(&AGENDA_RENEW, args).await
    }

    async fn settle(
        &self,
        list: List,
        due: &Due,
        next: Next,
        memo: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (word, number) = match next {
            Next::At(at) => ("at", micros(at).to_string()),
            Next::Rest(keep) => ("rest", lifetime_ms(keep, CLOCK_GRACE).to_string()),
            Next::Gone => ("gone", String::new()),
        };
        let (token, now) = (due.token.to_string(), micros(now).to_string());
        let mut args = vec![list.as_str(), &due.key, &token, &now, word, &number];
        args.extend(memo);
        self.ask(&AGENDA_SETTLE, &args[..]).await
    }

    async fn memo(&self, list: List, key: &str) -> Result<Option<String>, StoreError> {
        self.ask(&AGENDA_MEMO, (list.as_str(), key)).await
    }

    async fn wait(&self, list: List, longest: Duration) {
        // Either way the caller looks for itself.
        drop(tokio::time::timeout(longest.min(LOOK_INTERVAL), self.store.hints.next_due(list)).await);
    }

    async fn depth(&self, list: List, now: Timestamp) -> Result<(u64, u64), StoreError> {
        self.ask(&AGENDA_DEPTH, (list.as_str(), micros(now))).await
    }
}

/// An entry that was claimed, as the script answers it. One that cannot be read comes up again when its claim is over.
fn due(answer: &[Option<String>]) -> Option<Due> {
    let [Some(key), Some(token), Some(due_at), memo] = answer else { return None };
    Some(Due {
        key: key.clone(),
        token: token.parse().ok()?,
        due_at: Timestamp::from_microsecond(due_at.parse().ok()?).ok()?,
        memo: memo.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let answer = |words: [&str; 3]| {
            let mut answer = words.map(|word| Some(word.to_owned())).to_vec();
            answer.push(None);
            due(&answer)
        };
        let read = answer(["shop", "7", "5000000"]).unwrap();
        assert_eq!((read.key.as_str(), read.token, read.due_at.as_second()), ("shop", 7, 5));
        assert!(answer(["shop", "x", "5"]).is_none() && answer(["shop", "7", "1e300"]).is_none());
        assert!(due(&[]).is_none() && due(&[None, None, None, None]).is_none());
    }
}
