//! Who takes care of which deployments. Places are spread over shards, shards over the scalers that are there, and each
//! shard is held under a fenced lease: whoever has lost it stops before the next step, and another goes on within seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use slipway_common::Backend;
use slipway_common::model::autoscaler::Place;
use slipway_common::store::{Lease, StoreError};
use slipway_common::telemetry::chain;
use tokio_util::sync::CancellationToken;

use crate::demand::Key;
use crate::target::{Guard, TargetError};

/// Leases are renewed so many times within their time.
const RENEWALS: u32 = 4;
/// A lease is believed for this share of its time, counted from before it was asked for.
const BELIEVED: f64 = 0.8;

/// The shards this scaler holds; clones are the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Shards {
    name: Arc<str>,
    count: u64,
    ttl: Duration,
    held: Arc<Mutex<HashMap<u64, Held>>>,
}

#[derive(Debug, Clone)]
struct Held {
    lease: Lease,
    until: Until,
}

/// The end of a time that both clocks must not have passed: one stands still while the machine sleeps, the other may be
/// set back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until {
    monotonic: Instant,
    wall: Timestamp,
}

impl Until {
    /// `believed` of `ttl` after a moment.
    pub(crate) fn after((monotonic, wall): (Instant, Timestamp), ttl: Duration) -> Self {
        let believed = ttl.mul_f64(BELIEVED);
        Self { monotonic: monotonic + believed, wall: wall.saturating_add(believed).unwrap_or(wall) }
    }

    pub(crate) fn has_passed(&self) -> bool {
        Instant::now() >= self.monotonic || Timestamp::now() >= self.wall
    }
}

/// This moment, by both clocks.
pub(crate) fn moment() -> (Instant, Timestamp) {
    (Instant::now(), Timestamp::now())
}

/// The right to act on one place, as long as its shard is held.
#[derive(Debug, Clone)]
pub(crate) struct ShardGuard {
    shards: Shards,
    shard: u64,
    fence: u64,
}

impl ShardGuard {
    /// The fencing token of the shard's lease.
    pub(crate) fn token(&self) -> u64 {
        self.fence
    }
}

impl Guard for ShardGuard {
    fn fence(&self) -> Result<u64, TargetError> {
        match self.shards.fence(self.shard) {
            Some(fence) if fence == self.fence => Ok(fence),
            Some(_) | None => Err(TargetError::LeaseLost),
        }
    }
}

impl Shards {
    /// None held yet, of `count` in all.
    pub(crate) fn new(name: &str, count: u64, ttl: Duration) -> Self {
        Self { name: Arc::from(name), count: count.max(1), ttl, held: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to act on `place`, if this scaler has it.
    pub(crate) fn guard(&self, place: &Place) -> Option<ShardGuard> {
        let shard = shard_of(place, self.count);
        self.fence(shard).map(|fence| ShardGuard { shards: self.clone(), shard, fence })
    }

    /// How many are held.
    pub(crate) fn held(&self) -> usize {
        self.lock().values().filter(|held| !held.until.has_passed()).count()
    }

    fn fence(&self, shard: u64) -> Option<u64> {
        self.lock().get(&shard).filter(|held| !held.until.has_passed()).map(|held| held.lease.fence)
    }

    /// Takes, keeps and gives up shards until `stop`; then gives up all.
    pub(crate) async fn keep(self, backend: Backend, stop: CancellationToken) {
        loop {
            if let Err(error) = self.round(&backend).await {
                tracing::debug!(error = chain(&error), "the shards of the scaler could not be renewed");
            }
            tokio::select! {
                () = tokio::time::sleep(self.ttl / RENEWALS) => {}
                () = stop.cancelled() => break,
            }
        }
        self.give_up_all(&backend).await;
    }

    async fn round(&self, backend: &Backend) -> Result<(), StoreError> {
        let present = backend.autoscalers.announce(&self.name, self.ttl, Timestamp::now()).await?;
        let owners = owners(self.count, &present);
        let shards = (0..self.count).zip(owners);
        let (keep, leave): (Vec<_>, Vec<_>) = shards.partition(|(_, owner)| *owner == Some(&*self.name));
        let left = leave.into_iter().filter_map(|(shard, _)| self.lock().remove(&shard));
        join_all(left.collect::<Vec<_>>().iter().map(|held| release(backend, &held.lease))).await;
        let kept = join_all(keep.into_iter().map(|(shard, _)| self.take(backend, shard))).await;
        kept.into_iter().collect()
    }

    /// Renews the shard's lease, or takes it when it is free.
    async fn take(&self, backend: &Backend, shard: u64) -> Result<(), StoreError> {
        let known = self.lock().get(&shard).map(|held| held.lease.clone());
        let asked = moment();
        if let Some(lease) = known {
            if backend.store.renew_lease(&lease, self.ttl, asked.1).await? {
                self.lock().insert(shard, Held { lease, until: Until::after(asked, self.ttl) });
                return Ok(());
            }
            tracing::warn!(shard, "a shard of the scaler was lost");
            self.lock().remove(&shard);
        }
        let key = format!("scaler/shard/{shard}");
        let asked = moment();
        let taken = backend.store.acquire_lease(&key, &self.name, self.ttl, asked.1).await?;
        if let Some(lease) = taken {
            self.lock().insert(shard, Held { lease, until: Until::after(asked, self.ttl) });
        }
        Ok(())
    }

    async fn give_up_all(&self, backend: &Backend) {
        let held: Vec<Held> = self.lock().drain().map(|(_, held)| held).collect();
        join_all(held.iter().map(|held| release(backend, &held.lease))).await;
        if let Err(error) = backend.autoscalers.withdraw(&self.name).await {
            tracing::debug!(error = chain(&error), "the scaler is forgotten when its time is over");
        }
    }
}

async fn release(backend: &Backend, lease: &Lease) {
    if let Err(error) = backend.store.release_lease(lease).await {
        tracing::debug!(key = lease.key, error = chain(&error), "the lease is left to expire");
    }
}

/// The shard of a place. Pure.
fn shard_of(place: &Place, count: u64) -> u64 {
    Key::of(&place.to_string()).number() % count
}

/// Which of the scalers has each shard: the one whose name weighs most with it (rendezvous hashing) among those that do
/// not have their share yet. So all have about as many, and one that comes or goes moves few between the others. Pure.
fn owners(count: u64, present: &[String]) -> Vec<Option<&str>> {
    let scalers = u64::try_from(present.len()).unwrap_or(u64::MAX).max(1);
    let (share, over) = (count / scalers, count % scalers);
    let mut left: Vec<u64> = (0..scalers).map(|index| share + u64::from(index < over)).collect();
    let weight = |shard: u64, name: &str| mixed(Key::of(&format!("{shard}/{name}")).number());
    (0..count)
        .map(|shard| {
            let free = present.iter().enumerate().filter(|(index, _)| left[*index] > 0);
            let (index, name) = free.max_by_key(|(_, name)| (weight(shard, name), name.as_str()))?;
            left[index] -= 1;
            Some(name.as_str())
        })
        .collect()
}

/// Spreads a number over all bits (the finaliser of SplitMix64, Steele and others 2014): names differ in few of them.
fn mixed(number: u64) -> u64 {
    let once = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let twice = (once ^ (once >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    twice ^ (twice >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("scaler-{number}")).collect()
    }

    #[test]
    fn every_scaler_has_its_share_and_the_others_keep_most_of_theirs_when_one_goes() {
        for count in 1..=8 {
            let present = names(count);
            let owners = owners(16, &present);
            let most = 16_usize.div_ceil(count);
            for name in &present {
                let has = owners.iter().filter(|owner| **owner == Some(name.as_str())).count();
                assert!((16 / count..=most).contains(&has), "{name} of {count} has {has}");
            }
            assert!(owners.iter().all(Option::is_some));
        }
        let three = names(3);
        let (before, after) = (owners(16, &three), owners(16, &three[..2]));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert!((4..=9).contains(&moved), "{moved} moved");
        assert_eq!(owners(2, &[]), [None, None]);
    }

    #[test]
    fn a_guard_ends_with_its_lease() {
        let shards = Shards::new("one", 1, Duration::from_secs(6));
        let place =
            Place { project: "shop-1a2b3c".parse().unwrap(), environment: "default".parse().unwrap() };
        assert!(shards.guard(&place).is_none());
        let lease = |fence| Lease { key: "k".to_owned(), holder: "one".to_owned(), fence };
        let held = |fence, ttl| Held { lease: lease(fence), until: Until::after(moment(), ttl) };
        shards.lock().insert(0, held(7, Duration::from_secs(60)));
        let guard = shards.guard(&place).unwrap();
        assert_eq!(guard.fence(), Ok(7));
        shards.lock().insert(0, held(8, Duration::from_secs(60)));
        assert_eq!(guard.fence(), Err(TargetError::LeaseLost), "the lease of another time");
        shards.lock().insert(0, held(7, Duration::ZERO));
        assert_eq!(guard.fence(), Err(TargetError::LeaseLost), "its time is over");
        assert_eq!(shards.held(), 0);
    }
}
