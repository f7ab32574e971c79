//! What the inbox remembers of deliveries: which have arrived, how many of each hook, how much is being read; and what is
//! done after they were answered.

mod chores;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use slipway_common::model::HookId;
use tokio::sync::{OnceCell, Semaphore, mpsc};

use crate::refusal::Refusal;

pub(crate) use chores::{Chore, Chores};

/// Most deliveries that are remembered.
const SEEN_MAX: usize = 32_768;
/// Deliveries of one hook in [`RATE_PERIOD`] that are kept each for itself; more are hints only.
const RATE_MAX: u32 = 12_000;
/// The time deliveries are counted over.
const RATE_PERIOD: Duration = Duration::from_secs(60);
/// Bytes of deliveries that may be in memory at once, and how many of the largest fit at least.
const ROOM_BYTES: usize = 256 * 1024 * 1024;
const ROOM_DELIVERIES_MIN: usize = 4;

type Key = (HookId, Arc<str>);

/// Deliveries that have arrived, the oldest forgotten first.
#[derive(Debug, Default)]
struct Seen {
    cells: HashMap<Key, Arc<OnceCell<()>>>,
    order: VecDeque<Key>,
}

impl Seen {
    fn cell(&mut self, hook: HookId, id: &str, most: usize) -> Arc<OnceCell<()>> {
        let key: Key = (hook, Arc::from(id));
        if let Some(cell) = self.cells.get(&key) {
            return Arc::clone(cell);
        }
        if self.order.len() >= most
            && let Some(oldest) = self.order.pop_front()
        {
            self.cells.remove(&oldest);
        }
        let cell = Arc::default();
        self.order.push_back(key.clone());
        self.cells.insert(key, Arc::clone(&cell));
        cell
    }
}

/// Deliveries of each hook since a time. There are no more entries than hooks.
#[derive(Debug)]
struct Rates {
    since: Instant,
    counts: HashMap<HookId, u32>,
}

/// The inbox.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Room for the bodies that are being read, in bytes.
    pub(crate) room: Semaphore,
    seen: Mutex<Seen>,
    rates: Mutex<Rates>,
    chores: mpsc::Sender<Chore>,
}

impl Inbox {
    /// An empty inbox for deliveries of at most `delivery_max_bytes`.
    pub(crate) fn new(delivery_max_bytes: usize, chores: mpsc::Sender<Chore>) -> Self {
        let room_bytes = ROOM_BYTES.max(delivery_max_bytes.saturating_mul(ROOM_DELIVERIES_MIN));
        Self {
            room: Semaphore::new(room_bytes.min(Semaphore::MAX_PERMITS)),
            seen: Mutex::default(),
            rates: Mutex::new(Rates { since: Instant::now(), counts: HashMap::new() }),
            chores,
        }
    }

    /// Does `work` unless it was done for a delivery of this hook and id before. One that arrives meanwhile waits for how it
    /// ends, and does it itself if it failed. Answers whether it was done now.
    pub(crate) async fn once(
        &self,
        hook: HookId,
        id: &str,
        work: impl Future<Output = Result<(), Refusal>>,
    ) -> Result<bool, Refusal> {
        let cell = self.seen.lock().unwrap_or_else(PoisonError::into_inner).cell(hook, id, SEEN_MAX);
        let mut is_first = false;
        cell.get_or_try_init(|| {
            is_first = true;
            work
        })
        .await?;
        Ok(is_first)
    }

    /// Counts a delivery of this hook. Answers whether there are so many that they are hints only.
    pub(crate) fn is_flooded(&self, hook: HookId, now: Instant) -> bool {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(rates.since) >= RATE_PERIOD {
            *rates = Rates { since: now, counts: HashMap::new() };
        }
        let count = rates.counts.entry(hook).or_default();
        *count = count.saturating_add(1);
        *count > RATE_MAX
    }

    /// Has something done later. `false` when too much waits: it is not done, and nothing is lost by that.
    pub(crate) fn later(&self, chore: Chore) -> bool {
        self.chores.try_send(chore).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;

    use super::*;

    fn inbox() -> (Inbox, mpsc::Receiver<Chore>) {
        let (chores, waiting) = mpsc::channel(1);
        (Inbox::new(1_024, chores), waiting)
    }

    #[tokio::test]
    async fn many_at_once_are_done_once() {
        let (inbox, _waiting) = inbox();
        let (hook, done) = (HookId::generate(), AtomicU32::new(0));
        let work = || async {
            tokio::task::yield_now().await;
            done.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let firsts = join_all((0..100).map(|_| inbox.once(hook, "a", work()))).await;
        assert_eq!(firsts.into_iter().filter(|first| *first.as_ref().unwrap()).count(), 1);
        assert!(inbox.once(hook, "b", work()).await.unwrap());
        assert!(inbox.once(HookId::generate(), "a", work()).await.unwrap());
        assert_eq!(done.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn what_failed_is_done_by_the_next() {
        let (inbox, _waiting) = inbox();
        let hook = HookId::generate();
        let failed = inbox.once(hook, "a", async { Err(Refusal::Internal("told to fail")) }).await;
        assert!(failed.is_err());
        assert!(inbox.once(hook, "a", async { Ok(()) }).await.unwrap());
        assert!(!inbox.once(hook, "a", async { Ok(()) }).await.unwrap());
    }

    #[test]
    fn what_is_remembered_is_limited_and_the_oldest_goes_first() {
        let (mut seen, hook) = (Seen::default(), HookId::generate());
        let first = seen.cell(hook, "0", 3);
        for id in ["1", "2", "3", "4"] {
            seen.cell(hook, id, 3);
        }
        assert_eq!((seen.cells.len(), seen.order.len()), (3, 3));
        assert!(!Arc::ptr_eq(&first, &seen.cell(hook, "0", 3)), "it is new again");
        let kept = seen.cell(hook, "4", 3);
        assert!(Arc::ptr_eq(&kept, &seen.cell(hook, "4", 3)));
    }

    #[test]
    fn a_flood_of_one_hook_is_noticed_and_ends() {
        let (inbox, _waiting) = inbox();
        let (hook, now) = (HookId::generate(), Instant::now());
        assert!((0..RATE_MAX).all(|_| !inbox.is_flooded(hook, now)));
        assert!(inbox.is_flooded(hook, now));
        assert!(!inbox.is_flooded(HookId::generate(), now), "others are not concerned");
        assert!(!inbox.is_flooded(hook, now + RATE_PERIOD));
    }

    #[test]
    fn what_is_to_be_done_later_is_limited() {
        let (inbox, _waiting) = inbox();
        let look = || Chore::Look("shop-1a2b3c".parse().unwrap());
        assert!(inbox.later(look()));
        assert!(!inbox.later(look()));
    }
}
