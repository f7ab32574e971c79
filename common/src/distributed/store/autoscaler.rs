//! Autoscalers: settings and wishes as the projection has them, and beside it what scalers say. What of the latter
//! cannot be read is as good as absent: it is measured again.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::RedisStore;
use super::codec::{after, from_json, lifetime_ms, micros, to_json, unreadable};
use super::desk::CLOCK_GRACE;
use super::scripts::{
    SCALED_ALL, SCALED_DECIDE, SCALED_DECISIONS, SCALED_OBSERVE, SCALED_OBSERVED, SCALED_ONE, SCALED_PUT,
    SCALED_STATE, SCALER_ANNOUNCE, SCALER_WITHDRAW,
};
use crate::autoscaler::{Autoscalers, Entry, Mark};
use crate::model::autoscaler::{
    AutoscalerState, DECISIONS_KEPT_MAX, DecisionEntry, Learned, OBSERVED_KEPT_MAX, Observed, Place,
};
use crate::store::StoreError;

/// States or decisions written by one script at most.
const BATCH_MAX: usize = 100;
/// What was learned at so many places is written by one script at most: each is some kilobytes.
const LEARNED_BATCH_MAX: usize = 25;
/// What the state of an autoscaler is called in its keys.
const STATE: &str = "state";
/// What that which was learned is called there.
const LEARNED: &str = "learned";
/// Observations in one chunk at most, so that old ones can go.
const CHUNK_MAX: usize = 256;

/// What is kept of autoscalers in Redis; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct RedisAutoscalers {
    store: RedisStore,
}

impl RedisAutoscalers {
    pub(crate) fn new(store: RedisStore) -> Self {
        Self { store }
    }

    /// The fencing token and the body that stand at a place.
    async fn fenced(&self, kind: &str, place: &Place) -> Result<Option<(String, String)>, StoreError> {
        let found: Vec<Option<String>> = self.store.ask(&SCALED_STATE, (kind, place.to_string())).await?;
        let [Some(fence), Some(body)] = found.try_into().unwrap_or([None, None]) else { return Ok(None) };
        Ok(Some((fence, body)))
    }

    async fn decided(&self, args: &[String]) -> Result<Vec<(u64, DecisionEntry)>, StoreError> {
        let members: Vec<String> = self.store.ask(&SCALED_DECISIONS, args).await?;
        Ok(members.iter().filter_map(|member| numbered(member)).collect())
    }
}

#[async_trait]
impl Autoscalers for RedisAutoscalers {
    async fn all_since(&self, known: Option<&Mark>) -> Result<Option<(Mark, Vec<Entry>)>, StoreError> {
        let known = known.map_or("", |Mark(digest)| digest);
        let answer: Vec<Option<String>> = self.store.ask(&SCALED_ALL, known).await?;
        let Some((Some(digest), rows)) = answer.split_first() else { return Ok(None) };
        let entries = rows.chunks(2).filter_map(|pair| entry(pair).transpose());
        let mut all: Vec<Entry> = self.store.healed(entries.collect()).await?;
        all.sort_by(|one, other| one.autoscaler.place.cmp(&other.autoscaler.place));
        Ok(Some((Mark(digest.clone()), all)))
    }

    async fn autoscaler(&self, place: &Place) -> Result<Option<Entry>, StoreError> {
        let answer: Vec<Option<String>> = self.store.ask(&SCALED_ONE, place.to_string()).await?;
        self.store.healed(entry(&answer)).await
    }

    async fn put_states(&self, states: &[(Place, AutoscalerState)]) -> Result<(), StoreError> {
        for batch in states.chunks(BATCH_MAX) {
            let mut args = vec![STATE.to_owned()];
            for (place, state) in batch {
                args.extend([
                    place.to_string(),
                    state.fence.to_string(),
                    to_json("autoscaler state", state)?,
                ]);
            }
            self.store.ask::<()>(&SCALED_PUT, &args[..]).await?;
        }
        Ok(())
    }

    async fn state(&self, place: &Place) -> Result<Option<AutoscalerState>, StoreError> {
        let found = self.fenced(STATE, place).await?;
        Ok(found.and_then(|(_, body)| serde_json::from_str(&body).ok()))
    }

    async fn put_learned(&self, learned: &[(Place, Learned)]) -> Result<(), StoreError> {
        for batch in learned.chunks(LEARNED_BATCH_MAX) {
            let mut args = vec![LEARNED.to_owned()];
            for (place, learned) in batch {
                args.extend([place.to_string(), learned.fence.to_string(), learned.body.clone()]);
            }
            self.store.ask::<()>(&SCALED_PUT, &args[..]).await?;
        }
        Ok(())
    }

    async fn learned(&self, place: &Place) -> Result<Option<Learned>, StoreError> {
        let found = self.fenced(LEARNED, place).await?;
        Ok(found.and_then(|(fence, body)| Some(Learned { fence: fence.parse().ok()?, body })))
    }

    async fn append_decisions(&self, decisions: &[(Place, DecisionEntry)]) -> Result<(), StoreError> {
        for batch in decisions.chunks(BATCH_MAX) {
            let mut args = vec![DECISIONS_KEPT_MAX.to_string()];
            for (place, decision) in batch {
                args.extend([place.to_string(), to_json("decision", decision)?]);
            }
            self.store.ask::<()>(&SCALED_DECIDE, &args[..]).await?;
        }
        Ok(())
    }

    async fn decisions(
        &self,
        place: &Place,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, DecisionEntry)>, StoreError> {
        let limit = limit.min(DECISIONS_KEPT_MAX);
        self.decided(&[place.to_string(), limit.to_string(), after.to_string()]).await
    }

    async fn newest_decisions(
        &self,
        place: &Place,
        limit: usize,
    ) -> Result<Vec<(u64, DecisionEntry)>, StoreError> {
        // Up to place -1 would be all of them.
        if limit == 0 {
            return Ok(Vec::new());
        }
        let limit = limit.min(DECISIONS_KEPT_MAX);
        let mut newest = self.decided(&[place.to_string(), limit.to_string()]).await?;
        newest.reverse();
        Ok(newest)
    }

    async fn append_observed(&self, place: &Place, observed: &[Observed]) -> Result<(), StoreError> {
        let kept = &observed[observed.len().saturating_sub(OBSERVED_KEPT_MAX)..];
        if kept.is_empty() {
            return Ok(());
        }
        let mut args = vec![place.to_string(), OBSERVED_KEPT_MAX.to_string()];
        for chunk in kept.chunks(CHUNK_MAX) {
            let newest = chunk.iter().map(|observed| micros(observed.at)).max().unwrap_or_default();
            args.extend([chunk.len().to_string(), newest.to_string(), to_json("observation", &chunk)?]);
        }
        self.store.ask(&SCALED_OBSERVE, &args[..]).await
    }

    async fn observed(&self, place: &Place, since: Timestamp) -> Result<Vec<Observed>, StoreError> {
        let args = [place.to_string(), micros(since).to_string()];
        let answer: Vec<String> = self.store.ask(&SCALED_OBSERVED, &args[..]).await?;
        let Some((end, chunks)) = answer.split_first() else { return Ok(Vec::new()) };
        let gone = end.parse().unwrap_or(0_u64).saturating_sub(count(OBSERVED_KEPT_MAX));
        let kept = chunks.iter().filter_map(|member| chunk(member)).flatten();
        let kept = kept.filter(|(number, seen)| *number > gone && seen.at >= since);
        Ok(kept.map(|(_, seen)| seen).collect())
    }

    async fn announce(&self, name: &str, ttl: Duration, now: Timestamp) -> Result<Vec<String>, StoreError> {
        let forgotten = micros(now.checked_sub(CLOCK_GRACE).unwrap_or(Timestamp::MIN));
        let args = (name, after(now, ttl), micros(now), forgotten, lifetime_ms(ttl, CLOCK_GRACE));
        let mut names: Vec<String> = self.store.ask(&SCALER_ANNOUNCE, args).await?;
        names.sort_unstable();
        Ok(names)
    }

    async fn withdraw(&self, name: &str) -> Result<(), StoreError> {
        self.store.ask(&SCALER_WITHDRAW, name).await
    }
}

/// An autoscaler, laid down behind its life, and the wish of its place; nothing where there is none.
fn entry(pair: &[Option<String>]) -> Result<Option<Entry>, StoreError> {
    let [Some(stored), wish] = pair else { return Ok(None) };
    let (_, body) = stored.split_once('\n').ok_or_else(|| unreadable("autoscaler", "it has no life"))?;
    let wish = wish.as_ref().map(|wish| from_json("wish", wish)).transpose()?;
    Ok(Some(Entry { autoscaler: from_json("autoscaler", body)?, wish }))
}

/// What is laid down behind its number.
fn numbered<T: DeserializeOwned>(member: &str) -> Option<(u64, T)> {
    let (number, body) = member.split_once('\n')?;
    Some((number.parse().ok()?, serde_json::from_str(body).ok()?))
}

/// A chunk of observations, each with its number: laid down behind the last one's number and the newest one's time.
fn chunk(member: &str) -> Option<impl Iterator<Item = (u64, Observed)>> {
    let (head, body) = member.split_once('\n')?;
    let last: u64 = head.split_once(' ')?.0.parse().ok()?;
    let observed: Vec<Observed> = serde_json::from_str(body).ok()?;
    let first = last.checked_add(1)?.checked_sub(count(observed.len()))?;
    Some((first..).zip(observed))
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_as_good_as_absent() {
        let members = ["", "1", "1\n", "x\n[]", " \n[]", "1 5\n{}", "1 5\n[1]", "18446744073709551615 5\n[]"];
        for member in members {
            assert!(chunk(member).is_none_or(|chunk| chunk.count() == 0), "{member:?}");
            assert!(numbered::<DecisionEntry>(member).is_none(), "{member:?}");
        }
        assert!(entry(&[None, Some("{}".to_owned())]).unwrap().is_none());
        assert!(entry(&[Some("{}".to_owned()), None]).is_err());
    }
}
