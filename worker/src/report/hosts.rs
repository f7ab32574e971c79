//! How many are told at one host at once, and which hosts are left in peace for a while. Whoever has to wait does so on
//! the agenda and holds nothing meanwhile, so that a host that is slow or away delays nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Pause after a host could not be used; doubles up to the longest.
const AWAY_MIN: Duration = Duration::from_secs(1);
const AWAY_MAX: Duration = Duration::from_secs(60);
/// Longest pause that a host may ask for; others than who heard of it have to do with the host, too.
const ASKED_MAX: Duration = Duration::from_secs(60 * 60);
/// Hosts that are remembered.
const HOSTS_MAX: usize = 1_000;

/// The hosts where somebody is told.
#[derive(Debug)]
pub(super) struct Hosts {
    at_once: usize,
    known: Mutex<HashMap<String, Host>>,
}

#[derive(Debug, Default)]
struct Host {
    inside: usize,
    failures: u32,
    away_until: Option<Instant>,
}

/// Whether a host may be used now.
#[derive(Debug)]
pub(super) enum Entry {
    /// It may, until the guard is dropped.
    Open(Inside),
    /// As many use it as may.
    Busy,
    /// It could not be used a moment ago.
    Away(Duration),
}

/// Somebody uses a host.
#[derive(Debug)]
pub(super) struct Inside {
    hosts: Arc<Hosts>,
    host: String,
}

impl Hosts {
    pub(super) fn new(at_once: usize) -> Self {
        Self { at_once: at_once.max(1), known: Mutex::default() }
    }

    /// Asks to use `host`.
    pub(super) fn enter(self: &Arc<Self>, host: &str, now: Instant) -> Entry {
        let mut known = self.known();
        if known.len() >= HOSTS_MAX && !known.contains_key(host) {
            known.retain(|_, state| state.inside > 0);
        }
        let state = known.entry(host.to_owned()).or_default();
        if let Some(left) = state.away_until.map(|until| until.saturating_duration_since(now))
            && !left.is_zero()
        {
            return Entry::Away(left);
        }
        if state.inside >= self.at_once {
            return Entry::Busy;
        }
        state.inside += 1;
        Entry::Open(Inside { hosts: Arc::clone(self), host: host.to_owned() })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// The host answered.
    pub(super) fn works(&self) {
        self.change(|state| (state.failures, state.away_until) = (0, None));
    }

    /// The host could not be used, or asked to be left in peace for `at_least`.
    pub(super) fn failed(&self, at_least: Option<Duration>, now: Instant) {
        self.change(|state| {
            let pause = AWAY_MIN.saturating_mul(1 << state.failures.min(10)).min(AWAY_MAX);
            state.failures = state.failures.saturating_add(1);
            state.away_until = Some(now + pause.max(at_least.unwrap_or_default().min(ASKED_MAX)));
        });
    }

    fn change(&self, change: impl FnOnce(&mut Host)) {
        if let Some(state) = self.hosts.known().get_mut(&self.host) {
            change(state);
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.change(|state| state.inside = state.inside.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(hosts: &Arc<Hosts>, host: &str, now: Instant) -> Inside {
        match hosts.enter(host, now) {
            Entry::Open(inside) => inside,
            refused @ (Entry::Busy | Entry::Away(_)) => panic!("{host}: {refused:?}"),
        }
    }

    #[test]
    fn a_host_is_used_by_so_many_at_once_and_others_are_not_held_up() {
        let (hosts, now) = (Arc::new(Hosts::new(2)), Instant::now());
        let first = open(&hosts, "slow", now);
        let second = open(&hosts, "slow", now);
        assert!(matches!(hosts.enter("slow", now), Entry::Busy));
        drop(open(&hosts, "other", now));
        drop(first);
        let third = open(&hosts, "slow", now);
        assert!(matches!(hosts.enter("slow", now), Entry::Busy));
        drop((second, third));
    }

    #[test]
    fn a_host_that_fails_is_left_in_peace_ever_longer() {
        let (hosts, mut now) = (Arc::new(Hosts::new(2)), Instant::now());
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            open(&hosts, "dead", now).failed(None, now);
            let Entry::Away(left) = hosts.enter("dead", now) else { panic!("it just failed") };
            assert!(left >= last && left <= AWAY_MAX, "{left:?}");
            drop(open(&hosts, "alive", now));
            (last, now) = (left, now + left);
        }
        assert_eq!(last, AWAY_MAX);
        open(&hosts, "dead", now).works();
        open(&hosts, "dead", now).failed(None, now);
        assert!(matches!(hosts.enter("dead", now), Entry::Away(left) if left == AWAY_MIN));
    }

    #[test]
    fn a_host_that_says_how_long_is_believed() {
        let (hosts, now) = (Arc::new(Hosts::new(2)), Instant::now());
        open(&hosts, "limits", now).failed(Some(Duration::from_secs(300)), now);
        assert!(matches!(hosts.enter("limits", now), Entry::Away(left) if left == Duration::from_secs(300)));
        open(&hosts, "hostile", now).failed(Some(Duration::MAX), now);
        assert!(matches!(hosts.enter("hostile", now), Entry::Away(left) if left == ASKED_MAX));
    }

    #[test]
    fn hosts_are_not_remembered_without_end() {
        let (hosts, now) = (Arc::new(Hosts::new(2)), Instant::now());
        let kept = open(&hosts, "kept", now);
        for number in 0..3 * HOSTS_MAX {
            drop(open(&hosts, &number.to_string(), now));
        }
        assert!(hosts.known().len() <= HOSTS_MAX);
        drop(kept);
    }
}
