//! Claims and leases that are short, and are renewed for as long as somebody works under them: what a process that died had
//! in hand is soon taken up by another.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::agenda::{Agenda, Due, List};
use slipway_common::store::{Lease, Store, StoreError};
use slipway_common::telemetry::chain;
use tokio::time::{Instant, sleep_until, timeout};

/// For how long something is held without being renewed: who died is followed after this time at the latest.
pub(crate) const TTL: Duration = Duration::from_secs(15);
/// How often it is renewed. Twice that may fail.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Longest attempt to renew it.
const RENEW_MAX: Duration = Duration::from_secs(4);

/// Something that is held for [`TTL`] from when it was taken.
#[derive(Debug)]
pub(crate) enum Held<'a> {
    /// An entry of an agenda.
    Entry {
        /// The agenda.
        agenda: &'a dyn Agenda,
        /// The list it is on.
        list: List,
        /// The claim.
        due: &'a Due,
    },
    /// A lease.
    Lease {
        /// The store that gave it.
        store: &'a dyn Store,
        /// The lease.
        lease: &'a Lease,
    },
}

impl Held<'_> {
    /// Does `work` while it is held; `None` when it was lost before, and `work` was dropped.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.keep() => None,
        }
    }

    /// Renews it; ends when it is lost, or may be.
    pub(crate) async fn keep(&self) {
        let mut held_until = Instant::now() + TTL;
        loop {
            sleep_until((Instant::now() + RENEW_EVERY).min(held_until)).await;
            let begun = Instant::now();
            match timeout(RENEW_MAX, self.renew()).await {
                Ok(Ok(true)) => held_until = begun + TTL,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::debug!(error = chain(&error), "it could not be renewed"),
                Err(_) => tracing::debug!("it could not be renewed in time"),
            }
            if Instant::now() >= held_until {
                return;
            }
        }
    }

    async fn renew(&self) -> Result<bool, StoreError> {
        match self {
            Self::Entry { agenda, list, due } => agenda.renew(*list, due, TTL, Timestamp::now()).await,
            Self::Lease { store, lease } => store.renew_lease(lease, TTL, Timestamp::now()).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use slipway_common::agenda::Next;

    use super::*;
    use crate::testing::{Installation, Mood};

    async fn claim(installation: &Installation, now: Timestamp) -> Vec<Due> {
        installation.backend.agenda.claim(List::Sweeps, 1, TTL, now).await.unwrap()
    }

    fn later(now: Timestamp, pause: Duration) -> Timestamp {
        now.checked_add(pause).unwrap()
    }

    #[tokio::test]
    async fn what_is_held_is_renewed_and_given_up_when_it_is_lost() {
        let installation = Installation::open();
        let agenda = installation.backend.agenda.as_ref();
        let now = Timestamp::now();
        agenda.note(List::Sweeps, &["shop".to_owned()], now).await.unwrap();
        let due = claim(&installation, now).await.remove(0);
        let held = Held::Entry { agenda, list: List::Sweeps, due: &due };
        assert_eq!(held.during(async { 7 }).await, Some(7));
        assert_eq!(held.during(tokio::time::sleep(RENEW_EVERY + Duration::from_millis(500))).await, Some(()));
        assert!(claim(&installation, later(now, TTL)).await.is_empty(), "it holds for longer");
        let other = claim(&installation, later(now, TTL * 2)).await.remove(0);
        let begun = Instant::now();
        assert_eq!(held.during(std::future::pending::<()>()).await, None, "somebody else has it");
        assert!(begun.elapsed() < RENEW_EVERY * 2);
        assert!(agenda.settle(List::Sweeps, &other, Next::Gone, None, now).await.unwrap());
    }

    #[tokio::test]
    async fn what_cannot_be_renewed_is_given_up_before_another_may_have_it() {
        let installation = Installation::open();
        let store = installation.backend.store.as_ref();
        let now = Timestamp::now();
        let lease = store.acquire_lease("note/shop/production", "one", TTL, now).await.unwrap().unwrap();
        installation.store.set(Mood::Away);
        let begun = Instant::now();
        let held = Held::Lease { store, lease: &lease };
        assert_eq!(held.during(std::future::pending::<()>()).await, None);
        let took = begun.elapsed();
        assert!(took >= RENEW_EVERY * 2 && took <= TTL + Duration::from_secs(2), "{took:?}");
    }
}
